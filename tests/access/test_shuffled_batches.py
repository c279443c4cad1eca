"""Batches for PyTorch hold what plain Zarr reads, in an order that can be begun anywhere."""

import numpy as np
import pytest
import torch
import xarray as xr
from made_store import make
from torch.utils.data import DataLoader

import ie_store
from ie_store.access.shard_buffer import read_shards
from ie_store.errors import InputError, StoreError

MODES = {"fits": {}, "mixed": {"memory_bytes": 9 * 16}, "stored": {"shuffle": False}}
"""Rows of 8 float16 numbers, shards of 8 rows: nine rows are one shard and a bit."""


def values_of(made, layer, position):
    """States as float32, read by plain Zarr."""
    name = "macro_bfloat16_bits" if made.layout.stored_dtype == "bfloat16" else "macro"
    found = xr.open_zarr(made.path, consolidated=False)[name][layer, position].values
    return (found.astype(np.uint32) << 16).view(np.float32) if found.dtype == np.uint16 else found.astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_batches_hold_what_plain_zarr_reads(tmp_path, stored, mode):
    made = make(tmp_path / "s", dtype=stored).write()
    truth, options = values_of(made, 1, 2), MODES[mode]
    options = {**options, "memory_bytes": 2 * options["memory_bytes"]} if stored == "float32" and mode == "mixed" else options
    for dtype in ("float32", "stored"):
        batches = ie_store.open_store(made.store, made.name).ie.batches(1, 2, batch_size=5, dtype=dtype, **options)
        found = list(batches)
        assert [len(batch.sequence) for batch in found] == [5, 5, 5, 5, 1]
        assert len(batches) == 5
        assert sorted(torch.cat([batch.sequence for batch in found]).tolist()) == list(range(21))
        for batch in found:
            assert batch.states.dtype == (torch.float32 if dtype == "float32" else getattr(torch, stored))
            np.testing.assert_array_equal(batch.states.to(torch.float32).numpy(), truth[batch.sequence.numpy()])


@pytest.mark.parametrize("size", [1, 4, 5, 20, 21, 100])
@pytest.mark.parametrize("mode", MODES)
def test_a_stopped_run_goes_on_where_it_was(made, mode, size):
    dataset = ie_store.open_store(made.store, made.name)
    whole = list(dataset.ie.batches(0, 1, size, seed=3, epochs=3, **MODES[mode]))
    for start in range(0, len(whole) + 1, 1 + len(whole) // 9):
        rest = dataset.ie.batches(0, 1, size, seed=3, epochs=3, start=start, **MODES[mode])
        assert len(rest) == len(whole) - start
        for ours, theirs in zip(rest, whole[start:], strict=True):
            assert torch.equal(ours.sequence, theirs.sequence)
            assert torch.equal(ours.states, theirs.states)


@pytest.mark.parametrize("mode", ["fits", "mixed"])
def test_every_epoch_has_every_row_in_another_order(made, mode):
    batches = ie_store.open_store(made.store, made.name).ie.batches(0, 1, 21, epochs=4, **MODES[mode])
    orders = [batch.sequence.tolist() for batch in batches]
    assert [sorted(order) for order in orders] == [list(range(21))] * 4
    assert len({tuple(order) for order in orders}) == 4


def test_what_fits_is_read_once(made, monkeypatch):
    reads = []
    monkeypatch.setattr(
        "ie_store.access.batches.read_shards", lambda *given: reads.append(given[2].tolist()) or read_shards(*given)
    )
    dataset = ie_store.open_store(made.store, made.name)
    for mode, expected in (("fits", 1), ("mixed", 9)):
        reads.clear()
        assert len(list(dataset.ie.batches(0, 1, 4, epochs=3, **MODES[mode]))) == 18
        assert len(reads) == expected


def test_it_says_how_rows_are_mixed(made):
    dataset = ie_store.open_store(made.store, made.name)
    orders = {mode: dataset.ie.batches(0, 1, **options).order for mode, options in MODES.items()}
    assert orders["fits"] == "uniform permutation of 21 rows"
    assert orders["mixed"].startswith("not a uniform permutation: 3 shards shuffled")
    assert orders["stored"] == "as stored"


def test_of_a_selection_only_its_sequences_come(made):
    dataset = ie_store.open_store(made.store, made.name).isel(sequence=[20, 3, 9])
    found = torch.cat([batch.sequence for batch in dataset.ie.batches(1, 1)])
    assert sorted(found.tolist()) == [3, 9, 20]
    tree = ie_store.open_store(made.store)
    assert len(list(tree[made.name].to_dataset().isel(sequence=[1]).ie.batches(1, 1))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_gives_every_batch_once(made, workers):
    batches = ie_store.open_store(made.store, made.name).ie.batches(2, 0, batch_size=4, memory_bytes=9 * 16)
    assert isinstance(batches, torch.utils.data.IterableDataset)
    truth = values_of(made, 2, 0)
    found = list(DataLoader(batches, batch_size=None, num_workers=workers))
    assert sorted(int(row) for batch in found for row in batch.sequence) == list(range(21))
    for batch in found:
        np.testing.assert_array_equal(batch.states.numpy(), truth[batch.sequence.numpy()])


def test_a_sample_is_drawn_by_its_seed(made):
    dataset = ie_store.open_store(made.store, made.name)
    drawn = [dataset.ie.sample(6, seed=seed).sequence.values.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(set(drawn[0]))
    assert len(drawn[0]) == 6
    xr.testing.assert_identical(dataset.ie.sample(21).load(), dataset.load())
    with pytest.raises(InputError, match="n is 22 and the dataset has 21 sequences"):
        dataset.ie.sample(22)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 7}, "does not exist"),
        ({"dtype": "int8"}, "dtype 'int8' is not known"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"start": 9}, "start is 9, and there are 1 batches"),
        ({"memory_bytes": 9}, "memory_bytes has room for 0 rows"),
    ],
)
def test_what_cannot_be_is_refused(made, options, message):
    with pytest.raises(InputError, match=message):
        ie_store.open_store(made.store, made.name).ie.batches(**({"layer": 0, "position": 0} | options))


