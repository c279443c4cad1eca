"""The plan of an estimate as data: which problems, in which order, and which of them are estimated together.

E(b, t) needs the macro problem (b, t) and the micro problems (b, 0..t). Problems of one level and position have one
shape, so neighbouring blocks form a stack; batches are ordered so that a slab, once read, serves all who need it::

    macro, position t     blocks 0 1 2 | 3 4 5 | ...     layer 3 is y of block 2 and x of block 3
    micro, blocks 0 1 2   positions 0, 1, ..., t         one table per layer, other weights
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ie_store.errors import InputError
from ie_store.grid import format_selection, parse_selection
from ie_store.specs import Level, Problem, Slab, StoreLayout

BATCH_BYTES = {"cpu": 2**28, "cuda": 2**33}
"""Most bytes of float32 states in one stack, by type of device."""


@dataclass(frozen=True, kw_only=True)
class ProblemBatch:
    """Problems of one shape that are estimated together."""

    level: Level
    position: int
    blocks: tuple[int, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One problem per block."""
        return tuple(Problem(level=self.level, block=block, position=self.position) for block in self.blocks)

    @property
    def slabs(self) -> tuple[Slab, ...]:
        """What has to be read, in order of layers."""
        layers = sorted({layer for block in self.blocks for layer in (block, block + 1)})
        return tuple(Slab.of(self.level, layer, self.position) for layer in layers)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The emergences that are wanted: every block at every position."""

    blocks: tuple[int, ...]
    positions: tuple[int, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that have to be estimated: macro at the positions, micro at all positions up to the last of them."""
        macro = [Problem(level="macro", block=b, position=t) for b in self.blocks for t in self.positions]
        return tuple(macro + [Problem(level="micro", block=b, position=t) for b in self.blocks for t in self.micro_positions])

    @property
    def micro_positions(self) -> range:
        """Positions of the lone tokens that enter the emergences."""
        return range(max(self.positions, default=-1) + 1)


def choose_targets(layout: StoreLayout, blocks: str, positions: str) -> Targets:
    """Turn the options ``blocks`` and ``positions`` into targets; ``all`` means all whose states are stored.

    Raises:
        InputError: not a selection, outside the model or corpus, or not stored.
    """
    stored, layers = stored_blocks(layout), format_selection(layout.layers)
    if not stored:
        raise InputError(
            f"no block can be estimated: it needs two neighbouring layers, and the dataset has {layers}; "
            "extract again with --layers all or a range like 4-5, or use --estimator exact, which needs none"
        )
    wanted = stored if blocks.strip() == "all" else parse_selection(blocks, layout.num_layers - 1, "blocks")
    for block in wanted:
        if block not in stored:
            raise InputError(
                f"block {block} needs layers {block} and {block + 1}, but the dataset has layers {layers}; "
                f"choose among blocks {format_selection(stored)}"
            )
    everywhere = positions.strip() == "all"
    at = layout.positions if everywhere else parse_selection(positions, layout.num_positions, "positions")
    for position in at:
        if position not in layout.positions:
            raise InputError(
                f"position {position} is not stored; the dataset has macro states at positions "
                f"{format_selection(layout.positions)}; "
                "choose among them with --positions"
            )
    return Targets(blocks=wanted, positions=at)


def asked_targets(layout: StoreLayout, blocks: str, positions: str) -> Targets:
    """The blocks and positions asked for, stored or not. For exact, which needs no states.

    Raises:
        InputError: not a selection, or outside the model or corpus.
    """
    return Targets(
        blocks=parse_selection(blocks, layout.num_layers - 1, "blocks"),
        positions=parse_selection(positions, layout.num_positions, "positions"),
    )


def checkable_targets(layout: StoreLayout, blocks: str, positions: str) -> Targets:
    """Of the blocks and positions asked for, those whose states are stored; maybe none.

    Raises:
        InputError: not a selection, or outside the model or corpus.
    """
    asked = asked_targets(layout, blocks, positions)
    return Targets(
        blocks=tuple(block for block in stored_blocks(layout) if block in asked.blocks),
        positions=tuple(position for position in layout.positions if position in asked.positions),
    )


def stored_blocks(layout: StoreLayout) -> tuple[int, ...]:
    """Blocks both of whose layers are stored."""
    return tuple(layer for layer in layout.layers if layer + 1 in layout.layers)


def plan_batches(targets: Targets, layout: StoreLayout, batch_bytes: int) -> tuple[ProblemBatch, ...]:
    """Every problem of ``targets`` in exactly one stack, in reading order.

    Micro problems come first: they take seconds, and an emergence is there as soon as its macro value is. A stack holds as many
    blocks as fit into ``batch_bytes`` of float32 states x and y; at least one.
    """
    batches: list[ProblemBatch] = []
    for blocks in _cut(targets.blocks, layout.num_tokens * layout.hidden_size, batch_bytes):
        for position in targets.micro_positions:
            batches.append(ProblemBatch(level="micro", position=position, blocks=blocks))
    for position in targets.positions:
        for blocks in _cut(targets.blocks, layout.num_sequences * layout.hidden_size, batch_bytes):
            batches.append(ProblemBatch(level="macro", position=position, blocks=blocks))
    return tuple(batches)


def _cut(blocks: tuple[int, ...], values_per_slab: int, batch_bytes: int) -> list[tuple[int, ...]]:
    size = max(1, batch_bytes // (2 * 4 * values_per_slab))
    return [blocks[start : start + size] for start in range(0, len(blocks), size)]


def only(batches: Sequence[ProblemBatch], wanted: frozenset[Problem]) -> tuple[ProblemBatch, ...]:
    """The batches cut down to the ``wanted`` problems; a stack with none of them is dropped."""
    left = []
    for stack in batches:
        blocks = tuple(problem.block for problem in stack.problems if problem in wanted)
        if blocks:
            left.append(ProblemBatch(level=stack.level, position=stack.position, blocks=blocks))
    return tuple(left)
