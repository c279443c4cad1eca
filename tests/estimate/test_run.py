"""A whole estimate on a small store with known discrete states: values, resuming, refusals, and what readers see."""

import json
from collections import Counter
from math import log

import numpy as np
import pytest
import torch
import xarray as xr
from known_store import NAME, make_states, random_tokens, write_store

from ie_store.errors import BusyError, FlaggedError, InputError, NonFiniteError, StoreError
from ie_store.estimate.estimators.noise import noise_curve
from ie_store.estimate.run import estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.specs import Outcome
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.results.group import results_key
from ie_store.store.results.show import show_results
from ie_store.store.results.writer import open_results

NOISE = estimator_spec("noise")
EXACT = estimator_spec("exact")


@pytest.fixture
def tokens():
    return random_tokens(140)


@pytest.fixture
def store(tmp_path, tokens):
    return write_store(tmp_path / "store", tokens)


def run(store, *estimators, **options):
    return estimate(EstimateSpec(store=store, name=NAME, estimators=estimators or (NOISE,), **options))


def counted(items):
    counts = Counter(items)
    return log(counts.total()) - sum(c * log(c) for c in counts.values()) / counts.total()


def exact_ie(tokens, block, t):
    rows = [tuple(row) for row in tokens.tolist()]
    macro = counted([row[t : t + 1] if block == 0 else row[: t + 1] for row in rows])
    return macro - np.mean([counted([row[s] for row in rows]) for s in range(t + 1)])


def shown(store, estimator):
    return [entry for entry in show_results(store, NAME)["estimates"] if entry["estimator"] == estimator]


def test_exact_covers_the_grid_with_values_counted_elsewhere(store, tokens):
    run(store, EXACT)
    entries = shown(store, "exact")
    assert [(e["block"], e["position"]) for e in entries] == [(b, t) for b in range(2) for t in range(3)]
    for entry in entries:
        truth = exact_ie(tokens, entry["block"], entry["position"])
        assert entry["ie_nats"] == pytest.approx(truth, abs=1e-9)
        assert entry["ceiling_nats"] == entry["ie_nats"]
        assert entry["interval_nats"] == [entry["ie_nats"]] * 2
        assert entry["outcome"] == "exact"


def test_exact_needs_no_states_where_none_are_stored(tmp_path, tokens):
    store = write_store(tmp_path / "store", tokens, stored_layers=(1,), stored_positions=(0,))
    found = run(store, EXACT, positions="all")
    assert len(shown(store, "exact")) == 6
    assert [(one.block, one.position) for one in found] == [(b, t) for b in range(2) for t in range(3)]
    assert [one.position for one in run(store, EXACT, blocks="1")] == [2]


def test_noise_is_that_of_each_layer_over_outcomes(store, tokens):
    found = run(store, NOISE, positions="all")
    macro, micro = make_states(tokens, 3, 6)
    entry = next(e for e in found if (e.estimator, e.block, e.position) == ("noise", 1, 2))
    rows = torch.from_numpy(macro[1, 2].astype(np.float32))
    whole = noise_curve(rows, np.ones(len(rows)), NOISE.options).left  # one row per sequence, repeats and all
    lone = [
        noise_curve(torch.from_numpy(micro[1].astype(np.float32)), counts, NOISE.options, error=0.01 / 3).left
        for counts in token_counts(tokens)
    ]
    assert NOISE.options.sigmas[3] == NOISE.options.sigma
    assert entry.micro_nats == pytest.approx(np.mean([found.nats[3] for found in lone]), abs=1e-5)
    assert entry.macro_nats == pytest.approx(whole.nats[3], abs=5 * np.sqrt(2) * whole.standard_error[3])
    assert entry.ie_nats == pytest.approx(entry.macro_nats - entry.micro_nats)
    assert entry.outcome is Outcome.CERTIFIED
    assert entry.curve_nats[3] == pytest.approx(entry.interval_nats, abs=1e-9)


def test_the_parts_of_an_emergence_share_its_error(store):
    """Macro terms miss with 0.04 at most, micro ones with 0.01 together: low minus high then holds with 0.95."""
    run(store, NOISE, positions="all")
    group = xr.open_zarr(f"{store}/{results_key(NAME, NOISE)}", consolidated=False)
    errors = group.macro_error.values + group.micro_error.values.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(errors, 0.05)
    low = group.mi_macro_low.values - np.cumsum(group.mi_micro_high.values, axis=1) / np.arange(1, 4)
    np.testing.assert_allclose(group.ie_low.values, low)


def token_counts(tokens):
    values = np.unique(tokens)
    return [np.array([np.sum(column == value) for value in values]) for column in tokens.T]


