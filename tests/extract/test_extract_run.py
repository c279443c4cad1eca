"""Whole runs on a tiny model: what is stored, what is refused, what is resumed."""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from tiny_models import BLOCKS, HIDDEN, VOCAB, prefix_rows
from transformers import AutoModelForCausalLM

import ie_store.extract.prepare
from ie_store.errors import BusyError, DiskSpaceError, IdentityError, InputError
from ie_store.extract.forecast import Forecast
from ie_store.extract.layout import choose_layout
from ie_store.extract.plan import ExtractPlan
from ie_store.extract.run import extract, plan_extract
from ie_store.options import ExtractSpec, Progress
from ie_store.specs import Slab, StoreLayout
from ie_store.store.open import open_reader
from ie_store.store.verify import verify_dataset

MakeSpec = Callable[..., ExtractSpec]


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 4 rows in float16, 2 in float32, of 24 rows of 9 positions and 4 layers of 32 dimensions."""
    small = functools.partial(choose_layout, shard_bytes=8 * 9 * (BLOCKS + 1) * HIDDEN * 2)
    monkeypatch.setattr(ie_store.extract.prepare, "choose_layout", small)


def macro(spec: ExtractSpec, name: str) -> np.ndarray:
    """(layer, position, row, hidden) of the stored layers and positions."""
    reader = open_reader(spec.store, name)
    layout = reader.layout
    slabs = [[Slab(level="macro", layer=layer, position=p) for p in layout.positions] for layer in layout.layers]
    return np.stack([[reader.read_slab(slab, verify=True) for slab in row] for row in slabs])


def micro(spec: ExtractSpec, name: str) -> np.ndarray:
    """(layer, token, hidden) of the stored layers."""
    reader = open_reader(spec.store, name)
    return np.stack([reader.read_slab(Slab(level="micro", layer=layer, position=None)) for layer in reader.layout.layers])


def reference(folder: str, rows: np.ndarray) -> np.ndarray:
    """(layer, position, row, hidden) by output_hidden_states of a plain forward; its last entry has the final norm."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(torch.from_numpy(rows.astype(np.int64)), output_hidden_states=True)
    return np.stack([states.numpy().transpose(1, 0, 2) for states in output.hidden_states])


def error(states: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(states.astype(np.float64) - expected) / np.linalg.norm(expected))


@pytest.mark.usefixtures("small_shards")
def test_a_run_stores_what_it_says(make_spec: MakeSpec) -> None:
    spec = make_spec(dtype="float32")
    plans: list[tuple[ExtractPlan, Forecast]] = []
    told: list[Progress] = []
    report = extract(spec, told.append, lambda *planned: plans.append(planned))
    assert report.name == "llama/rows"
    assert plans == [(report.plan, report.forecast)]
    assert not report.reused
    assert (report.num_rows, report.num_shards, report.plan.num_shards) == (24, 14, 14)
    json.dumps(report.as_json())
    states = macro(spec, report.name)
    reader = open_reader(spec.store, report.name)
    assert error(states[:BLOCKS], reference(spec.model, reader.tokens)[:BLOCKS]) < 1e-6
    assert verify_dataset(spec.store, report.name).faults == []
    assert reader.complete
    assert asdict(reader.attributes.audit) == report.audit
    assert max(report.audit["relative_error"].values()) < 1e-6
    stages = [progress.stage for progress in told]
    assert sorted(set(stages), key=stages.index) == ["extraction", "micro states", "macro states", "audit"]
    assert all(0 < progress.done <= progress.total for progress in told)
    dataset = xr.open_zarr(report.address, consolidated=False)
    assert np.array_equal(dataset.macro.values, states)
    assert report.forecast.encoded_bytes == pytest.approx(report.num_bytes, rel=0.35)


@pytest.mark.usefixtures("small_shards")
def test_a_second_run_reuses_and_a_lost_shard_comes_back_bit_for_bit(make_spec: MakeSpec) -> None:
    spec = make_spec()
    first = extract(spec)
    before = macro(spec, first.name), micro(spec, first.name)
    assert extract(spec).reused
    store = Path(first.address)
    for number in (1, 4):
        (store / f"macro/c/0/0/{number}/0").unlink()
        (store / f"ledger/macro/c/{number}/0/0").unlink()
    assert plan_extract(spec)[0].missing_shards == 2
    again = extract(spec)
    assert (again.num_shards, again.reused) == (2, False)
    assert np.array_equal(macro(spec, first.name), before[0], equal_nan=True)
    assert np.array_equal(micro(spec, first.name), before[1], equal_nan=True)