def test_what_is_not_stored_is_named(tmp_path):
    made = make(tmp_path / "s", layers=(1, 2), positions=(0, 2)).write()
    with pytest.raises(InputError, match=r"layer 0, position 0 is not stored; stored are layers \[1, 2\] and positions \[0, 2\]"):
        ie_store.open_store(made.store, made.name).ie.batches(0, 0)


def test_damage_is_found_unless_nobody_looks(tmp_path):
    made = make(tmp_path / "s", rows=64, size=64)
    rng = np.random.default_rng(0)
    made.states["macro"] = rng.standard_normal(made.states["macro"].shape).astype(np.float16)
    place = tmp_path / "s/model/corpus/macro/c/0/0/0/0"
    made.write()
    raw = bytearray(place.read_bytes())
    raw[16 + 100] ^= 1
    place.write_bytes(raw)
    with pytest.raises(StoreError, match="checksum is not the ledger's"):
        list(ie_store.open_store(made.store, made.name).ie.batches(0, 0))
    assert len(list(ie_store.open_store(made.store, made.name, verify=False).ie.batches(0, 0))) == 1


def test_what_its_user_does_to_a_batch_stays_with_the_batch(made):
    dataset = ie_store.open_store(made.store, made.name)
    truth, rows = dataset.macro.sel(layer=0, position=1).values, dataset.sequence.values.copy()
    for options in ({}, {"shuffle": False}, {"memory_bytes": 9 * 16}):
        for batch in dataset.ie.batches(0, 1, batch_size=4, dtype="stored", **options):
            np.testing.assert_array_equal(batch.states.float().numpy(), truth[batch.sequence.numpy()])
            batch.states.zero_()
            batch.sequence.zero_()
        np.testing.assert_array_equal(dataset.sequence.values, rows)


def test_a_dataset_of_others_has_no_store(made):
    dataset = ie_store.open_store(made.store, made.name)
    for lost in (dataset.where(dataset.sequence > 3), xr.Dataset({"macro": ("sequence", [1.0])}, {"sequence": [0]})):
        with pytest.raises(InputError, match="does not say which store it was opened from"):
            lost.ie.batches(0, 0)


def test_batches_join_their_sequences(made):
    dataset = ie_store.open_store(made.store, made.name)
    batch = next(iter(dataset.ie.batches(1, 1, batch_size=4)))
    chosen = dataset.sel(sequence=batch.sequence).macro.sel(layer=1, position=1)
    np.testing.assert_array_equal(chosen.values, batch.states.numpy())


def test_a_batch_shares_no_more_memory_than_its_rows_take(tmp_path):
    """A worker of a DataLoader sends the whole storage that lies under a tensor."""
    made = make(tmp_path / "s", dtype="float16").write()
    batches = ie_store.open_store(made.store, made.name).ie.batches(1, 2, batch_size=4, dtype="stored", shuffle=False)
    for batch in batches:
        assert batch.states.untyped_storage().nbytes() == batch.states.nbytes
