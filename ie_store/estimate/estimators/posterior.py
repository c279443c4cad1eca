"""Entropies of the exact posterior over all outcomes, given noisy states: two matrix products serve every noise level.

A draw is an outcome i and a standard normal z; its noisy state is y = x_i + sigma z. With p the outcomes' weights, what the
posterior of outcome j has over that of i is, but for the weights,::

    a_j = (|y - x_i|^2 - |y - x_j|^2) / 2 sigma^2 = -|x_j - x_i|^2 / 2 sigma^2 + z.(x_j - x_i) / sigma
    H(p(.|y)) = ln Z - (1/Z) sum_j p_j exp(a_j) (a_j + ln p_j)          Z = sum_j p_j exp(a_j)

and both terms of a_j come from one product each, [x_j, 1, -|x_j|^2/2] with [x_i, -|x_i|^2/2, 1] and with [z, -z.x_i, 0].
a_i is 0, so no sum vanishes, and a_j is at most the square of a standard normal over 2, so none overflows: no maximum needs
subtracting. Sums run over tiles of outcomes; nothing of the size draws x outcomes is ever held.

Tiles hold a_j in bits: PyTorch computes powers of two several times faster than exponentials on some processors, and numbers
below the normal ones without the many times longer that these cost it there.

Close outcomes have a small distance that is the difference of large numbers where both lie far from the centre. What decides is
the drawn one: a far outcome that is not close to it does not count. So draws beyond a norm are computed in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.device import each_on_one_thread
from ie_store.estimate.estimators.noise_outcomes import Outcomes
from ie_store.estimate.estimators.past_entropies import PastEntropies
from ie_store.specs import NATS_PER_BIT

TILE = {"cpu": (384, 512), "cuda": (4096, 4096)}
"""Outcomes and draws that meet at once, by type of device; on a CPU, what of them counts lies in a core's cache."""
PAST_BYTES = {"cpu": 2**27, "cuda": 2**32}
"""Most bytes of the sums over past tokens, by type of device."""
FLOAT32_ERROR = 1e-3
"""Most that rounding may do to one a_j in float32, far above what is typical; beyond it float64 is taken."""
LEAST, MOST = -115.0, 115.0
"""Bits; two to the power of what is in between is a normal float32 number, with any weight."""
NOTHING = 36.0
"""Bits of the share of a posterior that may be left out: far below float32 rounding."""
FEW = 0.5
"""Share of the draws up to which it pays to take them out of a tile."""
TILES_IN_FLOAT32 = 16
"""Tiles whose sums are added in the precision of the draws; the whole in float64."""


@dataclass(frozen=True, kw_only=True)
class _Level:
    """A noise level, and its sums over the last tiles."""

    number: int
    sigma: float
    factors: Tensor
    """(1, 2) of the two products"""
    sums: Tensor
    """(2, draw) of e, times the weights and times these and their logarithms"""
    terms: Tensor
    """(1, draw) of the weights times e times a in bits"""
    past: PastEntropies | None
    is_for_few: bool
    """Whether draws that a tile does not touch may be left out, here and at all smaller levels: none has a past."""


def _levels(outcomes: Outcomes, sigmas: Sequence[float], sigmas_of_past: Sequence[float], partial: Tensor) -> list[_Level]:
    """Levels, the largest first, that add to ``partial`` (level, 3, draw); views are made once, since tiles are small."""
    num_draws = partial.shape[2]

    def past(sigma: float) -> PastEntropies | None:
        if outcomes.past is None or sigma not in sigmas_of_past:
            return None
        return PastEntropies(outcomes.past, num_draws, partial.device)

    return [
        _Level(
            number=number,
            sigma=sigmas[number],
            factors=torch.tensor([[sigmas[number] ** -2, 1 / sigmas[number]]], dtype=partial.dtype, device=partial.device),
            sums=partial[number, :2],
            terms=partial[number, 2:],
            past=past(sigmas[number]),
            is_for_few=outcomes.past is None or sigmas[number] < min(sigmas_of_past),
        )
        for number in sorted(range(len(sigmas)), key=lambda number: -sigmas[number])
    ]


class _Room:
    """What the tiles of one height are computed in, one after the other."""

    def __init__(self, height: int, like: Tensor) -> None:
        """``height`` outcomes for draws (..., draw) ``like`` these."""
        room = like.new_empty((4, height, like.shape[-1]))
        self.products, self.a, self.e = room[:2].unbind(), room[2], room[3]
        self.flat_products, self.flat_a = room[:2].view(2, -1), room[2].view(1, -1)


