"""Forecasts of stage two: laws that are known are met, samples stand for the whole, and planning writes nothing."""

import numpy as np
import pytest
from known_store import NAME, random_tokens, write_store

from ie_store.estimate import calibrate as calibration
from ie_store.estimate import forecast as module
from ie_store.estimate.forecast import carried_on
from ie_store.estimate.run import estimate, plan_estimate, run_estimate
from ie_store.estimate.stored_rows import HeldRows
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec

NOISE, CCA = estimator_spec("noise"), estimator_spec("cca")
LAWS = {
    "constant": lambda rows: 3.0,
    "linear": lambda rows: 0.002 * rows,
    "linear and fixed": lambda rows: 1.0 + 0.002 * rows,
    "rows log rows": lambda rows: 1e-3 * rows * np.log(rows),
    "quadratic": lambda rows: 1e-6 * rows**2,
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("rows", [100, 700, 4096, 60_000, 300_000])
def test_the_span_holds_what_laws_give(law, rows):
    points = [(size, LAWS[law](size)) for size in (256, 1024, 4096)]
    found = carried_on(rows, points)
    assert found.low <= found.middle <= found.high
    if rows >= points[0][0] or law == "constant":
        assert found.low <= LAWS[law](rows) <= found.high
    if law in ("constant", "linear", "linear and fixed") and rows >= points[0][0]:
        assert found.middle == pytest.approx(LAWS[law](rows))


def test_nothing_measured_is_carried_on_as_nothing():
    assert carried_on(10_000, [(256, 0.0), (1024, 0.0)]).high == 0.0


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", random_tokens(600, kinds=8))


def spec(store, **options):
    return EstimateSpec(store=store, name=NAME, estimators=(NOISE, CCA), **options)


def test_a_forecast_is_of_what_is_left_and_writes_nothing(store, tmp_path):
    before = sorted(path for path in tmp_path.rglob("*"))
    plan, forecast = plan_estimate(spec(store))
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert plan.num_problems == 3 * 2 * (1 + 3)
    assert set(forecast.of_estimators) == {"exact", "noise", "cca"}
    assert 0 < forecast.seconds.low < forecast.seconds.middle < forecast.seconds.high
    assert forecast.seconds.middle == pytest.approx(sum(span.middle for span in forecast.of_estimators.values()))
    assert forecast.peak_bytes.middle > 50e6  # torch alone
    estimate(spec(store))
    plan, forecast = plan_estimate(spec(store))
    assert plan.items == ()
    assert forecast.seconds.high == 0.0


def test_samples_are_part_of_the_states_and_take_as_many_distinct_rows_as_they_say(store, monkeypatch):
    monkeypatch.setattr(calibration, "SIZES", (20, 60, 10_000))
    seen, real = [], calibration.execute

    def looking(item, slabs, workplace, *more):
        problem = item.batch.problems[0]
        rows = workplace.corpus.num_distinct(problem)
        seen.append((item.estimator.name, problem.level, rows))
        if problem.level == "macro":
            of_slab = slabs[item.batch.slabs[0]].rows.tile(slice(None)).numpy()
            assert len(np.unique(of_slab, axis=0)) == rows
            assert len(of_slab) == len(workplace.corpus.groups)
        return real(item, slabs, workplace, *more)

    monkeypatch.setattr(calibration, "execute", looking)
    plan_estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))
    of_noise = [(level, rows) for name, level, rows in seen if name == "noise"]
    total = len({tuple(row) for row in random_tokens(600, kinds=8).tolist()})
    assert of_noise == [("micro", 8), ("macro", 20), ("macro", 60), ("macro", total)]


def test_a_long_run_says_at_its_end_what_was_forecast(store, monkeypatch):
    assert run_estimate(spec(store, blocks="0")).forecast is None
    monkeypatch.setattr(module, "WORTH_ROWS", 1)
    report = run_estimate(spec(store))
    assert report.forecast is not None
    assert report.seconds > 0
    assert report.peak_bytes is None or report.peak_bytes > 50e6


def test_mine_paper_is_not_tried(store):
    paper = estimator_spec("mine-paper")
    _, forecast = plan_estimate(EstimateSpec(store=store, name=NAME, estimators=(paper,), yes=True))
    assert forecast.not_forecast == ("mine-paper",)
    assert set(forecast.of_estimators) == {"exact"}


@pytest.mark.parametrize("positions", ["last", "1-2"])
def test_samples_are_of_a_block_that_has_something_to_learn(tmp_path, monkeypatch, positions):
    """Where all sequences end in one token, nothing enters block 0 at the last position, and it takes no time."""
    tokens = random_tokens(600, kinds=8)
    tokens[:, -1] = 0
    store, seen, real = write_store(tmp_path / "store", tokens, layers=6), set(), calibration.execute

    def looking(item, slabs, *more):
        seen.add((item.estimator.name, item.batch.level, item.batch.blocks))
        assert not any(isinstance(slabs[slab].rows, HeldRows) for slab in item.batch.slabs if slab.level == "macro")  # no copies
        return real(item, slabs, *more)

    monkeypatch.setattr("ie_store.estimate.run.BATCH_BYTES", {"cpu": 1})  # one problem an item
    monkeypatch.setattr(calibration, "execute", looking)
    plan_estimate(spec(store, positions=positions))
    sampled = {(name, blocks) for name, level, blocks in seen if level == "macro"}
    assert {name for name, _ in sampled} >= {"noise", "cca"}
    assert (0,) not in {blocks for _, blocks in sampled}
