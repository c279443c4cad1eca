"""How a run of stage two ended."""

from dataclasses import dataclass

from ie_store.errors import FlaggedError
from ie_store.estimate.forecast import EstimateForecast
from ie_store.specs import Emergence


@dataclass(frozen=True, kw_only=True)
class EstimateReport:
    """The end of a run."""

    emergences: list[Emergence]
    """Those asked for, by estimator (exact first), block and position; also those estimated earlier."""
    num_problems: int
    """Problems of all estimators that were asked for."""
    num_done: int
    """Those of them that are done, earlier runs included."""
    num_done_now: int
    """In this run."""
    seconds: float
    """From the first item to the last array; to compare with ``forecast.seconds``."""
    waited_seconds: float | None
    """Of them, waiting for slabs after the first item's; None where workers did the work."""
    peak_bytes: int | None
    """Most memory of the process meanwhile; to compare with ``forecast.peak_bytes``. None where the system does not say, or
    workers did the work."""
    forecast: EstimateForecast | None
    """None for a run that is over before a forecast would be made."""

    @property
    def complete(self) -> bool:
        """False where the time limit ended it."""
        return self.num_done == self.num_problems

    @property
    def waiting_share(self) -> float | None:
        """Of the time, spent waiting for slabs after the first item's."""
        return None if self.waited_seconds is None or not self.seconds else self.waited_seconds / self.seconds

    def as_json(self) -> dict[str, float | None]:
        """Numbers of the run, without its values."""
        numbers = ("num_problems", "num_done", "num_done_now", "seconds", "waited_seconds", "waiting_share", "peak_bytes")
        return {name: getattr(self, name) for name in numbers}

    def require_unflagged(self) -> None:
        """Raise `FlaggedError` where a result carries a flag; all are written."""
        flagged = [e for e in self.emergences if e.outcome.flagged or e.flags]
        if flagged:
            lines = [f"  {e.estimator}, block {e.block}, position {e.position}: {e.outcome}" for e in flagged]
            raise FlaggedError(
                f"{len(flagged)} of {len(self.emergences)} results carry a flag (all are written; 'ie-store show' says why):\n"
                + "\n".join(lines)
            )
