"""Results planted in a store: values made by hand, so that what shows them has a truth that is known."""

from collections.abc import Callable
from dataclasses import replace
from math import exp, log

import numpy as np
from made_store import Made, make

from ie_store.estimators import EstimatorSpec, estimator_spec
from ie_store.profiles import profile_method
from ie_store.specs import Emergence, MIEstimate, Outcome, Problem
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.results.estimate_variables import (
    CURVE_VALUES,
    CURVES,
    DECODE_OUTCOME,
    emergence_pieces,
    estimate_pieces,
    outcome_code,
)
from ie_store.store.results.past_variables import TOKEN
from ie_store.store.results.records import Record
from ie_store.store.results.writer import open_results
from ie_store.variables import Variable, coordinate, piece

BIT = log(2)
HALF = 0.1
"""Half of every planted interval, in bits."""
SIGMAS = (1.0, 4.0, 16.0)
Value = Callable[[int, int], float]
"""Macro bits of a layer at a position."""


def plant(made: Made, method: dict, pieces, derived=(), flags=None) -> None:
    """A results group of ``method``: pieces as one record, and what was derived from them."""
    results = open_results(open_dataset(made.store, made.name), method)
    with results.hold_run():
        results.commit(Record(item="all", session={"host": "planted"}, flags=flags or {}, pieces=tuple(pieces)))
        results.assemble(lambda arrays, known: (list(derived), flags or {}))


