"""One item of an extraction in a process of a Dask cluster: it loads the model once, computes the rows and writes their shards.

What is sent is a spec and the item; what comes back is an error at most. The run that sent it holds the dataset meanwhile.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock

import torch

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
from ie_store.store.dataset.handle import open_dataset
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

    def run(self) -> IeStoreError | None:
        """Compute the item's rows and write its missing shards; what stood against it, if anything did."""
        try:
            with _ONE_AT_A_TIME, quiet_logging():
                torch.set_num_threads(self.threads)
                self._carry_out(_prepared(self.spec, self.identity_digest))
        except IeStoreError as error:
            return error
        return None

    def _carry_out(self, job: PreparedExtract) -> None:
        dataset = open_dataset(self.spec.store, job.name)
        if dataset.identity_digest != self.identity_digest:
            raise StoreError(f"{dataset.address} was replaced meanwhile; look at it with 'ie-store info', then extract again")
        left = tuple(shard for shard in self.item.shards if not is_whole(dataset, shard.level, shard.index))
        if not left:
            return
        engine = Engine(model=job.engine.model, layout=job.engine.layout, sharing=self.sharing)
        buffer = HostBuffer(engine.num_values(self.item), TORCH_DTYPES[engine.layout.stored_dtype], engine.model.device)
        states = engine.fill(self.item, *self.item.rows(job.corpus), buffer, lambda done, total: None)
        with ShardWriter(dataset, lambda: self.session) as writer, ShardPipeline(writer, [buffer]) as pipeline:
            pipeline.write(replace(self.item, shards=left), buffer, states)


@lru_cache(maxsize=1)
def _prepared(spec: ExtractSpec, identity_digest: str) -> PreparedExtract:
    """Model and corpus, kept for the next item.

    Raises:
        InputError, IdentityError: what this process finds under the same names is something else.
    """
    return prepare(spec)
