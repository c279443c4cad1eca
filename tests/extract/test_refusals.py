"""What cannot be is refused before it costs anything: without torch where files say it, without weights in any case."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import prefix_rows

from ie_store.errors import BusyError, IdentityError, InputError
from ie_store.extract.prepare import prepare
from ie_store.extract.run import extract, plan_extract
from ie_store.options import ExtractSpec
from ie_store.store.dataset.remove import lock_key
from ie_store.store.dataset.writer import hold_dataset
from ie_store.store.files.open import open_storage

MakeSpec = Callable[..., ExtractSpec]
NO_TORCH = """
import sys
from ie_store.errors import IeStoreError
from ie_store.extract import run
from ie_store.options import ExtractSpec
try:
    getattr(run, sys.argv[1])(ExtractSpec(**eval(sys.argv[2])))
except IeStoreError as error:
    print(type(error).__name__, error)
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""


def refused_without_torch(act: str, spec: ExtractSpec) -> str:
    """The error of `run.extract` or `run.plan_extract` in a process of its own, which must not have loaded torch for it."""
    done = subprocess.run([sys.executable, "-c", NO_TORCH, act, repr(vars(spec))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "0,40"}, "InputError layers '0,40': '40' is outside 0..3"),
        ({"name": "one"}, "InputError dataset name 'one' is not MODEL/CORPUS"),
        ({"corpus": "icl:contry"}, "InputError"),
        ({"model": "/no/folder"}, "InputError model folder '/no/folder' does not exist"),
    ],
)
def test_options_that_cannot_be_are_refused_without_torch(make_spec: MakeSpec, options: dict[str, str], message: str) -> None:
    spec = make_spec(**options)
    for act in ("extract", "plan_extract"):
        assert refused_without_torch(act, spec).startswith(message)
    assert not Path(spec.store).exists()


@pytest.mark.slow
def test_another_identity_is_refused_without_torch_where_the_options_say_it(make_spec: MakeSpec) -> None:
    extract(make_spec())
    told = refused_without_torch("extract", make_spec(dtype="float32", layers="0-1", bos="prepend"))
    assert told.startswith("IdentityError")
    for line in ("layout.stored_dtype: stored 'float16', asked 'float32'", "layout.layers: ", "model.bos: stored 'none'"):
        assert line in told
    assert extract(make_spec()).reused


def test_a_dataset_in_other_hands_is_refused_without_torch(make_spec: MakeSpec) -> None:
    spec = make_spec()
    with hold_dataset(open_storage(spec.store), "llama/rows"):
        assert refused_without_torch("extract", spec).startswith("BusyError")
    assert not Path(spec.store).exists()


def test_of_many_that_start_together_one_loads_a_model(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, num_processes = make_spec(), 10
    loading, refused, may_end = [], [], threading.Event()

    def load(spec: ExtractSpec, held: Any, *more: Any) -> None:
        loading.append(held)
        may_end.wait(60)

    def start() -> None:
        try:
            extract(spec)
        except BusyError as error:
            refused.append(error)
            if len(refused) == num_processes - 1:
                may_end.set()

    monkeypatch.setattr("ie_store.extract.perform.perform", load)
    threads = [threading.Thread(target=start) for _ in range(num_processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(loading), len(refused)) == (1, num_processes - 1)
    assert not list(Path(spec.store).rglob("*"))


def test_of_a_lock_file_that_another_made_nothing_is_left(make_spec: MakeSpec) -> None:
    """Of two that start together one may make the file and the other hold it."""
    made = Path(make_spec().store, lock_key("llama/rows"))
    made.parent.mkdir(parents=True)
    made.touch()
    with hold_dataset(open_storage(make_spec().store), "llama/rows"):
        assert made.stat().st_size
    assert not list(Path(make_spec().store).iterdir())


def test_a_held_dataset_is_written_through_the_storage_that_holds_it_and_stays_held(make_spec: MakeSpec) -> None:
    """A claim in a bucket guards what is written through the storage that took it, and through no other."""
    spec = make_spec()
    files = open_storage(spec.store)
    with hold_dataset(files, "llama/rows") as held:
        with prepare(spec, held).open_writer() as writer:
            assert writer.dataset.files is files
        with pytest.raises(BusyError):
            files.lock(lock_key("llama/rows"))
    files.lock(lock_key("llama/rows")).release()


@pytest.fixture
def no_weights(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete dataset, and from now on whoever touches weights fails."""
    extract(make_spec())
    monkeypatch.setattr("ie_store.extract.prepare.load_weights", lambda *_: pytest.fail("weights were loaded"))


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("act", [extract, plan_extract])
def test_what_the_corpus_says_is_refused_without_weights(make_spec: MakeSpec, tmp_path: Path, act: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"positions '9': '9' is outside 0\.\.8"):
        act(make_spec(positions="9", name="m/other"))
    with pytest.raises(IdentityError, match=r"layout\.positions"):
        act(make_spec(positions="0,1"))
    np.save(tmp_path / "others.npy", prefix_rows(seed=4))
    with pytest.raises(IdentityError, match=r"corpus_fingerprint: stored(.|\n)*recipe: stored"):
        act(make_spec(corpus=f"tokens:{tmp_path / 'others.npy'}", name="llama/rows"))
    np.save(tmp_path / "long.npy", np.ones((3, 65), np.int32))
    with pytest.raises(InputError, match=r"sequences of 65 tokens .* at most 64"):
        act(make_spec(corpus=f"tokens:{tmp_path / 'long.npy'}"))
    np.save(tmp_path / "foreign.npy", np.full((3, 4), 61, np.int32))
    with pytest.raises(InputError, match="outside the model's vocabulary"):
        act(make_spec(corpus=f"tokens:{tmp_path / 'foreign.npy'}"))


def test_a_refusal_after_the_lock_leaves_an_empty_folder_as_it_was(make_spec: MakeSpec) -> None:
    spec = make_spec(corpus="icl:country")
    with pytest.raises(InputError, match="needs a tokenizer"):
        extract(spec)
    assert not Path(spec.store).exists()
    Path(spec.store).mkdir()
    with pytest.raises(InputError, match="needs a tokenizer"):
        extract(spec)
    assert not list(Path(spec.store).iterdir())


def test_workers_cannot_read_the_standard_input(make_spec: MakeSpec) -> None:
    spec = make_spec(corpus="text:-?length=3", name="a/b", workers=2)
    with pytest.raises(InputError, match="workers cannot read the standard input"):
        extract(spec)
    assert not Path(spec.store).exists()
