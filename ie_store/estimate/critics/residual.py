"""The published critic as a residual over pairs, trained and tested on the pairs that the separable scores hold likely.

It sees what no separable score can (sharp edges, say), at the price of one forward pass per pair. So its mean over the
marginals is taken by importance: of row i's pairs a few are drawn in proportion to exp(separable score), and

    mean_j exp(S_ij + R_ij)  =  mean_j exp(S_ij)  *  E_{j drawn}[ exp(R_ij) ]

where the first factor is an exact sum over the row's references. The residual starts at 0 and stays within +-`LARGEST_RESIDUAL`.
It is left out where it has nothing to add: for tables, whose few rows separable scores tell apart, for rows that are
normalised one by one, and where trained encoders found nothing beyond the linear critic.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ie_store.estimate.critics.bounds import PairStatistics
from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.critics.minibatches import batches
from ie_store.estimate.critics.networks import Parameters, first_layer, make_pair_network, residual_scores
from ie_store.estimate.critics.pair_means import Scores, over_rows, row_tiles, scored
from ie_store.estimate.critics.pairing import Pairing
from ie_store.estimate.critics.rows import Rows, Scorer, scores_at
from ie_store.estimate.critics.scores import SeparableScores, SplitPart, capped_exp, capped_exp_, soft_cap
from ie_store.estimate.critics.train import Average, BatchLoss, Trained, fit
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
"""Rows whose columns' side of the network is computed together: bounds memory, changes no value but in the last bits."""
VALIDATION_SEED, TEST_SEED = 1, 2
"""Of the drawn columns: fixed, so that two looks at the same rows differ by the critic alone."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Pairs of a side's references with columns drawn among them by their separable scores."""

    pairing: Pairing
    references: SeparableScores
    """Scores of the references."""
    columns: Tensor
    """(problem, reference, draw) positions in the side"""
    row_means: Tensor
    """(problem, reference) mean of exp(capped separable score) over columns"""
    column_means: Tensor
    """(problem, reference) over rows"""


def draw_columns(scores: Scores, side: SplitPart, cap: Tensor, points: Tensor) -> Drawn:
    """Draw columns for every reference in proportion to exp(capped score), where uniform ``points`` (reference, draw) fall."""
    references = scored(scores, side.references().rows, len(cap))
    num_columns = references.row.shape[1]
    pairing = Pairing.of(side.probabilities.to(cap.dtype), side.is_weighted, num_columns)
    points = points.to(cap.device)

    def of_rows(here: slice) -> tuple[Tensor, Tensor, Tensor]:
        factors = references.part(here)
        columns, means, by_column = [], [], torch.zeros_like(references.row)
        for part in row_tiles(factors.row, num_columns):
            tile = slice(here.start + part.start, here.start + part.stop)
            block = capped_exp_(factors.part(part).against(references), cap).mul_(pairing.others)
            if not side.is_weighted:
                block.diagonal(tile.start, dim1=1, dim2=2).zero_()
            means.append(block.sum(2))
            by_column += torch.einsum("i,pij->pj", pairing.by_row[tile], block) / pairing.others
            edges = block.cumsum_(2)
            wanted = points[tile] * edges[..., -1:]
            columns.append(torch.searchsorted(edges, wanted).clamp_max(num_columns - 1))
        return torch.cat(columns, 1), torch.cat(means, 1), by_column

    columns, means, by_column = [], [], torch.zeros_like(references.row)
    for of_part in over_rows(of_rows, num_columns, len(cap), cap.device):
        columns.append(of_part[0])
        means.append(of_part[1])
        by_column += of_part[2]
    return Drawn(
        references=references,
        columns=torch.cat(columns, 1),
        row_means=torch.cat(means, 1),
        column_means=by_column,
        pairing=pairing,
    )


def pair_statistics(
    parameters: Parameters, rows: Rows, scorer: Scorer, side: SplitPart, cap: Tensor, drawn: Drawn
) -> PairStatistics:
    """`PairStatistics` of separable scores plus residual, with gradients where they are wanted."""
    num_columns, num_draws = drawn.references.row.shape[1], drawn.columns.shape[2]
    part_y = torch.cat([rows.at(index)[1] @ parameters["y"] for index in side.references().rows.split(ROWS_AT_ONCE)], 1)

    def of_rows(here: slice) -> tuple[Tensor, Tensor]:
        x, y = rows.at(side.rows[here])
        factors = drawn.references.part(here) if here.stop <= num_columns else scorer(x, y)
        part_x, own_y = first_layer(parameters, x, y)
        joint = soft_cap(factors.diagonal() + residual_scores(parameters, part_x + own_y), cap)
        met = slice(0, max(0, min(here.stop, num_columns) - here.start))
        if met.stop == 0:
            return joint, joint[:, :0]
        columns = drawn.columns[:, here.start : here.start + met.stop]
        return joint, _ratio(parameters, part_x[:, met], part_y, factors.part(met), drawn.references, columns, cap)

    if torch.is_grad_enabled():
        found = [of_rows(slice(0, len(side.rows)))]
    else:
        found = list(over_rows(of_rows, len(side.rows), len(cap) * num_draws, cap.device))
    pairing = drawn.pairing
    row_means = drawn.row_means * torch.cat([ratio for _, ratio in found], 1)
    overall = (row_means @ pairing.meeting) / (drawn.row_means @ pairing.meeting)
    # Columns were drawn for rows: no draw tells a column's own ratio, so all take the overall one, and the sum stays right.
    return PairStatistics(
        joint=torch.cat([joint for joint, _ in found], 1),
        row_means=pairing.spread(row_means),
        column_means=pairing.spread(drawn.column_means * overall[:, None]),
        pairing=pairing,
    )


