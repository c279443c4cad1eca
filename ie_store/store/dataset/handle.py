"""The handle of one dataset: where it lies and what its attributes say, read once and handed to whoever works on it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from ie_store.errors import IdentityError
from ie_store.specs import DatasetIdentity, StoreLayout, digest
from ie_store.store.files.open import open_storage
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import dataset_name
from ie_store.store.format.attributes import DatasetAttributes
from ie_store.store.format.metadata import read_dataset, require_dataset


@dataclass(frozen=True)
class Dataset:
    """A dataset as it was when its attributes were read. `open_dataset` makes it; it travels between processes as its address."""

    files: Storage
    name: str
    """MODEL/CORPUS."""
    attributes: DatasetAttributes

    def __reduce__(self) -> tuple[Callable[[str, str], "Dataset"], tuple[str, str]]:
        return open_dataset, (self.files.root, self.name)

    @property
    def identity(self) -> DatasetIdentity:
        """What it was made from."""
        return self.attributes.identity

    @property
    def layout(self) -> StoreLayout:
        """Its shape, and how it is cut into shards."""
        return self.attributes.identity.layout

    @cached_property
    def identity_digest(self) -> str:
        """SHA-256 of its identity: what checksums and results are bound to."""
        return digest(self.attributes.identity)

    @property
    def address(self) -> str:
        """Path or URL."""
        return self.files.address(self.name)

    def key(self, *parts: str) -> str:
        """Key of what lies below it."""
        return "/".join((self.name, *parts))

    def address_of(self, *parts: str) -> str:
        """Path or URL of what lies below it."""
        return self.files.address(self.key(*parts))


def open_dataset(store: str | Storage, name: str) -> Dataset:
    """Dataset ``name`` (MODEL/CORPUS) of a store.

    Args:
        store: local folder, s3://BUCKET/PREFIX, or what `open_storage` gave.
        name: MODEL/CORPUS.

    Raises:
        InputError: the name is malformed.
        StoreError: no such store or dataset, or damaged.
    """
    files = open_storage(store) if isinstance(store, str) else store
    return Dataset(files, name, require_dataset(files, dataset_name(name)))


def find_dataset(files: Storage, name: str) -> Dataset | None:
    """Dataset ``name``, where there may be none yet, or none any more.

    Raises:
        StoreError: the group there is not ours, not a dataset, or damaged.
    """
    attributes = read_dataset(files, name)
    return None if attributes is None else Dataset(files, name, attributes)


def require_identity(dataset: Dataset, identity: DatasetIdentity) -> None:
    """Raise `IdentityError` unless a dataset was made from what ``identity`` says; it names every field that differs."""
    if differences := identity.differences(dataset.identity):
        raise IdentityError(
            f"{dataset.address} was made from something else:\n  " + "\n  ".join(differences) + "\n"
            f"keep it and store this under another name (--as), replace it (--replace), or remove it: "
            f"ie-store rm {dataset.files.root} {dataset.name}"
        )
