"""Carry out a page's examples from top to bottom, as its reader would: ``python walk.py PAGE``.

Shell lines go to bash one by one, Python blocks share one session. Lines that make the environment are left out: this runs in it.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENVIRONMENT = re.compile(r"git clone |cd |python3 -m venv |source |pip install ")


def steps(text: str) -> list[tuple[str, str]]:
    """What a reader of the page does: (``sh``, a line) or (``python``, a block), in order."""
    found = []
    for language, block in FENCE.findall(text):
        if language == "sh":
            found += [("sh", line) for line in block.replace("\\\n", " ").splitlines() if shlex.split(line, comments=True)]
        elif language == "python":
            found.append(("python", block))
        elif language != "text":
            raise SystemExit(f"a block of {language or 'no language'}, which nothing runs")
    return found


def walk(page: Path) -> None:
    """Carry out all steps in the working folder; the first that fails ends it."""
    names = {"__name__": "__main__"}
    for kind, text in steps(page.read_text()):
        print(">>>", text, flush=True)
        if kind == "python":
            exec(compile(text, page.name, "exec"), names)
        elif not ENVIRONMENT.match(text):
            subprocess.run(["bash", "-c", text], check=True)


if __name__ == "__main__":
    walk(Path(sys.argv[1]))
