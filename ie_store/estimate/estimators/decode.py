"""Usable bits: what a linear reader of a state tells of the prefix that it stands for (Barber and Agakov 2003).

The entropy of the listed prefixes is counted, so E[ln q(s|h) / p(s)] bounds I(S; h) from below for any q, without a limit at
ln n: usable information of a linear family (Xu et al. 2020). q chooses among the listed prefixes by heads for the tokens of
each position (`decode_heads`, `decode_list`), and is mixed with a share of p: a reader that knows nothing has exactly 0, and
no row can lose more than the logarithm of the share. The distinct prefix is the unit of the split::

    train         states and tokens: heads in closed form, and of low rank trained from there on (`decode_training`)
    validation    kind of head, penalty, passes of training, three coefficients a head, one temper a position, the share of p
    test          the score; of each prefix once, by the reader of its fold

So much is claimed, of listed prefixes outside train and validation rows, and nothing of new text. A prefix of one token
(position 0, layer 0, lone tokens) has one state for each token and none to hold out: its value is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from ie_store.estimate.batch_states import BatchStates, ItemShape, Measured, Needs, ceilings_at, known_value
from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.critics.held_out import Combined, student_95
from ie_store.estimate.critics.outcome import classify
from ie_store.estimate.device import each_on_one_thread
from ie_store.estimate.estimators.decode_design import MOST_CALIBRATION_ROWS
from ie_store.estimate.estimators.decode_list import least_tile
from ie_store.estimate.estimators.decode_reader import (
    ROWS_AT_ONCE,
    SCORES_AT_ONCE,
    FoldReading,
    Listed,
    list_prefixes,
    read_fold,
    split_prefixes,
)
from ie_store.estimate.exact.prefix_index import DistinctPrefixes
from ie_store.estimate.memory import give_back
from ie_store.estimator_options import DecodeOptions
from ie_store.estimators import EstimatorSpec
from ie_store.options import OnProgress, Progress
from ie_store.prefixes import entropy_nats
from ie_store.specs import Level, MIEstimate, Outcome, Problem
from ie_store.store.results.estimate_variables import DECODE_OUTCOME, outcome_code
from ie_store.variables import Piece, Variable, piece

MOSTLY_UNSEEN = 0.9
"""Share of held-out prefixes with a token never trained on from which a value says more of the list than of the states."""


def _of_layer(level: Level) -> tuple[Variable, Variable, Variable]:
    value, low, high = (
        Variable(
            name=f"{level}_decode_{name}", dimensions=("layer", "position"), units="nat", lineage=f"{level} states of the layer",
            long_name=f"usable information on the {'prefix' if level == 'macro' else 'token'}, {what}",
        )
        for name, what in (("nats", "held-out score"), ("low_nats", "low end of the interval"), ("high_nats", "high end"))
    )  # fmt: skip
    return value, low, high


OF_LAYER: dict[Level, tuple[Variable, Variable, Variable]] = {"macro": _of_layer("macro"), "micro": _of_layer("micro")}
"""Value, low and high."""
OF_TOKEN, OF_TOKEN_ERROR = (
    Variable(
        name=f"macro_decode_token_{name}", dimensions=("layer", "position", "token_position"), units="nat",
        lineage="macro states of the layer", long_name=f"usable information on one past token, {what}",
    )
    for name, what in (("nats", "held-out score of its own head"), ("se_nats", "standard error over folds"))
)  # fmt: skip
POINTWISE = Variable(
    name="macro_decode_pointwise_nats",
    dimensions=("layer", "position", "sequence"),
    long_name="ln q(prefix|state) / p(prefix), held out",
    units="nat",
    dtype="float32",
    lineage="macro states of the layer",
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the readers of all folds get of one layer."""

    estimate: MIEstimate
    token_nats: dict[int, tuple[float, float]]
    """Value and standard error by position of the token."""
    pointwise_nats: NDArray[np.float64] | None
    """(outcome,) NaN where not scored"""


