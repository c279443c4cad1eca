"""docs/architecture.md: its rooms are those that are there, and every example on where to add something works."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from extended import PAGE, ROOT, Extended, text_of
from known_store import NAME, random_tokens, write_store
from test_imports import INSIDE

EXAMPLES = ("A corpus recipe", "An estimator", "A variable derived from states", "A storage backend", "A command")


def test_the_table_names_every_room():
    rooms = re.findall(r"^\| `([\w/]+)", text_of("The rooms"), re.MULTILINE)
    folders = {path.parent.relative_to(ROOT).as_posix() for top in ("ie_store", "cli") for path in (ROOT / top).rglob("*.py")}
    assert {room.rstrip("/") for room in rooms} == folders


def test_the_table_says_what_the_import_rule_says():
    rows = dict(re.findall(r"^\| `ie_store/(\w+/\w+)` \|[^|]*\|([^|]*)\|$", text_of("The rooms"), re.MULTILINE))
    said = {room.replace("/", "."): set(re.findall(r"`([\w/]+)`", cell)) for room, cell in rows.items()}
    short = {room: {place.replace(".", "/") for place in places} for room, places in INSIDE.items()}
    assert said == short


def test_the_page_is_short():
    assert len(PAGE.read_text().splitlines()) <= 200


def test_files_that_the_page_names_are_there():
    for name in re.findall(r"`((?:tests|ie_store|cli|docs|schemas|benchmarks)/[\w/.-]+\.\w+)`", PAGE.read_text()):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("section", EXAMPLES)
def test_an_example_fits_the_code_as_it_is(tmp_path, section):
    assert Extended(tmp_path / "copy", section).touched


def test_a_recipe_is_a_file_and_a_line_in_three_tables(tmp_path):
    (tmp_path / "rows.txt").write_text("3 4\n1 2\n")
    made = Extended(tmp_path / "copy", "A corpus recipe")
    code = (
        "from ie_store.corpus.make import make_corpus; c = make_corpus('ids:../rows.txt', tokenizer=None, vocab_size=9); "
        "print(c.tokens.tolist(), c.source_row.tolist(), c.spec.name, c.spec.recipe)"
    )
    assert made.python("-c", code) == "[[1, 2], [3, 4]] [1, 0] rows ids:rows.txt?complete=false&num_sequences=all\n"
    assert set(made.touched) == {f"ie_store/corpus/{name}.py" for name in ("id_file", "recipe", "recipe_options", "make")}


@pytest.mark.slow
def test_a_derived_variable_is_plain_zarr_with_its_meaning(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(80))
    made = Extended(tmp_path / "copy", "A variable derived from states")
    assert made.touched == ["spectrum.py"]
    for _ in range(2):
        made.python("spectrum.py", store, NAME)
    (folder,) = (tmp_path / "store" / NAME / "estimates").glob("eigenvalues-*")
    opened = xr.open_zarr(folder, consolidated=False).load()
    assert opened.spectrum.dims == ("layer", "position", "rank")
    assert opened.spectrum.attrs == {
        "long_name": "falling eigenvalues",
        "units": "1",
        "lineage": "macro states",
    }
    assert opened.layer.values.tolist() == [0, 1, 2]
    states = xr.open_zarr(Path(store) / NAME, consolidated=False).macro.values.astype(float)
    truth = np.linalg.eigvalsh(np.cov(states[2, 1].T, bias=True))[::-1]
    np.testing.assert_allclose(opened.spectrum.values[2, 1], truth, atol=1e-9)
    assert made.ie_store("verify", store, NAME)
    assert made.ie_store("estimate", store, NAME, "--estimator", "exact")
    assert "eigenvalues-" in made.ie_store("info", store, NAME)


@pytest.mark.slow
def test_a_storage_backend_is_a_file_and_a_line(tmp_path):
    made = Extended(tmp_path / "copy", "A storage backend")
    assert made.touched == ["ie_store/store/files/open.py"]
    shutil.copy(Path(__file__).parent / "memory_storage.py", tmp_path / "copy/ie_store/store/files/memory.py")
    code = (
        f"import sys; sys.path.append({str(ROOT / 'tests/estimate')!r})\n"
        "import numpy as np\n"
        "from known_store import NAME, make_states, random_tokens, write_store\n"
        "import ie_store\n"
        "from ie_store.store.verify import verify_dataset\n"
        "from ie_store.store.catalog import list_datasets\n"
        "from ie_store.store.dataset.remove import remove_dataset\n"
        "from ie_store.options import EstimateSpec\n"
        "from ie_store.estimate.run import estimate\n"
        "from ie_store.estimators import estimator_spec\n"
        "from ie_store.store.results.show import show_results\n"
        "tokens = random_tokens(80)\n"
        "store = write_store('memory://mine', tokens)\n"
        "opened = ie_store.open_store(store, NAME)\n"
        "assert np.array_equal(opened.macro.values, make_states(tokens, 3, 6)[0].astype('float32'))\n"
        "found = estimate(EstimateSpec(store=store, name=NAME, estimators=(estimator_spec('cca'),)))\n"
        "report = verify_dataset(store, NAME)\n"
        "print(len(found), len(show_results(store, NAME)['estimates']), report.faults, list_datasets(store)[0][0].name)\n"
        "print(remove_dataset(store, NAME), list_datasets(store)[0])\n"
    )
    assert made.python("-c", code).splitlines() == ["4 8 [] toy/rows", "[] []"]


@pytest.mark.slow
def test_a_command_is_a_function_and_its_name(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(80))
    made = Extended(tmp_path / "copy", "A command")
    assert made.touched == ["cli/store.py"]
    assert re.fullmatch("[0-9a-f]{64}\n", made.ie_store("fingerprint", store, NAME))
    assert "Print the fingerprint" in made.ie_store("fingerprint", "--help")
