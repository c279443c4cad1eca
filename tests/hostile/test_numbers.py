"""Odd numbers in, a message out; and what is shown is in one unit and never above what there is to know."""

import json
import re

import numpy as np
import pytest
import torch
from called import ie_store
from known_store import NAME, random_tokens, write_store

from ie_store import mutual_information
from ie_store.errors import InputError
from ie_store.estimate import self_consistency
from ie_store.estimate.critics.held_out import Combined
from ie_store.estimate.critics.outcome import classify
from ie_store.estimate.emergence import emergence
from ie_store.estimator_options import LEAST_SIGMA, MOST_SIGMA
from ie_store.estimators import NAMES, estimator_spec, option_names
from ie_store.options import CheckSpec, ExtractSpec
from ie_store.specs import NORMAL_95, MIEstimate, Outcome

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((60, 2))
BEYOND = np.array([2**60 + number for number in range(60)])
TENSOR = torch.tensor(ROWS, dtype=torch.float32)
REFUSED = {
    "masked": (np.ma.masked_array(ROWS, ROWS > 2), "masked"),
    "masked rows in a list": ([np.ma.masked_array(row, row > 2) for row in ROWS], "masked"),
    "fp8": (TENSOR.to(torch.float8_e4m3fn), "float8"),
    "sparse": (TENSOR.to_sparse(), "to_dense"),
    "meta": (lambda: TENSOR.to("meta"), "meta"),
    "quantised": (lambda: torch.quantize_per_tensor(TENSOR, 0.1, 0, torch.qint8), "dequantize"),
    "complex tensor": (TENSOR.to(torch.complex64), "real"),
    "complex": (ROWS + 1j, "real"),
    "ragged": ([[1.0], [2.0, 3.0]] * 30, "ragged|same length"),
    "strings": ([["a"], ["b"]] * 30, "not real numbers"),
    "objects": (np.array([object()] * 60), "not real numbers"),
    "one object": (object(), "not real numbers"),
    "None": (None, "not real numbers"),
    "times": (np.arange(60).astype("datetime64[s]"), "not real numbers"),
    "empty": (np.empty((0, 3)), "empty"),
    "no dimensions": (np.empty((60, 0)), "shape"),
    "a number": (3.0, "shape"),
    "a cube": (np.zeros((60, 2, 2)), "shape"),
    "NaN": (np.where(ROWS > 2, np.nan, ROWS) * np.nan, "NaN or Inf"),
    "whole numbers that merge": (BEYOND, r"2\*\*53"),
    "whole numbers that merge, tensor": (torch.from_numpy(BEYOND), r"2\*\*53"),
    "whole numbers of more than 64 bits": ([2**70 + number for number in range(60)], "not real numbers"),
    "long double": (ROWS.astype(np.longdouble), "float64"),
}


def few(name):
    """Options for a short run of an estimator."""
    return {option: value for option, value in {"steps": 5, "max_draws": 20}.items() if option in option_names(name)}


@pytest.mark.filterwarnings("ignore:.*[qQ]uantiz.*")
@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("what", REFUSED)
def test_odd_arrays_are_refused_with_a_message(what, side):
    given, words = REFUSED[what]
    given = given() if callable(given) else given
    with pytest.raises(InputError, match=words) as refusal:
        mutual_information(*((given, ROWS) if side == "x" else (ROWS, given)))
    assert re.search(rf"\b{side}\b", str(refusal.value))


@pytest.mark.parametrize(
    "weights",
    [
        "abc", ["a"] * 60, ["1"] * 60, [1 + 1j] * 60, [None] * 60,
        np.full(60, np.nan), np.full(60, -1.0), np.zeros(60), [], 3.0,
        [[1.0], [1.0, 2.0]], np.ma.masked_array(np.ones(60), np.arange(60) > 2), torch.ones(60).to("meta"),
        np.full(60, np.inf), object(),
    ],
)  # fmt: skip
def test_odd_weights_are_refused_with_a_message(weights):
    with pytest.raises(InputError, match="weights"):
        mutual_information(ROWS, ROWS, weights=weights)


