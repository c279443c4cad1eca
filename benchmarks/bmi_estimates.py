"""Samples of benchmark-mi's tasks and its own estimates of them, written to files. Runs in benchmark-mi's environment.

Imports nothing of ours. Called by `bmi_tasks.py`; what is already written is kept, so that a killed run goes on.
"""

import argparse
import json
import time
from pathlib import Path

import bmi
import numpy as np

NUM_ROWS = 10_000
ESTIMATORS = {
    "CCA": lambda: bmi.estimators.CCAMutualInformationEstimator(),
    "KSG": lambda: bmi.estimators.KSGEnsembleFirstEstimator(neighborhoods=(10,)),
    "InfoNCE": lambda: bmi.estimators.InfoNCEEstimator(verbose=False),
    "MINE": lambda: bmi.estimators.MINEEstimator(verbose=False),
}


def write_samples(folder: Path, name: str, seed: int) -> Path:
    """One task's rows as x and y in an npz file."""
    path = folder / f"{name}_{seed}.npz"
    if not path.exists():
        x, y = bmi.benchmark.BENCHMARK_TASKS[name].sample(NUM_ROWS, seed=seed)
        with path.with_suffix(".part").open("wb") as file:
            np.savez(file, x=np.asarray(x, np.float32), y=np.asarray(y, np.float32))
        path.with_suffix(".part").rename(path)
    return path


def write_estimate(folder: Path, name: str, seed: int, estimator: str) -> None:
    """One of benchmark-mi's own estimates, in nats, as JSON."""
    path = folder / f"{name}_{seed}_{estimator}.json"
    if path.exists():
        return
    rows = np.load(write_samples(folder, name, seed))
    started = time.perf_counter()
    nats = float(ESTIMATORS[estimator]().estimate(rows["x"], rows["y"]))
    path.write_text(json.dumps({"nats": nats, "seconds": time.perf_counter() - started}))
    print(f"{name} seed {seed} {estimator}: {nats:.3f} nats", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--estimators", nargs="*", default=list(ESTIMATORS))
    parser.add_argument("--tasks", nargs="*", default=list(bmi.benchmark.BENCHMARK_TASKS))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    truths = {name: float(task.mutual_information) for name, task in bmi.benchmark.BENCHMARK_TASKS.items()}
    (options.folder / "truths.json").write_text(json.dumps(truths, indent=1))
    for seed in options.seeds:
        for name in options.tasks:
            write_samples(options.folder, name, seed)
            for estimator in options.estimators:
                write_estimate(options.folder, name, seed, estimator)


if __name__ == "__main__":
    main()
