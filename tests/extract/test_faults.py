"""Values that cannot be stored stop the run with their place; what was finished stays and is readable."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import BLOCKS, HIDDEN, prefix_rows, tiny_config, tiny_model

import ie_store.extract.prepare
from ie_store.errors import NonFiniteError, StoreError
from ie_store.extract.layout import choose_layout
from ie_store.extract.run import extract
from ie_store.options import ExtractSpec
from ie_store.specs import Slab, StoreLayout
from ie_store.store.open import open_reader

MakeSpec = Callable[..., ExtractSpec]


def gpt2_folder(folder: Path, *, position_value: float, token_value: float = 0.0) -> str:
    """A GPT-2 whose state at layer 0, dimension 5 gets a value from position 6 and another from token 60."""
    model = tiny_model(tiny_config("gpt2"))
    with torch.no_grad():
        model.transformer.wpe.weight[6, 5] = position_value
        model.transformer.wte.weight[60, 5] = token_value
    model.save_pretrained(folder / "broken")
    return str(folder / "broken")


def one_shard_per_group(*arguments: Any) -> StoreLayout:
    """Shards of 4 rows, each a group of its own."""
    layout = choose_layout(*arguments, shard_bytes=8 * 9 * (BLOCKS + 1) * HIDDEN * 2)
    return replace(layout, shards_per_group=1)


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    """Rows of which one, source row 7 and the last in order, has token 60 at position 6."""
    rows = prefix_rows()
    rows[rows == 60] = 59
    rows[7, [0, 6]] = 60
    np.save(tmp_path / "rows.npy", rows)
    return f"tokens:{tmp_path / 'rows.npy'}"


def test_overflow_names_its_place_and_finished_shards_stay(
    make_spec: MakeSpec, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ie_store.extract.prepare, "choose_layout", one_shard_per_group)
    model = gpt2_folder(tmp_path, position_value=40000.0, token_value=40000.0)
    place = r"layer 0, position 6, source row 7, hidden dimension 5 is 80000, more than float16 can hold \(65504\)"
    with pytest.raises(NonFiniteError, match=place + r"; store as --dtype bfloat16 or float32"):
        extract(make_spec(model=model, corpus=corpus, dtype="float16"))
    reader = open_reader(str(tmp_path / "store"), "broken/rows")
    assert not reader.complete
    assert "more than float16 can hold" in reader.attributes.incomplete_reason
    assert reader.missing_shards("macro") == [5]
    slab = Slab(level="macro", layer=0, position=6)
    assert reader.read_rows(slab, 0, 20, verify=True)[:, 5] == pytest.approx(40000.0, abs=32)
    with pytest.raises(StoreError, match="not written yet"):
        reader.read_slab(slab)
    report = extract(make_spec(model=model, corpus=corpus, dtype="bfloat16", replace=True))
    assert open_reader(str(tmp_path / "store"), report.name).complete


def test_a_large_value_that_fits_is_stored(make_spec: MakeSpec, corpus: str, tmp_path: Path) -> None:
    model = gpt2_folder(tmp_path, position_value=32000.0, token_value=33500.0)
    report = extract(make_spec(model=model, corpus=corpus, dtype="float16"))
    assert open_reader(str(tmp_path / "store"), report.name).complete


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_in_the_model_is_not_stored(make_spec: MakeSpec, corpus: str, tmp_path: Path, value: float) -> None:
    model = gpt2_folder(tmp_path, position_value=value)
    message = rf"layer 0, position 6, source row \d+, hidden dimension 5 is {value}: the model itself"
    with pytest.raises(NonFiniteError, match=message):
        extract(make_spec(model=model, corpus=corpus, dtype="float32"))


def test_a_fault_in_a_lone_token_names_the_token(make_spec: MakeSpec, corpus: str, tmp_path: Path) -> None:
    model = gpt2_folder(tmp_path, position_value=0.0, token_value=70000.0)
    with pytest.raises(NonFiniteError, match=r"layer 0, position 0, lone token 60, hidden dimension 5 is (69999|70000)"):
        extract(make_spec(model=model, corpus=corpus, dtype="float16"))


def test_wrong_states_in_the_store_are_found_by_the_audit(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit recomputes from the tokens: here the batches are fed other tokens than the corpus has."""
    import ie_store.extract.forward.batches as batches

    whole = batches._batch
    monkeypatch.setattr(batches, "_batch", lambda tokens, *rest: whole((tokens + 1) % 50 + 3, *rest))
    spec = make_spec()
    with pytest.raises(StoreError, match="differ from a float32 recomputation"):
        extract(spec)
    reader = open_reader(spec.store, "llama/rows")
    assert not reader.complete
    assert "differ from a float32 recomputation" in reader.attributes.incomplete_reason


def test_what_is_not_stored_may_be_as_large_as_it_likes(make_spec: MakeSpec, corpus: str, tmp_path: Path) -> None:
    model = gpt2_folder(tmp_path, position_value=40000.0, token_value=40000.0)
    extract(make_spec(model=model, corpus=corpus, dtype="float16", positions="0-5,7-8"))
    assert open_reader(str(tmp_path / "store"), "broken/rows").complete
    with pytest.raises(NonFiniteError, match=r"layer 0, position 6, source row 7, .*with --replace or under another name"):
        extract(make_spec(model=model, corpus=corpus, dtype="float16", positions="6-7", name="a/b"))
