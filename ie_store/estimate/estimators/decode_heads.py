"""Heads of `decode`: what a state says of the token at one position, linear in the state and fitted in closed form.

A head scores every listed token x of a position against a state h, with three coefficients found on validation rows::

    one-hot   h . W m_x  and  m_x . W m_x     W the inverse of the covariance within tokens, m_x the mean state of x
    shared    R h . phi(x)  and  |phi(x)|^2   R the ridge regression from states to phi(x), the state of the lone token

The one-hot scores are the exact posterior of Gaussian classes of one covariance; a token that was not trained on has none.
Shared ones carry over to it: phi(x) are whitened and of length 1, so that frequent tokens do not own all directions.
Coefficients of 0 leave the token's frequency, which is the candidate "nothing".
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ie_store.estimate.estimators.decode_design import Column, Design, Seen
from ie_store.estimate.estimators.decode_newton import maximise
from ie_store.estimate.exponentials import log_sum_exp_, softmax_

RIDGES = (0.003, 0.03, 0.3)
"""Ridge penalties that validation rows choose from, in units of the mean eigenvalue of the states' covariance."""
MOST_ONE_HOT = 64
"""Tokens of a position up to which one-hot heads are tried: beyond, most are rare, and shared heads are better and cheaper."""
LEAST_SPREAD = 1e-5
"""Relative spread below which norms or frequencies are all the same."""
DOUBT = 1e-3
"""Share of each validation row's weight that falls on all tokens by their frequency: rows that are all told apart would ask for
ever larger coefficients."""
LEAST_WITHIN = 1e-4
"""Least share of variance within tokens: train rows that are told apart without error say nothing finer."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Scores f(x|h) of the tokens of one position; softmax of f + ln p(x) is the head's own distribution over them."""

    column: Column
    weights: Tensor
    """(dimension, feature)"""
    features: Tensor | None
    """(token, feature); None where a feature is a token"""
    norms: Tensor
    """(token,)"""
    coefficients: Tensor
    """(3,) of the product, the norm and the log frequency"""
    validation_nats: float

    def products(self, rows: Tensor) -> Tensor:
        """(row, token) before the coefficients."""
        if self.features is None:
            return torch.matmul(rows, self.weights)
        found: Tensor = torch.linalg.multi_dot([rows, self.weights, self.features.T])  # in the cheaper order
        return found

    def scores(self, rows: Tensor) -> Tensor:
        """f (row, token) of states ``rows`` (row, dimension) of the design."""
        product, norm, frequency = self.coefficients.to(rows.dtype)
        found: Tensor = product * self.products(rows) + (norm * self.norms + frequency * self.column.log_shares)
        return found


def token_features(states: Tensor, shares: Tensor) -> Tensor:
    """phi (token, dimension): lone tokens' ``states`` whitened under their ``shares`` (token,), and of length 1."""
    states = states.double()
    centred = states - shares @ states
    values, axes = torch.linalg.eigh((centred * shares[:, None]).T @ centred)
    values = values.clamp_min(0)
    whitened: Tensor = centred @ axes / (values + values.mean().clamp_min(1e-12)).sqrt()
    return torch.nn.functional.normalize(whitened, dim=1).float()


def fit_head(design: Design, column: Column, seen: Seen) -> Head:
    """The head of the best kind and penalty on validation rows."""
    candidates = _candidates(design.variances, column, seen)
    return max((calibrate(design, head) for head in candidates), key=lambda head: head.validation_nats)


def own_log_ratios(head: Head, scores: Tensor, tokens: Tensor) -> Tensor:
    """ln q(x|h) / p(x) (row,) of the head alone, for ``scores`` (row, token) and the ``tokens`` (row,) that stand there."""
    shares = head.column.log_shares
    of_own: Tensor = scores.gather(1, tokens[:, None].long())[:, 0]
    return of_own - log_sum_exp_(scores + shares, 1)


def _candidates(variances: Tensor, column: Column, seen: Seen) -> Iterator[Head]:
    units = variances.mean().clamp_min(1e-12)
    nothing = torch.zeros(3, dtype=torch.float64, device=units.device)
    if len(column.log_shares) <= MOST_ONE_HOT:
        for ridge in RIDGES:
            penalised = (variances + ridge * units).double()
            weights, norms = one_hot(seen.sums.double(), seen.shares.double(), penalised)
            yield Head(column=column, weights=weights, features=None, norms=norms, coefficients=nothing, validation_nats=0.0)
    features = column.features - seen.shares @ column.features
    products = seen.sums.T @ features
    for ridge in RIDGES:
        yield Head(
            column=column,
            weights=products / (variances + ridge * units)[:, None],
            features=features,
            norms=features.square().sum(dim=1),
            coefficients=nothing,
            validation_nats=0.0,
        )


def one_hot(sums: Tensor, shares: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Linear discriminant weights (dimension, token) and norms (token,), from the covariance of all rows by Woodbury."""
    roots = shares.clamp_min(1e-12).sqrt()
    between = sums / roots[:, None]
    solved = between / variances
    within = torch.eye(len(sums), dtype=sums.dtype, device=sums.device) - between @ solved.T
    values, axes = torch.linalg.eigh((within + within.T) / 2)
    weights = ((axes / values.clamp_min(LEAST_WITHIN)) @ axes.T @ solved) / roots[:, None]
    weights[shares == 0] = 0
    norms = (weights * sums / shares.clamp_min(1e-12)[:, None]).sum(dim=1)
    return weights.T.float(), norms.float()


def calibrate(design: Design, head: Head) -> Head:
    """The coefficients that validation rows ask for: a convex problem, by Newton's method."""
    column, weights = head.column, design.validation_weights
    tokens = column.tokens[design.validation].long()
    fixed = torch.stack([head.norms, column.log_shares], dim=1)
    fixed = torch.where(fixed.std(dim=0) > LEAST_SPREAD * fixed.abs().amax(dim=0), fixed - fixed.mean(dim=0), 0.0)
    products = head.products(design.validation_states)
    units = torch.cat([products.std()[None], fixed.std(dim=0)]).nan_to_num(0).clamp_min(1e-12)
    products, fixed = products / units[0], fixed / units[1:]
    shares = column.log_shares.exp()
    own = torch.cat([products.gather(1, tokens[:, None]), fixed[tokens]], dim=1)
    own = own.lerp(torch.cat([(products @ shares)[:, None], (shares @ fixed).expand(len(tokens), -1)], dim=1), DOUBT)

    def objective(coefficients: Tensor) -> tuple[float, Tensor, Tensor]:
        scores = coefficients[0] * products + (fixed @ coefficients[1:] + column.log_shares)
        log_sums, q = softmax_(scores, 1)
        gains = own @ coefficients - log_sums
        of_product = q * products
        means = torch.cat([of_product.sum(dim=1, keepdim=True), q @ fixed], dim=1)
        second = torch.empty((3, 3), device=q.device)
        second[0, 0] = weights @ (of_product * products).sum(dim=1)
        second[0, 1:] = second[1:, 0] = weights @ (of_product @ fixed)
        second[1:, 1:] = (fixed * (weights @ q)[:, None]).T @ fixed
        curvature = second - (means * weights[:, None]).T @ means
        return float(weights @ gains), weights @ (own - means), curvature

    coefficients, value = maximise(objective, torch.zeros(3, device=products.device))
    return replace(head, coefficients=(coefficients / units).double(), validation_nats=value)
