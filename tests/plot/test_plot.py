"""Pictures against the values that were planted: the table behind each, and that its specification is a valid one."""

import subprocess
import sys

import numpy as np
import pytest
import vl_convert
import xarray as xr
from planted_results import HALF, SIGMAS, exact_bits, mean_micro, planted_model

import ie_store
from ie_store import plot
from ie_store.errors import InputError
from ie_store.store.results.open_estimates import Estimates

BLOCKS, POSITIONS, LAST = 4, 6, 5


def robust(layer, position):
    return exact_bits(layer, position) * 0.9


def weaker(layer, position):
    return exact_bits(layer, position) * (0.9 - 0.1 * layer)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("stores") / "store")
    planted_model(path, "a/c", robust=robust)
    planted_model(path, "b/c", robust=weaker, random=True)
    return path


@pytest.fixture(scope="module")
def estimates(store):
    return ie_store.open_estimates(store, "a/c")


@pytest.fixture(scope="module")
def other(store):
    return ie_store.open_estimates(store, "b/c")


@pytest.fixture(scope="module")
def charts(estimates, other):
    of_one = {name: getattr(plot, name)(estimates) for name in plot.__all__ if name != "difference"}
    return of_one | {"difference": plot.difference(estimates, other)}


def rows(table, **at):
    for name, value in at.items():
        table = table[table[name] == value]
    return table


@pytest.mark.slow
def test_every_picture_is_drawn_without_a_word_of_complaint(charts, capfd):
    for name, chart in charts.items():
        drawn = vl_convert.vegalite_to_svg(chart.to_dict())
        assert drawn.startswith("<svg"), name
        assert "NaN" not in drawn, name
    assert capfd.readouterr().err == ""


def test_profile_has_every_reading_with_its_interval_and_the_last_layer(charts):
    table = charts["profile"].data
    noise = rows(table, reading="noise (sigmas 1,4,16, sigma 4)")
    assert noise.layer.tolist() == list(range(BLOCKS + 1))
    np.testing.assert_allclose(noise.bits, [robust(layer, LAST) for layer in range(BLOCKS + 1)], atol=1e-5)
    np.testing.assert_allclose(noise.bits - noise.low, HALF, atol=1e-5)
    assert noise.iloc[1].interval == "5.30 to 5.50"
    assert rows(table, reading="decode").outcome.tolist() == ["converged"] * BLOCKS + ["step limit"]
    mine = rows(table, reading="mine")
    assert mine.outcome.tolist() == ["saturated"] * 3
    assert mine.layer.tolist() == [0, 2, 3]
    assert mine.run.nunique() == 2  # no line joins layers that are not neighbours
    assert mine["flags"].tolist() == ["", "", "macro: within reach of ln(test rows)"]
    np.testing.assert_allclose(rows(table, reading="exact").bits, [0, 6, 6, 6, 6], atol=1e-9)


def test_profile_of_another_position(estimates):
    table = plot.profile(estimates, position=2).data
    assert set(table.reading) == {"exact", "noise (sigmas 1,4,16, sigma 4)"}
    np.testing.assert_allclose(rows(table, reading="exact").bits, [2, 4, 4, 4, 4], atol=1e-9)
    with pytest.raises(InputError, match="has no values at position 9; it has some at"):
        plot.profile(estimates, position=9)


def test_emergence_has_the_staircase_and_every_block(charts):
    table = charts["emergence"].data
    treads = rows(table, blocks="blocks 1-3")
    np.testing.assert_allclose(treads.bits, [exact_bits(1, t) - mean_micro(t) for t in range(POSITIONS)], atol=1e-5)
    assert (treads.right - treads.left).tolist() == [1.0] * POSITIONS
    assert rows(table, blocks="block 0").bits.iloc[-1] == pytest.approx(-1.0)
    marks = rows(table, blocks="")
    assert len(marks) == BLOCKS * POSITIONS
    np.testing.assert_allclose(
        marks.bits, [robust(b, t) - mean_micro(t) for b, t in zip(marks.block, marks.position, strict=True)], atol=1e-5
    )
    assert (abs(marks["at"] - marks.position) < 0.5).all()
    assert set(marks.outcome) == {"certified"}
    shown = [tip for layer in charts["emergence"].to_dict()["layer"] for tip in layer["encoding"].get("tooltip", ())]
    assert {tip["format"] for tip in shown if tip["field"] == "block"} == {"d"}


