"""What `mine` comes to where its training multiplies matrices as a GPU's tensor cores do, against products in float64.

    python benchmarks/matmul_precision.py [--rows 4000] [--seeds 3] [--processes 2] [--out FILE]

On a CPU: every product of a training step has its factors rounded first, and its sums are in float32, as on a GPU. TF32 keeps 11
bits of a factor, rounded to the nearest or, at worst, cut off; bfloat16 keeps 8. Validation and test stay in float32. Answers are
known, and the linear critic gives none of them: a Gaussian in spirals, uniform values with uniform noise added.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from math import log
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from critic_constants import PROBLEMS
from gaussians import gaussian, image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ie_store.estimate.mutual_information import mutual_information

SPIRAL, EDGES, NOISE = "d4, 2 nats, spiral", "d2, uniform noise", 0.1
TRUTHS = {SPIRAL: PROBLEMS[SPIRAL][2], EDGES: 2 * (NOISE - log(2 * NOISE))}
"""The second: entropy of a sum of uniform values of widths 1 and 2 NOISE, less that of the noise, in each of two dimensions."""
FIRST_FACTOR = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "addmm": 1, "addmv": 1, "baddbmm": 1}


def to_nearest(values: Tensor) -> Tensor:
    """TF32, the nearest."""
    whole = values.view(torch.int32)
    return ((whole + 0xFFF + ((whole >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def cut_off(values: Tensor) -> Tensor:
    """TF32, the lower bits left out."""
    return (values.view(torch.int32) & ~0x1FFF).view(torch.float32)


ROUNDED: dict[str, Callable[[Tensor], Tensor]] = {
    "float64": lambda values: values.double(),
    "float32": lambda values: values,
    "TF32, nearest": to_nearest,
    "TF32, cut off": cut_off,
    "bfloat16": lambda values: values.bfloat16().float(),
}


class Products(TorchDispatchMode):
    """Rounds the factors of products where training asks for tensor cores."""

    def __init__(self, rounded: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._rounded, self.count = rounded, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = FIRST_FACTOR.get(func._schema.name.removeprefix("aten::"))
        if first is None or torch.backends.cuda.matmul.fp32_precision != "tf32" or args[first].dtype != torch.float32:
            return func(*args, **(kwargs or {}))
        self.count += 1
        factors = [self._rounded(each.contiguous()) for each in args[first : first + 2]]
        added = [each.to(factors[0].dtype) for each in args[:first]]
        return func(*added, *factors, *args[first + 2 :], **(kwargs or {})).float()


def pairs_of(problem: str, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """x and y (row, dimension)."""
    if problem == SPIRAL:
        size, pairs, truth, kind = PROBLEMS[problem]
        x, y = (image(kind, values) for values in gaussian(rows, size, pairs, truth, seed))
        return x, y
    uniform = torch.rand(2, rows, 2, generator=torch.Generator().manual_seed(seed))
    return uniform[0], uniform[0] + NOISE * (2 * uniform[1] - 1)


def measured(job: tuple[str, str, int, int]) -> dict[str, Any]:
    """One problem, in one arithmetic."""
    problem, arithmetic, rows, seed = job
    torch.set_num_threads(1)
    x, y = pairs_of(problem, rows, seed)
    with Products(ROUNDED[arithmetic]) as products:
        found = mutual_information(x, y, estimator="mine", seed=seed)
    return {
        "problem": problem,
        "arithmetic": arithmetic,
        "rows": rows,
        "seed": seed,
        "truth_nats": TRUTHS[problem],
        "nats": found.nats,
        "standard_error_nats": found.standard_error_nats,
        "products": products.count,
        "best_step": found.diagnostics["best_step"],
    }


def main() -> None:
    """Measure all, print a table of differences from float64, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="of one thread each")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    jobs = [(name, way, options.rows, seed) for name in TRUTHS for way in ROUNDED for seed in range(options.seeds)]
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        found = list(pool.map(measured, jobs))
    print(
        f"{'mean of the seeds, nats':34}{'truth':>7}{'float64':>9}{'+-':>7}" + "".join(f"{way:>15}" for way in list(ROUNDED)[1:])
    )
    for name in TRUTHS:
        here = [row for row in found if row["problem"] == name]
        exact = [row for row in here if row["arithmetic"] == "float64"]
        nats, error = (fmean(row[key] for row in exact) for key in ("nats", "standard_error_nats"))
        off = [fmean(row["nats"] for row in here if row["arithmetic"] == way) - nats for way in list(ROUNDED)[1:]]
        print(f"{name:34}{here[0]['truth_nats']:7.2f}{nats:9.4f}{error:7.4f}" + "".join(f"{each:+15.4f}" for each in off))
    if options.out:
        options.out.write_text(json.dumps({"torch": torch.__version__, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
