"""What a run of stage two will do, and how it ended."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .text import add_row, console, duration, facts, make_table, size

if TYPE_CHECKING:
    from ie_store.estimate.forecast import EstimateForecast, Span
    from ie_store.estimate.plan import EstimatePlan
    from ie_store.estimate.report import EstimateReport


def plan(planned: "EstimatePlan", forecast: "EstimateForecast") -> None:
    """What is left to do, and what it should cost."""
    rows = [("to do", f"{planned.num_problems:,} problems in {len(planned.items):,} items")]
    if forecast.of_estimators:
        rows.append(("forecast time", _span(forecast.seconds, duration)))
        rows += [(f"  {name}", _span(span, duration)) for name, span in forecast.of_estimators.items()]
        rows.append(("forecast memory", f"{_span(forecast.peak_bytes, size)} at the peak, with all that is loaded"))
    rows.append(("memory", f"at most {size(forecast.most_bytes)} beside what is loaded (--memory)"))
    if forecast.disk_bytes:
        rows.append(
            ("on disk", f"up to {size(forecast.disk_bytes)} of states in temporary files, since memory does not hold them")
        )
    for name in forecast.not_forecast:
        rows.append(("not forecast", f"{name}; where it takes long, it says so before it starts, and wants --yes"))
    facts(rows)


def against_forecast(report: "EstimateReport", forecast: "EstimateForecast") -> None:
    """What was forecast beside what came."""
    table = make_table("forecast and measured" + ("" if report.complete else "; not at its end"))
    table.add_column("")
    table.add_column("forecast", justify="right")
    table.add_column("measured", justify="right")
    add_row(table, "time", _span(forecast.seconds, duration), duration(report.seconds))
    if report.peak_bytes is not None:
        add_row(table, "peak memory", _span(forecast.peak_bytes, size), size(report.peak_bytes))
    if report.waiting_share is not None:
        add_row(table, "waiting for states", "", f"{report.waiting_share:.0%} of the time")
    console.print(table)


def _span(span: "Span", shown: Callable[[float], str]) -> str:
    return f"{shown(span.middle)} ({shown(span.low)} to {shown(span.high)})"


def time_is_up(report: "EstimateReport", limit: str | None) -> str:
    """What a run that its time limit ended has done."""
    done = f"stopped at the time limit of {limit}: {report.num_done:,} of {report.num_problems:,} problems are done"
    if report.num_done_now == 0:
        return f"{done}, none of them in this run: give a longer --time-limit"
    return f"{done}, {report.num_done_now:,} of them in this run; the same command goes on from there"