def test_emergence_of_one_estimator(estimates):
    assert set(plot.emergence(estimates, "mine").data.outcome) == {"exact", "saturated"}
    assert set(plot.emergence(estimates, "exact").data.outcome) == {"exact"}
    with pytest.raises(InputError, match="'smile' has no ie in a/c; choose from: exact, decode, noise, mine"):
        plot.emergence(estimates, "smile")


def test_map_of_readable_tokens(charts):
    table = charts["tokens"].data
    assert len(table) == (BLOCKS + 1) * POSITIONS
    newest = rows(table, token_position=4, layer=BLOCKS).iloc[0]
    assert newest.bits == pytest.approx(2 * np.exp(-1 / 5), abs=1e-5)
    assert newest.exact == 2
    assert newest.interval == "1.54 to 1.74"


def test_curves_over_sigma(charts):
    table = charts["curves"].data
    assert sorted(set(table.sigma)) == list(SIGMAS)
    last = rows(table, layer=BLOCKS)
    np.testing.assert_allclose(last.bits, [6, 5.4, 1.62], atol=1e-5)
    np.testing.assert_allclose(last.high - last.low, 2 * HALF, atol=1e-5)


def test_spectra_and_dimensions(charts):
    shares = rows(charts["spectrum"].data, layer=BLOCKS)
    np.testing.assert_allclose(shares.share, [0.5**rank * 1.8 for rank in range(1, 9)], atol=1e-6)
    found = charts["dimensions"].data
    assert list(dict.fromkeys(found.measure)) == ["effective rank", "participation ratio", "intrinsic dimension (TwoNN)"]
    two_nn = rows(found, measure="intrinsic dimension (TwoNN)")
    np.testing.assert_allclose(two_nn.high - two_nn.low, 1.0, atol=1e-5)


def test_two_datasets_and_their_difference(charts, estimates, other):
    table = charts["difference"].data
    difference = rows(table, series="difference")
    np.testing.assert_allclose(difference.bits, [0, 0.6, 1.2, 1.8], atol=1e-5)
    np.testing.assert_allclose((difference.high - difference.low)[1:], 4 * HALF, atol=1e-5)
    assert difference.told_apart.tolist() == ["no", "yes", "yes", "yes"]
    saturated = plot.difference(estimates, other, estimator="mine").data
    assert set(saturated.series) == {"a/c", "b/c"}  # "at least" has no difference
    with pytest.raises(InputError, match="not both have 'js'"):
        plot.difference(estimates, other, estimator="js")


def test_what_is_not_there_is_said_with_the_command_that_makes_it(tmp_path, estimates):
    from made_store import make
    from planted_results import plant_values

    from ie_store.estimators import estimator_spec
    from ie_store.specs import Outcome

    made = make(tmp_path / "store", seed=1).write()
    plant_values(made, estimator_spec("exact"), exact_bits, [(0, 0), (1, 0)], Outcome.EXACT, half=0.0)
    alone = ie_store.open_estimates(made.store, made.name)
    assert set(plot.profile(alone).data.reading) == {"exact"}
    assert set(plot.emergence(alone).data.outcome) == {"exact"}
    for name in ("curves", "spectrum", "dimensions", "tokens"):
        with pytest.raises(InputError, match=r"ie-store (estimate|profile)"):
            getattr(plot, name)(alone)
    with pytest.raises(InputError, match="not of one corpus"):
        plot.difference(estimates, alone)


def test_without_altair_the_message_says_what_to_install():
    code = "import sys; sys.modules['altair'] = None; import ie_store; ie_store.plot"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "InputError: pictures need the package altair; install it with: pip install 'ie-store[plot]'" in found.stderr


def test_deep_models_and_long_rows_stay_below_altairs_limit():
    layers, positions = 91, 64
    over = {"block": range(layers - 1), "position": range(positions), "layer": range(layers), "token_position": range(positions)}
    grid = {name: (("block", "position"), np.ones((layers - 1, positions))) for name in ("ie", "ie_low", "ie_high", "ceiling_ie")}
    texts = {name: (("block", "position"), np.full((layers - 1, positions), "certified")) for name in ("outcome_ie", "flags")}
    past = np.ones((layers, positions, positions))
    maps = {f"macro_token_nats{end}": (("layer", "position", "token_position"), past) for end in ("", "_low", "_high")}
    attributes = {"results": "noise-0", "label": "noise", "options": "{}"}
    node = xr.Dataset(grid | texts | maps, coords=over, attrs=attributes)
    found = Estimates.from_dict({"/": xr.Dataset(attrs={"name": "a/c"}), "noise": node})
    for chart in (plot.emergence(found), plot.tokens(found)):
        assert len(chart.data) <= 5000
        assert chart.data.position.max() == positions - 1
        chart.to_dict()
