"""Trained heads of `decode`: of low rank, all positions in one batch, started from those in closed form.

A head's product becomes (h A) . (phi(x) B), A and B of `RANK` columns, started from the largest singular values of what ridge
regression found for states of equal variances; what its coefficients say of norm and frequency stays. Adam raises the mean over
positions of ln q(x|h) / p(x), where tokens of the batch's other rows stand for p: the heads' own score, since the list's would
cost as many scores as there are prefixes. After every pass over the train rows the list is scored on validation rows; the best
pass is kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.estimators.decode_design import Design
from ie_store.estimate.estimators.decode_heads import Head
from ie_store.estimate.exponentials import log_sum_exp

RANK = 128
BATCH_ROWS = 512
MOST_ROWS = 2**15
"""Train rows of one pass, drawn anew for each where there are more."""
MOST_PASSES, PATIENCE = 8, 2
"""Passes over the train rows, and how many without a better score on validation rows end the training."""
RATE = 2e-3
RIDGE = 0.03
"""In units of the mean variance, added before states are brought to equal variances: small ones are noise."""


@dataclass(frozen=True, kw_only=True)
class _LowRank:
    """What is trained of one head, and what stays."""

    head: Head
    left: Tensor
    """A (dimension, rank)"""
    right: Tensor
    """B (feature, rank)"""
    features: Tensor
    """(token, feature)"""
    constants: Tensor
    """(token,) of norm and frequency"""

    def loss(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Mean of -ln q(x|h) / p(x) over rows with ``states`` (row, dimension) and ``tokens`` (row,)."""
        scores = (states @ self.left) @ (self.features[tokens] @ self.right).T + self.constants[tokens]
        return (log_sum_exp(scores, 1) - scores.diagonal()).mean()

    def trained(self, whitening: Tensor) -> Head:
        """The head as it is now, its product with a coefficient of 1."""
        one = torch.ones_like(self.head.coefficients[:1])
        return replace(
            self.head,
            weights=self.left.detach() * whitening[:, None],
            features=self.features @ self.right.detach(),
            coefficients=torch.cat([one, self.head.coefficients[1:]]),
        )


def train_heads(design: Design, fold: Fold, heads: list[Head], seed: int, score: Callable[[list[Head]], float]) -> list[Head]:
    """The heads after the pass whose ``score`` on validation rows is best.

    Args:
        design: states of the fold.
        fold: its train rows.
        heads: in closed form.
        seed: of the order of rows.
        score: of heads that are not calibrated.
    """
    units = design.variances.mean().clamp_min(1e-12)
    whitening = (design.variances + RIDGE * units).rsqrt()
    parts = [_start(head, whitening) for head in heads]
    optimiser = torch.optim.Adam([side for part in parts for side in (part.left, part.right)], lr=RATE, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(seed)
    best, best_score, since = heads, -float("inf"), 0
    for _ in range(MOST_PASSES):
        for chosen in _batches(fold.train.rows, generator):
            states = design.states(chosen) * whitening
            losses = [part.loss(states, part.head.column.tokens[chosen]) for part in parts]
            optimiser.zero_grad()
            torch.stack(losses).sum().backward()
            optimiser.step()
        found = [part.trained(whitening) for part in parts]
        found_score, since = score(found), since + 1
        if found_score > best_score:
            best, best_score, since = found, found_score, 0
        if since == PATIENCE:
            break
    return best


def _start(head: Head, whitening: Tensor) -> _LowRank:
    product, norm, frequency = head.coefficients.float()
    left, values, right = torch.linalg.svd(product * head.weights / whitening[:, None], full_matrices=False)
    roots = values[:RANK].sqrt()
    features = torch.eye(len(head.norms), device=roots.device) if head.features is None else head.features
    return _LowRank(
        head=head,
        left=(left[:, :RANK] * roots).requires_grad_(),
        right=(right[:RANK].T * roots).requires_grad_(),
        features=features,
        constants=norm * head.norms + frequency * head.column.log_shares,
    )


def _batches(rows: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Outcomes (row,) of each batch of one pass, all of about the same size."""
    drawn = torch.randperm(len(rows), generator=generator)[:MOST_ROWS].to(rows.device)
    return iter(rows[drawn].tensor_split(max(1, round(len(drawn) / BATCH_ROWS))))
