"""What is in a store, and whether it is whole."""

from typing import TYPE_CHECKING, Any

from ie_store.printable import printable

from .extract import audit
from .own_variables import own_variables
from .text import add_row, console, facts, make_table, say, size

MARK = "|"
"""Between the tokens of a row that is shown."""
LONGEST_TEXT = 200
"""Characters shown of a row, and of what it was cut from."""

if TYPE_CHECKING:
    from ie_store.store.catalog import DamagedDataset, DatasetSummary
    from ie_store.store.verify import VerifyReport


def datasets(summaries: "list[DatasetSummary]", damaged: "list[DamagedDataset]") -> None:
    """The datasets of a store, a line each."""
    table = make_table()
    table.add_column("dataset", no_wrap=True)
    table.add_column("model", overflow="fold")
    table.add_column("sequences", justify="right")
    for heading in ("positions x layers x hidden", "dtype", "on disk", "state", "written", "by", "ie-store"):
        table.add_column(heading)
    for one in summaries:
        shape = f"{one.num_positions} x {one.num_layers} x {one.hidden_size}"
        state = "complete" if one.complete else "incomplete"
        facts_of = (f"{one.num_sequences:,}", shape, one.stored_dtype, size(one.disk_bytes), state)
        add_row(
            table, one.name, one.model, *facts_of, (one.written or "-")[:10], one.user or "-", one.versions.get("ie-store", "-")
        )
    for broken in damaged:
        add_row(table, broken.name, "", "", "", "", "", "damaged", "", "", "")
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
            ("audit", audit(found["audit"])),
            ("estimates", ", ".join(map(_group, found["estimates"])) or "none yet"),
            *((f"row {row['sequence']:,}", _row(row)) for row in found["rows"]),
        ]
    )
    own_variables(found["derived"], found["store"], found["name"])


def _row(row: dict[str, Any]) -> str:
    """A row's tokens with marks between them, and what it was cut from."""
    tokens = printable(MARK.join(row["tokens"]), LONGEST_TEXT)
    return f"{tokens}   (from: {printable(row['source_text'], LONGEST_TEXT)})" if "source_text" in row else tokens


def _group(estimates: dict[str, Any]) -> str:
    return f"{estimates['group']} (damaged)" if "fault" in estimates else str(estimates["group"])


def verify_report(report: "VerifyReport") -> None:
    """What was compared, and every fault."""
    say(f"{report.num_shards:,} shards, {report.num_chunks:,} checksums, {size(report.num_bytes)} read")
    for fault in report.faults:
        say(("fault", "red"), f": {fault}")
    if not report.faults:
        say("no faults")
