"""The table of estimators is the one place that lists them: what a row promises holds, and a row plus a file is a new one."""

import ast
import json
from pathlib import Path
from typing import get_args

import pytest
from extended import Extended
from known_store import NAME, random_tokens, write_store

from ie_store.errors import InputError
from ie_store.estimate.critics.bounds import Bound
from ie_store.estimator_options import NoiseOptions, TrainedOptions
from ie_store.estimators import ESTIMATORS, NAMES, EstimatorSpec, estimator_spec, resolve
from ie_store.specs import digest

ROOT = Path(__file__).parents[3]
MAY_NAME = (
    "ie_store/estimators.py",
    "ie_store/estimate/estimators/",
    "ie_store/estimate/critics/",
    "ie_store/estimate/ba",
    "ie_store/estimate/bo",
    "ie_store/estimate/e",
)
"""The table, the methods themselves, and what a critic is trained for."""
TELLING = sorted(set(NAMES) - {"exact", "noise"})
"""Names that mean an estimator wherever they stand; the others are words of their own too."""


@pytest.mark.parametrize("row", ESTIMATORS, ids=lambda row: row.name)
def test_every_function_that_a_row_names_is_there(row):
    places = [row.measure, row.measure_arrays, row.run_fold, row.require_consent]
    assert all(callable(resolve(place)) for place in places if place is not None)
    assert row.version >= 1
    assert (row.run_fold is None) == ("cross_fit" not in row.measure)


def test_every_bound_is_a_row_with_its_own_fold_runner():
    runners = {row.run_fold for row in ESTIMATORS if row.name in get_args(Bound)}
    assert set(get_args(Bound)) <= set(NAMES)
    assert len(runners) == len(get_args(Bound))


def test_a_name_without_a_row_and_foreign_options_are_refused():
    with pytest.raises(InputError, match="did you mean 'mine'"):
        estimator_spec("mien")
    with pytest.raises(InputError, match="takes NoiseOptions, not TrainedOptions"):
        EstimatorSpec(options=TrainedOptions(), name="noise")
    assert EstimatorSpec(options=NoiseOptions(sigma=2.0), name="noise") == estimator_spec("noise", sigma=2.0)


def test_no_other_file_names_an_estimator():
    found = []
    for path in [*(ROOT / "ie_store").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]:
        place = str(path.relative_to(ROOT))
        if not place.startswith(MAY_NAME):
            constants = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
            found += [f"{place}:{node.lineno}: {node.value}" for node in constants if node.value in TELLING]
    assert found == []


@pytest.mark.slow
def test_a_file_and_a_row_make_an_estimator(tmp_path):
    """The example of docs/architecture.md: from the command line, as a function and in `check`."""
    made, store = Extended(tmp_path / "copy", "An estimator"), write_store(tmp_path / "store", random_tokens(80))
    assert set(made.touched) == {
        f"ie_store/{name}.py" for name in ("estimate/estimators/half", "estimator_options", "estimators")
    }
    assert "--share" in made.ie_store("estimate", "--help")
    shown = made.ie_store("estimate", store, NAME, "--estimator", "half", "--share", "0.25", "--json")
    halves = [entry for entry in json.loads(shown)["estimates"] if entry["estimator"] == "half"]
    assert halves
    assert all(entry["macro_nats"] == pytest.approx(entry["macro_ceiling_nats"] / 4) for entry in halves)
    assert "it is what it says" in made.ie_store("check", store, NAME, "--estimator", "half")
    pairs = "x = np.random.randn(60, 2); y = x[::-1].copy()"
    code = f"import numpy as np, ie_store; {pairs}; print(ie_store.mutual_information(x, y, estimator='half').nats)"
    assert made.python("-c", code) == "30.0\n"


@pytest.mark.parametrize("given", [{"sigma": 4}, {"sigmas": [0.5, 1, 2, 4, 8, 16]}, {"tolerance": 0, "map_sigmas": []}])
def test_equal_options_have_one_digest_whatever_numbers_they_were_given_as(given):
    found, default = estimator_spec("noise", **given), estimator_spec("noise")
    assert (found, hash(found), digest(found.identity)) == (default, hash(default), digest(default.identity))
