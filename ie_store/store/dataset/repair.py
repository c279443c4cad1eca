"""Mending a dataset: damaged shards are taken off the ledger, so that they are missing, and small arrays written anew."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.options import OnProgress
from ie_store.specs import DatasetIdentity, Level
from ie_store.store.dataset.ledger import LEVELS, ledger_templates, revoke
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


def damaged_shards(files: Storage, name: str, identity: DatasetIdentity, on_progress: OnProgress) -> dict[Level, list[int]]:
    """Shards that count and fail a check of their index, size or any chunk's checksum; reads all that is stored."""
    check = ShardCheck(files, name, identity, on_progress)
    layout = identity.layout
    return {level: [shard for shard in range(layout.num_shards(level)) if check.faults(level, shard)] for level in LEVELS}


def find_damage(files: Storage, name: str, identity: DatasetIdentity, arrays: SmallArrays, on_progress: OnProgress) -> Damage:
    """Everything about a dataset that `mend` can fix."""
    documents = {template.name: template for template in _documents(identity)}
    return Damage(
        shards=damaged_shards(files, name, identity, on_progress),
        arrays=[array for array, (template, values) in arrays.items() if not _holds(files, name, template, values)],
        documents=[array for array, template in documents.items() if not _fits(files, f"{name}/{array}", template)],
    )


def mend(files: Storage, name: str, identity: DatasetIdentity, arrays: SmallArrays, damage: Damage) -> None:
    """Take damaged shards off the ledger and write the rest anew. The caller holds the lock."""
    for level, shards in damage.shards.items():
        for shard in shards:
            revoke(files, name, level, shard)
    for array in damage.arrays:
        write_plain(files, name, *arrays[array])
    for template in _documents(identity):
        if template.name in damage.documents:
            write_document(files, f"{name}/{template.name}", template.document())


def _documents(identity: DatasetIdentity) -> list[ArrayTemplate]:
    """Arrays whose files are checked elsewhere, named as they stand below the dataset."""
    states = [state_template(identity.layout, level) for level in LEVELS]
    return states + [replace(template, name=f"ledger/{template.name}") for template in ledger_templates(identity.layout)]


def _fits(files: Storage, key: str, template: ArrayTemplate) -> bool:
    """True where an array's metadata are as we wrote them, whatever attributes others added."""
    try:
        document = read_document(files, key) or {}
    except StoreError:
        return False
    attributes = document.get("attributes")
    ours = template.attributes.items()
    return isinstance(attributes, dict) and all(attributes.get(k) == v for k, v in ours) and not differing(document, template)


def _holds(files: Storage, name: str, template: ArrayTemplate, values: NDArray[Any]) -> bool:
    key = f"{name}/{template.name}"
    if not _fits(files, key, template):
        return False
    try:
        found = read_plain(files, key)
    except StoreError:
        return False
    return found.shape == values.shape and found.tobytes() == values.astype(found.dtype).tobytes()
