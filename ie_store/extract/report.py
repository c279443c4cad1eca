"""How an extraction ended: what was written, and how the plan compares with what came."""

from dataclasses import dataclass
from typing import Any

from ie_store.extract.plan import Plan


@dataclass(frozen=True, kw_only=True)
class ExtractReport:
    """The end of a run. `plan` holds the predictions; the fields here are measured, over the shards of this run alone."""

    name: str
    """MODEL/CORPUS."""
    address: str
    """Path or URL of the dataset."""
    plan: Plan
    reused: bool
    """True where the dataset was complete already and nothing was computed."""
    num_rows: int
    """Sequences computed."""
    num_shards: int
    """Shards written."""
    num_bytes: int
    """Their bytes; predicted: ``plan.encoded_bytes``."""
    forward_seconds: float
    """The model, and the copy into host memory; predicted: ``plan.forward_seconds``."""
    waiting_seconds: float
    """The model stood still because the disk was not done."""
    audit_seconds: float
    seconds: float
    """From the first batch to the dataset marked complete; predicted: ``plan.seconds``."""
    audit: dict[str, Any]
    """As stored with the data: ``rows``, ``relative_error`` by layer, and the same of micro."""

    @property
    def rows_per_second(self) -> float:
        """Sequences per second, everything included."""
        return self.num_rows / self.seconds if self.seconds else 0.0
