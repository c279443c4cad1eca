"""The rows of neighbouring layers at one position, and what a profile found out about them, kept while it is needed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import torch

from ie_store.estimate.exact.prefix_index import DistinctPrefixes, PrefixIndex
from ie_store.estimate.read import read_states
from ie_store.estimate.stored_rows import ChosenRows, Room, StoredRows
from ie_store.specs import Slab
from ie_store.store.dataset.reader import DatasetReader
from ie_store.variables import Piece

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a profile finds out about a layer at a position."""

    pieces: tuple[Piece, ...]
    flags: tuple[str, ...] = ()
    """What a reader must know before believing it."""


class LayerStates:
    """The macro states of a layer at a position and of the layer before it, each read once while work stays near."""

    def __init__(self, reader: DatasetReader, corpus: PrefixIndex, room: Room) -> None:
        self._reader, self._corpus, self._room = reader, corpus, room
        self.layer, self.position = -1, -1
        self._kept: dict[tuple[str, int, int], object] = {}

    def move_to(self, layer: int, position: int) -> None:
        """Go on with another layer; forget what is neither of it nor of the layer before it."""
        self.layer, self.position = layer, position
        near = ((layer, position), (layer - 1, position))
        self._kept = {key: found for key, found in self._kept.items() if key[1:] in near}

    @property
    def has_layer_before(self) -> bool:
        """The layer before this one is stored too."""
        return self.layer - 1 in self._reader.layout.layers

    def distinct(self, layer: int) -> DistinctPrefixes:
        """What a layer's states can tell apart: prefixes, and tokens alone where they are what enters block 0."""
        return self._corpus.last_tokens(self.position) if layer == 0 else self._corpus.prefixes(self.position)

    def rows(self, layer: int) -> StoredRows:
        """(outcome, hidden) one row per outcome, in the stored dtype."""

        def read() -> StoredRows:
            slab = read_states(self._reader, Slab(level="macro", layer=layer, position=self.position), self._room).rows
            return ChosenRows(slab, torch.from_numpy(self.distinct(layer).first_rows).to(slab.device))

        return self.kept("rows", layer, read)

    def kept(self, what: str, layer: int, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for a layer at the current position."""
        key = what, layer, self.position
        if key not in self._kept:
            self._kept[key] = make()
        return cast(T, self._kept[key])
