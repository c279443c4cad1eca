"""The paths of a newcomer, a researcher, an xarray person and an engineer, as the pages say them, with an installed wheel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installed import environment
from tiny_model import save_tiny_model
from walk import steps

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
MODEL = "HuggingFaceTB/SmolLM2-135M"
"""What the pages call their model: in the folder where they are walked it is a tiny one with seeded weights."""
WHERE = "import ie_store, ie_store_cli; print(ie_store.__file__, ie_store_cli.__file__)"


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280, **options)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Folder of a new environment with a wheel of the checkout."""
    return environment(tmp_path_factory)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"), "\n".join(page.read_text() for page in PAGES))


@pytest.fixture
def anywhere(installed, server):
    """The environment's variables, without a way to the checkout."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return found | {"PATH": f"{installed}/bin:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_path_can_be_walked(page, installed, model_folder, anywhere, tmp_path):
    assert run(f"{installed}/bin/python", "-c", WHERE, cwd=tmp_path, env=anywhere).count(str(installed)) == 2
    shutil.copytree(model_folder, tmp_path / MODEL)
    run(f"{installed}/bin/python", ROOT / "tests/users/walk.py", page, cwd=tmp_path, env=anywhere)
    if page.stem == "index":
        assert "smollm2/sentences" in (tmp_path / "report.html").read_text()


def test_it_is_ten_steps_from_a_clone_to_a_picture():
    found = steps(PAGES[0].read_text())
    assert found[0][1].startswith("git clone ")
    (picture,) = (number for number, (_, text) in enumerate(found, 1) if "report.html" in text)
    assert picture <= 10


def test_a_step_that_fails_is_seen(tmp_path):
    page = tmp_path / "page"
    walker = ROOT / "tests/users/walk.py"
    for block in ("```sh\nfalse\n```\n", "```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", "```yaml\na: 1\n```\n"):
        page.write_text(block)
        assert subprocess.run([sys.executable, walker, page], capture_output=True, cwd=tmp_path).returncode != 0
    page.write_text("```sh\ngit clone NOWHERE\ntouch here\n```\n")
    run(sys.executable, walker, page, cwd=tmp_path)
    assert (tmp_path / "here").exists()
