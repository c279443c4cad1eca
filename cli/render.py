"""Tables for people: information in bits, sizes in decimal units. Numbers for programs come from ``--json``."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ie_store.printable import printable
from ie_store.specs import NATS_PER_BIT, Outcome

if TYPE_CHECKING:
    from ie_store.estimate.check import Verdict
    from ie_store.extract.forecast import Forecast
    from ie_store.extract.plan import ExtractPlan
    from ie_store.extract.report import ExtractReport
    from ie_store.store.catalog import DamagedDataset, DatasetSummary
    from ie_store.store.verify import VerifyReport

MOST_FLAGS = 8
WIDTH_OF_FILES = 140
"""Columns of a table that goes to a file or a pipe."""

console = Console(highlight=False, markup=False, emoji=False)
if not console.is_terminal:
    console = Console(highlight=False, markup=False, emoji=False, width=WIDTH_OF_FILES)


def say(*parts: str | tuple[str, str]) -> None:
    """Print one line, wrapped by the terminal alone; a part may be (text, style)."""
    shown = [printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts]
    console.print(Text.assemble(*shown), soft_wrap=True)


def make_table(title: str | None = None, **options: Any) -> Table:
    """An empty table."""
    return Table(title=None if title is None else Text(printable(title)), title_justify="left", **options)


def add_row(table: Table, *cells: str) -> None:
    """One more row, its cells shown as they are."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


def estimates(shown: dict[str, Any]) -> None:
    """The estimates of a dataset (the object of ``show --json``), each beside its exact ceiling."""
    table = make_table(f"{shown['model']}/{shown['corpus']}: Information Emergence, in bits")
    table.add_column("estimator")
    for heading in ("block", "position", "IE", "interval", "exact IE", "macro", "micro"):
        table.add_column(heading, justify="right")
    table.add_column("outcome")
    exact = [row for row in shown["estimates"] if row["estimator"] == "exact"]
    for row in [row for row in shown["estimates"] if row["estimator"] != "exact"]:
        low, high = row["interval_nats"]
        add_row(
            table,
            row["estimator"],
            str(row["block"]),
            str(row["position"]),
            bits(row["ie_nats"]),
            f"{bits(low)} .. {bits(high)}",
            bits(row["ceiling_nats"]),
            bits(row["macro_nats"]),
            bits(row["micro_nats"]),
            row["outcome"],
        )
    if table.row_count:
        console.print(table)
    _exact_curves(exact)
    outcomes = dict.fromkeys(Outcome(row["outcome"]) for row in shown["estimates"] if row["estimator"] != "exact")
    for outcome in outcomes:
        say((outcome.value, "bold"), f": {outcome.advice}")
    flags = [f"{row['estimator']}, block {row['block']}: {flag}" for row in shown["estimates"] for flag in row["flags"]]
    for flag in flags[:MOST_FLAGS]:
        say(("flag", "yellow"), f" {flag}")
    if len(flags) > MOST_FLAGS:
        say(f"and {len(flags) - MOST_FLAGS} more flags: see --json")


def _exact_curves(rows: list[dict[str, Any]]) -> None:
    """The exact growth curve, one line for all blocks that share it."""
    curves: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: row["position"]):
        curves.setdefault(row["block"], []).append(row["ie_nats"])
    same: dict[tuple[float, ...], list[int]] = {}
    for block, curve in sorted(curves.items()):
        same.setdefault(tuple(curve), []).append(block)
    for shared, blocks in same.items():
        name = f"block {blocks[0]}" if len(blocks) == 1 else f"blocks {blocks[0]}-{blocks[-1]}"
        say(f"exact IE of {name} by position: {'  '.join(map(bits, shared))} bits")


def verdicts(found: "list[Verdict]") -> None:
    """What the checks say of each estimator."""
    for verdict in found:
        word = ("can be believed", "green") if verdict.believed else ("cannot be believed", "red")
        say((verdict.estimator, "bold"), " ", word, f": {verdict.sentence}")
        if not verdict.findings:
            continue
        table = make_table()
        for heading in ("check", "block", "passed", "what it found", "values in bits"):
            table.add_column(heading)
        for finding in verdict.findings:
            passed = {True: "yes", False: "no", None: "-"}[finding.answer.passed]
            answer = finding.answer
            add_row(table, answer.check, str(finding.block), passed, answer.detail, _values(answer.numbers))
        console.print(table)


def _values(numbers: dict[str, float]) -> str:
    """The numbers of a check whose names end in _nats, in bits."""
    values = {name.removesuffix("_nats"): value for name, value in numbers.items() if name.endswith("_nats")}
    return ", ".join(f"{name.replace('_', ' ')} {bits(value)}" for name, value in values.items())


def bits(nats: float | None) -> str:
    """Nats as bits with three decimals; a dash where there is no value."""
    return "-" if nats is None or nats != nats else f"{nats / NATS_PER_BIT:.3f}"


