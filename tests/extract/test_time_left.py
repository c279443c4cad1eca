"""The time that is left follows from what was done of late, on a clock that the test turns."""

import pytest

from ie_store.extract.run import extract
from ie_store.extract.time_left import TimeLeft
from ie_store.options import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(rates: list[tuple[float, float]], total: float) -> tuple[Clock, TimeLeft, float]:
    """A run that goes through (seconds, work per second), told ten times a second; work done."""
    clock = Clock()
    left, done = TimeLeft(total, clock), 0.0
    for seconds, rate in rates:
        for _ in range(round(10 * seconds)):
            clock.now += 0.1
            done += rate / 10
            left.seconds(done)
    return clock, left, done


def test_a_steady_run_is_told_to_the_second() -> None:
    _, left, done = run([(40, 3.0)], total=300.0)
    assert left.seconds(done) == pytest.approx((300 - 120) / 3, rel=0.01)


@pytest.mark.parametrize(("before", "after"), [(0.25, 1.0), (1.0, 0.25)])
def test_load_that_goes_or_comes_is_forgotten_after_as_long_again(before: float, after: float) -> None:
    _, left, done = run([(20, before), (20, after)], total=1000.0)
    assert left.seconds(done) == pytest.approx((1000 - done) / after, rel=0.02)


def test_nothing_is_told_before_anything_is_done() -> None:
    clock = Clock()
    left = TimeLeft(10.0, clock)
    assert left.seconds(0.0) is None
    clock.now = 5.0
    assert left.seconds(0.0) is None
    assert left.seconds(5.0) == 5.0


def test_an_extraction_tells_the_whole_run(make_spec) -> None:
    told: list[Progress] = []
    extract(make_spec(batch_size=2), on_progress=told.append)
    whole = [progress for progress in told if progress.is_whole_run]
    assert [progress.done for progress in whole] == sorted(progress.done for progress in whole)
    assert whole[-1].done == whole[-1].total
    assert whole[-1].seconds_left is not None
    assert {progress.stage for progress in told if not progress.is_whole_run} == {"micro states", "macro states", "audit"}
