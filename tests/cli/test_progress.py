"""Lines of progress where there is no terminal: which problem of how many, time left from what was measured, and values."""

from math import log

import pytest
from ie_store_cli import progress as module
from ie_store_cli.progress import ProgressBar, found_values

from ie_store.options import Progress
from ie_store.specs import MIEstimate, Problem


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the progress bar sees; every line is due."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", -1.0)
    return now


def whole(done, left=None, found=None):
    return Progress(
        stage="estimates", done=done, total=8, unit="problems", is_whole_run=True, seconds_left=left, found=found or {}
    )


def steps(done):
    return Progress(stage="mine", done=done, total=100, unit="steps")


def estimate(bits, estimator="noise"):
    return MIEstimate.exactly(estimator, bits * log(2))


def told(capsys):
    return capsys.readouterr().err.splitlines()


def test_no_time_is_told_before_something_was_measured(clock, capsys):
    bar = ProgressBar()
    bar(whole(2))
    bar(steps(1))
    assert told(capsys) == ["estimates: 2/8 problems", "estimates: 2/8 problems; mine: 1/100 steps"]
    clock[0] += 3
    bar(steps(21))
    assert told(capsys) == ["estimates: 2/8 problems; mine: 21/100 steps, 7 steps/s, about 12 s left"]


def test_slow_work_says_how_long_each_piece_takes(clock, capsys):
    bar = ProgressBar()
    bar(steps(1))
    clock[0] += 60
    bar(steps(5))
    assert told(capsys)[-1] == "mine: 5/100 steps, 15 s each, about 23.8 min left"


def test_the_whole_run_s_time_comes_from_what_it_says_and_runs_on(clock, capsys):
    bar = ProgressBar()
    bar(whole(2))
    clock[0] += 50
    bar(whole(3, left=600.0))
    clock[0] += 60
    bar(steps(1))
    assert told(capsys)[1:] == [
        "estimates: 3/8 problems, about 10.0 min left",
        "estimates: 3/8 problems, about 9.0 min left; mine: 1/100 steps",
    ]


def test_a_run_that_takes_longer_than_foreseen_says_so(clock, capsys):
    bar = ProgressBar()
    bar(whole(3, left=20.0))
    clock[0] += 60
    bar(steps(1))
    assert told(capsys)[-1] == "estimates: 3/8 problems, longer than foreseen; mine: 1/100 steps"


def test_a_stage_that_begins_anew_is_measured_anew(clock, capsys):
    bar = ProgressBar()
    for done, seconds in ((1, 10), (100, 1000), (1, 1), (11, 0)):
        bar(steps(done))
        clock[0] += seconds
    assert told(capsys)[-1] == "mine: 11/100 steps, 10 steps/s, about 8.9 s left"


def test_values_come_with_the_next_line_in_bits(clock, capsys, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 10.0)
    bar = ProgressBar()
    for block in range(7):
        bar(whole(block, found={Problem(level="macro", block=block, position=3): estimate(9.5)}))
    clock[0] += 11
    bar(steps(1))
    line = told(capsys)[0]
    assert "block 6, position 3: noise 9.50 bits" in line
    assert "block 2," not in line
    assert "and 3 values before" in line


def test_blocks_of_one_position_make_one_text():
    found = {Problem(level="micro", block=block, position=2): estimate(block) for block in (0, 1, 2, 5)}
    found |= {Problem(level="macro", block=4, position=3): estimate(2.0, "mine")}
    assert found_values(found) == [
        "blocks 0-2, 5, lone token, position 2: noise 0.00 to 5.00 bits",
        "block 4, position 3: mine 2.00 bits",
    ]
