"""How often the intervals of `noise` hold, against quadrature or an independent float64 sampler, stopping included.

    python benchmarks/noise_coverage.py --trials 200 --draws 1000000 --out benchmarks/results/noise_coverage.json

Every trial is a problem of its own: 2 to 60 outcomes in 1 to 12 dimensions, of random weights and spread, under random noise.
Of up to 4 outcomes in one dimension the truth is a quadrature; else the mean of ``draws`` posterior entropies, whose own error,
three standard errors of it, is granted. The value has to lie between the pairwise bounds of Kolchinsky and Tracey (2017).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "estimate"))
from known_posterior import information, pairwise_bounds, quadrature

from ie_store.estimate.estimators.noise_curve import noise_curve
from ie_store.estimator_options import NoiseOptions

TOLERANCES = (0.02, 0.03, 0.05, 0.1)


def trial(number: int, draws: int) -> dict[str, Any]:
    """One problem: its truth, the value found, and whether the interval holds."""
    rng = np.random.default_rng(number)
    small = number % 4 == 0
    num_rows, columns = (int(rng.integers(2, 5)), 1) if small else (int(rng.integers(2, 61)), int(rng.integers(1, 13)))
    rows = rng.standard_normal((num_rows, columns)) * rng.uniform(0.1, 3, (num_rows, 1))
    weights, sigma = rng.integers(1, 6, num_rows), float(rng.uniform(0.3, 4))
    truth, error = (quadrature(rows, weights, sigma), 0.0) if small else information(rows, weights, sigma, rng, draws)
    options = NoiseOptions(sigmas=(sigma,), sigma=sigma, tolerance=float(rng.choice(TOLERANCES)), seed=number)
    curve = noise_curve(torch.from_numpy(rows), weights, options)
    value, low, high = (float(found[0]) for found in (curve.left.nats, curve.left.low, curve.left.high))
    lower, upper = pairwise_bounds(rows, weights, sigma)
    slack = 3 * float(curve.left.standard_error[0]) + 1e-5
    return {
        "rows": num_rows,
        "columns": columns,
        "sigma": sigma,
        "draws": curve.num_draws,
        "truth_nats": truth,
        "truth_se_nats": error,
        "nats": value,
        "interval_nats": [low, high],
        "covers": bool(low - 3 * error <= truth <= high + 3 * error),
        "between": bool(lower - slack <= value <= upper + slack),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--out")
    options = parser.parse_args()
    found = [trial(number, options.draws) for number in range(options.trials)]
    summary = {
        "trials": len(found),
        "covers": sum(one["covers"] for one in found),
        "between": sum(one["between"] for one in found),
        "largest_error_in_half_widths": max(
            abs(one["nats"] - one["truth_nats"]) / max(1e-9, (one["interval_nats"][1] - one["interval_nats"][0]) / 2)
            for one in found
        ),
    }
    print(json.dumps(summary, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(summary | {"each": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
