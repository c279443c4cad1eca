"""The published critic as a residual over pairs, trained and tested on the pairs that the separable scores hold likely.

It sees what no separable score can (sharp edges, say), at the price of one forward pass per pair. So its mean over the
marginals is taken by importance: of row i's pairs a few are drawn in proportion to exp(separable score), and

    mean_j exp(S_ij + R_ij)  =  mean_j exp(S_ij)  *  E_{j drawn}[ exp(R_ij) ]

where the first factor is an exact sum over the row's references. The residual starts at 0 and stays within +-`LARGEST_RESIDUAL`.
It is left out where it has nothing to add: for tables, whose few rows separable scores tell apart, for rows that are
normalised one by one, and where trained encoders found nothing beyond the linear critic.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ie_store.estimate.critics.baseline import Rows
from ie_store.estimate.critics.bounds import PairStatistics
from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.critics.minibatches import batches
from ie_store.estimate.critics.networks import Parameters, first_layer, make_pair_network, residual_scores
from ie_store.estimate.critics.scores import SeparableScores, SplitPart, capped_exp, row_tiles, soft_cap
from ie_store.estimate.critics.train import Average, Trained, fit
from ie_store.estimator_options import TrainedOptions
from ie_store.options import OnProgress, Progress

STEPS_SHARE = 8
"""The residual takes at most one step for this many of the encoders'. Varied by ``benchmarks/critic_constants.py``."""
NEGATIVES_IN_TRAINING = 1
"""Drawn pairs per row of a mini-batch. Varied by ``benchmarks/critic_constants.py``."""
NEGATIVES_IN_TEST = 8
"""Drawn pairs per row of validation and test. Varied by ``benchmarks/critic_constants.py``."""
SLOWER = 3.0
"""The residual learns at the encoders' rate divided by this. Varied by ``benchmarks/critic_constants.py``."""
PATIENCE = 2
"""Fewer checks than for the encoders: a step costs more, and where the residual helps it does so at once.
Varied by ``benchmarks/critic_constants.py``."""
VALIDATION_ROWS = 1000
"""Validation rows looked at while the residual trains. Varied by ``benchmarks/critic_constants.py``."""
ROWS_AT_ONCE = 1024
"""Rows whose pairs go through the network together: bounds memory, changes no value but in the last bits."""
VALIDATION_SEED, TEST_SEED = 1, 2
"""Of the drawn columns: fixed, so that two looks at the same rows differ by the critic alone."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Pairs of a side's rows with columns drawn, among its references, by their separable scores."""

    columns: Tensor
    """(problem, row, draw) positions in the side"""
    row_means: Tensor
    """(problem, row) mean of exp(capped separable score) over columns"""
    column_means: Tensor
    """(problem, row)"""


def draw_columns(factors: SeparableScores, side: SplitPart, cap: Tensor, num_draws: int, generator: torch.Generator) -> Drawn:
    """Draw ``num_draws`` columns per row in proportion to exp(capped score); ``factors`` are those of the side's rows."""
    num_problems, num_rows = factors.row.shape
    pairing = side.pairing(factors.row.dtype)
    references = factors.first(len(pairing.columns))
    columns, means, column_means = [], [], torch.zeros_like(references.column)
    for start, stop in row_tiles(num_problems, num_rows, len(pairing.columns)):
        block = capped_exp(factors.pairwise(start, stop, references), cap) * pairing.others
        if not side.is_weighted:
            block.diagonal(start, dim1=1, dim2=2).zero_()
        means.append(block.sum(2))
        column_means += torch.einsum("i,pij->pj", pairing.by_row[start:stop], block) / pairing.others
        edges = block.cumsum(2)
        points = torch.rand(*block.shape[:2], num_draws, generator=generator).to(block.device) * edges[..., -1:]
        columns.append(torch.searchsorted(edges, points).clamp_max(len(pairing.columns) - 1))
    return Drawn(columns=torch.cat(columns, 1), row_means=torch.cat(means, 1), column_means=pairing.spread(column_means))


