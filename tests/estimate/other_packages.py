"""What DADApy and scikit-dimension make of seeded rows; their answers stand in ``other_packages.json``.

Neither is a dependency: they bring others that our own would have to agree with. Made once, in an environment of its own::

    python -m venv V; V/bin/pip install dadapy scikit-dimension; V/bin/python tests/estimate/other_packages.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

ANSWERS = Path(__file__).with_suffix(".json")
NAMES = ("cube2", "cube5", "cube10", "swiss", "gauss20")


def known_rows(name):
    """(row, dimension) 2,000 seeded rows."""
    generator = np.random.default_rng(7)
    if name.startswith("cube"):
        return generator.random((2000, int(name[4:])))
    if name == "gauss20":
        return generator.standard_normal((2000, 20)) * np.arange(1, 21)
    turn, width, noise = generator.random(2000) * 9 + 4, generator.random(2000) * 20, generator.standard_normal((2000, 3)) / 3
    return np.stack([turn * np.cos(turn), width, turn * np.sin(turn)], axis=1) + noise


def next_rows(name):
    """(row, dimension) the same rows as a layer behind might have them."""
    rows = known_rows(name)
    return np.tanh(rows / rows.std()) + np.random.default_rng(8).standard_normal(rows.shape) / 20


def main():
    import skdim
    from dadapy import Data, MetricComparisons

    found = {"versions": {package: version(package) for package in ("dadapy", "scikit-dimension", "numpy")}}
    for name in NAMES:
        rows, behind = known_rows(name), next_rows(name)
        data = Data(coordinates=rows, maxk=100)
        dimensions, errors, _ = data.return_id_scaling_gride(range_max=64)
        compared = MetricComparisons(coordinates=rows, maxk=len(rows) - 1)
        forward, backward = compared.return_information_imbalace(behind, k=1, subset_size=len(rows))
        found[name] = {
            "two_nn": float(skdim.id.TwoNN(discard_fraction=0.1, method="mle").fit(rows).dimension_),
            "two_nn_uncensored": float(data.compute_id_2NN(algorithm="ml", mu_fraction=1.0)[0]),
            "gride": dimensions.tolist(),
            "gride_error": errors.tolist(),
            "overlap": float(compared.return_data_overlap(behind, k=30)),
            "imbalance_forward": float(forward[0]),
            "imbalance_backward": float(backward[0]),
        }
    ANSWERS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