def size(num_bytes: float) -> str:
    """Bytes in decimal units: 1.4 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if num_bytes < 1000 or unit == "TB":
            return f"{num_bytes:,.0f} {unit}" if unit == "B" else f"{num_bytes:,.1f} {unit}"
        num_bytes /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3.5 min, 2.1 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def facts(rows: list[tuple[str, str]]) -> None:
    """Two columns: what, and its value."""
    table = make_table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for what, value in rows:
        add_row(table, what, value)
    console.print(table)


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
            ("blocks", f"{planned.num_blocks_run} of {model.num_blocks} run"),
            ("shards", f"{planned.missing_shards} to write of {planned.num_shards}, {layout.rows_per_shard:,} sequences each"),
            ("forecast bytes", f"{size(forecast.encoded_bytes)} to write ({size(planned.dense_bytes)} dense); {free} free"),
            ("forecast time", f"{duration(forecast.seconds)}; the limit is the {forecast.bottleneck}"),
        ]
    )


def extract_report(report: "ExtractReport") -> None:
    """How an extraction ended, forecast against measured."""
    if report.reused:
        say(f"{report.name} is complete already; nothing to do. {_audit(report.audit)}")
        return
    table = make_table(f"{report.name}: {report.num_rows:,} sequences, {report.num_shards} shards")
    table.add_column("")
    table.add_column("forecast", justify="right")
    table.add_column("measured", justify="right")
    add_row(table, "time", duration(report.forecast.seconds), duration(report.seconds))
    add_row(table, "the model's part", duration(report.forecast.forward_seconds), duration(report.forward_seconds))
    add_row(table, "bytes", size(report.forecast.encoded_bytes), size(report.num_bytes))
    add_row(
        table, "sequences/s", f"{report.num_rows / max(report.forecast.seconds, 1e-9):,.1f}", f"{report.rows_per_second:,.1f}"
    )
    console.print(table)
    say(f"audit: {_audit(report.audit)}")
    say(f"written to {report.address}")


def datasets(summaries: "list[DatasetSummary]", damaged: "list[DamagedDataset]") -> None:
    """The datasets of a store, a line each."""
    table = make_table()
    table.add_column("dataset", no_wrap=True)
    table.add_column("model", overflow="fold")
    table.add_column("sequences", justify="right")
    for heading in ("positions x layers x hidden", "dtype", "on disk", "state"):
        table.add_column(heading)
    for one in summaries:
        shape = f"{one.num_positions} x {one.num_layers} x {one.hidden_size}"
        state = "complete" if one.complete else "incomplete"
        add_row(table, one.name, one.model, f"{one.num_sequences:,}", shape, one.stored_dtype, size(one.disk_bytes), state)
    for broken in damaged:
        add_row(table, broken.name, "", "", "", "", "", "damaged")
    if table.row_count:
        console.print(table)
    else:
        say("no datasets yet: ie-store extract makes one")
    for broken in damaged:
        say(f"{broken.name}: {broken.fault}")


def description(found: dict[str, Any]) -> None:
    """One dataset: what it was made from, how large, how exact."""
    identity, corpus, sizes = found["identity"], found["corpus"], found["bytes"]
    model, layout = identity["model"], identity["layout"]
    shards = ", ".join(
        f"{found['num_shards'][level] - found['missing_shards'][level]} of {found['num_shards'][level]} {level}"
        for level in ("macro", "micro")
    )
    facts(
        [
            ("dataset", f"{found['name']} in {found['store']}"),
            ("model", f"{model['id']}: {model['num_blocks']} blocks, hidden size {model['hidden_size']}"),
            ("weights", model["weights_digest"]),
            (
                "computed in",
                f"{model['compute_dtype']}, {model['attention']} attention, beginning-of-sequence token: {model['bos']}",
            ),
            ("corpus", corpus["recipe"]),
            (
                "rows",
                f"{corpus['num_sequences']:,} of {corpus['num_positions']} tokens; {layout['num_tokens']:,} distinct",
            ),
            ("left out", "; ".join(f"{count:,} {reason}" for reason, count in corpus["dropped"]) or "nothing"),
            ("fingerprint", corpus["fingerprint"]),
            ("stored", f"{layout['stored_dtype']}, {len(layout['layers'])} layers, {len(layout['positions'])} positions"),
            ("shards", shards),
            ("bytes", f"{size(sizes['total'])}; states {sizes['ratio']:.3f} of the dense {size(sizes['dense'])}"),
            (
                "state",
                "complete"
                if found["complete"]
                else f"incomplete: {found['incomplete_reason'] or 'still being written, or stopped'}",
            ),
            ("audit", _audit(found["audit"])),
            ("estimates", ", ".join(map(_group, found["estimates"])) or "none yet"),
        ]
    )


def _group(estimates: dict[str, Any]) -> str:
    return f"{estimates['group']} (damaged)" if "fault" in estimates else str(estimates["group"])


def _audit(audit: dict[str, Any] | None) -> str:
    if audit is None:
        return "not done yet"
    if not audit["relative_error"]:
        return f"{audit['rows']} rows recomputed; no layer was compared"
    worst = max(audit["relative_error"].items(), key=lambda item: float(item[1]))
    return (
        f"{audit['rows']} rows recomputed one by one in float32: relative error at most {worst[1]:.1e} (layer {worst[0]}); "
        "all layers with --json"
    )


def verify_report(report: "VerifyReport") -> None:
    """What was compared, and every fault."""
    say(f"{report.num_shards:,} shards, {report.num_chunks:,} checksums, {size(report.num_bytes)} read")
    for fault in report.faults:
        say(("fault", "red"), f": {fault}")
    if not report.faults:
        say("no faults")
