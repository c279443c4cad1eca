"""Peak memory of stage two beside imports, by estimator or profile, rows and columns, under one --memory; and time per row.

    python benchmarks/estimate_memory.py --rows 303600 --columns 576 1600 --short --out table.json
    python benchmarks/estimate_memory.py --rows 100000 1000000 --columns 576 --estimators mine --out table.json

Datasets are synthetic: ordered draws of four names with separators, as the country corpus lists them, cut to ``--rows``; states
are Gaussian float16, the first 64 dimensions of neighbouring layers correlated. They are written into ``--folder`` once, which
takes 4 x rows x columns bytes each. Every measurement runs in a process of its own: block 1 at the last position, and its tokens.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import islice, permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CORRELATED, CORRELATION = 64, 0.3
ESTIMATORS = ("noise", "decode", "mine", "infonce", "nwj", "smile", "js", "cca")
PROFILES = ("spectrum", "neighbours")
SHORT: dict[str, dict[str, Any]] = {name: {"steps": 60, "folds": 1} for name in ("mine", "infonce", "nwj", "smile", "js")} | {
    "noise": {"max_draws": 1024}
}
"""Options of ``--short``: less of what is repeated, all that is held at once."""
LAYERS, POSITIONS, SEPARATOR = 3, 8, 1000
ROWS_AT_ONCE = 4096


def list_tokens(rows: int) -> NDArray[np.int32]:
    """(sequence, position) the first ``rows`` ordered draws of four of the fewest names that have so many, sorted."""
    names = next(n for n in range(4, 1000) if n * (n - 1) * (n - 2) * (n - 3) >= rows)
    drawn = np.array(list(islice(permutations(range(names), 4), rows)), np.int32)
    tokens = np.full((rows, POSITIONS), SEPARATOR, np.int32)
    tokens[:, 0::2] = drawn
    return tokens


def make_dataset(folder: Path, rows: int, columns: int) -> str:
    """The name of the dataset in ``folder``, written unless it is there."""
    from ie_store.fingerprint import fingerprint
    from ie_store.specs import CorpusSpec, DatasetIdentity, ModelSpec, StoreLayout
    from ie_store.store.dataset.writer import open_writer

    name = f"gauss/rows{rows}-columns{columns}"
    if (folder / name / "complete").exists():
        return name
    tokens = list_tokens(rows)
    layout = StoreLayout(
        num_layers=LAYERS, num_positions=POSITIONS, num_sequences=rows, num_tokens=len(np.unique(tokens)), hidden_size=columns,
        stored_dtype="float16", layers=(1, 2), positions=(POSITIONS - 1,), rows_per_shard=ROWS_AT_ONCE, tokens_per_shard=64,
        shards_per_group=1, rows_per_batch=16,
    )  # fmt: skip
    model = ModelSpec(
        id="gauss", revision=None, weights_digest="w", tokenizer_digest=None, num_blocks=LAYERS - 1, hidden_size=columns,
        vocab_size=2 * SEPARATOR, compute_dtype="float32", attention="sdpa", bos="none",
    )  # fmt: skip
    found = fingerprint(tokens, np.arange(rows), {})
    corpus = CorpusSpec(
        recipe="r", name="rows", fingerprint=found, num_sequences=rows, num_positions=POSITIONS, complete=True,
        population_prefix_nats=None, population_token_nats=None,
    )  # fmt: skip
    identity = DatasetIdentity(model=model, corpus_fingerprint=found, recipe="r", layout=layout)
    generator = np.random.default_rng(0)
    with open_writer(
        str(folder), name, identity=identity, corpus=corpus, tokens=tokens, source_row=np.arange(rows), labels={}, session={},
        replace=True,
    ) as writer:  # fmt: skip
        for level in ("macro", "micro"):
            for index in range(layout.num_shards(level)):
                shard = layout.shard(level, index)
                x, y = (generator.standard_normal((shard.stop - shard.start, columns), dtype=np.float32) for _ in range(2))
                y[:, :CORRELATED] = CORRELATION * x[:, :CORRELATED] + (1 - CORRELATION**2) ** 0.5 * y[:, :CORRELATED]
                states = np.stack([x, y]).astype(np.float16)
                writer.write_shard(shard, states[:, None] if level == "macro" else states)
        writer.mark_complete({"rows": 0, "relative_error": {}})
    (folder / name / "complete").touch()
    return name


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One run, in this process, whose results are removed first."""
    import shutil

    from ie_store.estimate import memory

    memory.share_one_pool()  # as the command line does, before threads begin
    import torch

    from ie_store.estimate import run
    from ie_store.estimate.profile import profile
    from ie_store.estimators import ESTIMATORS as TABLE
    from ie_store.estimators import estimator_spec, resolve
    from ie_store.fields import parse_size
    from ie_store.options import EstimateSpec, ProfileSpec
    from ie_store.profiles import PROFILES as PROFILE_TABLE
    from ie_store.profiles import profile_method

    torch.set_num_threads(arguments.threads)
    for row in (*TABLE, *PROFILE_TABLE):
        resolve(row.measure)
    options = SHORT.get(arguments.estimator, {}) if arguments.short else {}
    shutil.rmtree(Path(arguments.folder, arguments.name, "estimates"), ignore_errors=True)
    asked = {"store": arguments.folder, "name": arguments.name, "memory": arguments.memory, "device": "cpu"}
    peaks, reset = [0], run.reset_peak

    def resetting() -> None:  # a run counts from its first item; here all of it counts
        peaks.append(memory.peak_bytes() or 0)
        reset()

    run.reset_peak = resetting
    memory.reset_peak()
    before, started, worked = memory.held_bytes() or 0, time.perf_counter(), time.process_time()
    if arguments.estimator in PROFILES:
        profile(ProfileSpec(profiles=(profile_method(arguments.estimator),), layers="1", **asked))
        found: dict[str, Any] = {}
    else:
        report = run.run_estimate(EstimateSpec(estimators=(estimator_spec(arguments.estimator, **options),), blocks="1", **asked))
        (macro,) = (e for e in report.emergences if e.estimator == arguments.estimator)
        found = {"nats": macro.macro_nats, "outcome": str(macro.outcome)}
    peak = max(memory.peak_bytes() or 0, *peaks) - before
    rows, columns = (int("".join(filter(str.isdigit, part))) for part in arguments.name.split("-"))
    return {
        "estimator": arguments.estimator,
        "rows": rows,
        "columns": columns,
        "threads": arguments.threads,
        "memory": arguments.memory,
        "short": arguments.short,
        "memory_bytes": parse_size("memory", arguments.memory),
        "peak_beside_imports": peak,
        "slab_bytes": 2 * 2 * rows * columns,
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(time.process_time() - worked, 1),
        **found,
        "torch": torch.__version__,
    }


def main() -> None:
    """Measure each combination in a process of its own, print a line, and keep the rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", default="/tmp/ie-store-slabs")
    parser.add_argument("--rows", type=int, nargs="+", default=[303_600])
    parser.add_argument("--columns", type=int, nargs="+", default=[576, 1600])
    parser.add_argument("--estimators", nargs="+", default=[*ESTIMATORS, *PROFILES])
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--short", action="store_true", help="few training steps and draws: the same peak in less time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    parser.add_argument("--estimator", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.name:
        print(json.dumps(measure(arguments)))
        return
    kept = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else []
    for rows in arguments.rows:
        for columns in arguments.columns:
            name = make_dataset(Path(arguments.folder), rows, columns)
            for estimator in arguments.estimators:
                command = [sys.executable, __file__, "--folder", arguments.folder, "--name", name, "--estimator", estimator]
                command += ["--memory", arguments.memory, "--threads", str(arguments.threads)]
                command += ["--short"] if arguments.short else []
                environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
                found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
                row = json.loads(found.stdout)
                print(row, flush=True)
                same = ("estimator", "rows", "columns", "threads", "memory", "short")
                kept = [other for other in kept if any(other[key] != row[key] for key in same)] + [row]
                if arguments.out:
                    arguments.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
