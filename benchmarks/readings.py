"""What `noise`, `decode` and `mine` say of every block of a model and of its twin with random weights: do they tell them apart?

    ie-store estimate STORE smollm2/country10 --estimator noise --estimator decode        (and of the other datasets)
    python benchmarks/readings.py STORE smollm2/country10 smollm2-random/country10 --out FILE.json

Reads what is stored, at the last position or at ``--positions``, in bits: the information in a block's input under noise, what a
linear reader of it tells, and what a critic shows of it, each with its 95% interval, and the emergence by each; and how many
pairs of blocks are told apart, as ``show --json`` counts them. A reading that was not run is left out, and what ``--out`` holds
of it already stays: so a table may come from several stores. Where it was run with several options, each block has the
narrowest interval of them.
"""

import argparse
import json
from math import log
from pathlib import Path
from typing import Any

from ie_store.store.results.show import show_results
from ie_store.store.results.told_apart import told_apart

READINGS = ("decode", "noise", "mine")


def of_dataset(store: str, name: str, position: int | None) -> dict[str, Any]:
    """By reading at a position, None for the last: value and interval of every block in bits, the pairs told apart, the exact
    value."""
    shown = show_results(store, name)
    last = max(estimate["position"] for estimate in shown["estimates"]) if position is None else position
    found: dict[str, Any] = {}
    for reading in READINGS:
        rows = narrowest([e for e in shown["estimates"] if e["estimator"] == reading and e["position"] == last])
        if not rows:
            continue
        blocks = {e["block"]: [bits(e["macro_nats"]), *map(bits, e["macro_interval_nats"])] for e in rows}
        counts = told_apart(rows)
        found[reading] = {
            "blocks": blocks,
            "emergence": {e["block"]: [bits(e["ie_nats"]), *map(bits, e["interval_nats"])] for e in rows},
            "outcomes": {e["block"]: e["macro_outcome"] for e in rows},
            "pairs": sum(c["pairs"] for c in counts),
            "pairs_told_apart": sum(c["apart"] for c in counts),
            "largest_half_width_bits": max(((v[2] - v[1]) / 2 for v in blocks.values()), default=None),
            "wall_seconds": sum(e.get("macro_wall_seconds") or 0.0 for e in rows) or None,
        }
    found["exact_bits"] = max(bits(e["macro_ceiling_nats"]) for e in shown["estimates"] if e["position"] == last)
    return found


def narrowest(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each block, all as of one run."""
    of_block: dict[int, dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda e: e["macro_interval_nats"][0] - e["macro_interval_nats"][1]):
        of_block[entry["block"]] = entry | {"results": entries[0]["results"]}
    return [of_block[block] for block in sorted(of_block)]


def bits(nats: float) -> float:
    """Rounded to a thousandth."""
    return round(nats / log(2), 3)


def table(found: dict[str, dict[str, Any]]) -> list[str]:
    """Lines of Markdown: a row per block, a column per dataset and reading."""
    columns = [(name, reading) for name in found for reading in READINGS if reading in found[name]]
    lines = [
        "| block | " + " | ".join(f"{name}, {reading}" for name, reading in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    blocks = sorted({block for name, reading in columns for block in found[name][reading]["blocks"]})
    for block in blocks:
        values = [found[name][reading]["blocks"].get(block) for name, reading in columns]
        lines.append(
            f"| {block} | " + " | ".join("" if v is None else f"{v[0]:.2f} ({v[1]:.2f}..{v[2]:.2f})" for v in values) + " |"
        )
    told = [found[name][reading] for name, reading in columns]
    lines.append("| pairs told apart | " + " | ".join(f"{t['pairs_told_apart']} of {t['pairs']}" for t in told) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("names", nargs="+")
    parser.add_argument("--positions", type=int, nargs="+", help="these, each as a dataset of its own, in place of the last")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = {
        name if position is None else f"{name}, position {position}": of_dataset(options.store, name, position)
        for name in options.names
        for position in options.positions or (None,)
    }
    print("\n".join(table(found)))
    if options.out:
        known = json.loads(options.out.read_text()) if options.out.exists() else {}
        merged = known | {name: known.get(name, {}) | readings for name, readings in found.items()}
        options.out.write_text(json.dumps(merged, indent=1) + "\n")


if __name__ == "__main__":
    main()
