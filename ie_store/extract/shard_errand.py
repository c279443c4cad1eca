"""One item of an extraction in a process of a Dask cluster: it loads the model once, computes the rows and writes their shards.

While its shards are written the process can compute its next item. What is sent is a spec and the item; what comes back is an
error at most. The run that sent it holds the dataset meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock

import torch
from torch import Tensor

from ie_store.errors import IeStoreError, StoreError
from ie_store.extract.engine import Engine
from ie_store.extract.forward.sharing import Sharing
from ie_store.extract.forward.states import HostBuffer
from ie_store.extract.model.load import TORCH_DTYPES
from ie_store.extract.model.quiet import quiet_logging
from ie_store.extract.pipeline import ShardPipeline
from ie_store.extract.prepare import PreparedExtract, prepare
from ie_store.extract.work import WorkItem
from ie_store.options import ExtractSpec
from ie_store.store.dataset.handle import Dataset, open_dataset
from ie_store.store.dataset.ledger import is_whole
from ie_store.store.dataset.shard_writer import ShardWriter

_ONE_AT_A_TIME = Lock()


@dataclass(frozen=True, kw_only=True)
class ShardErrand:
    """What a worker is told."""

    spec: ExtractSpec
    identity_digest: str
    """Of the dataset that is written."""
    sharing: Sharing
    """As the run that sends it found it, so that all states come from the same forward."""
    session: int
    """Number of the run among the ledger's sessions."""
    item: WorkItem
    threads: int

    def run(self, step_aside: Callable[[], None]) -> IeStoreError | None:
        """Compute the item's rows, step aside, write its missing shards; what stood against it, if anything did."""
        try:
            with _ONE_AT_A_TIME, quiet_logging():
                torch.set_num_threads(self.threads)
                job = _prepared(self.spec, self.identity_digest)
                dataset = self._open_dataset(job.name)
                left = tuple(shard for shard in self.item.shards if not is_whole(dataset, shard.level, shard.index))
                if not left:
                    return None
                buffer, states = self._compute(job)
            step_aside()
            with ShardWriter(dataset, lambda: self.session) as writer, ShardPipeline(writer, [buffer]) as pipeline:
                pipeline.write(replace(self.item, shards=left), buffer, states)
        except IeStoreError as error:
            return error
        return None

    def _open_dataset(self, name: str) -> Dataset:
        dataset = open_dataset(self.spec.store, name)
        if dataset.identity_digest != self.identity_digest:
            raise StoreError(f"{dataset.address} was replaced meanwhile; look at it with 'ie-store info', then extract again")
        return dataset

    def _compute(self, job: PreparedExtract) -> tuple[HostBuffer, Tensor]:
        """States (stored layer, stored position, row, hidden) of all rows, and the buffer in which they lie."""
        engine = Engine(model=job.engine.model, layout=job.engine.layout, sharing=self.sharing)
        buffer = HostBuffer(engine.num_values(self.item), TORCH_DTYPES[engine.layout.stored_dtype], engine.model.device)
        return buffer, engine.fill(self.item, *self.item.rows(job.corpus), buffer, lambda done, total: None)


@lru_cache(maxsize=1)
def _prepared(spec: ExtractSpec, identity_digest: str) -> PreparedExtract:
    """Model and corpus, kept for the next item.

    Raises:
        InputError, IdentityError: what this process finds under the same names is something else.
    """
    return prepare(spec)