def test_block_0_is_seen_through_its_last_token_only(store, tokens):
    found = run(store, NOISE)
    entry = next(e for e in found if (e.estimator, e.block) == ("noise", 0))
    assert entry.macro_nats <= counted(tokens[:, 2].tolist())
    assert entry.ceiling_nats == pytest.approx(exact_ie(tokens, 0, 2), abs=1e-9)


@pytest.mark.slow
def test_trained_estimators_go_through_the_table_and_the_rows(tmp_path):
    tokens = random_tokens(400, kinds=3)
    store = write_store(tmp_path / "store", tokens)
    found = run(store, estimator_spec("cca"), estimator_spec("mine", steps=100), positions="0,2")
    assert {(e.estimator, e.block, e.position) for e in found} == {
        (name, b, t) for name in ("exact", "cca", "mine") for b in (0, 1) for t in (0, 2)
    }
    for entry in found:
        if entry.estimator == "mine":
            assert entry.macro_nats >= 0
            assert entry.interval_nats[0] <= entry.ie_nats <= entry.interval_nats[1]


def test_plain_readers_see_the_results_beside_the_states(store, tokens):
    run(store, NOISE)
    group = xr.open_zarr(f"{store}/{results_key(NAME, NOISE)}", consolidated=False)
    assert group.mi_macro.dims == ("block", "position")
    assert group.mi_macro.attrs["units"] == "nat"
    assert group.sizes["block"] == 2
    assert group.sizes["position"] == 3
    values = group.mi_macro.values
    assert np.isnan(values[:, :2]).all()
    assert np.isfinite(values[:, 2]).all()
    assert np.isfinite(group.mi_micro.values).all()
    assert group.macro_curve_low_nats.dims == ("layer", "position", "sigma")
    assert np.isfinite(group.macro_curve_low_nats.values[:, 2]).all()  # layer L too
    meanings = group.outcome_macro.attrs["flag_meanings"].split()
    codes = dict(zip(group.outcome_macro.attrs["flag_values"], meanings, strict=True))
    assert codes[int(group.outcome_macro[0, 0])] == "not_estimated"
    assert codes[int(group.outcome_macro[0, 2])] == "certified"
    assert (group.ie_low <= group["ie"]).values[:, 2].all()
    tree = xr.open_datatree(store, engine="zarr", consolidated=False)
    leaf = tree[results_key(NAME, NOISE)]
    assert leaf["ie"].sel(block=1, position=2).item() == pytest.approx(values[1, 2] - group.ie_micro.values[1, 2])


def test_lineage_is_kept(store):
    run(store, NOISE)
    attributes = xr.open_zarr(f"{store}/{results_key(NAME, NOISE)}", consolidated=False).attrs
    assert attributes["estimator"]["name"] == "noise"
    assert attributes["estimator"]["sigmas"] == list(NOISE.options.sigmas)
    assert len(attributes["activations_digest"]) == 64
    assert attributes["sessions"][0]["torch"]


def test_show_is_json_of_the_agreed_form(store):
    run(store, NOISE)
    result = json.loads(json.dumps(show_results(store, NAME), allow_nan=False))
    assert (result["model"], result["corpus"]) == ("toy", "rows")
    wanted = {"estimator", "block", "position", "ie_nats", "interval_nats", "macro_nats", "micro_nats", "ceiling_nats", "outcome"}
    assert all(wanted <= entry.keys() for entry in result["estimates"])


def test_what_is_done_is_not_done_again(store, monkeypatch):
    first = run(store, NOISE, blocks="0")
    again = run(store, NOISE, blocks="0")
    assert again == first
    import ie_store.estimate.execute as module

    measured = []
    real = module.measure_batch
    monkeypatch.setattr(
        module, "measure_batch", lambda spec, states, tell: measured.append(states.batch) or real(spec, states, tell)
    )
    run(store, NOISE)
    assert {stack.blocks for stack in measured} == {(1,)}
    assert len(shown(store, "noise")) == 2


@pytest.mark.slow
def test_each_slab_is_read_once(store, monkeypatch):
    import ie_store.estimate.shelf as module

    read = []
    real = module.read_states
    monkeypatch.setattr(module, "read_states", lambda reader, slab, room: read.append(slab) or real(reader, slab, room))
    monkeypatch.setattr("ie_store.estimate.run.BATCH_BYTES", {"cpu": 1})
    monkeypatch.setattr("ie_store.estimate.forecast.WORTH_ROWS", 1)  # a forecast looks at slabs too
    run(store, NOISE, estimator_spec("noise", scale="rms"), estimator_spec("decode"), positions="all")
    assert len(read) == len(set(read)) == 3 * 3 + 3


