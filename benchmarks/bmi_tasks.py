"""benchmark-mi's 40 known-answer tasks: our estimators beside its own, on the same samples.

    python benchmarks/bmi_tasks.py --folder bmi --venv bmi/venv --out benchmarks/results/bmi_tasks.json

Its CCA runs on every task. Its KSG, InfoNCE and MINE, which take most of the time, run where they can change the
verdict: not where our error is within the margin of a perfect estimator. ``--every`` runs them everywhere.
benchmark-mi 0.1.3 needs old versions of jax and numpy, so it has an environment of its own, made on first use.
Samples and every estimate are files in the folder: a run that was stopped goes on, and ``--tasks`` takes a subset.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ie_store.estimate.mutual_information import mutual_information

REQUIREMENTS = ("benchmark-mi==0.1.3", "jax==0.4.30", "jaxlib==0.4.30", "numpy<2")
CHEAP, SLOW = ("CCA",), ("KSG", "InfoNCE", "MINE")
THEIRS = (*CHEAP, *SLOW)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
MARGIN_NATS = 0.05


def their_python(venv: Path) -> Path:
    """The interpreter of benchmark-mi's environment, made if it is not there."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *REQUIREMENTS], check=True)
    return python


def run_theirs(options: argparse.Namespace, tasks: Sequence[str], estimators: Sequence[str]) -> None:
    """Write samples and their estimates, the tasks dealt out to processes of one thread."""
    script = Path(__file__).with_name("bmi_estimates.py")
    command = [str(their_python(options.venv)), str(script), str(options.folder), "--seeds", *map(str, options.seeds)]
    parts = [tasks[part :: options.processes] for part in range(options.processes)]
    running = [
        subprocess.Popen([*command, "--estimators", *estimators, "--tasks", *part], env=os.environ | ONE_THREAD)
        for part in parts
        if part
    ]
    if any(process.wait() for process in running):
        raise SystemExit("benchmark-mi's own estimates failed: see above")


def run_ours(options: argparse.Namespace, tasks: Sequence[str]) -> None:
    with ProcessPoolExecutor(options.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        jobs = [(options.folder, task, seed, options.estimator) for seed, task in product(options.seeds, tasks)]
        list(pool.map(write_ours, *zip(*jobs, strict=True)))


def write_ours(folder: Path, task: str, seed: int, estimator: str) -> None:
    path = folder / f"{task}_{seed}_{estimator}.json"
    if path.exists():
        return
    rows = np.load(folder / f"{task}_{seed}.npz")
    started = time.perf_counter()
    found = mutual_information(rows["x"], rows["y"], estimator=estimator, seed=seed)
    figures = {"nats": found.nats, "standard_error_nats": found.standard_error_nats, "outcome": str(found.outcome)}
    path.write_text(json.dumps(figures | {"seconds": time.perf_counter() - started}))
    print(f"{task} seed {seed} {estimator}: {found.nats:.3f} +- {found.standard_error_nats:.3f} nats", flush=True)


def read(folder: Path, task: str, seeds: list[int], estimator: str) -> list[dict[str, Any]]:
    paths = [folder / f"{task}_{seed}_{estimator}.json" for seed in seeds]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def compare(folder: Path, task: str, truth: float, seeds: list[int], ours: str) -> dict[str, Any]:
    """Mean absolute errors of one task, and whether ours is within the margin of the best of theirs that ran."""
    theirs = {name: runs for name in THEIRS if len(runs := read(folder, task, seeds, name)) == len(seeds)}
    own = read(folder, task, seeds, ours)
    errors = {name: float(np.mean([abs(one["nats"] - truth) for one in runs])) for name, runs in theirs.items()}
    error = float(np.mean([abs(one["nats"] - truth) for one in own]))
    margin = max(MARGIN_NATS, 2 * math.sqrt(float(np.mean([one["standard_error_nats"] ** 2 for one in own]))))
    return {
        "task": task,
        "truth_nats": truth,
        "seeds": len(own),
        ours: error,
        "mean_nats": float(np.mean([one["nats"] for one in own])),
        "mean_seconds": float(np.mean([one["seconds"] for one in own])),
        **errors,
        "margin": margin,
        "decided": error <= margin or error > min(errors.values()) + margin or len(theirs) == len(THEIRS),
        "met": error <= min(errors.values()) + margin,
    }


def show(rows: list[dict[str, Any]], ours: str) -> None:
    names = [ours, *THEIRS]
    print(f"{'task (mean absolute error, nats)':46s} truth " + " ".join(f"{name:>8s}" for name in names) + "  margin met")
    for row in rows:
        figures = " ".join(f"{row[name]:8.3f}" if name in row else f"{'-':>8s}" for name in names)
        print(f"{row['task']:46s} {row['truth_nats']:5.2f} {figures}  {row['margin']:6.3f} {'yes' if row['met'] else 'NO'}")
    print(f"{sum(row['met'] for row in rows)} of {len(rows)} tasks within the margin of the best of theirs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--tasks", nargs="*", help="default: all 40")
    parser.add_argument("--estimator", default="mine")
    parser.add_argument("--every", action="store_true", help="run their slow estimators on every task")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    subprocess.run(
        [str(their_python(options.venv)), str(Path(__file__).with_name("bmi_estimates.py")), str(options.folder), "--tasks"],
        check=True,
    )
    truths = json.loads((options.folder / "truths.json").read_text())
    tasks = options.tasks or list(truths)
    run_theirs(options, tasks, CHEAP)
    run_ours(options, tasks)

    def compared() -> list[dict[str, Any]]:
        return [compare(options.folder, task, truths[task], options.seeds, options.estimator) for task in tasks]

    run_theirs(options, [row["task"] for row in compared() if options.every or not row["decided"]], SLOW)
    show(rows := compared(), options.estimator)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
