"""How a run of stage two ended."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ie_store.estimate.report import EstimateReport


def time_is_up(report: "EstimateReport", limit: str | None) -> str:
    """What a run that its time limit ended has done."""
    return (
        f"stopped at the time limit of {limit}: {report.num_done:,} of {report.num_problems:,} problems are done, "
        f"{report.num_done_now:,} of them in this run; the same command goes on from there"
    )