def exact_bits(block: int, position: int) -> float:
    """A token of 2 bits at every even position, none at odd ones; block 0 sees its own token alone."""
    lone = 2.0 if position % 2 == 0 else 0.0
    return lone if block == 0 else 2.0 * (position // 2 + 1)


def mean_micro(position: int) -> float:
    return sum(exact_bits(0, t) for t in range(position + 1)) / (position + 1)


def plant_values(made: Made, spec: EstimatorSpec, value: Value, places, outcome: Outcome, half=HALF, pieces=(), flags=None):
    """Macro ``value`` at ``places`` (block, position); micro as counted."""
    estimates, emergences = {}, []
    for block, position in places:
        bits, top = value(block, position), exact_bits(block, position)
        low, high = bits - half, min(bits + half, top)
        common = {
            "estimator": spec.name,
            "ceiling_population_nats": None,
            "outcome": outcome,
            "standard_error_nats": half * BIT / 2,
        }
        estimates[Problem(level="macro", block=block, position=position)] = MIEstimate(
            nats=bits * BIT, interval_nats=(low * BIT, high * BIT), ceiling_nats=top * BIT,
            diagnostics={"error": 0.04} if spec.name == "noise" else {}, **common,
        )  # fmt: skip
        lone = exact_bits(0, position) * BIT
        estimates[Problem(level="micro", block=block, position=position)] = MIEstimate.exactly(spec.name, lone)
        micro = mean_micro(position)
        emergences.append(
            Emergence(
                block=block, position=position, ie_nats=(bits - micro) * BIT, macro_nats=bits * BIT, micro_nats=micro * BIT,
                interval_nats=((low - micro) * BIT, (high - micro) * BIT), ceiling_nats=(top - micro) * BIT,
                flags=(flags or {}).get(f"ie/{block}/{position}", ()), **common,
            )
        )  # fmt: skip
    plant(made, spec.identity, (*estimate_pieces(estimates), *pieces), emergence_pieces(emergences), flags)


def plant_all(made: Made, robust: Value) -> None:
    """`exact`, `noise`, `decode` and `mine` as `estimate` leaves them, and both profiles."""
    layers, positions = made.layout.num_layers, made.layout.num_positions
    blocks, last = range(layers - 1), positions - 1
    everywhere = [(block, position) for block in blocks for position in range(positions)]
    plant_values(made, estimator_spec("exact"), exact_bits, everywhere, Outcome.EXACT, half=0.0)
    plant_values(
        made, estimator_spec("noise", sigmas=SIGMAS, sigma=4.0), robust, everywhere, Outcome.CERTIFIED,
        pieces=_noise_pieces(layers, positions, robust),
    )  # fmt: skip
    ends = [(block, last) for block in blocks]
    usable = Variable(
        name="macro_decode_nats", dimensions=("layer", "position"), units="nat", lineage="macro states of the layer",
        long_name="usable information on the prefix, held-out score",
    )  # fmt: skip
    of_layers = [[exact_bits(layer, last) * BIT] for layer in range(layers)]
    plant_values(
        made, estimator_spec("decode"), exact_bits, ends, Outcome.CONVERGED, half=0.004,
        pieces=[
            piece(usable, (tuple(range(layers)), (last,)), of_layers),
            piece(DECODE_OUTCOME["macro"], ((layers - 1,), (last,)), [[outcome_code(Outcome.STEP_LIMIT)]]),
        ],
    )  # fmt: skip
    flag = {f"ie/{layers - 2}/{last}": ("macro: within reach of ln(test rows)",)}
    some = [(block, last) for block in (0, layers // 2, layers - 2)]
    plant_values(made, estimator_spec("mine"), lambda b, t: 0.8 * exact_bits(b, t), some, Outcome.SATURATED, flags=flag)
    _plant_profiles(made, layers, last)


def _noise_pieces(layers: int, positions: int, robust: Value):
    found = [coordinate("sigma", SIGMAS)]
    low, high = CURVES["macro"]
    for layer in range(layers):
        for position in range(positions):
            curve = np.array([exact_bits(layer, position), robust(layer, position), 0.3 * robust(layer, position)])
            at = ((layer,), (position,), tuple(range(len(SIGMAS))))
            for variable, values in ((CURVE_VALUES["macro"], curve), (low, curve - HALF), (high, curve + HALF)):
                found.append(piece(variable, at, values * BIT))
            tokens = np.array([exact_bits(0, t) * exp(-(position - t) / (layer + 1)) for t in range(position + 1)])
            past = ((layer,), (position,), tuple(range(position + 1)))
            for variable, values in zip(TOKEN, (tokens, tokens - HALF, tokens + HALF), strict=True):
                found.append(piece(variable, past, values * BIT))
    return found


def _plant_profiles(made: Made, layers: int, last: int) -> None:
    everywhere = (tuple(range(layers)), (last,))
    spectrum, neighbours = profile_method("spectrum"), profile_method("neighbours")
    shares = np.array([[[0.5**rank * (1 + layer / layers) for rank in range(1, 9)]] for layer in range(layers)])
    found = [
        coordinate("rank", range(1, 9)),
        piece(spectrum.row.variable("eigenvalue_share"), (*everywhere, tuple(range(8))), shares),
    ]
    for name in ("effective_rank", "participation_ratio"):
        found.append(piece(spectrum.row.variable(name), everywhere, [[3.0 + layer / 2] for layer in range(layers)]))
    plant(made, spectrum.identity, found)
    found = []
    for name, more in (("two_nn", 0.0), ("two_nn_low", -0.5), ("two_nn_high", 0.5)):
        found.append(piece(neighbours.row.variable(name), everywhere, [[4.0 + layer / 3 + more] for layer in range(layers)]))
    blocks = (tuple(range(layers - 1)), (last,))
    found.append(piece(neighbours.row.variable("overlap"), blocks, [[0.5] for _ in range(layers - 1)]))
    plant(made, neighbours.identity, found)


def planted_model(
    store, name="model/corpus", *, blocks=4, positions=6, robust: Value | None = None, random=False, **free
) -> Made:
    """A complete dataset with the results of all that pictures show; ``free`` replaces texts of its model and corpus."""
    made = make(store, name, num_layers=blocks + 1, num_positions=positions, rows=21)
    texts = {"id": f"planted-model{'~random0' if random else ''}"} | free
    recipe = texts.pop("recipe", "icl:country?names=4&shots=3")
    made.identity = replace(made.identity, model=replace(made.identity.model, **texts), recipe=recipe)
    made.corpus = replace(made.corpus, recipe=recipe, population_prefix_nats=None)
    made.write()
    plant_all(made, robust or (lambda layer, position: exact_bits(layer, position) * (0.9 if not random else 0.9 - 0.1 * layer)))
    return made
