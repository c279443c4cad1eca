"""The package as it is installed: a wheel built from the checkout, in a folder where nothing else of ours stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from installed import environment, packages

CODE = """
import sys, numpy as np, ie_store, ie_store_cli.main
assert ie_store.__file__.startswith(sys.argv[1]), ie_store.__file__
x = np.random.default_rng(0).standard_normal((400, 2))
print(ie_store.mutual_information(x, x + 0.5 * x[:, ::-1] ** 2 + 1, estimator="cca").outcome)
from importlib import import_module
from importlib.resources import files
assert all(files("ie_store.report").joinpath(name).is_file() for name in ("page.css", "page.js"))
for path in sorted(__import__("pathlib").Path(sys.argv[1]).rglob("*.py")):
    import_module(".".join(path.relative_to(sys.argv[1]).with_suffix("").parts))
"""


USER = """
import numpy as np
import ie_store

tree = ie_store.open_store("STORE")
reveal_type(tree)
dataset = ie_store.open_store("STORE", "model/corpus", dtype="stored")
reveal_type(dataset)
report = ie_store.extract("STORE", model="m", corpus="icl:country?names=10", dtype="bfloat16", num_sequences=None)
reveal_type(report.num_rows)
found = ie_store.estimate("STORE", report.name, estimators=["decode", ie_store.estimator_spec("noise", sigma=2.0)])
reveal_type(found[0].ie_nats)
reveal_type(ie_store.mutual_information(np.zeros((60, 2)), np.zeros((60, 2))).interval_nats)
spectra = ie_store.profile("STORE", report.name, profiles="spectrum")["spectrum"]
"""
REVEALED = ["DataTree", "Dataset", "int", "float", "tuple[float, float]"]
"""Types that mypy must see, line by line of `USER`."""
WRONG = {
    'ie_store.extract("STORE", model="m", corpus="c", dtype="int8")': "arg-type",
    'ie_store.estimate("STORE", "m/c", estimator="mine")': "call-arg",
    'ie_store.open_stroe("STORE")': "attr-defined",
}
"""What mypy must refuse, and for what."""
CONFIGURATION = """
[mypy]
strict = true
[mypy-torch.*,transformers.*,altair.*,dask.*,distributed.*,zarr.*,pandas.*,rich.*,typer.*]
follow_imports = skip
"""
"""Packages in which no type of the calls stands are left out, which takes a third of the time."""


def python(folder: Path, *arguments: object, **environment: str) -> str:
    """What a fresh Python prints that runs in ``folder``."""
    run = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True, text=True, timeout=280, cwd=folder, env=os.environ | environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A new environment with a wheel of the checkout."""
    return environment(tmp_path_factory)


@pytest.mark.slow
def test_a_wheel_holds_the_whole_package(installed, tmp_path):
    folder = packages(installed)
    assert (folder / "ie_store/py.typed").exists()
    assert python(tmp_path, "-c", CODE, folder, PYTHONPATH=str(folder)).split()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_wheel_is_typed_from_outside(installed, tmp_path):
    """As for a user: the package lies where an environment's packages lie, and their own faults are none of the user's."""
    (tmp_path / "mypy.ini").write_text(CONFIGURATION)
    (tmp_path / "right.py").write_text(USER)
    (tmp_path / "wrong.py").write_text("import ie_store\n" + "\n".join(WRONG))
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", installed / "bin/python", "right.py", "wrong.py"],
        capture_output=True, text=True, timeout=880, cwd=tmp_path, env=os.environ | {"PYTHONPATH": "", "MYPYPATH": ""},
    )  # fmt: skip
    revealed = re.findall(r'right\.py:\d+: note: Revealed type is "(.*)"', run.stdout)
    assert [re.sub(r"builtins\.|xarray[\w.]*\.", "", found) for found in revealed] == REVEALED, run.stdout
    errors = re.findall(r"^(\S+): error: .*\[([\w-]+)\]$", run.stdout, re.MULTILINE)
    assert errors == [(f"wrong.py:{line}", code) for line, code in enumerate(WRONG.values(), start=2)], run.stdout
