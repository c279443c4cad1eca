"""Execute notebooks and write them with their output: ``python notebooks/execute.py OUT notebooks/*.ipynb``."""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of a bar that no output shows


def execute(path: Path, out: Path) -> None:
    """Run all cells of ``path`` in a new kernel, with its folder as the working folder, and write the result into ``out``."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, out / path.name)


if __name__ == "__main__":
    for given in sys.argv[2:]:
        execute(Path(given).resolve(), Path(sys.argv[1]))
