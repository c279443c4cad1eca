"""The documentation site builds without a warning, asks no other server for anything, and names what there is.

`tests/users` carries out the examples of its pages.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ie_store.plot

ROOT = Path(__file__).parents[2]
CALLS = [name for name in dir(ie_store) if name != "plot"]  # whose pictures are listed one by one


def test_the_reference_names_exactly_what_is_public():
    text = (ROOT / "docs" / "reference.md").read_text()
    listed = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    pictures = [path for path in listed if path.startswith("ie_store.plot.")]
    assert sorted(path.rpartition(".")[2] for path in pictures) == sorted(ie_store.plot.__all__)
    others = [path.rpartition(".")[2] for path in listed if path not in pictures]
    assert sorted(others) == sorted([*CALLS, "IeAccessor"])


def build(top, out):
    """Build the site of the checkout or copy at ``top``; strict is blind to warnings that ``--quiet`` keeps back."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", top / "mkdocs.yml", "--site-dir", out]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    built = build(ROOT, tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    reference = (tmp_path / "reference" / "index.html").read_text()
    missing = [name for name in CALLS if not re.search(rf'id="[\w.]*\b{name}"', reference)]
    assert not missing
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link rel="stylesheet")[^>]* (?:src|href)="(https?://[^"]+)', page.read_text())
        assert not loaded, page.name


@pytest.mark.slow
def test_a_link_that_leads_nowhere_is_seen(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", "ie_store"):
        (tmp_path / name).symlink_to(ROOT / name)
    with (tmp_path / "docs" / "glossary.md").open("a") as page:
        page.write("[x](science.md#no-such-heading)\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    assert "no-such-heading" in built.stdout + built.stderr