def measure(
    spec: EstimatorSpec[DecodeOptions], states: BatchStates, problems: list[Problem], on_progress: OnProgress
) -> Measured:
    """The value of each problem's input layer, and the curves and maps of all layers that the stack touches."""
    last_layer = len(states.corpus.listed.macro)
    listed: Listed | None = None
    folds: tuple[Fold, ...] = ()
    estimates: dict[Problem, MIEstimate] = {}
    pieces: list[Piece] = []
    for problem in states.batch.problems:
        layers = (problem.block, last_layer) if problem.block + 1 == last_layer else (problem.block,)
        for layer in layers:  # no block reads the last layer: its values go with the block that writes it
            if _is_lone(problem, layer) or len(states.distinct.counts) == 1:
                reading = _known(spec, states, problem)
            else:
                if listed is None:
                    listed, folds = _prepare(spec.options, states)
                reading = _read(spec, states, problem, layer, listed, folds, on_progress)
            pieces += _pieces(reading, states.distinct, problem, layer)
            if layer == problem.block:
                estimates[problem] = reading.estimate
            else:
                flags = (f"layer {layer}: {flag}" for flag in reading.estimate.flags)
                estimates[problem] = replace(estimates[problem], flags=(*estimates[problem].flags, *flags))
    return Measured(estimates=[estimates[problem] for problem in problems], pieces=tuple(pieces))


def needs(spec: EstimatorSpec[DecodeOptions], shape: ItemShape) -> Needs:
    """What one fold holds: the rows' part lends what further ones at once need, or they wait. And what is known of tokens."""
    tokens = shape.num_positions * min(shape.num_tokens, shape.num_rows)  # of all heads, at most
    of_fold = fold_bytes(shape.hidden_size, shape.num_rows, shape.num_positions, tokens)
    of_tokens = 4 * shape.hidden_size * (tokens + 7 * shape.num_tokens)
    return Needs(
        working_bytes=of_fold + of_tokens + (80 + 8 * shape.num_positions) * shape.num_rows,
        lent_bytes=(min(spec.options.folds, shape.threads) - 1) * of_fold,
    )


def fold_bytes(size: int, num_rows: int, num_positions: int, tokens: int) -> int:
    """Decomposition or heads, scores and tiles of one fold, with ``tokens`` of all heads, at most."""
    designed = 8 * 16 * size**2  # a covariance and what decomposes it, as measured
    tile = 10 * least_tile(num_rows) * num_rows  # of two levels: scores, those times q, and their sum, a half of each
    scored = 4 * (6 + num_positions) * size**2 + 2 * 4 * min(SCORES_AT_ONCE, ROWS_AT_ONCE * tokens) + tile
    of_tokens = 4 * tokens * (2 * size + 2 * MOST_CALIBRATION_ROWS)
    return max(designed, scored) + 4 * size * 3 * ROWS_AT_ONCE + of_tokens


def _is_lone(problem: Problem, layer: int) -> bool:
    """A state of one token alone: a table that has one state for each token."""
    return problem.level == "micro" or layer == 0 or problem.position == 0


def _prepare(options: DecodeOptions, states: BatchStates) -> tuple[Listed, tuple[Fold, ...]]:
    outcomes = states.distinct
    lone_tokens = states.lone_tokens.tile(slice(None))
    tokens = states.corpus.prefix_tokens(states.batch.position)
    folds = split_prefixes(outcomes, options)
    listed = list_prefixes(tokens, outcomes.counts, lone_tokens.float())
    give_back()
    return listed, tuple(fold.to(states.device) for fold in folds)


def _known(spec: EstimatorSpec[DecodeOptions], states: BatchStates, problem: Problem) -> Reading:
    estimate = known_value(spec.name, states.corpus, problem)
    return Reading(estimate=estimate, token_nats={problem.position: (estimate.nats, 0.0)}, pointwise_nats=None)


