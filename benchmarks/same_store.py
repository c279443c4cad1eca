"""Do two versions of ie-store write the same? Compares a dataset of two stores, byte by byte, and what `show` says of both.

    python benchmarks/same_store.py STORE OTHER MODEL/CORPUS

Files of states, coordinates and ledger must be equal (``zarr.json`` apart, which holds versions and times; with ``--no-ledger``
also the ledger, whose checksums follow the format's version). Of estimates, every number that both know must be equal to the
last bit; options, flags and times are left out. Each version shows its own store: `ie-store show --json > FILE`, given by
``--shown FILE OTHER_FILE``.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

LEFT_OUT = ("options", "results", "flags", "macro_session")
NOT_COMPARED = ("zarr.json", ".lock")


def differing_files(store: Path, other: Path, with_ledger: bool) -> tuple[int, list[str]]:
    """How many files are equal, and those that are not."""
    left_out = {"estimates", *([] if with_ledger else ["ledger"])}
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and path.name not in NOT_COMPARED]
    compared = [path.relative_to(store) for path in files if not left_out & set(path.relative_to(store).parts)]
    differing = [
        str(path)
        for path in compared
        if not (other / path).is_file() or (store / path).read_bytes() != (other / path).read_bytes()
    ]
    return len(compared) - len(differing), differing


def differing_numbers(shown: dict[str, Any], other: dict[str, Any]) -> tuple[int, list[str]]:
    """How many shown values are equal, and those that are not."""
    known = {_place(entry): entry for entry in other["estimates"]}
    equal, differing = 0, []
    for entry in shown["estimates"]:
        theirs = known.get(_place(entry))
        if theirs is None:
            differing.append(f"{_place(entry)} is only in the first")
            continue
        for name in entry.keys() & theirs.keys() - set(LEFT_OUT):
            if entry[name] == theirs[name] or name.endswith("_seconds"):
                equal += 1
            else:
                differing.append(f"{_place(entry)} {name}: {entry[name]} and {theirs[name]}")
    return equal, differing


def _place(entry: dict[str, Any]) -> tuple[str, int, int]:
    return entry["estimator"], entry["block"], entry["position"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("name", help="MODEL/CORPUS")
    parser.add_argument("--shown", type=Path, nargs=2, metavar="FILE", help="what `ie-store show --json` printed of each")
    parser.add_argument("--no-ledger", action="store_true", help="of stores of different format versions")
    options = parser.parse_args()
    found = [differing_files(options.store / options.name, options.other / options.name, not options.no_ledger)]
    if options.shown:
        shown, other = (json.loads(path.read_text()) for path in options.shown)
        found.append(differing_numbers(shown, other))
    for what, (equal, differing) in zip(("files", "numbers"), found, strict=False):
        print(f"{what}: {equal:,} equal, {len(differing):,} differ")
        print("".join(f"  {line}\n" for line in differing[:20]), end="")
    sys.exit(any(differing for _, differing in found))


if __name__ == "__main__":
    main()
