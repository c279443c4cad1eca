"""Profiles in the store: what is written, what a killed run leaves, what is flagged, and who can read it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from known_store import NAME, random_tokens, write_store

from ie_store.errors import InputError
from ie_store.estimate.profile import profile
from ie_store.options import ProfileSpec
from ie_store.profiles import PROFILES, profile_method
from ie_store.store.dataset.remove import remove_dataset
from ie_store.store.results.group import group_name
from ie_store.store.results.records import record_items
from ie_store.store.results.show import show_results
from ie_store.store.results.show_profiles import show_profiles
from ie_store.store.verify import verify_dataset

SPECTRUM, NEIGHBOURS = profile_method("spectrum"), profile_method("neighbours", overlap_rank=10)
BOTH = (SPECTRUM, NEIGHBOURS)


@pytest.fixture(scope="module")
def tokens():
    return random_tokens(1600, positions=2, kinds=60)


@pytest.fixture
def store(tmp_path, tokens):
    return write_store(tmp_path / "store", tokens, layers=4)


def spec(store, **options):
    return ProfileSpec(**{"store": store, "name": NAME, "profiles": BOTH} | options)


def opened(store, method):
    return xr.open_zarr(f"{store}/{NAME}/estimates/{group_name(method.identity)}", consolidated=False).load()


def flags_of(store, method):
    return opened(store, method).attrs["flags"]


def test_plain_xarray_opens_a_profile_and_finds_every_variable_of_the_table(store):
    profile(spec(store))
    for method in BOTH:
        found = opened(store, method)
        assert {variable.name for variable in method.row.variables} <= set(found)
        for variable in method.row.variables:
            assert found[variable.name].dims == variable.dimensions
            assert found[variable.name].attrs["long_name"] == variable.long_name
        assert found.layer.values.tolist() == [0, 1, 2, 3]
        assert np.isnan(found.num_rows.sel(position=0)).all()
    tree = xr.open_datatree(f"{store}/{NAME}", engine="zarr", consolidated=False)
    assert {group_name(method.identity) for method in BOTH} <= set(tree["estimates"].children)


@pytest.mark.slow
def test_values_are_those_of_the_rows(store, tokens):
    profile(spec(store))
    macro = xr.open_zarr(f"{store}/{NAME}", consolidated=False).macro.values.astype(np.float64)
    found, near = opened(store, SPECTRUM), opened(store, NEIGHBOURS)
    for layer in range(4):
        rows = macro[layer, 1]
        expected = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
        assert found.eigenvalue_share[layer, 1].values == pytest.approx(expected / expected.sum(), abs=1e-9)
        assert float(found.num_rows[layer, 1]) == len(tokens)
    distinct = [np.unique(macro[layer, 1], axis=0) for layer in range(4)]
    for layer in (1, 3):
        apart = ((distinct[layer][:, None] - distinct[layer][None]) ** 2).sum(axis=2)
        np.fill_diagonal(apart, np.inf)
        assert float(near.smallest_distance[layer, 1]) == pytest.approx(np.sqrt(apart.min()), rel=1e-9)
        assert float(near.num_rows[layer, 1]) == len(np.unique(tokens, axis=0))
    assert float(near.two_nn[2, 1]) == pytest.approx(6, rel=0.25)  # Gaussian in 6 dimensions
    assert bool((near.two_nn_low < near.two_nn).sel(layer=[1, 2, 3], position=1).all())
    assert float(near.overlap[2, 1]) < 0.05  # of layers that have nothing to do with each other
    assert float(near.imbalance_forward[2, 1]) == pytest.approx(1, abs=0.1)


def test_massive_rows_are_left_out_beside_the_whole(tmp_path, tokens):
    def plant(macro, micro):
        macro[2, 1, 5:8] *= 1e4

    store = write_store(tmp_path / "store", tokens, layers=4, change=plant)
    profile(spec(store, profiles=(SPECTRUM,)))
    found = opened(store, SPECTRUM).sel(layer=2, position=1)
    assert 1 <= float(found.num_massive) <= 3
    assert float(found.effective_rank) < 3.5
    assert float(found.effective_rank_without_massive) == pytest.approx(6, abs=0.2)
    assert float(opened(store, SPECTRUM).num_massive.sel(layer=1, position=1)) == 0


def test_equal_layers_agree_and_layer_0_is_not_compared_with_prefixes(tmp_path, tokens):
    def repeat(macro, micro):
        macro[3] = macro[2]

    store = write_store(tmp_path / "store", tokens, layers=4, change=repeat)
    profile(spec(store, profiles=(NEIGHBOURS,)))
    found = opened(store, NEIGHBOURS).sel(position=1)
    assert float(found.overlap.sel(block=2)) == 1
    assert float(found.imbalance_forward.sel(block=2)) == pytest.approx(2 / float(found.num_rows.sel(layer=3)))
    assert np.isnan(float(found.overlap.sel(block=0)))
    assert any("tokens apart" in flag for flag in flags_of(store, NEIGHBOURS)["layer/1/1"])


def test_constant_slabs_are_flagged_and_nothing_crashes(tmp_path, tokens):
    def flatten(macro, micro):
        macro[2] = 3.0

    store = write_store(tmp_path / "store", tokens, layers=4, change=flatten)
    profile(spec(store))
    spectrum, near = (opened(store, method).sel(layer=2, position=1) for method in BOTH)
    assert float(spectrum.total_variance) == 0
    assert np.isnan(float(spectrum.effective_rank))
    assert float(near.smallest_distance) == 0
    assert float(near.num_equal) == float(near.num_rows)
    assert np.isnan(float(near.two_nn))
    assert np.isnan(near.gride.values).all()
    assert "all rows of the layer are equal" in flags_of(store, SPECTRUM)["layer/2/1"][0]
    assert "share their stored state" in flags_of(store, NEIGHBOURS)["layer/2/1"][0]


def test_few_distinct_rows_have_no_dimension_but_a_smallest_distance(store):
    profile(spec(store, positions="0"))
    found = opened(store, NEIGHBOURS).sel(layer=1, position=0)
    assert float(found.num_rows) == 60
    assert float(found.smallest_distance) > 0
    assert "two_nn" not in found or np.isnan(float(found.two_nn))
    assert "fewer than 1,000" in flags_of(store, NEIGHBOURS)["layer/1/0"][0]


def test_one_distinct_row_has_no_neighbours(tmp_path):
    store = write_store(tmp_path / "store", np.full((5, 1), 3, dtype=np.int32))
    profile(spec(store))
    assert "no neighbours" in flags_of(store, NEIGHBOURS)["layer/0/0"][0]
    assert float(opened(store, SPECTRUM).total_variance[1, 0]) == 0


@pytest.mark.slow
def test_a_draw_of_rows_is_the_same_in_all_layers_and_follows_the_seed(tmp_path, tokens):
    def repeat(macro, micro):
        macro[3] = macro[2]

    store = write_store(tmp_path / "store", tokens, layers=4, change=repeat)
    drawn = [profile_method("neighbours", rows=1000, seed=seed) for seed in (0, 1)]
    for method in drawn:
        profile(spec(store, profiles=(method,)))
    one, other = (opened(store, method).sel(position=1) for method in drawn)
    assert float(one.num_rows.sel(layer=3)) == 1000
    assert float(one.overlap.sel(block=2)) == 1
    assert float(one.two_nn.sel(layer=3)) != float(other.two_nn.sel(layer=3))


def test_what_is_recorded_is_not_computed_again(store, monkeypatch):
    profile(spec(store, layers="0-1"))
    done = []
    first = profile(spec(store), on_progress=lambda progress: done.append(progress.total))
    assert done == [4] * 4  # two layers, two profiles
    assert not np.isnan(first["spectrum"]["total_variance"][1][:, 1]).any()
    profile(spec(store), on_progress=lambda progress: pytest.fail("nothing is left to do"))


CHILD = """
import sys, torch
torch.set_num_threads(1)
import ie_store.estimate.profile as module
from ie_store.options import ProfileSpec
from ie_store.profiles import profile_method
module.ASSEMBLE_SECONDS = 0.0
methods = (profile_method("spectrum"), profile_method("neighbours", overlap_rank=10))
print("ready", flush=True)
module.profile(ProfileSpec(store=sys.argv[1], name=sys.argv[2], profiles=methods))
"""


@pytest.mark.slow
def test_a_killed_profile_ends_like_an_uninterrupted_one(tmp_path, tokens):
    whole, killed = (write_store(tmp_path / name, tokens, layers=6) for name in ("whole", "killed"))
    profile(spec(whole))
    child = subprocess.Popen([sys.executable, "-c", CHILD, killed, NAME], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    from ie_store.store.files.open import open_storage

    key, began = f"{NAME}/estimates/{group_name(NEIGHBOURS.identity)}", time.monotonic()
    while len(record_items(open_storage(killed), key)) < 2 and time.monotonic() - began < 60:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)
    kept = record_items(open_storage(killed), key)
    assert 2 <= len(kept) < 6
    profile(spec(killed))
    for method in BOTH:
        xr.testing.assert_equal(opened(killed, method), opened(whole, method))


def test_the_other_commands_cope_with_profiles(store):
    profile(spec(store))
    assert verify_dataset(store, NAME).faults == []
    assert show_results(store, NAME)["estimates"] == []
    shown = show_profiles(store, NAME)
    assert [one["profile"] for one in shown["profiles"]] == [row.name for row in PROFILES]
    layers = shown["profiles"][1]["layers"]
    assert [(row["layer"], row["position"]) for row in layers] == [(layer, 1) for layer in range(4)]
    assert layers[2]["gride"][0] > 0
    assert [row["block"] for row in shown["profiles"][1]["blocks"]] == [1, 2]
    remove_dataset(store, NAME)


def test_verify_finds_a_changed_profile(store):
    profile(spec(store, profiles=(SPECTRUM,)))
    (chunk,) = Path(f"{store}/{NAME}/estimates/{group_name(SPECTRUM.identity)}/total_variance").glob("c/0/0")
    chunk.write_bytes(chunk.read_bytes()[::-1])
    assert any("total_variance" in fault for fault in verify_dataset(store, NAME).faults)


def test_what_is_not_stored_is_refused(tmp_path, tokens):
    store = write_store(tmp_path / "store", tokens, layers=4, stored_layers=(1, 3), stored_positions=(1,))
    profile(spec(store))
    assert np.isnan(opened(store, NEIGHBOURS).num_rows.sel(layer=2)).all()
    with pytest.raises(InputError, match="layer 2 is not stored; the dataset has macro states of layers 1, 3"):
        profile(spec(store, layers="2"))
    with pytest.raises(InputError, match="position 0 is not stored"):
        profile(spec(store, positions="0"))
