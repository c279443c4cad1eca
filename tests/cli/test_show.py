"""``show`` with a choice of estimators, blocks and positions, sorted, as table, JSON and CSV."""

import csv
import io

import pytest
from called import ie_store, ie_store_json
from made_store import make
from planted_results import BIT, exact_bits, planted_model


def robust(layer, position):
    """Most at block 2."""
    return exact_bits(layer, position) * (0.9, 0.7, 0.9, 0.8, 0.5)[layer]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("stores") / "store")
    planted_model(path, "a/c", robust=robust)
    planted_model(path, "b/c", random=True)
    return path


def places(shown):
    return [(entry["estimator"], entry["block"], entry["position"]) for entry in shown["estimates"]]


def test_a_choice_of_estimators_blocks_and_positions(planted):
    shown = ie_store_json("show", planted, "a/c", "--estimator", "noise", "--block", "1,last", "--position", "4-5")
    assert places(shown) == [("noise", block, position) for block in (1, 3) for position in (4, 5)]
    assert [(count["position"], count["pairs"]) for count in shown["told_apart"]] == [(4, 1), (5, 1)]
    several = ie_store_json("show", planted, "a/c", "--estimator", "mine", "--estimator", "exact", "--block", "0")
    assert set(places(several)) == {("mine", 0, 5), *(("exact", 0, t) for t in range(6))}
    page = ie_store("show", planted, "a/c", "--estimator", "noise", "--block", "2", "--position", "5").stdout
    assert "5.40 +- 0.10" in page
    assert "decode" not in page


def test_lines_stand_by_the_value_they_are_sorted_by(planted):
    shown = ie_store_json("show", planted, "a/c", "--sort", "noise", "--estimator", "noise", "--position", "5")
    assert [entry["block"] for entry in shown["estimates"]] == [2, 3, 1, 0]
    page = ie_store("show", planted, "a/c", "--sort", "noise", "--position", "5").stdout
    lines = [line.split()[0] for line in page.splitlines() if " +- " in line and line.strip()[0].isdigit()]
    assert lines == ["2", "3", "1", "0"]
    both = ie_store("show", planted, "a/c", "--against", "b/c", "--sort", "noise", "--estimator", "noise", "--position", "5")
    assert [line.split()[0] for line in both.stdout.splitlines() if line.count(" +- ") >= 2] == ["2", "3", "1", "0"]


def test_csv_has_the_values_of_json(planted):
    entries = ie_store_json("show", planted, "a/c")["estimates"]
    result = ie_store("show", planted, "a/c", "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == len(entries)
    for row, entry in zip(rows, entries, strict=True):
        assert (row["estimator"], int(row["block"]), int(row["position"])) == places({"estimates": [entry]})[0]
        assert float(row["macro_nats"]) == entry["macro_nats"]
        assert [float(row["macro_low_nats"]), float(row["macro_high_nats"])] == entry["macro_interval_nats"]
        assert row["macro_outcome"] == entry["macro_outcome"]
        assert row["flags"] == "; ".join(entry["flags"])
    against = list(csv.DictReader(io.StringIO(ie_store("show", planted, "a/c", "--against", "b/c", "--csv").stdout)))
    found = next(row for row in against if (row["estimator"], row["block"], row["position"]) == ("noise", "2", "5"))
    assert float(found["difference_nats"]) == pytest.approx(6 * (0.9 - 0.7) * BIT)
    saturated = next(row for row in against if row["estimator"] == "mine")
    assert saturated["difference_nats"] == saturated["difference_low_nats"] == ""


def test_a_dataset_without_estimates_says_so(tmp_path):
    made = make(tmp_path / "store").write()
    result = ie_store("show", made.store, made.name)
    assert result.exit_code == 0
    assert f"{made.name} has no estimates yet; make some with: ie-store estimate {made.store} {made.name}" in result.stdout
    assert ie_store_json("show", made.store, made.name)["estimates"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--estimator", "nosie"], "did you mean 'noise'"),
        (["--block", "4"], "there are 4 blocks"),
        (["--position", "x"], "neither a number"),
        (["--estimator", "mine", "--position", "0"], "no estimates are left by this choice"),
        (["--sort", "smile"], "nothing to sort by: smile has no values"),
        (["--json", "--csv"], "choose one"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(planted, options, message):
    result = ie_store("show", planted, "a/c", *options)
    assert result.exit_code == 2
    assert message in result.output
