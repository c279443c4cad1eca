"""Noise levels that a tile of outcomes cannot touch are left out, and nothing else."""

import numpy as np
import torch
from numpy.typing import NDArray

from ie_store.estimate.estimators.noise_outcomes import Outcomes, make_outcomes
from ie_store.estimate.estimators.posterior import posterior_entropies

SIGMAS = (0.25, 1.0, 4.0, 16.0)


def test_entropies_of_far_clusters_are_those_of_all_pairs() -> None:
    """Clusters of many tiles, so far apart that at the lowest levels only a draw's own tile counts; float64 by hand."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(6, 24)) * 6, 100, axis=0)
    rows = (centres + rng.normal(size=centres.shape)).astype(np.float32)
    weights = rng.dirichlet(np.ones(len(rows)))
    outcomes = make_outcomes(torch.from_numpy(rows), torch.arange(24), weights, "rms")
    drawn = np.sort(rng.choice(len(rows), 40, p=weights))
    found = posterior_entropies(outcomes, drawn, SIGMAS, (), torch.Generator().manual_seed(3), lambda done: None)
    noise = torch.randn((40, 24), generator=torch.Generator().manual_seed(3)).double().numpy()
    states = rows.astype(np.float64) / unit_of(rows, outcomes)
    for level, sigma in enumerate(SIGMAS):
        y = states[drawn] + sigma * noise
        log_p = np.log(weights) - ((y[:, None] - states[None]) ** 2).sum(-1) / (2 * sigma**2)
        log_p -= np.logaddexp.reduce(log_p, axis=1, keepdims=True)
        np.testing.assert_allclose(found[:, level], -(np.exp(log_p) * log_p).sum(1), atol=2e-4)


def unit_of(rows: NDArray[np.float32], outcomes: Outcomes) -> float:
    """Units of the noise, from the distance of two rows before and after."""
    kept = outcomes.tile(slice(0, 2), torch.float64)[:, :-2]
    return float(np.linalg.norm(rows[0] - rows[1]) / (kept[0] - kept[1]).norm())