def _ratio(
    parameters: Parameters,
    part_x: Tensor,
    part_y: Tensor,
    factors: SeparableScores,
    references: SeparableScores,
    columns: Tensor,
    cap: Tensor,
) -> Tensor:
    """Mean (problem, row) of exp(score with residual - score without) over the drawn ``columns`` of some rows."""
    num_problems, num_rows, num_draws = columns.shape
    flat = columns.reshape(num_problems, -1)
    partners = _gather(part_y, flat).view(num_problems, num_rows, num_draws, -1)
    residual = residual_scores(parameters, (part_x[:, :, None] + partners).flatten(1, 2))
    right = _gather(references.right, flat).view(num_problems, num_rows, num_draws, -1)
    scores = torch.einsum("pik,pijk->pij", factors.left, right) + factors.row[..., None]
    scores = (scores + references.column.gather(1, flat).view(columns.shape)).flatten(1)
    return (capped_exp(scores + residual, cap) / capped_exp(scores, cap)).view(columns.shape).mean(2)


def _gather(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[..., None].expand(*index.shape, values.shape[-1]))


def train_pairs(
    rows: Rows,
    scorer: Scorer,
    cap: Tensor,
    active: Tensor,
    fold: Fold,
    options: TrainedOptions,
    seed: int,
    on_progress: OnProgress,
) -> Trained:
    """Train the residual on top of a separable ``scorer``, for the value of the ``active`` problems (problem,)."""
    generator = torch.Generator().manual_seed(seed)
    initial = make_pair_network(rows.pairs.num_problems, *rows.pairs.sizes, generator)
    stream = batches(fold.train, options.batch_size, generator)
    average = Average()
    validation = fold.validation.head(VALIDATION_ROWS)
    drawn = draw_columns(scores_at(rows, scorer), validation, cap, _points(validation, VALIDATION_SEED))

    def next_batch() -> tuple[BatchLoss, tuple[Tensor, ...]]:
        side = next(stream)
        points = torch.rand(side.num_references, NEGATIVES_IN_TRAINING, generator=generator)

        def batch_loss(parameters: Parameters, points: Tensor, probabilities: Tensor, *kept: Tensor) -> Tensor:
            batch, here = replace(rows, kept=kept), replace(side, probabilities=probabilities).renumbered()
            drawn_here = draw_columns(scores_at(batch, scorer), here, cap, points)
            found = pair_statistics(parameters, batch, scorer, here, cap, drawn_here)
            mean = found.row_means @ found.probabilities
            return mean / average.after(mean.detach()) - found.mean_joint

        return batch_loss, (points.to(cap.device), side.probabilities, *rows.only(side.rows).kept)

    def validate(parameters: Parameters) -> Tensor:
        with torch.no_grad():
            found = pair_statistics(parameters, rows, scorer, validation, cap, drawn)
            return found.mean_joint - found.log_marginal

    steps = max(1, options.steps // STEPS_SHARE)
    return fit(
        {name: tensor.to(cap.device) for name, tensor in initial.items()},
        next_batch,
        validate,
        active=active,
        steps=steps,
        learning_rate=options.learning_rate / SLOWER,
        patience=PATIENCE,
        on_step=lambda step: on_progress(Progress(stage="mine, residual", done=step, total=steps, unit="steps")),
    )


def _points(side: SplitPart, seed: int) -> Tensor:
    return torch.rand(side.num_references, NEGATIVES_IN_TEST, generator=torch.Generator().manual_seed(seed))


def keep_residual(parameters: Parameters, kept: Tensor) -> Parameters:
    """The parameters with a residual of 0 in the problems outside ``kept`` (problem,)."""
    return parameters | {"gain": torch.where(kept[:, None], parameters["gain"], 0.0)}


def residual_statistics(parameters: Parameters, rows: Rows, scorer: Scorer, side: SplitPart, cap: Tensor) -> PairStatistics:
    """Statistics of a side with the trained residual."""
    with torch.no_grad():
        drawn = draw_columns(scores_at(rows, scorer), side, cap, _points(side, TEST_SEED))
        return pair_statistics(parameters, rows, scorer, side, cap, drawn)
