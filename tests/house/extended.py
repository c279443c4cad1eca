"""The worked examples of docs/architecture.md, carried out in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
PAGE = ROOT / "docs/architecture.md"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EDIT = re.compile(r"^--- (\S+)\n((?:(?!--- ).*\n)*)", re.MULTILINE)


class Extended:
    """A copy of the package with the examples of some sections of the page added."""

    def __init__(self, folder: Path, *sections: str) -> None:
        self.folder, self.touched = folder, []
        for source, target in (("ie_store", "ie_store"), ("cli", "ie_store_cli")):
            shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
        for section in sections:
            self._add(section)

    def _add(self, section: str) -> None:
        for language, block in _FENCE.findall(text_of(section)):
            if language == "python":
                name = re.match(r"# (\S+)", block)[1]
                assert not self._path(name).exists(), f"{name} is there already"
                self._write(name, block.partition("\n")[2])
            if language == "diff":
                for name, lines in _EDIT.findall(block):
                    self._edit(name, lines.splitlines())

    def _path(self, name: str) -> Path:
        return self.folder / re.sub("^cli/", "ie_store_cli/", name)

    def _write(self, name: str, text: str) -> None:
        self._path(name).write_text(text)
        self.touched.append(name)

    def _edit(self, name: str, lines: list[str]) -> None:
        text = self._path(name).read_text()
        before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(before) == 1, f"{name} does not have, or has several times:\n{before}"
        self._write(name, text.replace(before, after))

    def python(self, *arguments: str) -> str:
        """What a fresh Python prints that sees the copy alone."""
        run = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True, text=True, timeout=240, cwd=self.folder, env=os.environ | {"PYTHONPATH": str(self.folder)},
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        return run.stdout

    def ie_store(self, *arguments: str) -> str:
        """What the command of the copy prints."""
        return self.python("-c", "from ie_store_cli.main import main; main()", *map(str, arguments))


def text_of(section: str) -> str:
    """The page below a heading, up to the next."""
    found = re.search(
        rf"^#+ {section}\n(.*?)(?=^#|\Z)", re.sub(r"^# (?=\S+\.py)", "\0 ", PAGE.read_text(), flags=re.M), re.M | re.S
    )
    assert found, f"{PAGE.name} has no heading {section!r}"
    return found[1].replace("\0 ", "# ")