def test_a_partly_written_group_is_computed_whole(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards make a group here, so that batches reach over a shard's edge; one shard of the group is lost."""
    small = functools.partial(choose_layout, shard_bytes=8 * 9 * (BLOCKS + 1) * HIDDEN * 2)

    def paired(*arguments: Any) -> StoreLayout:
        return replace(small(*arguments), shards_per_group=2, rows_per_batch=3)

    monkeypatch.setattr(ie_store.extract.prepare, "choose_layout", paired)
    spec = make_spec(dtype="float32")
    first = extract(spec)
    before = macro(spec, first.name)
    (Path(first.address) / "macro/c/0/0/3/0").unlink()
    (Path(first.address) / "ledger/macro/c/3/0/0").unlink()
    again = extract(spec)
    assert (again.num_shards, again.num_rows) == (1, 2 * open_reader(spec.store, first.name).layout.rows_per_shard)
    assert np.array_equal(macro(spec, first.name), before)


def test_layers_and_positions_that_are_not_asked_for_are_not_stored(make_spec: MakeSpec) -> None:
    whole = extract(make_spec(dtype="float32", name="m/whole"))
    part = extract(make_spec(dtype="float32", name="m/part", layers="0,-1", positions="0,3-4"))
    spec = make_spec()
    assert open_reader(spec.store, part.name).layout.positions == (0, 3, 4)
    expected = macro(spec, whole.name)[np.ix_([0, BLOCKS], [0, 3, 4])]
    assert error(macro(spec, part.name), expected) < 1e-6
    assert error(micro(spec, part.name), micro(spec, whole.name)[[0, BLOCKS]]) < 1e-6
    dataset = xr.open_zarr(part.address, consolidated=False)
    assert dataset.macro.shape == (BLOCKS + 1, 9, 24, HIDDEN)
    assert np.isnan(dataset.macro.values[1]).all()
    assert part.plan.tokens_dense > part.plan.tokens_computed


def test_a_prepended_token_stands_before_sequences_and_lone_tokens(make_spec: MakeSpec) -> None:
    spec = make_spec(bos="prepend", dtype="float32")
    report = extract(spec)
    reader = open_reader(spec.store, report.name)
    rows = np.concatenate([np.ones((24, 1), np.int32), reader.tokens], axis=1)
    assert error(macro(spec, report.name)[:BLOCKS], reference(spec.model, rows)[:BLOCKS, 1:]) < 1e-6
    lone = np.stack([np.ones_like(reader.token_values), reader.token_values], axis=1)
    assert error(micro(spec, report.name)[:BLOCKS], reference(spec.model, lone)[:BLOCKS, 1]) < 1e-6
    assert max(report.audit["micro_relative_error"].values()) < 1e-6


def test_equal_prefixes_have_equal_bits(make_spec: MakeSpec) -> None:
    spec = make_spec(dtype="float32")
    report = extract(spec)
    tokens, states = open_reader(spec.store, report.name).tokens, macro(spec, report.name)
    for position in range(9):
        same = (tokens[1:, : position + 1] == tokens[:-1, : position + 1]).all(axis=1)
        assert np.array_equal(states[:, position, 1:][:, same], states[:, position, :-1][:, same])


def test_a_small_cache_cuts_groups_into_blocks(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "rows.npy", prefix_rows(num_rows=400))
    whole = extract(make_spec(name="m/whole", dtype="float32"))
    monkeypatch.setattr("ie_store.extract.engine.CACHE_BYTES", {False: 400_000, True: 400_000})
    cut = extract(make_spec(name="m/cut", dtype="float32"))
    assert cut.plan.forward == "prefix-shared"
    assert cut.plan.tokens_computed > whole.plan.tokens_computed
    spec = make_spec()
    assert error(macro(spec, cut.name), macro(spec, whole.name)) < 1e-6


@pytest.mark.parametrize("compute_dtype", ["bfloat16", "float16"])
def test_low_precision_is_audited_against_float32(make_spec: MakeSpec, compute_dtype: str) -> None:
    spec = make_spec(compute_dtype=compute_dtype, dtype="bfloat16")
    report = extract(spec)
    audit = report.audit["relative_error"]
    assert open_reader(spec.store, report.name).identity.model.compute_dtype == compute_dtype
    assert 1e-4 < max(audit.values()) < 0.05


@pytest.mark.parametrize("act", [extract, plan_extract])
def test_a_refusal_needs_no_writer(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, act: Callable[..., object]) -> None:
    extract(make_spec())
    monkeypatch.setattr(ie_store.extract.prepare, "open_writer", lambda *_, **__: pytest.fail("a writer was opened"))
    with pytest.raises(IdentityError, match="stored_dtype"):
        act(make_spec(dtype="bfloat16"))


def test_another_identity_under_the_same_name_is_refused(make_spec: MakeSpec) -> None:
    spec = make_spec()
    first = extract(spec)
    before = macro(spec, first.name)
    with pytest.raises(IdentityError, match=r"stored_dtype: stored 'float16', asked 'bfloat16'(.|\n)*--replace"):
        extract(make_spec(dtype="bfloat16"))
    with pytest.raises(IdentityError, match=r"rows_per_batch: stored \d+, asked 5"):
        extract(make_spec(batch_size=5))
    assert np.array_equal(macro(spec, first.name), before)
    with pytest.raises(IdentityError, match=r"stored_dtype: stored 'float16', asked 'bfloat16'(.|\n)*--replace"):
        plan_extract(make_spec(dtype="bfloat16"))
    assert plan_extract(make_spec(dtype="bfloat16", replace=True))[0].missing_shards > 0
    replaced = extract(make_spec(dtype="bfloat16", replace=True))
    assert open_reader(spec.store, replaced.name).layout.stored_dtype == "bfloat16"


def test_a_dataset_that_is_being_written_is_refused(make_spec: MakeSpec) -> None:
    spec = make_spec()
    with ie_store.extract.prepare.prepare(spec).open_writer(), pytest.raises(BusyError):
        extract(spec)
    assert not extract(spec).reused


def test_no_room_is_seen_before_anything_is_written(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ie_store.store.files.local.LocalStorage.free_bytes", lambda self: 1000)
    spec = make_spec()
    with pytest.raises(DiskSpaceError, match=r"about .* GB are to be written"):
        extract(spec)
    assert not Path(spec.store).exists()


def test_a_plan_writes_nothing(make_spec: MakeSpec) -> None:
    spec = make_spec()
    plan, forecast = plan_extract(spec)
    assert not Path(spec.store).exists()
    distinct = [len({tuple(row[: p + 1]) for row in prefix_rows()}) for p in range(9)]
    assert plan.distinct_prefixes == tuple(distinct)
    assert plan.tokens_computed < plan.tokens_dense == 24 * 9 + plan.layout.num_tokens
    assert plan.dense_bytes == (24 * 9 + plan.layout.num_tokens) * (BLOCKS + 1) * HIDDEN * 2
    assert forecast.tokens == plan.tokens_computed
    assert forecast.seconds >= forecast.forward_seconds > 0
    json.dumps(plan.as_json())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "9"}, "outside 0..3"),
        ({"positions": "0,9"}, "outside 0..8"),
        ({"name": "no-slash"}, "not MODEL/CORPUS"),
        ({"corpus": "icl:country"}, "needs a tokenizer"),
        ({"corpus": "nonsense"}, "recipe|corpus"),
        ({"device": "cuda:99"}, "not available"),
        ({"device": "abacus"}, "not available"),
        ({"model": "/no/such/folder"}, "does not exist"),
        ({"model": "no-such-org/no-such-model"}, "no local folder, and the hub did not deliver it"),
        ({"gguf_file": "a.gguf"}, "holds no file 'a.gguf'"),
        ({"store": "abc://x"}, "abc"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(make_spec: MakeSpec, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        extract(make_spec(**options))
    assert not Path(make_spec().store).exists()


def test_sequences_longer_than_the_model_are_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    np.save(tmp_path / "long.npy", np.ones((3, 65), np.int32))
    with pytest.raises(InputError, match=r"sequences of 65 tokens .* at most 64"):
        extract(make_spec(corpus=f"tokens:{tmp_path / 'long.npy'}"))
    np.save(tmp_path / "foreign.npy", np.full((3, 4), VOCAB, np.int32))
    with pytest.raises(InputError, match="outside the model's vocabulary"):
        extract(make_spec(corpus=f"tokens:{tmp_path / 'foreign.npy'}"))


def test_what_is_replaced_leaves_neither_its_batches_nor_its_room(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = prepare_layout(make_spec())
    assert extract(make_spec(batch_size=1)).name
    assert prepare_layout(make_spec()).rows_per_batch == 1  # the same dataset goes on as it began
    monkeypatch.setattr("ie_store.store.files.local.LocalStorage.free_bytes", lambda self: 1000)
    other = make_spec(layers="0,1", replace=True)
    assert prepare_layout(other).rows_per_batch == usual.rows_per_batch
    assert extract(other).num_shards > 0
    with pytest.raises(DiskSpaceError):
        extract(make_spec(name="another/name"))


def prepare_layout(spec: ExtractSpec) -> StoreLayout:
    return ie_store.extract.prepare.prepare(spec).engine.layout