def posterior_entropies(
    outcomes: Outcomes,
    drawn: NDArray[np.int64],
    sigmas: Sequence[float],
    sigmas_of_past: Sequence[float],
    chance: torch.Generator,
    advance: Callable[[int], None],
) -> NDArray[np.float64]:
    """Entropies in nats (draw, quantity) of the posterior given each draw.

    Args:
        outcomes: all of them.
        drawn: (draw,) rising indices of outcomes.
        sigmas: noise levels; the first quantities are H(S|y) at each.
        sigmas_of_past: those of them at which, where the past is known, H(prefix of s|y) for s = 0..t and H(token at s|y)
            for s = 0..t follow, level after level.
        chance: the source of z, on the CPU.
        advance: called with the number of draws done so far.
    """
    most = _draws_at_once(outcomes, len(sigmas_of_past))
    found = np.empty((len(drawn), _num_quantities(outcomes, sigmas, sigmas_of_past)))
    parts = [slice(start, min(start + most, len(drawn))) for start in range(0, len(drawn), most)]
    width = outcomes.extended.width - 2
    noises = ((part, torch.randn((part.stop - part.start, width), generator=chance)) for part in parts)

    def compute(given: tuple[slice, Tensor]) -> NDArray[np.float64]:
        return _of_draws(outcomes, drawn[given[0]], given[1], sigmas, sigmas_of_past)

    for part, entropies in zip(parts, each_on_one_thread(compute, noises, outcomes.extended.device), strict=True):
        found[part] = entropies
        advance(part.stop)
    return found


def _of_draws(
    outcomes: Outcomes, drawn: NDArray[np.int64], noise: Tensor, sigmas: Sequence[float], sigmas_of_past: Sequence[float]
) -> NDArray[np.float64]:
    """Entropies (draw, quantity) of a few draws: those near the centre in float32, the rest in float64."""
    device = outcomes.extended.device
    near_enough = FLOAT32_ERROR * min(sigmas) ** 2 / torch.finfo(torch.float32).eps * 2
    index = torch.from_numpy(drawn).to(device)
    far = (outcomes.half_norms[index] > near_enough).cpu()
    found = np.empty((len(drawn), _num_quantities(outcomes, sigmas, sigmas_of_past)))
    for dtype, group in ((torch.float32, ~far), (torch.float64, far)):
        if bool(group.any()):
            of_group, its_noise = index[group.to(device)], noise[group].to(device)
            found[group.numpy()] = _entropies(outcomes, of_group, its_noise, sigmas, sigmas_of_past, dtype)
    return found


def _draws_at_once(outcomes: Outcomes, num_of_past: int) -> int:
    kind = _kind(outcomes)
    most = TILE[kind][1]
    if outcomes.past is None:
        return most
    room = PAST_BYTES[kind] // (4 * num_of_past * int(outcomes.past.num_tokens.sum()))
    return max(1, min(most, room))


def _kind(outcomes: Outcomes) -> str:
    return "cpu" if outcomes.extended.device.type == "cpu" else "cuda"


def _num_quantities(outcomes: Outcomes, sigmas: Sequence[float], sigmas_of_past: Sequence[float]) -> int:
    return len(sigmas) + (0 if outcomes.past is None else 2 * len(outcomes.past.tokens) * len(sigmas_of_past))


def _entropies(
    outcomes: Outcomes, index: Tensor, noise: Tensor, sigmas: Sequence[float], sigmas_of_past: Sequence[float], dtype: torch.dtype
) -> NDArray[np.float64]:
    """Entropies (draw, quantity) given outcomes ``index`` (draw,) and ``noise`` (draw, dimension), computed in ``dtype``."""
    device, height, num_outcomes = index.device, TILE[_kind(outcomes)][0], len(outcomes.extended)
    sides, negligible = _sides(outcomes, index, noise, dtype), _negligible(outcomes, index)
    sums = torch.zeros((len(sigmas), 3, len(index)), dtype=torch.float64, device=device)
    partial = torch.zeros_like(sums, dtype=dtype)
    levels = _levels(outcomes, sigmas, sigmas_of_past, partial)
    starts = range(0, num_outcomes, height)
    firsts = torch.searchsorted(index, torch.tensor([*starts, num_outcomes], device=device)).tolist()
    num_needed, room = 0, _Room(min(height, num_outcomes), partial)
    for number, top in enumerate(starts):
        rows, first, last = slice(top, min(top + height, num_outcomes)), firsts[number], firsts[number + 1]
        if rows.stop - top < len(room.a):
            room = _Room(rows.stop - top, partial)
        tile, logged = outcomes.tile(rows, dtype), outcomes.logged[:, rows].to(dtype)
        for side, product in zip(sides, room.products, strict=True):
            torch.mm(tile, side, out=product)
            if last > first:  # the drawn ones themselves
                product[index[first:last] - top, torch.arange(first, last, device=device)] = 0.0
        num_needed = _add_tile(levels, room, logged, rows, negligible, num_needed - 1)
        if (number + 1) % TILES_IN_FLOAT32 == 0:
            sums += partial
            partial.zero_()
    total, of_weights, of_terms = (sums + partial).unbind(dim=1)
    found = total.log() - (of_weights + of_terms * NATS_PER_BIT) / total
    pasts = {level.sigma: level.past.entropies(found[level.number], total[level.number]) for level in levels if level.past}
    of_past = [pasts[sigma] for sigma in sigmas_of_past if sigma in pasts]
    return torch.cat([found, *of_past]).T.clamp_(min=0.0).cpu().numpy()


