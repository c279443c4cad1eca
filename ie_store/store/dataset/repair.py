"""Mending a dataset: damaged shards are taken off the ledger, so that they are missing, and small arrays written anew."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.options import OnProgress
from ie_store.specs import LEVELS, Level, StoreLayout
from ie_store.store.dataset.handle import Dataset
from ie_store.store.dataset.ledger import ledger_templates, revoke
from ie_store.store.dataset.shard_check import ShardCheck, differing
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import ArrayTemplate, state_template
from ie_store.store.format.metadata import read_document, write_document
from ie_store.store.format.small_arrays import read_plain, write_plain

SmallArrays = Mapping[str, tuple[ArrayTemplate, NDArray[Any]]]
"""What `layout.coordinate_values` makes of a corpus."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What is not as it was written."""

    shards: dict[Level, list[int]]
    """Those that the ledger lists and that fail a check."""
    arrays: list[str]
    """Small arrays whose values or metadata do not follow from the corpus."""
    documents: list[str]
    """Arrays of states or of the ledger whose metadata do not follow from the identity."""

    def __bool__(self) -> bool:
        return any(self.shards.values()) or bool(self.arrays or self.documents)

    def __str__(self) -> str:
        counts = [f"{len(self.shards[level])} {level} shards" for level in LEVELS if self.shards[level]]
        return ", ".join([*counts, *self.arrays, *self.documents])


def damaged_shards(dataset: Dataset, on_progress: OnProgress) -> dict[Level, list[int]]:
    """Shards that count and fail a check of their index, size or any chunk's checksum; reads all that is stored."""
    check, layout = ShardCheck(dataset, on_progress), dataset.layout
    return {level: [shard for shard in range(layout.num_shards(level)) if check.faults(level, shard)] for level in LEVELS}


def find_damage(dataset: Dataset, arrays: SmallArrays, on_progress: OnProgress) -> Damage:
    """Everything about a dataset that `fix_damage` can undo."""
    return Damage(
        shards=damaged_shards(dataset, on_progress),
        arrays=[array for array, (template, values) in arrays.items() if not _holds(dataset, template, values)],
        documents=[t.name for t in _documents(dataset.layout) if not _fits(dataset.files, dataset.key(t.name), t)],
    )


def fix_damage(dataset: Dataset, arrays: SmallArrays, damage: Damage) -> None:
    """Take damaged shards off the ledger and write the rest anew. The caller holds the lock."""
    for level, shards in damage.shards.items():
        for shard in shards:
            revoke(dataset, level, shard)
    for array in damage.arrays:
        write_plain(dataset.files, dataset.name, *arrays[array])
    for template in _documents(dataset.layout):
        if template.name in damage.documents:
            write_document(dataset.files, dataset.key(template.name), template.document())


def _documents(layout: StoreLayout) -> list[ArrayTemplate]:
    """Arrays whose files are checked elsewhere, named as they stand below the dataset."""
    states = [state_template(layout, level) for level in LEVELS]
    return states + [replace(template, name=f"ledger/{template.name}") for template in ledger_templates(layout)]


def _fits(files: Storage, key: str, template: ArrayTemplate) -> bool:
    """True where an array's metadata are as we wrote them, whatever attributes others added."""
    try:
        document = read_document(files, key) or {}
    except StoreError:
        return False
    attributes = document.get("attributes")
    ours = template.attributes.items()
    return isinstance(attributes, dict) and all(attributes.get(k) == v for k, v in ours) and not differing(document, template)


def _holds(dataset: Dataset, template: ArrayTemplate, values: NDArray[Any]) -> bool:
    key = dataset.key(template.name)
    if not _fits(dataset.files, key, template):
        return False
    try:
        found = read_plain(dataset.files, key)
    except StoreError:
        return False
    return found.shape == values.shape and found.tobytes() == values.astype(found.dtype).tobytes()
