"""The package as it is installed: a wheel built from the checkout, in a folder where nothing else of ours stands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import sys, numpy as np, ie_store, ie_store_cli.main
assert ie_store.__file__.startswith(sys.argv[1]), ie_store.__file__
x = np.random.default_rng(0).standard_normal((400, 2))
print(ie_store.mutual_information(x, x + 0.5 * x[:, ::-1] ** 2 + 1, estimator="cca").outcome)
from importlib import import_module
for path in sorted(__import__("pathlib").Path(sys.argv[1]).rglob("*.py")):
    import_module(".".join(path.relative_to(sys.argv[1]).with_suffix("").parts))
"""


@pytest.mark.slow
def test_a_wheel_holds_the_whole_package(tmp_path):
    source, target = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("ie_store", "cli"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))

    def python(*arguments: object, **environment: str) -> str:
        run = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True, text=True, timeout=240, cwd=tmp_path, env=os.environ | environment,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    python("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path / "wheels", source)
    (wheel,) = (tmp_path / "wheels").iterdir()
    python("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel)
    assert (target / "ie_store/py.typed").exists()
    assert python("-c", CODE, target, PYTHONPATH=str(target)).split()
