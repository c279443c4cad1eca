"""How an extraction ended: what was written, and how the forecast compares with what came."""

from dataclasses import asdict, dataclass
from typing import Any

from ie_store.extract.forecast import Forecast
from ie_store.extract.plan import ExtractPlan


@dataclass(frozen=True, kw_only=True)
class ExtractReport:
    """The end of a run. Its own fields are measured, over the shards of this run alone."""

    name: str
    """MODEL/CORPUS."""
    address: str
    """Path or URL of the dataset."""
    plan: ExtractPlan
    forecast: Forecast
    reused: bool
    """True where the dataset was complete already and nothing was computed."""
    num_rows: int
    """Sequences computed."""
    num_shards: int
    """Shards written."""
    num_bytes: int
    """Their bytes; to compare with ``forecast.encoded_bytes``."""
    forward_seconds: float
    """The model, and the copy into host memory; to compare with ``forecast.forward_seconds``."""
    waiting_seconds: float
    """The model stood still because the disk was not done."""
    audit_seconds: float
    seconds: float
    """From the first batch to the dataset marked complete; to compare with ``forecast.seconds``."""
    audit: dict[str, Any]
    """As stored with the data: ``rows``, ``relative_error`` by layer, and the same of micro."""

    @property
    def rows_per_second(self) -> float:
        """Sequences per second, everything included."""
        return self.num_rows / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Every field, of JSON types; the plan as `ExtractPlan.as_json` has it."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "plan": self.plan.as_json(), "forecast": asdict(self.forecast)}
