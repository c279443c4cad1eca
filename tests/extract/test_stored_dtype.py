"""The dtype that ``auto`` stores in follows from the largest state of a sample, and a dataset keeps it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import prefix_rows, save_tiny
from transformers import AutoModelForCausalLM

from ie_store.extract.run import extract, plan_extract
from ie_store.extract.stored_dtype import choose_stored_dtype
from ie_store.options import ExtractSpec
from ie_store.store.open import open_reader

MakeSpec = Callable[..., ExtractSpec]
FLOAT16_END = 65504.0
BEFORE_LAST = "0-2"
"""Layers that `output_hidden_states` shows as they are, without the final norm."""


def scaled(folder: Path, factor: float) -> Path:
    """A tiny Llama whose embeddings, and with them its residual stream, are ``factor`` times as large."""
    model = save_tiny(folder, "llama", tie_word_embeddings=False)
    weights = load_file(model / "model.safetensors")
    weights["model.embed_tokens.weight"] *= factor
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    return model


def largest_of_all(model: Path, positions: slice = slice(None)) -> float:
    """Largest magnitude of the layers before the last, over all rows and all lone tokens, as transformers has them."""
    loaded, rows = AutoModelForCausalLM.from_pretrained(model).eval(), prefix_rows()
    peaks = []
    for inputs, at in ((rows, positions), (np.unique(rows)[:, None], slice(None))):
        with torch.no_grad():
            states = loaded(torch.from_numpy(inputs.astype(np.int64)), output_hidden_states=True).hidden_states[:3]
        peaks += [float(state[:, at].abs().max()) for state in states]
    return max(peaks)


@pytest.mark.parametrize(("part", "dtype"), [(0.4, "float16"), (0.6, "bfloat16"), (40.0, "bfloat16")])
def test_the_dtype_follows_from_the_largest_state(make_spec: MakeSpec, tmp_path: Path, part: float, dtype: str) -> None:
    """The sample is all rows here, so that its largest state is known from outside."""
    model = scaled(tmp_path, part * FLOAT16_END / (largest_of_all(scaled(tmp_path, 1e4)) / 1e4))
    expected = largest_of_all(model)
    assert expected == pytest.approx(part * FLOAT16_END, rel=0.05)
    spec = make_spec(model=str(model), layers=BEFORE_LAST)
    plan, _ = plan_extract(spec)
    assert plan.largest_state == pytest.approx(expected, rel=1e-5)
    assert (plan.layout.stored_dtype, plan.as_json()["largest_state"]) == (dtype, plan.largest_state)
    assert extract(spec).plan == plan
    assert max(open_reader(spec.store, plan.name).attributes.audit.relative_error.values()) < 0.01


def test_layers_and_positions_that_are_not_stored_are_not_looked_at(make_spec: MakeSpec, tmp_path: Path) -> None:
    model = scaled(tmp_path, 100.0)
    plan, _ = plan_extract(make_spec(model=str(model), layers=BEFORE_LAST, positions="8"))
    assert plan.largest_state == pytest.approx(largest_of_all(model, slice(8, 9)), rel=1e-5)


def test_the_sample_is_a_seeded_part_of_many_rows(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for what in ("ROWS", "TOKENS"):
        monkeypatch.setattr(f"ie_store.extract.stored_dtype.SAMPLED_{what}", 1)
    np.save(tmp_path / "rows.npy", prefix_rows(num_rows=500))
    seen = [plan_extract(make_spec(seed=seed))[0].largest_state for seed in (0, 0, 1, 2, 3)]
    assert seen[0] == seen[1]
    assert len(set(seen)) > 1


def test_half_of_the_range_is_the_end_and_what_is_not_finite_is_beyond_it() -> None:
    assert choose_stored_dtype(FLOAT16_END / 2) == "float16"
    for largest in (np.nextafter(FLOAT16_END / 2, np.inf), np.inf, np.nan):
        assert choose_stored_dtype(float(largest)) == "bfloat16"


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("more", [{}, {"replace": True}])
def test_a_dataset_keeps_its_dtype(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, stored: str, more: dict[str, bool]
) -> None:
    first = extract(make_spec(dtype=stored))
    monkeypatch.setattr("ie_store.extract.prepare.largest_state", lambda *_: pytest.fail("looked again"))
    again = extract(make_spec(**more))
    assert (again.reused, again.plan.identity, again.plan.largest_state) == (True, first.plan.identity, None)


def test_a_replaced_dataset_is_looked_at_anew(make_spec: MakeSpec) -> None:
    extract(make_spec(dtype="float32"))
    replaced = extract(make_spec(replace=True, layers="0"))
    assert (replaced.plan.layout.stored_dtype, replaced.plan.largest_state is None) == ("float16", False)
