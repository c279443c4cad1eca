"""Each tuned constant of the critics at half and at double its value (or a candidate less, one more), on known answers.

    python benchmarks/critic_constants.py --list                          the constants and the values that are tried
    python benchmarks/critic_constants.py --quick --constants train.PATIENCE linear.RIDGES
    python benchmarks/critic_constants.py                                 all of them at 10,000 rows; hours

Every setting runs in a process of its own that edits the constant's line before the module is imported, so that
defaults and names imported elsewhere change with it. What stands in the results already is not run again.
"""

import argparse
import ast
import importlib.machinery
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import CodeType
from typing import Any

HEADER = f"{'constant':28s} {'value':34s} {'problem':31s} {'by':8s}  truth     nats    error      +-  outcome        seconds"
RESULTS = Path(__file__).parent / "results" / "critic_constants.json"
SHIPPED = "as shipped"
ROWS, QUICK_ROWS, TABLE_ROWS = 10_000, 4_000, 25
PROBLEMS: dict[str, tuple[int, int, float, str]] = {
    "d16, 0 nats": (16, 16, 0.0, "linear"),
    "d16, 2 nats": (16, 16, 2.0, "linear"),
    "d16, 5 nats": (16, 16, 5.0, "linear"),
    "d64, 2 nats": (64, 64, 2.0, "linear"),
    "d64, 5 nats": (64, 64, 5.0, "linear"),
    "d16, 2 nats in 2 pairs, spiral": (16, 2, 2.0, "spiral"),
    "d4, 2 nats, spiral": (4, 4, 2.0, "spiral"),
    "d512, 5 nats": (512, 512, 5.0, "linear"),
}
"""Dimensions, canonical pairs, truth in nats and image of `gaussians.gaussian`."""
TABLE = "table of 25 rows"
WIDE = "d512, 5 nats"
ALL = (*(name for name in PROBLEMS if name != WIDE), TABLE)
QUICK = ("d64, 5 nats", "d4, 2 nats, spiral", TABLE)
"""One where the linear critic decides, one where training adds half as much again to it, and one of exact sums."""
OTHER_ESTIMATORS = {"base.INFONCE_CAP": "infonce", "bounds.SMILE_CLIP": "smile"}
OTHER_PROBLEMS = {"linear.MOST_DIRECTIONS": (WIDE,)}
CONSTANTS: dict[str, tuple[Any, ...]] = {
    "base.STRENGTHS": ((1.0,), (1.0, 0.95), (1.0, 0.95, 0.8, 0.6)),
    "base.TEMPERS": ((1.0,), (1.0, 0.5, 0.25, 0.12), (1.0, 0.5, 0.25, 0.12, 0.06, 0.03, 0.015, 0.0075)),
    "base.CAP_MARGIN": (1.0, 4.0),
    "base.TABLE_CAP_MARGIN": (3.0, 12.0),
    "base.INFONCE_CAP": (20.0, 80.0),
    "base.ROWS_TO_CHOOSE": (256, 1024),
    "base.ROWS_TO_VALIDATE": (512, 2048),
    "scores.MOST_REFERENCES": (1000, 2000),
    "base.ROWS_TO_CENTRE": (2048, 8192),
    "base.BY_ROW_GAIN_NATS": (0.025, 0.1),
    "bounds.SATURATED_SHARE": (0.7, 0.925),
    "bounds.SMILE_CLIP": (2.5, 10.0),
    "linear.RIDGES": ((1e-3,), (0.1,), (1e-3, 0.1, 1.0)),
    "linear.LARGEST_CORRELATION": (0.999, 0.99999),
    "linear.MOST_DIRECTIONS": (160, 640),
    "marginals.NUM_KNOTS": (65, 257),
    "marginals.LARGEST_SCORE": (2.0, 4.0),
    "critic.ENCODER_WIDTH": (128, 512),
    "critic.RANK": (32, 128),
    "critic.LARGEST_RESIDUAL": (2.0, 8.0),
    "critic.GAIN_SPEED": (5.0, 20.0),
    "train.CHECK_EVERY": (25, 100),
    "train.PATIENCE": (2, 8),
    "train.WARM_UP_STEPS": (10, 40),
    "train.AVERAGING": (0.96, 0.99),
    "train.AVERAGE_OVER": (0.8, 0.95),
    "train.WEIGHT_DECAY": (5e-3, 2e-2),
    "train.LEAST_RISE": (0.001, 0.004),
    "train.RISING_NATS": (0.01, 0.04),
    "pairs.STEPS_SHARE": (4, 16),
    "pairs.NEGATIVES_IN_TRAINING": (2, 4),
    "pairs.NEGATIVES_IN_TEST": (4, 16),
    "pairs.SLOWER": (1.5, 6.0),
    "pairs.PATIENCE": (1, 4),
    "pairs.VALIDATION_ROWS": (500, 2000),
    "options.steps": (1000, 4000),
    "options.batch_size": (256, 1024),
    "options.learning_rate": (1.5e-3, 6e-3),
}
"""By module; ``options`` are those of the trained estimators."""
MODULES = {
    "base": "ie_store.estimate.critics.baseline",
    "bounds": "ie_store.estimate.critics.bounds",
    "critic": "ie_store.estimate.critics.networks",
    "linear": "ie_store.estimate.critics.canonical_correlations",
    "marginals": "ie_store.estimate.critics.gaussianize",
    "scores": "ie_store.estimate.critics.scores",
    "pairs": "ie_store.estimate.critics.residual",
    "train": "ie_store.estimate.critics.train",
}


