"""The rooms of the house, enforced over every import statement: at the top, inside functions, and type-only ones."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUND = (
    "errors", "estimator_options", "estimators", "fields", "fingerprint", "grid", "levels", "options", "prefixes", "printable",
    "profile_options", "profiles", "provenance", "specs", "texts", "variables",
)  # fmt: skip
DOOR = ("calls",)
"""Modules that stand in the door beside ie_store/__init__.py: what users import and call."""
MAY_IMPORT = {
    "ground": {"ground"},
    "store": {"ground", "store"},
    "corpus": {"ground", "corpus"},
    "cluster": {"ground", "cluster"},
    "extract": {"ground", "store", "corpus", "cluster", "extract"},
    "estimate": {"ground", "store", "cluster", "estimate"},
    "access": {"ground", "store", "access"},
    "plot": {"ground", "store", "plot"},
    "report": {"ground", "store", "plot", "report"},
    "door": {"ground", "store", "extract", "estimate", "access", "plot", "door"},
    "cli": {"ground", "store", "corpus", "extract", "estimate", "report", "door", "cli"},
}
"""Rooms that a room may import from."""
INSIDE: dict[str, tuple[str, ...]] = {
    "store.files": (),
    "store.format": ("store.files",),
    "store.dataset": ("store.files", "store.format"),
    "store.results": ("store.files", "store.format", "store.dataset"),
    "extract.model": (),
    "extract.forward": ("extract.model",),
    "estimate.exact": ("store",),
    "estimate.critics": ("estimate.exact", "estimate.device", "estimate.stored_rows", "estimate.exponentials"),
    "estimate.profiles": ("store", "estimate.exact", "estimate.read", "estimate.stored_rows"),
    "estimate.estimators": (
        "store",
        "estimate.exact",
        "estimate.critics",
        "estimate.array_input",
        "estimate.batch_states",
        "estimate.device",
        "estimate.stored_rows",
        "estimate.exponentials",
        "estimate.memory",
    ),
}
"""Rooms inside the wings, and what they may import beside themselves and the ground. Files at the top of a wing import it all."""
ONLY_IN = {
    "torch": {"extract", "estimate", "access"},
    "transformers": {"extract"},
    "typer": {"cli"},
    "rich": {"cli"},
    "zarr": {"store"},
    "xarray": {"store", "estimate", "access", "plot", "door"},
    "altair": {"plot", "report"},
    "vl_convert": {"report"},
    "dask": {"store", "cluster", "estimate"},
    "distributed": {"cluster"},
}
"""Packages of others that only these rooms may import."""


def modules(root: Path) -> dict[str, Path]:
    """Every module of ours by its installed name."""
    found = {}
    for folder, package in (("ie_store", "ie_store"), ("cli", "ie_store_cli")):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def room(module: str) -> str:
    """The room that a module of ours stands in."""
    package, *parts = module.split(".")
    if package == "ie_store_cli":
        return "cli"
    if not parts or parts[0] in DOOR:
        return "door"
    return "ground" if parts[0] in GROUND else parts[0]


def inner_room(module: str, known: dict[str, Path]) -> str:
    """The folder of the library that a module of ours stands in: ``store.files``; ``store`` for files at a wing's top."""
    is_package = module in known and known[module].name == "__init__.py"
    return ".".join(module.split(".")[1 : None if is_package else -1])


def may_import_inside(here: str, name: str, known: dict[str, Path]) -> bool:
    """True where files of the inner room ``here`` may import the module ``name`` of ours."""
    allowed = (here, *INSIDE.get(here, ()))
    there = name.partition(".")[2]
    return here not in INSIDE or room(name) == "ground" or any(f"{there}.".startswith(f"{place}.") for place in allowed)


