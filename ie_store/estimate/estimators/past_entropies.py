"""Entropies of the past from posteriors that arrive tile by tile: of every shorter prefix, and of the token at every position.

Posterior weights q (outcome, draw) of neighbouring outcomes sum to those of the shorter prefix that they share; sums of a
position are the start for the one before. A segment that a tile cuts is carried on to the next.
"""

import torch
from torch import Tensor

from ie_store.estimate.exact.past import Past


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
        return total.log() - torch.xlogy(sums, sums).sum(dim=0, dtype=torch.float64) / total


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
            self._closed += torch.xlogy(self._carried, self._carried)
        if len(q) > 1:
            self._closed += torch.xlogy(head, head) + torch.xlogy(q[1:-1], q[1:-1]).sum(dim=0, dtype=torch.float64)
            head = q[-1]
        self._open, self._carried = first + len(q) - 1, head.clone()

    def close(self) -> Tensor:
        """(draw,) the sum over all segments."""
        return self._closed + torch.xlogy(self._carried, self._carried)