def test_stacks_of_any_size_give_the_same(tmp_path, tokens, monkeypatch):
    whole = run(write_store(tmp_path / "a", tokens), NOISE)
    monkeypatch.setattr("ie_store.estimate.run.BATCH_BYTES", {"cpu": 1})
    assert run(write_store(tmp_path / "b", tokens), NOISE) == whole


def test_a_second_process_is_refused_while_the_first_lives(store):
    with open_results(open_dataset(store, NAME), NOISE.identity).hold_run(), pytest.raises(BusyError):
        run(store, NOISE)
    run(store, NOISE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "1"}, "position 1 is not stored.*0, 2"),
        ({"blocks": "2"}, "block 2 needs layers 2 and 3.*layers 0-2.*blocks 0-1"),
        ({"blocks": "9"}, "outside 0..3"),
        ({"positions": "first"}, "neither a number"),
        ({"device": "gpu"}, "device 'gpu'"),
    ],
)
def test_targets_that_are_not_stored_are_named(tmp_path, tokens, options, message):
    store = write_store(tmp_path / "store", tokens, layers=5, stored_layers=(0, 1, 2), stored_positions=(0, 2))
    with pytest.raises(InputError, match=message):
        run(store, NOISE, **options)
    assert show_results(store, NAME)["estimates"] == []


def test_an_incomplete_dataset_is_refused(tmp_path, tokens):
    store = write_store(tmp_path / "store", tokens, complete=False)
    with pytest.raises(StoreError, match=r"incomplete.*same extract command"):
        run(store, NOISE)


def test_too_few_sequences_train_nothing(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(30))
    with pytest.raises(InputError, match=r"30 sequences.*50"):
        run(store, estimator_spec("mine"))
    assert "30 sequences are too few" in run(store, NOISE)[-1].flags[0]


def test_long_published_runs_want_a_yes(tmp_path, tokens, monkeypatch):
    store = write_store(tmp_path / "store", tokens)
    monkeypatch.setattr("ie_store.estimate.estimators.mine_paper_cost.matmul_flops_per_second", lambda device: 1e6)
    with pytest.raises(InputError, match=r"mine-paper would take about .*days.*--yes"):
        run(store, estimator_spec("mine-paper"))
    assert show_results(store, NAME)["estimates"] == []


def test_nan_is_refused_with_its_place(tmp_path, tokens):
    def spoil(macro, micro):
        macro[1, 2, 77, 3] = np.nan

    store = write_store(tmp_path / "store", tokens, change=spoil)
    with pytest.raises(NonFiniteError, match=r"layer 1, position 2.*row 77"):
        run(store, NOISE)


def test_different_prefixes_with_one_state_are_flagged(tmp_path, tokens):
    def spoil(macro, micro):
        rows = [tuple(row) for row in tokens.tolist()]
        other = next(i for i, row in enumerate(rows) if row != rows[0])
        for i, row in enumerate(rows):
            if row == rows[other]:
                macro[2, 2, i] = macro[2, 2, 0]

    store = write_store(tmp_path / "store", tokens, change=spoil)
    with pytest.raises(FlaggedError) as caught:
        run(store, NOISE, strict=True)
    assert caught.value.exit_code == 3
    for estimator in ("exact", "noise"):
        flags = {entry["block"]: entry["flags"] for entry in shown(store, estimator) if entry["position"] == 2}
        assert flags[0] == [] or "layer 2" not in flags[0][0]
        assert "2 of" in flags[1][0]
        assert "layer 2" in flags[1][0]


def test_a_block_that_changes_nothing_is_flagged(tmp_path, tokens):
    def spoil(macro, micro):
        macro[2] = macro[1]

    store = write_store(tmp_path / "store", tokens, change=spoil)
    found = run(store, NOISE)
    assert ["identical" in " ".join(e.flags) for e in found if e.estimator == "noise"] == [False, True]


def test_corrected_entropies_stand_with_a_sample_and_not_with_an_enumeration(tmp_path, tokens):
    sample = write_store(tmp_path / "a", tokens)
    run(sample, EXACT)
    group = xr.open_zarr(f"{sample}/{results_key(NAME, EXACT)}", consolidated=False)
    assert np.isfinite(group.macro_chao_shen_nats.values).all()
    assert (group.macro_coverage.values > 0.5).all()
    known = {"population_prefix_nats": (1.0, 2.0, 3.0), "population_token_nats": (1.0, 1.0, 1.0)}
    whole = write_store(tmp_path / "b", tokens, **known)
    assert run(whole, EXACT)[-1].ceiling_population_nats == 2.0
