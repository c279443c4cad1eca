"""What is in a store, and whether it is whole."""

from typing import TYPE_CHECKING, Any

from ie_store.printable import printable

from .extract import audit
from .own_variables import own_variables
from .text import facts, say, size

MARK = "|"
"""Between the tokens of a row that is shown."""
LONGEST_TEXT = 200
"""Characters shown of a row, and of what it was cut from."""

if TYPE_CHECKING:
    from ie_store.store.catalog import DamagedDataset, DatasetSummary
    from ie_store.store.verify import VerifyReport


def datasets(summaries: "list[DatasetSummary]", damaged: "list[DamagedDataset]") -> None:
    """The datasets of a store, two lines each: what it is and whose, then what made it."""
    rows = [_line(one) for one in summaries]
    if rows:
        widths = [max(len(printable(row[place])) for row in (HEADINGS, *rows)) for place in range(len(HEADINGS))]
        say((_padded(HEADINGS, widths), "bold"))
    for one, row in zip(summaries, rows, strict=True):
        say(_padded(row, widths))
        state = "complete" if one.complete else f"incomplete: {one.incomplete_reason or 'still being written, or stopped'}"
        version = one.versions.get("ie-store", "-")
        say((f"    {one.model}, hidden size {one.hidden_size}, {one.stored_dtype}, ie-store {version}, {state}", "dim"))
    for broken in damaged:
        say(f"{broken.name}  damaged: {broken.fault}")
    if not rows and not damaged:
        say("no datasets yet: ie-store extract makes one")


HEADINGS = ("dataset", "sequences", "layers", "positions", "on disk", "written", "by")


def _line(one: "DatasetSummary") -> tuple[str, ...]:
    counts = (f"{count:,}" for count in (one.num_sequences, one.num_layers, one.num_positions))
    return one.name, *counts, size(one.disk_bytes), (one.written or "-")[:10], one.user or "-"


def _padded(cells: tuple[str, ...], widths: list[int]) -> str:
    """Cells in their columns; numbers stand right."""
    name, *numbers, written, user = (printable(cell) for cell in cells)
    right = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=False))
    return " ".join([f"{name:<{widths[0]}}", *right, f"{written:<{widths[-2]}}", user])


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
