"""benchmark-mi's 40 known-answer tasks: our estimators beside its own, on the same samples.

    python benchmarks/bmi_tasks.py --folder bmi --venv bmi/venv --seeds 0 1 2 3 4

benchmark-mi 0.1.3 needs old versions of jax and numpy, so it runs in an environment of its own, which is made on first
use. Samples and every estimate are files in the folder: a run that was stopped goes on, and ``--tasks`` takes a subset.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ie_store.estimate.arrays import mutual_information

REQUIREMENTS = ("benchmark-mi==0.1.3", "jax==0.4.30", "jaxlib==0.4.30", "numpy<2")
THEIRS = ("CCA", "KSG", "InfoNCE", "MINE")
MARGIN_NATS = 0.05


def their_python(venv: Path) -> Path:
    """The interpreter of benchmark-mi's environment, made if it is not there."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *REQUIREMENTS], check=True)
    return python


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


def compare(folder: Path, task: str, truth: float, seeds: list[int], ours: str) -> dict[str, Any] | None:
    """Mean absolute errors of one task, and whether ours is within the margin of their best; None where any is missing."""
    theirs = {name: read(folder, task, seeds, name) for name in THEIRS}
    own = read(folder, task, seeds, ours)
    if not own or not all(theirs.values()):
        return None
    errors = {name: float(np.mean([abs(one["nats"] - truth) for one in runs])) for name, runs in theirs.items()}
    error = float(np.mean([abs(one["nats"] - truth) for one in own]))
    spread = math.sqrt(float(np.mean([one["standard_error_nats"] ** 2 for one in own])))
    allowed = min(errors.values()) + max(MARGIN_NATS, 2 * spread)
    return {
        "task": task,
        "truth_nats": truth,
        "seeds": len(own),
        ours: error,
        **errors,
        "allowed": allowed,
        "met": error <= allowed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--tasks", nargs="*", help="default: all 40")
    parser.add_argument("--estimator", default="mine")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    command = [str(their_python(options.venv)), str(Path(__file__).with_name("bmi_estimates.py")), str(options.folder)]
    command += ["--seeds", *map(str, options.seeds), *(["--tasks", *options.tasks] if options.tasks else [])]
    subprocess.run(command, check=True)
    truths = json.loads((options.folder / "truths.json").read_text())
    rows = []
    for task in options.tasks or truths:
        for seed in options.seeds:
            write_ours(options.folder, task, seed, options.estimator)
        row = compare(options.folder, task, truths[task], options.seeds, options.estimator)
        rows += [row] if row else []
    names = [options.estimator, *THEIRS]
    print(f"{'task (mean absolute error, nats)':46s} truth " + " ".join(f"{name:>8s}" for name in names) + "  allowed met")
    for row in rows:
        figures = " ".join(f"{row[name]:8.3f}" for name in names)
        print(f"{row['task']:46s} {row['truth_nats']:5.2f} {figures}  {row['allowed']:7.3f} {'yes' if row['met'] else 'NO'}")
    print(f"{sum(row['met'] for row in rows)} of {len(rows)} tasks within the margin of the best of theirs")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
