"""Profiles of a dataset: descriptions of its layers that are no information, into the store beside its estimates.

selection -> items (layer, position), each once for every profile that misses it -> one record each -> arrays
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ie_store.errors import InputError
from ie_store.estimate.device import choose_device, describe_session
from ie_store.estimate.exact.prefix_index import PrefixIndex
from ie_store.estimate.memory_budget import Demand, default_bytes, make_budget
from ie_store.estimate.profiles.layer_states import Described, LayerStates
from ie_store.estimate.read import open_complete, read_prefixes
from ie_store.estimators import resolve
from ie_store.grid import format_selection, parse_selection
from ie_store.options import OnProgress, ProfileSpec, Progress, ignore_progress
from ie_store.profiles import ProfileMethod
from ie_store.specs import Slab, StoreLayout
from ie_store.store.dataset.reader import DatasetReader
from ie_store.store.results.records import Record
from ie_store.store.results.writer import ResultGroup, open_results
from ie_store.variables import WholeArrays

Measure = Callable[[ProfileMethod, LayerStates], Described]
"""Describes the layer at which the states stand."""
NeededBytes = Callable[[ProfileMethod, int, int], int]
"""Held at once beside slabs, of so many distinct rows and dimensions."""
OR_ELSE = "fewer --rows or another --profile"
ASSEMBLE_SECONDS = 10.0
"""While work goes on, arrays for other readers are put together at most this often."""


@dataclass(frozen=True, kw_only=True)
class ProfileItem:
    """One profile of one layer at one position."""

    method: ProfileMethod
    layer: int
    position: int

    @property
    def key(self) -> str:
        """Its name among the profile's items."""
        return f"position{self.position}-layer{self.layer}"

    @property
    def slabs(self) -> tuple[Slab, ...]:
        """The layer, and the one before it where both are looked at."""
        layers = (self.layer - 1, self.layer) if self.method.row.compares_layers and self.layer else (self.layer,)
        return tuple(Slab(level="macro", layer=layer, position=self.position) for layer in layers)


def profile(spec: ProfileSpec, on_progress: OnProgress = ignore_progress) -> dict[str, WholeArrays]:
    """Describe layers of a stored dataset and write that into the store; resumes what was cut off.

    Args:
        spec: dataset, profiles, layers and positions.
        on_progress: called with every finished layer.

    Returns:
        All arrays of each profile by its name, those of earlier runs too: variables over (layer, position, ...), NaN where
        nothing was computed.

    Raises:
        InputError: an option that cannot be, states that are not stored, or too little memory.
        StoreError: no such dataset, incomplete or damaged.
        NonFiniteError: NaN or Inf in the states.
        BusyError: a living process computes the same.
        DiskSpaceError: rows beyond the memory that may be taken find no room.
    """
    reader = open_complete(spec.store, spec.name)
    device = choose_device(spec.device)
    groups = {method: open_results(reader.dataset, method.identity) for method in spec.profiles}
    make_items(spec, reader.layout, groups)  # what cannot be is told before anything is held
    corpus = read_prefixes(reader)
    with ExitStack() as held:
        for group in groups.values():
            held.enter_context(group.hold_run())
            group.refresh()
        items = make_items(spec, reader.layout, groups)
        budget = make_budget(spec.memory_bytes or default_bytes(device), _demands(items, reader, corpus), reader.layout, OR_ELSE)
        states = LayerStates(reader, corpus, budget.room(device))
        try:
            _carry_out(items, groups, states, describe_session(device), on_progress)
        finally:
            arrays = {method.name: group.assemble() for method, group in groups.items()}
    return arrays


def make_items(spec: ProfileSpec, layout: StoreLayout, groups: dict[ProfileMethod, ResultGroup]) -> list[ProfileItem]:
    """What is left to do, by position and layer, so that a layer is read once for all profiles and for the next one."""
    layers = _stored(spec.layers, layout.layers, layout.num_layers, "layers")
    positions = _stored(spec.positions, layout.positions, layout.num_positions, "positions")
    items = [
        ProfileItem(method=method, layer=layer, position=position)
        for position in positions
        for layer in layers
        for method in groups
    ]
    return [item for item in items if item.key not in groups[item.method].items]


def _demands(items: list[ProfileItem], reader: DatasetReader, corpus: PrefixIndex) -> list[Demand]:
    num_rows = {position: len(corpus.prefixes(position).counts) for position in {item.position for item in items}}

    def needed(item: ProfileItem) -> int:
        count: NeededBytes = resolve(item.method.row.needs)
        return count(item.method, num_rows[item.position], reader.layout.hidden_size)

    return [Demand(name=i.method.name, work=i.key, working_bytes=needed(i), slabs=i.slabs) for i in items]


def _stored(text: str, stored: tuple[int, ...], size: int, what: str) -> tuple[int, ...]:
    wanted = stored if text.strip() == "all" else parse_selection(text, size, what)
    for number in wanted:
        if number not in stored:
            raise InputError(
                f"{what.removesuffix('s')} {number} is not stored; the dataset has macro states of {what} "
                f"{format_selection(stored)}; choose among them with --{what}"
            )
    return wanted


def _carry_out(
    items: list[ProfileItem],
    groups: dict[ProfileMethod, ResultGroup],
    states: LayerStates,
    session: dict[str, Any],
    on_progress: OnProgress,
) -> None:
    assembled = monotonic()
    for done, item in enumerate(items, 1):
        states.move_to(item.layer, item.position)
        measure: Measure = resolve(item.method.row.measure)
        described = measure(item.method, states)
        flags = {f"layer/{item.layer}/{item.position}": described.flags} if described.flags else {}
        groups[item.method].commit(Record(item=item.key, session=session, flags=flags, pieces=described.pieces))
        on_progress(Progress(stage="profiles", done=done, total=len(items), unit="layers"))
        if monotonic() - assembled > ASSEMBLE_SECONDS:
            for group in groups.values():
                group.assemble()
            assembled = monotonic()