def imports(module: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and name of everything a module imports; names of ours are those of modules."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield node.lineno, inner if inner in known else origin
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            yield from ((node.lineno, arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def violations(root: Path) -> list[str]:
    """One line for each import that breaks a rule of the house."""
    known, broken, graph = modules(root), [], {}
    for module, path in known.items():
        here, inner = room(module), inner_room(module, known)
        if here not in MAY_IMPORT or ("." in inner and inner not in INSIDE):
            broken.append(f"{module}: there is no room called {here if here not in MAY_IMPORT else inner!r}")
            continue
        graph[module] = set()
        for line, name in imports(module, path, known):
            top = name.split(".")[0]
            where = f"{path.relative_to(root)}:{line}: {here} imports {name}"
            if top == "cli":
                broken.append(f"{where}; the command line is installed as ie_store_cli, and nobody imports it")
            elif top in ("ie_store", "ie_store_cli"):
                graph[module].add(name)
                if room(name) not in MAY_IMPORT[here]:
                    broken.append(f"{where}, which stands in {room(name)}")
                elif not may_import_inside(inner, name, known):
                    broken.append(f"{where}; {inner} imports only {', '.join(('the ground', *INSIDE[inner]))}")
                if name.endswith(".run") and here not in ("cli", "door"):
                    broken.append(f"{where}; only the command line calls a wing's run")
            elif here not in ONLY_IN.get(top, {here}):
                broken.append(f"{where}; {top} belongs in {', '.join(sorted(ONLY_IN[top]))}")
        broken += [f"{path.relative_to(root)}:{line}: relative import" for line in _relative_lines(path) if here != "cli"]
    return broken + [f"circle: {' -> '.join(circle)}" for circle in circles(graph)]


def _relative_lines(path: Path) -> list[int]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Closed walks of imports, one for each edge that closes one."""
    done: set[str] = set()
    found: list[list[str]] = []

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            found.append([*trail[trail.index(module) :], module])
        elif module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    return found


def test_no_import_breaks_a_rule_of_the_house():
    assert len(modules(ROOT)) > 20
    assert violations(ROOT) == []


@pytest.mark.parametrize("path", [path.relative_to(ROOT) for path in modules(ROOT).values()], ids=str)
def test_no_file_is_longer_than_300_lines(path):
    assert len((ROOT / path).read_text().splitlines()) <= 300


PLANTED = [
    ("ie_store/grid.py", "from ie_store.store.open import open_reader", "stands in store"),
    ("ie_store/prefixes.py", "def f():\n    import torch", "torch belongs in access, estimate, extract"),
    ("ie_store/specs.py", "import zarr.codecs", "zarr belongs in store"),
    ("ie_store/store/open.py", "import torch.nn as nn", "torch belongs in"),
    ("ie_store/store/open.py", "from ie_store.corpus.make import make_corpus", "stands in corpus"),
    ("ie_store/corpus/make.py", "def f():\n    from ie_store.store import write", "stands in store"),
    ("ie_store/corpus/make.py", "from transformers import AutoTokenizer", "transformers belongs in extract"),
    ("ie_store/extract/run.py", "from ie_store.estimate.critics.train import step", "stands in estimate"),
    (
        "ie_store/estimate/critics/train.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ie_store.extract.run import Plan",
        "stands in extract",
    ),
    ("ie_store/estimate/critics/train.py", "import ie_store.estimate.run", "only the command line calls a wing's run"),
    ("ie_store/estimate/critics/train.py", "import rich", "rich belongs in cli"),
    (
        "ie_store/estimate/critics/train.py",
        "from importlib import import_module\nimport_module('transformers')",
        "belongs in extract",
    ),
    ("ie_store/extract/run.py", "import ie_store_cli.main", "stands in cli"),
    ("ie_store/extract/run.py", "import cli.main", "nobody imports it"),
    ("ie_store/extract/run.py", "from ie_store import open_store", "stands in door"),
    ("ie_store/extract/run.py", "from . import forward", "relative import"),
    ("ie_store/__init__.py", "from ie_store.corpus.make import make_corpus", "stands in corpus"),
    ("ie_store/calls.py", "import torch", "torch belongs in"),
    ("ie_store/store/open.py", "from ie_store.calls import extract", "stands in door"),
    ("ie_store/helpers/text.py", "", "no room called 'helpers'"),
    (
        "ie_store/store/files/open.py",
        "import ie_store.store.dataset.writer",
        "circle: ie_store.store.dataset.writer -> ie_store.store.files.open -> ie_store.store.dataset.writer",
    ),
    ("ie_store/store/files/open.py", "from ie_store.store.format import codec", "store.files imports only the ground"),
    ("ie_store/store/files/open.py", "import ie_store.store", "store.files imports only the ground"),
    ("ie_store/store/format/codec.py", "from ie_store.store.dataset.writer import open_writer", "store.format imports only"),
    (
        "ie_store/store/dataset/writer.py",
        "def f():\n    from ie_store.store.open import open_reader",
        "store.dataset imports only",
    ),
    ("ie_store/store/dataset/writer.py", "from ie_store.store.results.records import Record", "store.dataset imports only"),
    ("ie_store/store/results/records.py", "import ie_store.store.verify", "store.results imports only"),
    ("ie_store/extract/model/load.py", "from ie_store.extract.forward import batches", "extract.model imports only the ground"),
    ("ie_store/extract/forward/group.py", "from ie_store.extract.plan import Plan", "extract.forward imports only"),
    ("ie_store/estimate/exact/entropies.py", "from ie_store.estimate.critics.bounds import Bound", "estimate.exact imports only"),
    ("ie_store/estimate/critics/train.py", "from ie_store.estimate.estimators.cca import run_fold", "critics imports only"),
    ("ie_store/estimate/critics/train.py", "from ie_store.store.open import open_reader", "estimate.critics imports only"),
    ("ie_store/estimate/estimators/cca.py", "from ie_store.estimate.execute import execute", "estimate.estimators imports only"),
    ("ie_store/estimate/pictures/draw.py", "import math", "no room called 'estimate.pictures'"),
    ("ie_store/store/open.py", "from ie_store.store import open", "circle: ie_store.store.open -> ie_store.store.open"),
]


@pytest.mark.parametrize(("path", "code", "message"), PLANTED)
def test_a_planted_violation_is_found(tmp_path, path, code, message):
    clean = {
        "ie_store/__init__.py": "from ie_store.errors import IeStoreError",
        "ie_store/errors.py": "import math",
        "ie_store/store/open.py": "import zarr\nfrom ie_store.errors import IeStoreError",
        "ie_store/store/files/open.py": "from ie_store.errors import InputError",
        "ie_store/store/dataset/writer.py": "from ie_store.store.files.open import open_storage",
        "ie_store/extract/model/load.py": "import torch, transformers",
        "ie_store/extract/forward/prefix_forward.py": "import torch\nfrom ie_store.extract.model import load",
        "ie_store/extract/prepare.py": "from ie_store.corpus import make",
        "ie_store/corpus/make.py": "import numpy",
        "ie_store/estimate/batch_states.py": "import torch\nfrom ie_store.estimate.exact import entropies",
        "ie_store/estimate/estimators/cca.py": "from ie_store.estimate.batch_states import Measured",
        "ie_store/estimate/run.py": "from ie_store.store.dataset.writer import open_writer",
        "cli/main.py": "import typer\nfrom .render import text\ndef f():\n    from ie_store.estimate.run import estimate",
        "cli/render/text.py": "import rich.table",
    }
    for name, text in clean.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert violations(tmp_path) == []
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(code)
    assert message in "\n".join(violations(tmp_path))


def package_faults(root: Path) -> list[str]:
    """Folders of code that an installed wheel would lack."""
    listed = set(tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {path.parent for folder in ("ie_store", "cli") for path in (root / folder).rglob("*.py")}
    faults = [f"{folder.relative_to(root)} has no __init__.py" for folder in folders if not (folder / "__init__.py").exists()]
    found = {".".join(folder.relative_to(root).parts).replace("cli", "ie_store_cli", 1) for folder in folders}
    faults += [f"pyproject.toml does not list {package}: a wheel would lack it" for package in found - listed]
    return sorted(faults + [f"pyproject.toml lists {package}, which is not there" for package in listed - found])


def test_every_room_is_part_of_the_wheel():
    assert package_faults(ROOT) == []


def test_a_room_that_is_not_listed_is_found(tmp_path):
    for name in ("ie_store/__init__.py", "ie_store/store/__init__.py", "ie_store/store/files/local.py", "cli/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "pyproject.toml").write_text(
        '[tool.setuptools]\npackages = ["ie_store", "ie_store.gone", "ie_store.store", "ie_store_cli"]'
    )
    assert package_faults(tmp_path) == [
        "ie_store/store/files has no __init__.py",
        "pyproject.toml does not list ie_store.store.files: a wheel would lack it",
        "pyproject.toml lists ie_store.gone, which is not there",
    ]


def heavy_modules(code: str) -> set[str]:
    """Heavy packages that are loaded after a fresh Python ran ``code`` to its end."""
    report = "import atexit, sys; atexit.register(lambda: print('loaded:', *sys.modules, file=sys.stderr))\n"
    run = subprocess.run([sys.executable, "-c", report + code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    loaded = run.stderr.partition("loaded:")[2].split()
    assert "ie_store" in loaded
    return {"torch", "transformers", "zarr", "xarray", "dask"} & set(loaded)


@pytest.mark.parametrize(
    "arguments",
    [["estimate", "--help"], *(pytest.param([*name, "--help"], marks=pytest.mark.slow) for name in ([], ["extract"], ["ls"]))],
)
def test_help_loads_nothing_heavy(arguments):
    code = f"import sys; sys.argv = ['ie-store', *{arguments}]; from ie_store_cli.main import main; main()"
    assert heavy_modules(code) == set()


def test_importing_the_library_loads_nothing_heavy_until_it_is_used():
    assert heavy_modules("import ie_store") == set()
    assert "zarr" in heavy_modules("import ie_store, zarr")
