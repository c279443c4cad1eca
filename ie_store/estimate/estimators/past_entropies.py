"""Entropies of the past from posteriors that arrive tile by tile: of every shorter prefix, and of the token at every position.

Posterior weights q (outcome, draw) of neighbouring outcomes sum to those of the shorter prefix that they share; sums of a
position are the start for the one before. A segment that a tile cuts is carried on to the next.
"""

import torch
from torch import Tensor

from ie_store.estimate.exact.past import Past

LEAST = 1e-37
"""0 ln 0 is 0: smaller numbers have the logarithm of this one. `torch.xlogy` knows that, and is several times slower."""
ROWS_AT_ONCE = 1024
"""Outcomes whose terms are summed in float32."""


class PastEntropies:
    """Sums over the tiles of one set of draws."""

    def __init__(self, past: Past, num_draws: int, device: torch.device) -> None:
        """``num_draws`` draws of outcomes whose past is ``past``."""
        self._past, self._branches = past, past.branches
        self._parents = [torch.from_numpy(parents).to(device) for parents in past.parents]
        self._tokens = [torch.from_numpy(tokens).to(device) for tokens in past.tokens]
        self._of_tokens = [torch.zeros((int(size), num_draws), device=device) for size in past.num_tokens]
        self._segments = [Segments(num_draws, device) for _ in past.parents]

    def add(self, q: Tensor, rows: slice) -> None:
        """Take in the weights ``q`` (outcome, draw) of the outcomes ``rows``; tiles come in order."""
        start, stop = rows.start, rows.stop
        for position in reversed(range(len(self._tokens))):
            if position < len(self._parents) and self._branches[position]:
                above = self._parents[position][start:stop]
                start, stop = int(self._past.parents[position][start]), int(self._past.parents[position][stop - 1]) + 1
                q = q.new_zeros((stop - start, q.shape[1])).index_add_(0, above - start, q)
                self._segments[position].add(q, start)
            if len(self._of_tokens[position]) > 1:
                self._of_tokens[position].index_add_(0, self._tokens[position][start:stop], q)

    def entropies(self, whole: Tensor, total: Tensor) -> Tensor:
        """Entropies (quantity, draw): of the prefixes of positions 0..t, then of the tokens there.

        Args:
            whole: (draw,) the entropy of the outcomes themselves.
            total: (draw,) the sum of all q.
        """
        prefixes = [whole]
        for segments, branches in zip(reversed(self._segments), reversed(self._branches), strict=True):
            prefixes.append(total.log() - segments.close() / total if branches else prefixes[-1])
        tokens = [self._token_entropy(sums, total) for sums in self._of_tokens]
        return torch.stack([*reversed(prefixes), *tokens])

    @staticmethod
    def _token_entropy(sums: Tensor, total: Tensor) -> Tensor:
        if len(sums) == 1:
            return torch.zeros_like(total)
        return total.log() - _sum_q_ln_q(sums) / total


def _sum_q_ln_q(q: Tensor) -> Tensor:
    """(draw,) of ``q`` (outcome, draw), at least 0; in float64, each sum of few outcomes."""
    parts = [q[start : start + ROWS_AT_ONCE] for start in range(0, max(1, len(q)), ROWS_AT_ONCE)]
    return torch.stack([part.clamp_min(LEAST).log_().mul_(part).sum(dim=0).double() for part in parts]).sum(dim=0)


class Segments:
    """sum of q ln q over the segments of one position."""

    def __init__(self, num_draws: int, device: torch.device) -> None:
        self._closed = torch.zeros(num_draws, dtype=torch.float64, device=device)
        self._open, self._carried = -1, torch.zeros(num_draws, device=device)

    def add(self, q: Tensor, first: int) -> None:
        """Take in ``q`` (segment, draw) of segments from ``first`` on; the last of them may go on in the next tile."""
        head = q[0]
        if first == self._open:
            head = head + self._carried
        else:
            self._closed += _sum_q_ln_q(self._carried[None])
        if len(q) > 1:
            self._closed += _sum_q_ln_q(head[None]) + _sum_q_ln_q(q[1:-1])
            head = q[-1]
        self._open, self._carried = first + len(q) - 1, head.clone()

    def close(self) -> Tensor:
        """(draw,) the sum over all segments."""
        return self._closed + _sum_q_ln_q(self._carried[None])
