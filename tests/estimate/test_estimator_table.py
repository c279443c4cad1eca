"""The table of estimators is the one place that lists them: what a row promises holds, and a row plus a file is a new one."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from known_store import NAME, random_tokens, write_store

from ie_store.errors import InputError
from ie_store.estimate.critics.bounds import Bound
from ie_store.estimator_options import NoiseOptions, TrainedOptions
from ie_store.estimators import ESTIMATORS, NAMES, EstimatorSpec, estimator_spec, resolve

ROOT = Path(__file__).parents[2]
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

NEW_FILE = '''
"""Half of what there is to know."""

from dataclasses import replace

from ie_store.specs import MIEstimate, Outcome


def measure(spec, states, problems, on_progress):
    from ie_store.estimate.batch_states import ceilings_at

    return [_half(spec, ceilings_at(states.corpus, problem)[0]) for problem in problems]


def of_arrays(spec, pair, on_progress):
    return _half(spec, float(len(pair.classes.x)))


def _half(spec, nats):
    return replace(MIEstimate.exactly(spec.name, nats), nats=nats * spec.options.share, outcome=Outcome.CONVERGED)
'''
NEW_OPTIONS = '''
@dataclass(frozen=True, kw_only=True)
class HalfOptions:
    """A share."""

    share: float = described(0.5, "the share that is told")


'''
NEW_ROW = """    Estimator(
        name="half", version=1, summary="a share of the exact value", options=HalfOptions, guarantee="lower bound",
        trained=False, needs_states=True, measure=f"{_ROOM}.half:measure", measure_arrays=f"{_ROOM}.half:of_arrays",
        belief="it is what it says",
    ),
"""


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
    """From the command line, as a function and in `check`, in a copy of the package with one new file and one changed one."""
    for source, target in (("ie_store", "ie_store"), ("cli", "ie_store_cli")):
        shutil.copytree(ROOT / source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "ie_store/estimate/estimators/half.py").write_text(NEW_FILE)
    table = tmp_path / "ie_store/estimators.py"
    head = "@dataclass(frozen=True, kw_only=True)\nclass Estimator:"
    text = table.read_text().replace(head, NEW_OPTIONS + head)
    table.write_text(text.replace('\n)\n"""Every estimator', f'\n{NEW_ROW})\n"""Every estimator'))
    store, name = write_store(tmp_path / "store", random_tokens(80)), NAME

    def python(code: str, *arguments: str) -> str:
        run = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True, text=True, timeout=120, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        return run.stdout

    def ie_store(*arguments: str) -> str:
        return python("from ie_store_cli.main import main; main()", *arguments)

    assert "--share" in ie_store("estimate", "--help")
    shown = json.loads(ie_store("estimate", store, name, "--estimator", "half", "--share", "0.25", "--json"))["estimates"]
    halves = [entry for entry in shown if entry["estimator"] == "half"]
    assert halves
    assert all(entry["macro_nats"] == pytest.approx(entry["macro_ceiling_nats"] / 4) for entry in halves)
    assert "it is what it says" in ie_store("check", store, name, "--estimator", "half")
    pairs = "x = np.random.randn(60, 2); y = x[::-1].copy()"
    assert (
        python(f"import numpy as np, ie_store; {pairs}; print(ie_store.mutual_information(x, y, estimator='half').nats)")
        == "30.0\n"
    )
