"""What an extraction will do, and how it ended."""

from typing import TYPE_CHECKING, Any

from .text import add_row, console, duration, facts, make_table, say, size

if TYPE_CHECKING:
    from ie_store.extract.forecast import Forecast
    from ie_store.extract.plan import ExtractPlan
    from ie_store.extract.report import ExtractReport


def plan(planned: "ExtractPlan", forecast: "Forecast") -> None:
    """What an extraction will do, and what it should cost."""
    layout, model = planned.layout, planned.identity.model
    prefixes = sum(planned.distinct_prefixes)
    dense = layout.num_sequences * layout.num_positions
    free = "unknown" if forecast.free_bytes is None else size(forecast.free_bytes)
    note = f" ({planned.forward_note})" if planned.forward_note else ""
    facts(
        [
            ("dataset", planned.name),
            ("model", f"{model.id}, computed in {model.compute_dtype} on {planned.device}"),
            ("corpus", planned.identity.recipe),
            (
                "rows",
                f"{layout.num_sequences:,} sequences of {layout.num_positions} tokens, {layout.num_tokens:,} distinct tokens",
            ),
            ("prefixes", f"{prefixes:,} distinct of {dense:,}: {dense / prefixes:.2f}x fewer"),
            (
                "forward",
                f"{planned.forward}{note}: {planned.tokens_computed:,} tokens instead of {planned.tokens_dense:,}, "
                f"in {planned.num_batches:,} batches",
            ),
            ("dtype", _dtype(planned)),
            ("blocks", f"{planned.num_blocks_run} of {model.num_blocks} run"),
            ("shards", f"{planned.missing_shards} to write of {planned.num_shards}, {layout.rows_per_shard:,} sequences each"),
            ("forecast bytes", f"{size(forecast.encoded_bytes)} to write ({size(planned.dense_bytes)} dense); {free} free"),
            ("forecast time", f"{_span(forecast)}; the limit is the {forecast.bottleneck}"),
        ]
    )


def _span(forecast: "Forecast") -> str:
    """The forecast time, with the span it lies in where that is wide: other processes may come and go."""
    low, high = map(duration, forecast.seconds_span)
    now = duration(forecast.seconds)
    return now if low == high else f"{now} ({low} to {high})"


def _dtype(planned: "ExtractPlan") -> str:
    dtype, largest = planned.layout.stored_dtype, planned.largest_state
    if largest is None:
        return dtype
    return f"{dtype}: the largest of a sample of states is {largest:,.0f}, and float16 ends at 65,504"


def extract_report(report: "ExtractReport") -> None:
    """How an extraction ended, forecast against measured."""
    if report.reused:
        say(f"{report.name} is complete already; nothing to do. {audit(report.audit)}")
        return
    table = make_table(f"{report.name}: {report.num_rows:,} sequences, {report.num_shards} shards")
    table.add_column("")
    table.add_column("forecast", justify="right")
    table.add_column("measured", justify="right")
    add_row(table, "time", _span(report.forecast), duration(report.seconds))
    add_row(table, "the model's part", duration(report.forecast.forward_seconds), duration(report.forward_seconds))
    add_row(table, "bytes", size(report.forecast.encoded_bytes), size(report.num_bytes))
    add_row(
        table, "sequences/s", f"{report.num_rows / max(report.forecast.seconds, 1e-9):,.1f}", f"{report.rows_per_second:,.1f}"
    )
    console.print(table)
    say(f"audit: {audit(report.audit)}")
    say(f"written to {report.address}")


def audit(found: dict[str, Any] | None) -> str:
    """What the recomputed rows say, in one sentence."""
    if found is None:
        return "not done yet"
    if not found["relative_error"]:
        return f"{found['rows']} rows recomputed; no layer was compared"
    worst = max(found["relative_error"].items(), key=lambda item: float(item[1]))
    return (
        f"{found['rows']} rows recomputed one by one in float32: relative error at most {worst[1]:.1e} (layer {worst[0]}); "
        "all layers with --json"
    )
