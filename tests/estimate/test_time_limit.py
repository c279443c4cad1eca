"""A time limit ends a run with what is done; the same call goes on, and ends with what an unlimited one writes."""

from types import SimpleNamespace

import pytest
from ie_store_cli.render.estimate_report import time_is_up
from known_store import NAME, random_tokens, write_store

import ie_store
from ie_store import plot
from ie_store.errors import InputError
from ie_store.estimate import watch
from ie_store.estimate.run import estimate, run_estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.report.run import report
from ie_store.store.results.show import read_results, show_results

NOISE = estimator_spec("noise")


class Clock:
    """`monotonic` that stands still but where work is done."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("ie_store.estimate.run.BATCH_BYTES", {"cpu": 1})
    for module in ("run", "watch"):
        monkeypatch.setattr(f"ie_store.estimate.{module}.monotonic", made)
    return made


def spec(store, **options):
    return EstimateSpec(store=store, name=NAME, estimators=(NOISE,), positions="0,2", **options)


def passing(clock, seconds):
    """A callback in whose reports of finished problems time passes; and what it was told."""
    told = []

    def tell(progress):
        if progress.is_whole_run:
            told.append(progress)
            clock.now += seconds if len(told) > 1 else 0

    return told, tell


@pytest.mark.slow
def test_runs_of_limited_time_end_like_one_without_limit(tmp_path, clock):
    tokens = random_tokens(60)
    whole, limited = (write_store(tmp_path / name, tokens) for name in ("whole", "limited"))
    wanted = estimate(spec(whole))
    num_problems = 2 * (2 * 2 + 2 * 3)  # exact and noise: two blocks, macro at two positions, micro at three
    done, runs = 0, 0
    while done < num_problems:
        report = run_estimate(spec(limited, time_limit="10s"), passing(clock, 2.0)[1])
        assert report.num_problems == num_problems
        assert report.num_done == done + report.num_done_now
        assert len(read_results(limited, NAME, NOISE)) + len(read_results(limited, NAME, estimator_spec("exact"))) > 0
        done = report.num_done
        assert report.num_done_now == 5
        assert report.complete == (done == num_problems)
        runs += 1
    assert runs == num_problems // 5
    assert report.emergences == wanted == estimate(spec(limited))


def test_an_item_that_time_cuts_off_is_not_recorded(tmp_path, clock):
    store = write_store(tmp_path / "store", random_tokens(60))
    estimate(spec(store, blocks="0"))

    def tell(progress):
        clock.now += 0 if progress.is_whole_run else 100

    report = run_estimate(spec(store, time_limit="90s"), tell)
    assert 0 < report.num_done < report.num_problems
    assert not report.complete
    assert {problem.block for problem in read_results(store, NAME, NOISE)} == {0}


def test_what_was_done_before_counts_and_time_left_comes_from_finished_items(tmp_path, clock):
    store = write_store(tmp_path / "store", random_tokens(60))
    told, tell = passing(clock, 3.0)
    estimate(spec(store, blocks="0"), tell)
    assert (told[0].done, told[0].total, told[0].seconds_left) == (0, 10, None)
    assert told[1].seconds_left is None  # exact alone was measured
    assert told[3].seconds_left is not None
    assert (told[-1].done, told[-1].seconds_left) == (10, 0.0)
    told, tell = passing(clock, 3.0)
    estimate(spec(store), tell)
    assert (told[0].done, told[0].total) == (10, 20)
    assert [estimate.estimator for estimate in told[2].found.values()] == ["noise"]


@pytest.mark.parametrize("text", ["2", "soon", "", "-1h", "0s", "1..5h", "h"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InputError, match=r"time-limit is .*30m"):
        EstimateSpec(store="s", name="a/b", time_limit=text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5m", 90)])
def test_times_are_read(text, seconds):
    assert EstimateSpec(store="s", name="a/b", time_limit=text).time_limit_seconds == seconds


def test_cost_of_other_rows_is_in_proportion_to_the_nearest():
    rows = {"a": 100, "b": 1000, "c": 500, "d": 10}
    items = {name: Item(name) for name in rows}
    costs = watch.Costs(lambda item: rows[item.name])
    assert costs.seconds_left(list(items.values())) is None
    costs.add(items["a"], 2.0)
    costs.add(items["b"], 10.0)
    assert costs.seconds_left([items["c"]]) == pytest.approx(5.0)
    assert costs.seconds_left([items["d"], items["a"]]) == pytest.approx(2.2)


def test_emergences_of_what_is_done_are_there_before_the_end(tmp_path, clock):
    store = write_store(tmp_path / "store", random_tokens(60))
    report = run_estimate(spec(store, time_limit="41s"), passing(clock, 3.0)[1])  # after the 12 micro items, and 2 macro ones
    assert report.num_done == 14
    assert [(one.block, one.position) for one in report.emergences if one.estimator == "noise"] == [(0, 0)]


def test_a_run_without_macro_values_yet_is_shown_and_drawn(tmp_path, clock):
    store = write_store(tmp_path / "store", random_tokens(60))
    assert run_estimate(spec(store, time_limit="25s"), passing(clock, 3.0)[1]).num_done == 9
    found = ie_store.open_estimates(store, NAME)
    assert set(found["noise"].data_vars) >= {"mi_micro"}
    assert set(plot.profile(found).data.reading) == {"exact"}
    assert set(plot.emergence(found).data.outcome) == {"exact"}
    assert show_results(store, NAME)["estimates"]
    report(store, [NAME], tmp_path / "report.html")
    assert "exact" in (tmp_path / "report.html").read_text()


def test_a_limit_leaves_no_time_to_forecast_in(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("ie_store.estimate.run.is_worth_a_forecast", lambda *_: True)
    monkeypatch.setattr("ie_store.estimate.run.make_forecast", lambda *_: "forecast")
    store = write_store(tmp_path / "store", random_tokens(60))
    report = run_estimate(spec(store, time_limit="5s"), passing(clock, 10.0)[1])
    assert report.forecast is None
    assert not report.complete
    assert run_estimate(spec(store)).forecast == "forecast"


def test_a_run_that_finished_nothing_asks_for_more_time():
    report = SimpleNamespace(num_done=4, num_problems=9, num_done_now=0)
    assert "none of them in this run: give a longer --time-limit" in time_is_up(report, "1s")
    report.num_done_now = 2
    assert "2 of them in this run; the same command goes on" in time_is_up(report, "1s")


def test_time_left_is_shared_among_no_more_workers_than_items(tmp_path, clock, monkeypatch):
    class OfMany(watch.Watch):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.at_once = 8

    monkeypatch.setattr("ie_store.estimate.run.Watch", OfMany)
    monkeypatch.setattr(watch.Costs, "seconds_left", lambda costs, items: 24.0 * len(items))
    store = write_store(tmp_path / "store", random_tokens(60))
    told, tell = passing(clock, 3.0)
    estimate(spec(store), tell)
    assert [progress.seconds_left for progress in told[-3:]] == [24.0, 24.0, 0.0]
    assert told[1].seconds_left == 24.0 * (told[1].total - told[1].done) / 8


def test_a_few_rows_tell_nothing_of_many():
    costs = watch.Costs(lambda item: int(item.name))
    costs.add(Item("25"), 1.0)
    assert costs.seconds_left([Item("2500")]) == pytest.approx(100.0)
    assert costs.seconds_left([Item("2501")]) is None


def test_block_0_alone_tells_nothing_of_other_blocks():
    costs = watch.Costs(lambda item: 100)
    costs.add(Item("first", blocks=(0,)), 0.01)
    assert costs.seconds_left([Item("other")]) is None
    costs.add(Item("second"), 3.0)
    assert costs.seconds_left([Item("third"), Item("fourth"), Item("first", blocks=(0,))]) == pytest.approx(6.01)


class Item:
    """As much of a work item as its cost needs."""

    estimator = "noise"

    def __init__(self, name, blocks=(1,)):
        self.name = name
        self.batch = type("Batch", (), {"problems": (None,), "level": "macro", "blocks": blocks})