def test_weights_of_any_size_are_probabilities():
    tables = RNG.standard_normal((2, 25, 4))
    for weights in (np.full(25, 1e308), np.full(25, 1e-308), torch.ones(25)):
        assert mutual_information(*tables, estimator="exact", weights=weights).nats == pytest.approx(np.log(25))


def test_rows_of_weight_0_do_not_take_part():
    tables = RNG.standard_normal((2, 25, 4))
    beside = np.concatenate([tables, np.full((2, 1, 4), 1e300)], axis=1)
    weights = np.append(np.ones(25), 0.0)
    plain = mutual_information(*tables, estimator="mine", steps=50, weights=np.ones(25))
    assert mutual_information(*beside, estimator="mine", steps=50, weights=weights).nats == plain.nats
    assert mutual_information(*tables, estimator="mine", weights=np.eye(25)[0]).nats == 0.0


def test_whole_numbers_beyond_2_to_the_53_that_do_not_merge_are_numbers():
    assert mutual_information(2**60 * (np.arange(60) % 3), np.arange(60) % 3, estimator="exact").nats == pytest.approx(np.log(3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine", "infonce", "nwj", "smile", "js", "cca"])
def test_a_side_whose_rows_are_nearly_all_equal_is_estimated(name):
    """With three distinct rows among 60, the train rows of a fold may all be equal."""
    rare = np.zeros(60)
    rare[:2] = 1.0, -1.0
    for seed in range(4):
        found = mutual_information(rare, rare, estimator=name, seed=seed, **few(name))
        assert np.isfinite(found.interval_nats).all()
        assert found.interval_nats[1] <= found.ceiling_nats


def test_zero_has_no_sign():
    x = np.where(np.arange(60) % 2, 0.0, -0.0)
    assert mutual_information(x, np.arange(60) % 2, estimator="exact").nats == 0.0


@pytest.mark.parametrize("seed", [-1, 2**64, 2**63, -(2**70), 1.5, "3", None, True, float("nan")])
def test_seeds_are_whole_numbers_of_64_bits(seed):
    for spec in (estimator_spec, CheckSpec, ExtractSpec):
        with pytest.raises(InputError, match="seed"):
            spec(seed=seed)
    with pytest.raises(InputError, match="seed"):
        mutual_information(ROWS, ROWS, seed=seed)


def test_the_last_of_several_seeds_counts():
    with pytest.raises(InputError, match="seed"):
        estimator_spec(seed=2**63 - 2, seeds=3)


@pytest.mark.parametrize("name", ["mine", "noise"])
def test_the_largest_seed_works(name):
    assert mutual_information(ROWS, ROWS + 1, estimator=name, seed=2**63 - 1, **few(name)).nats >= 0
    assert mutual_information(ROWS, ROWS + 1, estimator=name, seed=np.int64(7), **few(name)).nats >= 0


@pytest.mark.parametrize(
    "options",
    [
        {"steps": "many"}, {"steps": 1.5}, {"folds": None}, {"batch_size": "x"}, {"learning_rate": "fast"},
        {"learning_rate": float("nan")}, {"sigmas": 3.0}, {"sigmas": ()},
        {"sigmas": (float("nan"),)}, {"sigmas": (1.0, float("inf"))}, {"sigmas": "abc"}, {"sigmas": (1e-200,), "sigma": 1e-200},
        {"sigmas": (1e200,), "sigma": 1e200}, {"sigma": "x"}, {"segment_size": 1.5},
    ],
)  # fmt: skip
def test_odd_options_are_refused_with_a_message(options):
    option = next(iter(options))
    owner = next(name for name in NAMES if option in option_names(name))
    with pytest.raises(InputError, match=f"^{option}"):
        mutual_information(ROWS, ROWS, estimator=owner, **options)


def test_the_smallest_and_largest_noise_leave_everything_and_nothing():
    x = np.arange(60) % 4
    for sigma, nats in ((LEAST_SIGMA, np.log(4)), (MOST_SIGMA, 0.0)):
        assert mutual_information(x, x, estimator="noise", sigmas=(sigma,), sigma=sigma).nats == pytest.approx(nats, abs=1e-6)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("numbers") / "store", random_tokens(300, kinds=3), hidden=4)


@pytest.mark.parametrize("command", ["estimate", "check"])
@pytest.mark.parametrize("seed", ["-1", "18446744073709551616", "x"])
def test_the_command_line_refuses_such_seeds(store, command, seed):
    result = ie_store(command, store, NAME, "--seed", seed)
    assert result.exit_code == 2, result.output
    assert "seed" in result.output
    assert "Traceback" not in result.output


def combined(nats, reach=1.0, folds=None):
    return Combined(
        nats=nats, standard_error_nats=reach / NORMAL_95, reach=NORMAL_95, fold_nats=folds or (nats, nats), fold_error_nats=0.0
    )


def judged(value, ceiling=3.0, name="mine", **changes):
    given = {"ceiling_population_nats": None, "num_test": 4000, "is_weighted": False, "still_rising": False, "diagnostics": {}}
    return classify(name, value, ceiling_nats=ceiling, is_bound=name == "mine", **given | changes)


@pytest.mark.parametrize("name", ["mine", "cca", "smile"])
@pytest.mark.parametrize("nats", [2.5, 3.0, 3.000001, 3.9, 4.2, 400.0])
def test_an_interval_ends_at_the_ceiling_and_is_never_inverted(name, nats):
    found = judged(combined(nats), name=name)
    low, high = found.interval_nats
    assert low <= high <= 3.0
    assert bool(re.search("above|times", " ".join(found.flags))) == (nats > 3.1)
    if nats < 3.1:
        assert low <= found.nats <= high
    else:
        assert found.outcome is Outcome.ABOVE_CEILING


def test_an_emergence_ends_at_the_ceiling_of_its_macro_term():
    def part(nats, outcome):
        return MIEstimate(
            estimator="cca", nats=nats, interval_nats=(min(nats - 1, 5), min(nats + 1, 5)), standard_error_nats=0.5,
            ceiling_nats=5.0, ceiling_population_nats=None, outcome=outcome,
        )  # fmt: skip

    for micro in (0.5, 4.0, 9.0):
        for outcome in (Outcome.ABOVE_CEILING, Outcome.NOT_A_BOUND):
            found = emergence(1, 0, part(40.0, outcome), [part(micro, Outcome.CONVERGED)])
            assert -5.0 <= found.interval_nats[0] <= found.interval_nats[1] <= 5.0


def test_parts_above_their_ceilings_leave_everything_open_between_the_ceilings():
    above = judged(combined(40.0), ceiling=5.0, name="cca"), judged(combined(46.0), ceiling=2.0, name="cca")
    assert [part.outcome for part in above] == [Outcome.ABOVE_CEILING] * 2
    assert emergence(1, 0, above[0], [above[1]]).interval_nats == (-2.0, 5.0)


def test_noise_and_cca_of_discrete_rows_end_at_their_ceiling():
    tokens = RNG.integers(0, 5, 300)
    states = RNG.standard_normal((5, 4))[tokens]
    for name in ("noise", "cca", "mine"):
        found = mutual_information(states, states[:, ::-1], estimator=name, **few(name))
        low, high = found.interval_nats
        assert low <= high <= found.ceiling_nats, name


FLAGGED = [
    judged(combined(3.93)), judged(combined(390.0)), judged(combined(0.5), ceiling=0.0), judged(combined(7.96), ceiling=None),
    judged(combined(-5.0)), judged(combined(float("nan"))), judged(combined(float("-inf"))),
    judged(Combined(nats=1.0, standard_error_nats=0.3, reach=NORMAL_95, fold_nats=(0.8, 1.2), fold_error_nats=0.2)),
    judged(Combined(nats=0.01, standard_error_nats=0.3, reach=NORMAL_95, fold_nats=(-0.3, 0.3), fold_error_nats=0.2)),
    judged(combined(30.0), name="smile"),
]  # fmt: skip


@pytest.mark.parametrize("found", FLAGGED)
def test_flags_carry_no_number_of_a_unit(found):
    (flag,) = found.flags
    assert not re.search(r"\b(nats?|bits?)\b", flag)
    numbers = re.findall(r"\d[\d,.]*(?:e[+-]?\d+)?\S*\s?\S*", flag.replace("ln(4,000 test rows)", "ln(n)"))
    assert all(re.match(r"[\d,.]+(%|\stimes|\sstandard)", number) for number in numbers), flag


def test_flags_say_how_much():
    assert "31% above" in judged(combined(3.93)).flags[0]
    assert "96% of ln(4,000 test rows), the most that they can show" in judged(combined(7.96), ceiling=None).flags[0]
    assert "40% of the value" in FLAGGED[-3].flags[0]


def estimated(nats):
    return MIEstimate(
        estimator="mine", nats=nats, interval_nats=(nats, nats), standard_error_nats=0.0, ceiling_nats=None,
        ceiling_population_nats=None, outcome=Outcome.CONVERGED, diagnostics={"raw_nats": nats, "num_test": 100},
    )  # fmt: skip


def test_what_the_checks_find_is_said_without_a_unit_and_counted_in_nats():
    x = np.zeros((800, 4), np.float32)

    def measure(left, right, seed):
        return estimated(1.0 + len(left) / 1000 + 0.1 * seed)

    base = estimated(1.8)
    answers = [
        self_consistency.permutation_null(base, [estimated(0.01), estimated(0.02)]),
        self_consistency.learning_curve(base, measure, x, x, 0),
        self_consistency.seeds(base, measure, x, x, 0),
        self_consistency.data_processing(base, measure, x, x, 0),
        self_consistency.additivity(measure, x, x, 0),
        self_consistency.additivity(lambda left, right, seed: estimated(4.0), x, x, 0),
    ]
    for answer in answers:
        assert not re.search(r"\b(nats?|bits?)\b|\d\.\d{3}", answer.detail), answer.detail
        assert all(name.endswith("_nats") or name == "p_value" for name in answer.numbers)


@pytest.mark.slow
def test_no_view_of_the_command_line_mixes_bits_and_nats(store):
    assert ie_store("estimate", store, NAME, "--estimator", "cca", "--estimator", "noise", "--positions", "all").exit_code == 0
    check = ("check", store, NAME, "--estimator", "cca", "--estimator", "noise", "--rows", "200", "--permutations", "2")
    views = [
        ("show", store, NAME), ("ls", store), ("verify", store, NAME), check,
        *((command, "--help") for command in ("show", "estimate", "check", "info", "ls", "verify", "extract", "plan")),
    ]  # fmt: skip
    for view in views:
        result = ie_store(*view)
        assert result.exit_code == 0, result.output
        units = {unit for unit in ("bit", "nat") if re.search(rf"\b{unit}s?\b", result.output)}
        assert len(units) <= 1, (view, result.output)
        assert units == {"bit"} or view[0] not in ("show", "check") or "--help" in view
    shown = json.loads(ie_store("show", store, NAME, "--json").stdout)
    assert all("ie_nats" in row and not re.search(r"\b(nats|bits)\b", " ".join(row["flags"])) for row in shown["estimates"])
    verdicts = json.loads(ie_store(*check, "--json").stdout)["verdicts"]
    assert any(name.endswith("_nats") for verdict in verdicts for f in verdict["findings"] for name in f["answer"]["numbers"])
