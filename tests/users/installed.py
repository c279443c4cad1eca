"""A new environment with a wheel of the checkout, made once for all processes of a test run.

Torch and the other large packages are those of the environment that tests run in, which a line of its ``.pth`` file adds behind,
so that it takes seconds. The checkout is not in it.
"""

import fcntl
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "installed"
    with (shared / "installed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            _install(folder)
            (folder / "done").touch()
    return folder / "environment"


def packages(environment: Path) -> Path:
    """Where an environment has its packages: ours alone."""
    (found,) = (environment / "lib").glob("*/site-packages")
    return found


def _install(folder: Path) -> None:
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("ie_store", "cli"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    options = ("--quiet", "--no-deps", "--no-index")
    _run(*pip, "wheel", *options, "--no-build-isolation", "-w", folder / "wheels", source)
    venv.create(folder / "environment", symlinks=True)
    (wheel,) = (folder / "wheels").iterdir()
    _run(*pip, "--python", folder / "environment/bin/python", "install", *options, wheel)
    (packages(folder / "environment") / "large_packages.pth").write_text("\n".join(site.getsitepackages()))


def _run(*command: object) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
