"""Two datasets of one corpus side by side, of results planted by hand; and what is refused."""

from dataclasses import replace

import pytest
from called import ie_store, ie_store_json
from made_store import make

from ie_store.errors import InputError
from ie_store.estimators import estimator_spec
from ie_store.specs import Emergence, MIEstimate, Outcome, Problem
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.results.against import show_against
from ie_store.store.results.estimate_variables import emergence_pieces, estimate_pieces
from ie_store.store.results.records import Record
from ie_store.store.results.show import show_results
from ie_store.store.results.writer import open_results


def plant(made, values, spec=None, outcome=Outcome.CERTIFIED):
    """Macro values (low, value, high) in nats of blocks 0, 1, ..., at position 2."""
    common = {"estimator": "noise", "ceiling_nats": 3.0, "ceiling_population_nats": None, "outcome": outcome}
    found, emergences = {}, []
    for block, (low, value, high) in enumerate(values):
        one = MIEstimate(nats=value, interval_nats=(low, high), standard_error_nats=0.1, diagnostics={"error": 0.04}, **common)
        found |= {Problem(level=level, block=block, position=2): one for level in ("macro", "micro")}
        emergences.append(
            Emergence(block=block, position=2, ie_nats=0.0, interval_nats=(0, 0), macro_nats=value, micro_nats=value, **common)
        )
    results = open_results(open_dataset(made.store, made.name), (spec or estimator_spec("noise")).identity)
    with results.hold_run():
        results.commit(Record(item="all", session={}, flags={}, pieces=tuple(estimate_pieces(found))))
        results.assemble(lambda arrays, flags: (emergence_pieces(emergences), {}))
    return made


@pytest.fixture
def trained(tmp_path):
    return plant(make(tmp_path / "store", "m/c").write(), [(1.9, 2.0, 2.1), (2.4, 2.5, 2.6)])


def random_twin(trained, values, **options):
    twin = make(trained.store, "m-random/c")
    twin.identity = replace(twin.identity, model=replace(twin.identity.model, id="m~random3"))
    return plant(twin.write(), values, **options)


def test_differences_and_their_intervals(trained):
    random_twin(trained, [(1.8, 1.95, 2.0), (0.9, 1.0, 1.2)])
    shown = show_against(trained.store, "m/c", "m-random/c")
    first, last = shown["estimates"]
    assert (shown["weights"], shown["against_weights"]) == ("stored weights", "random weights, seed 3")
    assert (last["macro_nats"], last["against_nats"], last["difference_nats"]) == (2.5, 1.0, 1.5)
    assert last["difference_interval_nats"] == pytest.approx([2.4 - 1.2, 2.6 - 0.9])
    assert last["difference_error"] == pytest.approx(0.08)
    assert (first["apart"], last["apart"]) == (False, True)
    back = show_against(trained.store, "m-random/c", "m/c")["estimates"][1]
    assert back["difference_interval_nats"] == pytest.approx([0.9 - 2.6, 1.2 - 2.4])


def test_how_surely_a_difference_holds_is_said_of_proven_intervals_alone(trained):
    random_twin(trained, [(1.8, 1.95, 2.0), (0.9, 1.0, 1.2)], outcome=Outcome.CONVERGED)
    rows = show_against(trained.store, "m/c", "m-random/c")["estimates"]
    assert {row["difference_error"] for row in rows} == {None}
    assert rows[1]["difference_nats"] == 1.5
    assert "which holds with at least" not in ie_store("show", trained.store, "m/c", "--against", "m-random/c").output


def test_at_least_minus_at_least_is_nothing(trained):
    random_twin(trained, [(0.9, 1.0, 1.1)] * 2, outcome=Outcome.SATURATED)
    rows = show_against(trained.store, "m/c", "m-random/c")["estimates"]
    assert {row["difference_nats"] for row in rows} == {None}
    assert not any(row["apart"] for row in rows)


def test_only_what_both_have_is_compared(trained):
    random_twin(trained, [(0.9, 1.0, 1.1)])
    shown = show_against(trained.store, "m/c", "m-random/c")
    assert [row["block"] for row in shown["estimates"]] == [0]
    assert [(one["name"], one["estimator"], one["num_values"]) for one in shown["alone"]] == [("m/c", "noise", 1)]


def test_other_options_have_nothing_in_common(trained):
    random_twin(trained, [(0.9, 1.0, 1.1)], spec=estimator_spec("noise", sigma=2.0))
    with pytest.raises(InputError, match=r"no results in common.*m/c has noise-\w+, m-random/c has noise-\w+.*same options"):
        show_against(trained.store, "m/c", "m-random/c")


@pytest.mark.parametrize(
    ("changed", "message"), [({"seed": 1}, "the same recipe, with other tokens"), ({"rows": 30}, "num_sequences: 21 and 30")]
)
def test_another_corpus_is_refused_with_what_differs(trained, changed, message):
    make(trained.store, "m/other", **changed).write()
    with pytest.raises(InputError, match=message) as caught:
        show_against(trained.store, "m/c", "m/other")
    assert "not of one corpus" in str(caught.value)
    result = ie_store("show", trained.store, "m/c", "--against", "m/other")
    assert result.exit_code == 2
    assert "fingerprint" in result.output


def test_show_has_weights_and_pairs(trained):
    twin = random_twin(trained, [(0.9, 1.0, 1.1), (1.05, 1.2, 1.3)])
    shown = show_results(twin.store, twin.name)
    assert shown["weights"] == "random weights, seed 3"
    (count,) = shown["told_apart"]
    assert (count["pairs"], count["apart"]) == (1, 0)
    assert show_results(trained.store, trained.name)["told_apart"][0]["apart"] == 1


def test_the_command_line_shows_both(trained):
    random_twin(trained, [(1.8, 1.95, 2.0), (0.9, 1.0, 1.2)])
    shown = ie_store_json("show", trained.store, "m/c", "--against", "m-random/c")
    assert shown == show_against(trained.store, "m/c", "m-random/c")
    table = ie_store("show", trained.store, "m/c", "--against", "m-random/c").output
    assert "B: m-random/c (random weights, seed 3)" in table
    assert "with random weights what is left falls to 1.4: training keeps 2.2 bits more" in table
    assert "m-random/c (random weights, seed 3)" in ie_store("show", trained.store, "m-random/c").output