def pair_statistics(
    parameters: Parameters, rows: Rows, factors: SeparableScores, side: SplitPart, cap: Tensor, drawn: Drawn
) -> PairStatistics:
    """`PairStatistics` of separable scores plus residual; ``factors`` are those of the side's rows."""
    part_x, part_y = first_layer(parameters, rows.x[:, side.rows], rows.y[:, side.rows])
    joint, ratios = [], []
    num_rows = len(side.rows)
    diagonal = factors.diagonal()
    for start in range(0, num_rows, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, num_rows)
        here = slice(start, stop)
        joint.append(soft_cap(diagonal[:, here] + residual_scores(parameters, part_x[:, here] + part_y[:, here]), cap))
        ratios.append(_ratio(parameters, part_x[:, here], part_y, factors, drawn.columns[:, here], here, cap))
    ratio = torch.cat(ratios, 1)
    pairing = side.pairing(factors.row.dtype)
    row_means = drawn.row_means * ratio
    overall = (row_means @ pairing.rows) / (drawn.row_means @ pairing.rows)
    # Columns were drawn for rows: no draw tells a column's own ratio, so all take the overall one, and the sum stays right.
    return PairStatistics(
        joint=torch.cat(joint, 1),
        row_means=row_means,
        column_means=drawn.column_means * overall[:, None],
        pairing=pairing,
    )


def _ratio(
    parameters: Parameters, part_x: Tensor, part_y: Tensor, factors: SeparableScores, columns: Tensor, here: slice, cap: Tensor
) -> Tensor:
    """Mean (problem, row) of exp(score with residual - score without) over the drawn columns of the rows ``here``."""
    num_problems, num_rows, num_draws = columns.shape
    flat = columns.reshape(num_problems, -1)
    partners = _gather(part_y, flat).view(num_problems, num_rows, num_draws, -1)
    residual = residual_scores(parameters, (part_x[:, :, None] + partners).flatten(1, 2))
    right = _gather(factors.right, flat).view(num_problems, num_rows, num_draws, -1)
    scores = torch.einsum("pik,pijk->pij", factors.left[:, here], right) + factors.row[:, here, None]
    scores = (scores + factors.column.gather(1, flat).view(columns.shape)).flatten(1)
    return (capped_exp(scores + residual, cap) / capped_exp(scores, cap)).view(columns.shape).mean(2)


def _gather(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[..., None].expand(*index.shape, values.shape[-1]))


def train_pairs(
    rows: Rows, factors: SeparableScores, cap: Tensor, fold: Fold, options: TrainedOptions, seed: int, on_progress: OnProgress
) -> Trained:
    """Train the residual on top of the separable ``factors`` of all rows, for the Donsker-Varadhan value."""
    generator = torch.Generator().manual_seed(seed)
    device = rows.x.device
    initial = make_pair_network(len(rows.x), rows.x.shape[-1], rows.y.shape[-1], generator)
    stream = batches(fold.train, options.batch_size, generator)
    average = Average()
    validation = fold.validation.head(VALIDATION_ROWS)
    seen = factors.at(validation.rows)
    drawn = draw_columns(seen, validation, cap, NEGATIVES_IN_TEST, torch.Generator().manual_seed(VALIDATION_SEED))

    def batch_loss(parameters: Parameters, step: int) -> Tensor:
        side = next(stream)
        here = factors.at(side.rows)
        pairs = draw_columns(here, side, cap, NEGATIVES_IN_TRAINING, generator)
        found = pair_statistics(parameters, rows, here, side, cap, pairs)
        mean = found.row_means @ found.probabilities
        return mean / average.after(mean.detach()) - found.mean_joint

    def validate(parameters: Parameters) -> Tensor:
        with torch.no_grad():
            found = pair_statistics(parameters, rows, seen, validation, cap, drawn)
            return found.mean_joint - found.log_marginal

    steps = max(1, options.steps // STEPS_SHARE)
    return fit(
        {name: tensor.to(device) for name, tensor in initial.items()},
        batch_loss,
        validate,
        steps=steps,
        learning_rate=options.learning_rate / SLOWER,
        patience=PATIENCE,
        on_step=lambda step: on_progress(Progress(stage="mine, residual", done=step, total=steps, unit="steps")),
    )


def keep_residual(parameters: Parameters, kept: Tensor) -> Parameters:
    """The parameters with a residual of 0 in the problems outside ``kept`` (problem,)."""
    return parameters | {"gain": torch.where(kept[:, None], parameters["gain"], 0.0)}


def residual_statistics(
    parameters: Parameters, rows: Rows, factors: SeparableScores, side: SplitPart, cap: Tensor
) -> PairStatistics:
    """Statistics of a side with the trained residual; ``factors`` are those of the side's rows."""
    with torch.no_grad():
        drawn = draw_columns(factors, side, cap, NEGATIVES_IN_TEST, torch.Generator().manual_seed(TEST_SEED))
        return pair_statistics(parameters, rows, factors, side, cap, drawn)