def _read(
    spec: EstimatorSpec[DecodeOptions],
    states: BatchStates,
    problem: Problem,
    layer: int,
    listed: Listed,
    folds: tuple[Fold, ...],
    on_progress: OnProgress,
) -> Reading:
    started = perf_counter()
    outcomes = states.distinct
    rows = states.table(layer, outcomes)
    found: list[FoldReading] = []
    of_fold = fold_bytes(rows.width, len(rows), len(listed.columns), sum(len(column.log_shares) for column in listed.columns))
    further = min(len(folds), torch.get_num_threads()) - 1 if rows.device.type == "cpu" else 0
    with states.room.lend(of_fold, further) as lent:
        for reading in each_on_one_thread(
            lambda number: read_fold(rows, listed, folds[number], number, spec.options),
            range(len(folds)),
            rows.device,
            at_once=1 + lent,
        ):
            found.append(reading)
            on_progress(Progress(stage=f"decode, layer {layer}", done=len(found), total=len(folds), unit="folds"))
    weights = np.array([fold.test.num_sequences for fold in folds], dtype=np.float64) / len(outcomes.of_sequence)
    half_width = float(weights @ np.array([reading.half_width_nats for reading in found]))
    combined = combine_folds([reading.nats for reading in found], weights, half_width)
    estimate = classify(
        spec.name,
        combined,
        is_bound=True,
        ceiling_nats=entropy_nats(outcomes.counts),
        ceiling_population_nats=ceilings_at(states.corpus, problem)[1],
        num_test=sum(len(reading.scored) for reading in found),
        is_weighted=True,
        still_rising=False,
        diagnostics={
            "raw_nats": combined.nats,
            "folds": spec.options.folds,
            "seed": spec.options.seed,
            "num_listed": len(outcomes.counts),
            "num_test": sum(len(reading.scored) for reading in found),
            "num_train": min((reading.num_train for reading in found), default=0),
            "unseen_share": float(weights @ np.array([reading.unseen_share for reading in found])),
            "trained_folds": sum(reading.is_trained for reading in found),
            "half_width_nats": half_width,
            "wall_seconds": perf_counter() - started,
        },
    )
    unknown = (float("nan"), float("nan"))
    if not found:  # nothing was read: the value may be anything
        estimate = replace(estimate, outcome=Outcome.UNSTABLE, interval_nats=(0.0, entropy_nats(outcomes.counts)))
    return Reading(
        estimate=replace(estimate, flags=(*estimate.flags, *_flags(estimate, len(folds)))),
        token_nats=dict.fromkeys(range(problem.position + 1), (0.0, 0.0) if found else unknown) | _of_tokens(found, weights),
        pointwise_nats=_pointwise(found, len(outcomes.counts)) if spec.options.pointwise else None,
    )


def combine_folds(values: Sequence[float], weights: NDArray[np.float64], half_width: float = 0.0) -> Combined:
    """The mean over folds, each with its share of the sequences; its error is their spread, and what drawing rows adds.

    The interval reaches what Student's distribution asks of so few folds, and the whole ``half_width``.
    """
    swing = float(np.std(values, ddof=1) / sqrt(len(values))) if len(values) > 1 else 0.0
    reach = student_95(max(1, len(values) - 1))
    return Combined(
        nats=float(weights @ np.array(values)),
        standard_error_nats=swing + half_width / reach,
        reach=reach,
        fold_nats=tuple(values),
        fold_error_nats=swing,
    )


def _flags(estimate: MIEstimate, num_folds: int) -> tuple[str, ...]:
    numbers = estimate.diagnostics
    if num_folds == 0:
        return (f"{numbers['num_listed']} distinct prefixes are too few to hold any out: nothing is claimed of them",)
    if numbers["unseen_share"] > MOSTLY_UNSEEN:
        return (
            f"{numbers['unseen_share']:.0%} of the held-out prefixes have a token that no train row has in its place: "
            "a reader can hardly know them, whatever the states tell",
        )
    return ()


def _of_tokens(found: list[FoldReading], weights: NDArray[np.float64]) -> dict[int, tuple[float, float]]:
    combined = {
        position: combine_folds([reading.token_nats[position] for reading in found], weights)
        for position in (found[0].token_nats if found else ())
    }
    return {position: (max(0.0, value.nats), value.standard_error_nats) for position, value in combined.items()}


def _pointwise(found: list[FoldReading], num_outcomes: int) -> NDArray[np.float64]:
    scores = np.full(num_outcomes, np.nan)
    for reading in found:
        scores[reading.scored] = reading.ratios
    return scores


def _pieces(reading: Reading, outcomes: DistinctPrefixes, problem: Problem, layer: int) -> list[Piece]:
    at, estimate = ((layer,), (problem.position,)), reading.estimate
    values = (estimate.nats, *estimate.interval_nats)
    made = [piece(variable, at, [value]) for variable, value in zip(OF_LAYER[problem.level], values, strict=True)]
    made.append(piece(DECODE_OUTCOME[problem.level], at, [outcome_code(estimate.outcome)]))
    if problem.level == "macro" and reading.token_nats:
        for end, variable in enumerate((OF_TOKEN, OF_TOKEN_ERROR)):
            made.append(piece(variable, (*at, tuple(reading.token_nats)), [pair[end] for pair in reading.token_nats.values()]))
    if reading.pointwise_nats is not None:
        scores = reading.pointwise_nats[outcomes.of_sequence].astype(np.float32)
        made.append(Piece(variable=POINTWISE, index=(*at, tuple(range(len(scores)))), values=scores[None, None]))
    return made
