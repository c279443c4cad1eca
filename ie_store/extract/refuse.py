"""What can be seen to be wrong before a model is loaded, and before torch is."""

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from ie_store.corpus.files import STDIN
from ie_store.corpus.recipe import parse_recipe
from ie_store.errors import InputError, StoreError
from ie_store.extract.model.facts import num_blocks_of
from ie_store.extract.model.sources import model_id, require_source
from ie_store.extract.naming import name_of
from ie_store.grid import parse_selection
from ie_store.options import ExtractSpec
from ie_store.store.dataset.handle import Dataset, find_dataset, require_identity
from ie_store.store.dataset.writer import hold_dataset
from ie_store.store.files.open import open_storage
from ie_store.store.files.protocol import Storage


@dataclass(frozen=True)
class Place:
    """Where an extraction goes, and what stands there."""

    files: Storage
    name: str
    """MODEL/CORPUS."""
    stored: Dataset | None

    def held(self, spec: ExtractSpec) -> AbstractContextManager[Storage | None]:
        """Hold the place from here on, so that whoever comes second loads no model; a complete dataset is only looked at.

        Raises:
            StoreError: something else stands there.
            BusyError: a living process writes it.
        """
        if self.stored is not None and self.stored.attributes.complete and not spec.repair:
            return nullcontext()
        return hold_dataset(self.files, self.name)


def require_startable(spec: ExtractSpec) -> Place:
    """Where an extraction goes, once all has been checked that needs neither model nor corpus.

    Raises:
        InputError: something in ``spec`` cannot be used as given.
        IdentityError: a dataset of the same name was made from something else.
    """
    name, files = name_of(spec), open_storage(spec.store)
    if (spec.workers or spec.scheduler) and STDIN in parse_recipe(spec.corpus).source.split(","):
        raise InputError("workers cannot read the standard input of this command; give the text as a file, or leave out workers")
    require_source(spec)
    layout = asked_layers(spec, num_blocks_of(spec))
    stored = None
    with suppress(StoreError):  # what is damaged is told by whoever opens it to write
        stored = find_dataset(files, name)
    if stored is not None and not spec.replace:
        model = {"id": model_id(spec), "bos": spec.bos}
        if spec.compute_dtype is not None:
            model["compute_dtype"] = spec.compute_dtype
        if spec.attention != "auto":
            model["attention"] = spec.attention
        if spec.batch_size:
            layout["rows_per_batch"] = spec.batch_size
        if spec.dtype != "auto":
            layout["stored_dtype"] = spec.dtype
        require_same_parts(stored, model=model, layout=layout)
    return Place(files, name, stored)


def asked_layers(spec: ExtractSpec, num_blocks: int | None) -> dict[str, Any]:
    """The layers of a layout, where it is known how many blocks there are.

    Raises:
        InputError: a selection of layers that do not exist.
    """
    if num_blocks is None:
        return {}
    return {"num_layers": num_blocks + 1, "layers": parse_selection(spec.layers, num_blocks + 1, "layers")}


def require_same_parts(stored: Dataset, *, model: dict[str, Any], layout: dict[str, Any], **others: Any) -> None:
    """Raise `IdentityError` where what is known of an identity so far differs from the stored one."""
    identity = stored.identity
    known = replace(identity, model=replace(identity.model, **model), layout=replace(identity.layout, **layout), **others)
    require_identity(stored, known)
