"""What it costs to verify what is read: a slab from a cold disk, and a whole estimate, with and without.

    python benchmarks/verified.py --cold STORE/MODEL/LARGE --estimate STORE/MODEL/CORPUS [--rounds 9] [--out FILE.json]

Reads of one slab whose files are taken out of the page cache before each; then `cca` (the fastest that is trained, so that
reading weighs most) of a few blocks into a copy of the dataset whose results are removed each time. Both ways take turns; ratios
are medians of the ratios within a round, with the standard error of their mean. What has to hold: at most 2% lost.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

from ie_store.estimate import run
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.specs import Slab
from ie_store.store.open import open_reader
from ie_store.store.results.group import results_key

CCA = estimator_spec("cca")


def evict(folder: Path) -> None:
    """Take all files below a folder out of the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def cold_read(store: str, name: str, verify: bool) -> float:
    reader = open_reader(store, name, verify=verify)
    slab = Slab(level="macro", layer=reader.layout.layers[-1], position=reader.layout.positions[-1])
    reader.read_slab(slab)  # indices and checksums are known
    evict(Path(store, name, "macro"))
    started = perf_counter()
    reader.read_slab(slab)
    return perf_counter() - started


def whole_estimate(store: str, name: str, blocks: str, verify: bool) -> float:
    shutil.rmtree(Path(store, results_key(name, CCA)), ignore_errors=True)
    shutil.rmtree(Path(store, results_key(name, estimator_spec("exact"))), ignore_errors=True)
    opened = partial(open_reader, verify=verify)
    with mock.patch("ie_store.estimate.read.open_reader", opened):
        started = perf_counter()
        run.estimate(EstimateSpec(store=store, name=name, estimators=(CCA,), blocks=blocks, positions="last"))
    return perf_counter() - started


def pairs(take: Callable[[bool], float], rounds: int) -> dict[str, float]:
    """Seconds of both ways, which take turns, and the share that verifying takes more."""
    take(True)
    taken = [(take(True), take(False)) if number % 2 else (take(False), take(True))[::-1] for number in range(rounds)]
    checked, loose = (statistics.median(times) for times in zip(*taken, strict=True))
    ratios = [mine / other for mine, other in taken]
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    return {"verified_seconds": checked, "unverified_seconds": loose, "lost": statistics.median(ratios) - 1, "error": error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", required=True, help="STORE/MODEL/CORPUS whose last slab is read")
    parser.add_argument("--estimate", required=True, help="STORE/MODEL/CORPUS that is copied and estimated")
    parser.add_argument("--blocks", default="9,29")
    parser.add_argument("--rounds", type=int, default=9, help="of the estimate; cold reads are short: 16 times as many")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    large, given = Path(options.cold), Path(options.estimate)
    name, store = "/".join(given.parts[-2:]), str(large.parent.parent)
    found = {"cold read": pairs(lambda verify: cold_read(store, "/".join(large.parts[-2:]), verify), 16 * options.rounds)}
    with tempfile.TemporaryDirectory(prefix="verified-") as folder:
        shutil.copytree(given.parent.parent, f"{folder}/store", ignore=lambda at, names: _others(Path(at), names, given))
        found["whole estimate"] = pairs(
            lambda verify: whole_estimate(f"{folder}/store", name, options.blocks, verify), options.rounds
        )
    for what, values in found.items():
        print(f"{what:16}" + "".join(f"{key} {value:.3f}   " for key, value in values.items()))
    if options.out:
        kept: dict[str, Any] = {"options": {"blocks": options.blocks, "rounds": options.rounds}}
        options.out.write_text(json.dumps(kept | found, indent=1) + "\n")


def _others(at: Path, names: list[str], given: Path) -> list[str]:
    """Names of the store's other models, and of the model's other datasets."""
    wanted = {given.parent.parent: given.parent.name, given.parent: given.name}.get(at)
    return [] if wanted is None else [name for name in names if (at / name).is_dir() and name != wanted]


if __name__ == "__main__":
    main()
