"""An independent reading of noise-resolved information: float64, differences of all pairs, nothing shared between draws."""

import numpy as np


def standardised(rows, weights, scale="std"):
    rows, p = np.asarray(rows, np.float64), np.asarray(weights, np.float64) / np.sum(weights)
    mean = p @ rows
    variance = p @ (rows - mean) ** 2
    rows, variance = rows[:, variance > 0], variance[variance > 0]
    return (rows - mean[: rows.shape[1]]) / (np.sqrt(variance) if scale == "std" else np.sqrt(variance.mean())), p


def entropy(p):
    p = p[p > 0]
    return float(-p @ np.log(p))


def posteriors(rows, weights, sigma, rng, draws, scale="std"):
    """Posterior (draw, outcome) of each of ``draws`` noisy states."""
    z, p = standardised(rows, weights, scale)
    noisy = z[rng.choice(len(p), size=draws, p=p)] + sigma * rng.standard_normal((draws, z.shape[1]))
    found = np.empty((draws, len(p)))
    for start in range(0, draws, 2000):
        part = noisy[start : start + 2000]
        scores = np.log(p) - ((part[:, None, :] - z[None]) ** 2).sum(-1) / (2 * sigma**2)
        scores = np.exp(scores - scores.max(1, keepdims=True))
        found[start : start + 2000] = scores / scores.sum(1, keepdims=True)
    return found


def information(rows, weights, sigma, rng, draws, scale="std"):
    """I(S; Y) and its standard error, by plain sampling."""
    p = np.asarray(weights, np.float64) / np.sum(weights)
    q = posteriors(rows, weights, sigma, rng, draws, scale)
    left = -np.sum(q * np.log(np.maximum(q, 1e-300)), axis=1)
    return entropy(p) - left.mean(), left.std() / np.sqrt(draws)


def quadrature(rows, weights, sigma, scale="std"):
    """I(S; Y) of rows of one dimension, by the entropy of the mixture on a fine grid."""
    z, p = standardised(rows, weights, scale)
    points = np.linspace(z.min() - 12 * sigma, z.max() + 12 * sigma, 400_001)
    density = sum(w * np.exp(-((points - c) ** 2) / (2 * sigma**2)) for w, c in zip(p, z[:, 0], strict=True))
    density = np.maximum(density / (np.sqrt(2 * np.pi) * sigma), 1e-300)
    return float(np.trapezoid(-density * np.log(density), points) - 0.5 * np.log(2 * np.pi * np.e * sigma**2))


def pairwise_bounds(rows, weights, sigma, scale="std"):
    """The bounds of Kolchinsky and Tracey (2017, eq. 10) with the Chernoff-1/2 and the Kullback-Leibler distance."""
    z, p = standardised(rows, weights, scale)
    squared = ((z[:, None, :] - z[None, :, :]) ** 2).sum(-1)
    return tuple(-p @ np.log(np.exp(-squared / (k * sigma**2)) @ p) for k in (8, 2))