def _add_tile(levels: list[_Level], room: _Room, logged: Tensor, rows: slice, negligible: float, tested: int) -> int:
    """Add what a tile gives to each level; give how many levels it was needed at.

    Levels fall, and no distance is below 0: what is negligible at one is so at all that follow. So the first of them that
    touches few draws is where the rest is left to those draws. Neighbouring tiles mostly need the same levels: only from the
    level ``tested`` on is looked.
    """
    a, e, of_weights = room.a, room.e, logged[:1]
    for place, level in enumerate(levels):
        torch.mm(level.factors, room.flat_products, out=room.flat_a)
        if place >= tested and level.is_for_few:
            touched = torch.nonzero(a.amax(dim=0) >= negligible)[:, 0]
            if len(touched) <= FEW * a.shape[1]:
                _add_touched(levels[place:], room, logged, touched, negligible)
                return place + (len(touched) > 0)
        torch.exp2(a.clamp_(LEAST, MOST), out=e)
        level.sums.addmm_(logged, e)
        level.terms.addmm_(of_weights, a.mul_(e))
        if level.past is not None:
            level.past.add(torch.mul(e, of_weights.T, out=a).float(), rows)
    return len(levels)


def _add_touched(levels: list[_Level], room: _Room, logged: Tensor, touched: Tensor, negligible: float) -> None:
    """Add what a tile gives to the ``touched`` (touched,) draws, at each level until it is negligible."""
    if len(touched) == 0:
        return
    products = torch.stack([product.index_select(1, touched) for product in room.products])
    for level in levels:
        a = (level.factors @ products.view(2, -1)).view(products.shape[1:])
        if float(a.amax()) < negligible:
            return
        e = a.clamp_(LEAST, MOST).exp2()
        level.sums.index_add_(1, touched, logged @ e)
        level.terms.index_add_(1, touched, logged[:1] @ a.mul_(e))


def _negligible(outcomes: Outcomes, index: Tensor) -> float:
    """The a_j, in bits, below which all outcomes together are at most 2^-`NOTHING` of any draw's own one, which has a_i = 0."""
    return max(LEAST, float((outcomes.weights[index].min() / len(outcomes.weights)).log2()) - NOTHING)


def _sides(outcomes: Outcomes, index: Tensor, noise: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The draws' side of both products, (dimension + 2, draw) each: of the outcomes drawn, and of the noise; for a in bits."""
    states = outcomes.extended.take(index)[:, :-2].double()
    noise = noise.double()
    ones, zeros = torch.ones_like(states[:, :1]), torch.zeros_like(states[:, :1])
    along = (noise * states).sum(dim=1, keepdim=True)
    drawn = torch.cat([states, -outcomes.half_norms[index][:, None], ones], dim=1)
    drawn, noise = drawn / NATS_PER_BIT, torch.cat([noise, -along, zeros], dim=1) / NATS_PER_BIT
    return drawn.to(dtype).T, noise.to(dtype).T


def entropy_spans(outcomes: Outcomes, num_sigmas: int, num_of_past: int) -> NDArray[np.float64]:
    """The most (quantity,) that each of `posterior_entropies` can be, in nats; the least is 0."""
    spans = [np.full(num_sigmas, log(len(outcomes.weights)))]
    if outcomes.past is not None:
        spans += num_of_past * [np.log(outcomes.past.num_prefixes), np.log(outcomes.past.num_tokens)]
    return np.concatenate(spans)