class Edited(importlib.machinery.SourceFileLoader):
    """Loads a module with another value for one of its constants."""

    def __init__(self, fullname: str, path: str, name: str, value: Any) -> None:
        super().__init__(fullname, path)
        self._name, self._value = name, value

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(Path(self.path).read_text())
        lines = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == self._name]
        if len(lines) != 1:
            raise SystemExit(f"{self.path} has no line of its own for {self._name}: mend the table of this script")
        lines[0].value = ast.parse(repr(self._value), mode="eval").body
        return compile(ast.fix_missing_locations(tree), self.path, "exec")


class Finder:
    """Finds the one module that is edited."""

    def __init__(self, constant: str, value: Any) -> None:
        module, self._name = constant.split(".")
        self._fullname, self._value = MODULES[module], value

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._fullname:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = Edited(fullname, spec.origin, self._name, self._value)
        return spec


def measured(job: tuple[str, Any, str, str, int, int]) -> dict[str, Any]:
    """One setting on one problem, in a fresh process."""
    constant, value, problem, estimator, rows, seed = job
    if constant != SHIPPED and not constant.startswith("options."):
        sys.meta_path.insert(0, Finder(constant, value))
    import torch
    from gaussians import gaussian, image

    from ie_store.estimate.mutual_information import mutual_information

    torch.set_num_threads(1)
    options = {constant.split(".")[1]: value} if constant.startswith("options.") else {}
    if problem == TABLE:
        generator = torch.Generator().manual_seed(seed)
        p = torch.rand(TABLE_ROWS, generator=generator, dtype=torch.float64) + 0.05
        p = p / p.sum()
        truth = -float(p @ p.log())
        x, y = (torch.randn(TABLE_ROWS, 16, generator=generator) for _ in range(2))
        options["weights"] = p.numpy()
    else:
        size, pairs, truth, kind = PROBLEMS[problem]
        x, y = (image(kind, values) for values in gaussian(rows, size, pairs, truth, seed))
    started = time.perf_counter()
    found = mutual_information(x, y, estimator=estimator, seed=seed, **options)
    return {
        "constant": constant,
        "value": value,
        "problem": problem,
        "estimator": estimator,
        "rows": rows,
        "seed": seed,
        "truth_nats": truth,
        "nats": found.diagnostics.get("raw_nats", found.nats),
        "standard_error_nats": found.standard_error_nats,
        "outcome": str(found.outcome),
        "steps": found.diagnostics.get("steps"),
        "seconds": time.perf_counter() - started,
    }


def jobs_of(constants: list[str], quick: bool, seeds: int) -> list[tuple[str, Any, str, str, int, int]]:
    """Every setting asked for, each estimator as it is shipped first."""
    jobs = []
    for constant in constants:
        estimator = OTHER_ESTIMATORS.get(constant, "mine")
        problems = OTHER_PROBLEMS.get(constant, QUICK if quick else ALL)
        settings = [(SHIPPED, None), *((constant, value) for value in CONSTANTS[constant])]
        rows = QUICK_ROWS if quick else ROWS
        jobs += [
            (*set_to, problem, estimator, rows, seed) for set_to in settings for problem in problems for seed in range(seeds)
        ]
    return list({json.dumps(job): job for job in jobs}.values())


def shown(row: dict[str, Any]) -> str:
    value = "" if row["value"] is None else json.dumps(row["value"])
    error = row["nats"] - row["truth_nats"]
    return (
        f"{row['constant']:28s} {value:34.34s} {row['problem']:31s} {row['estimator']:8s}{row['truth_nats']:7.3f}"
        f"{row['nats']:9.3f}{error:+9.3f}{row['standard_error_nats']:8.3f}  {row['outcome']:14s}{row['seconds']:8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--constants", nargs="+", choices=list(CONSTANTS), default=list(CONSTANTS), metavar="MODULE.NAME")
    parser.add_argument("--list", action="store_true", help="print the constants and the values that are tried")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows and {len(QUICK)} problems")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="of one thread each")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results, kept and added to")
    options = parser.parse_args()
    if options.list:
        for name in options.constants:
            print(f"{name:28s} {', '.join(map(json.dumps, CONSTANTS[name]))}")
        return
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    fields = ("constant", "value", "problem", "estimator", "rows", "seed")
    done = {json.dumps([row[name] for name in fields]): row for row in rows}
    jobs = jobs_of(options.constants, options.quick, options.seeds)
    print(HEADER)
    for job in jobs:
        if (key := json.dumps(job)) in done:
            print(shown(done[key]))
    left = [job for job in jobs if json.dumps(job) not in done]
    with ProcessPoolExecutor(options.processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        for row in pool.map(measured, left):
            print(shown(row), flush=True)
            rows.append(row)
            options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
