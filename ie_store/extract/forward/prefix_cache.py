"""Keys and values of distinct prefixes, each kept once, in the shape of transformers' own cache.

Every token that the model computes gets a *slot* in one pool per attention layer. A node's *block_table* lists the slots of its
prefix; what a batch attends to is one gather of slots, so that a parent's keys are never copied until they are read::

    slot     0     1     2     3     4            block_table of "A,B" = 0, 1, 3
    token    A     ,     B     B     C
    parent   -     0     -     1     1
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass
class Step:
    """What the next forward computes; all layers of a cache share it."""

    num_slots: int
    """Slots in each pool."""
    num_past: int = 0
    """Positions before the first one of this forward."""
    first_slot: int = 0
    """The new tokens' slots follow one another from here, node by node."""
    block_table: Tensor | None = None
    """(node x position,) slots of all positions of each node, past and new; None where there is no past."""


class BlockTableLayer(CacheLayerMixin):
    """The pool of one attention layer. Masks are made for all positions, so sliding windows need no cutting here."""

    is_sliding = False

    def __init__(self, step: Step) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._step = step
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: the pools are made at the first update."""

    def update(self, key_states: Tensor, value_states: Tensor, *rest: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """Keep new keys and values (node, head, position, size); return them joined to those of their prefixes."""
        if self.keys is None or self.values is None:
            self.keys, self.values = _empty_pool(key_states, self._step), _empty_pool(value_states, self._step)
        return _joined(self.keys, key_states, self._step), _joined(self.values, value_states, self._step)

    def get_seq_length(self) -> int:
        """Positions before this forward."""
        return self._step.num_past

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Positions attended to, and the first of them."""
        return self._step.num_past + query_length, 0

    def get_max_length(self) -> int:
        """No limit."""
        return -1


def _empty_pool(states: Tensor, step: Step) -> Tensor:
    return states.new_empty((step.num_slots, states.shape[1], states.shape[3]))


def _joined(pool: Tensor, states: Tensor, step: Step) -> Tensor:
    num_nodes, num_heads, num_new, size = states.shape
    new = pool[step.first_slot : step.first_slot + num_nodes * num_new]
    new.view(num_nodes, num_new, num_heads, size).copy_(states.transpose(1, 2))
    if step.block_table is None:
        return states
    return pool.index_select(0, step.block_table).view(num_nodes, -1, num_heads, size).transpose(1, 2)


def make_cache(num_slots: int) -> tuple[Cache, Step]:
    """An empty cache with ``num_slots`` slots per layer, and the step that says what its next forward does."""
    step = Step(num_slots=num_slots)
    return Cache(layer_class_to_replicate=partial(BlockTableLayer, step)), step  # type: ignore[arg-type]
