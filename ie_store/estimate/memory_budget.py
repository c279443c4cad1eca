"""How a run divides the memory that it may take: what work holds, what reading holds, and what is left for rows.

Everything that grows with rows lies in the rows' part or, beyond it, on disk. The parts change no value.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from shutil import disk_usage

import torch

from ie_store.errors import DiskSpaceError, InputError
from ie_store.estimate.batch_states import ItemShape, Needs
from ie_store.estimate.costs import RowsOf
from ie_store.estimate.exact.prefix_index import corpus_bytes
from ie_store.estimate.memory import machine_bytes
from ie_store.estimate.plan import WorkItem
from ie_store.estimate.stored_rows import Room
from ie_store.estimators import resolve
from ie_store.specs import Slab, StoreLayout

SHARE_OF_MACHINE, SHARE_OF_DEVICE = 4, 2
"""One in so many bytes of the machine, or of a GPU, is taken by default."""
PIECES_AT_ONCE = 3
"""Of work, whose slabs may be there: that which is done, the next one's, and those that a forecast looked at."""
LOADED_BYTES = 2**26
"""Modules that are loaded late, and what allocators keep."""


@dataclass(frozen=True, kw_only=True)
class MemoryBudget:
    """What a run needs, and what it may take."""

    num_bytes: int
    """The most beside what is loaded."""
    working_bytes: int
    """Held by the work on one item, whatever its rows."""
    reading_bytes: int
    """Held while a slab is read."""
    lent_bytes: int
    """Left by rows to work that goes faster with them."""
    disk_bytes: int
    """Rows that may lie on disk at once."""

    def room(self, device: torch.device) -> Room:
        """Where rows are kept."""
        left = max(0, self.num_bytes - self.working_bytes - self.reading_bytes)
        return Room(device, left, self.reading_bytes, self.lent_bytes if device.type == "cpu" else 0)


def default_bytes(device: torch.device) -> int:
    """A quarter of this machine's memory, of a GPU at most half of its own."""
    most = machine_bytes() // SHARE_OF_MACHINE
    if device.type == "cpu":
        return most
    return min(most, torch.cuda.mem_get_info(device)[1] // SHARE_OF_DEVICE)


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one piece of work asks of the memory."""

    name: str
    """For people: ``mine needs ... for NAME``."""
    work: str
    working_bytes: int
    """Held at once, at most."""
    row_bytes: int = 0
    """Of rows that it keeps where there is room."""
    lent_bytes: int = 0
    """That it borrows where there is room."""
    slabs: tuple[Slab, ...]
    """That are there with it."""


def demands_of(items: Sequence[WorkItem], layout: StoreLayout, rows: RowsOf, threads: int) -> list[Demand]:
    """Those of the items of a plan, of which ``rows`` counts distinct rows, on ``threads`` that compute."""
    return [
        Demand(name=item.estimator.name, work=item.key, slabs=item.slabs, **asdict(_needs(item, layout, rows(item), threads)))
        for item in items
    ]


def make_budget(num_bytes: int, demands: Sequence[Demand], layout: StoreLayout, or_else: str, shares: int = 1) -> MemoryBudget:
    """The budget of work that is done one piece after another, or of each process where ``shares`` of them do it.

    Args:
        num_bytes: the most that may be taken, by all of them.
        demands: of every piece.
        layout: of the dataset.
        or_else: what mends too little memory, beside more of it.
        shares: processes that divide the memory.

    Raises:
        InputError: a piece needs more than that.
        DiskSpaceError: the folder for temporary files has less room than rows that do not fit into memory.
    """
    num_bytes //= shares
    reading = max((_reading_bytes(slab, layout) for demand in demands for slab in demand.slabs), default=0)
    largest = max(demands, key=lambda demand: demand.working_bytes, default=None)
    read, kept = corpus_bytes(layout.num_sequences, layout.num_positions, layout.num_tokens)
    working = LOADED_BYTES + max(read, kept + (largest.working_bytes if largest else 0))
    if largest and working + reading > num_bytes:
        least = working + reading
        may = f"{num_bytes:,}" if shares == 1 else f"{num_bytes:,} in each of {shares} workers"
        raise InputError(
            f"{largest.name} needs at least {least:,} bytes of memory for {largest.work}, and may take {may}; "
            f"give --memory {-(-least * shares // 10**6)}MB, {'' if shares == 1 else 'fewer --workers, '}{or_else}"
        )
    slabs = max((sum(_slab_bytes(slab, layout) for slab in demand.slabs) for demand in demands), default=0)
    rows = PIECES_AT_ONCE * slabs + max((demand.row_bytes for demand in demands), default=0)
    lent = max((demand.lent_bytes for demand in demands), default=0)
    fits = rows <= num_bytes - working - reading - lent
    if not fits and rows > (free := disk_usage(tempfile.gettempdir()).free):
        raise DiskSpaceError(
            f"states of up to {rows:,} bytes do not fit into memory beside the work on them ({num_bytes:,} bytes in all), and "
            f"{tempfile.gettempdir()} has {free:,} bytes left; set TMPDIR to a folder with more, or give a larger --memory"
        )
    return MemoryBudget(
        num_bytes=num_bytes, working_bytes=working, reading_bytes=reading, lent_bytes=lent, disk_bytes=0 if fits else rows
    )


def _needs(item: WorkItem, layout: StoreLayout, num_rows: int, threads: int) -> Needs:
    if not item.estimator.row.needs_states:
        return Needs(working_bytes=0)
    shape = ItemShape(
        num_rows=num_rows,
        num_sequences=layout.num_sequences,
        num_positions=layout.num_positions,
        num_tokens=layout.num_tokens,
        hidden_size=layout.hidden_size,
        num_blocks=len(item.batch.blocks),
        threads=threads,
    )
    needs: Needs = resolve(item.estimator.row.needs)(item.estimator, shape)
    return needs


def _slab_bytes(slab: Slab, layout: StoreLayout) -> int:
    states = layout.level(slab.level)
    return states.num_rows * states.row_bytes


def _reading_bytes(slab: Slab, layout: StoreLayout) -> int:
    """A chunk of one shard, as it is stored and decoded."""
    states = layout.level(slab.level)
    return 2 * min(states.num_rows, states.rows_per_shard) * states.row_bytes
