"""The notebooks run from top to bottom, and what is committed is such a run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """What a cell shows: a text or table, a picture, a result, in order."""
    return [(output.output_type, sorted(output.get("data", ()))) for output in cell.outputs]


def test_there_are_four():
    assert [path.stem[0] for path in NOTEBOOKS] == ["1", "2", "3", "4"]


@EACH
def test_what_is_committed_is_a_whole_run(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    shown = [output for cell in code(notebook) for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error" or output.get("name") == "stderr"]
    assert not re.search(r"/(?:home|tmp|root|work|Users|usr)/", path.read_text())
    assert path.stat().st_size < 400_000


@pytest.mark.slow
@pytest.mark.timeout(600)
@EACH
def test_a_new_run_shows_the_same(path, tmp_path):
    command = [sys.executable, FOLDER / "execute.py", tmp_path, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-6000:]
    committed, new = (nbformat.read(folder / path.name, as_version=4) for folder in (FOLDER, tmp_path))
    assert [cell.source for cell in committed.cells] == [cell.source for cell in new.cells]
    assert [kinds(cell) for cell in code(committed)] == [kinds(cell) for cell in code(new)]
