"""What an extraction will do, as data: it is printed, and a run goes through exactly these items."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ie_store.extract.layout import num_blocks_for
from ie_store.extract.prepare import PreparedExtract
from ie_store.extract.work import WorkItem
from ie_store.prefixes import common_prefix_lengths, num_distinct_prefixes
from ie_store.specs import ITEM_BYTES, DatasetIdentity, StoreLayout


@dataclass(frozen=True, kw_only=True)
class ExtractPlan:
    """What will be computed and written; nothing in it is measured."""

    name: str
    """MODEL/CORPUS."""
    identity: DatasetIdentity
    """Model, corpus and layout of the dataset."""
    device: str
    distinct_prefixes: tuple[int, ...]
    """(position,) over the whole corpus."""
    forward: Literal["prefix-shared", "plain"]
    forward_note: str
    """Why the forward is plain; empty where prefixes are shared."""
    items: tuple[WorkItem, ...]
    """In the order in which they are computed; empty where nothing is missing."""
    audit_rows: int
    """Rows that are recomputed in the end."""
    largest_state: float | None
    """Largest magnitude in the sample of states that the stored dtype was chosen by; None where it was given or found."""

    @property
    def layout(self) -> StoreLayout:
        """Shape of the dataset, and how it is cut."""
        return self.identity.layout

    @property
    def num_shards(self) -> int:
        """Macro and micro."""
        return self.layout.num_shards("macro") + self.layout.num_shards("micro")

    @property
    def num_blocks_run(self) -> int:
        """Blocks that the forward runs, for the last stored layer; the others are not computed."""
        return num_blocks_for(self.layout.layers)

    @property
    def missing_shards(self) -> int:
        """Those of them still to be written."""
        return sum(len(item.shards) for item in self.items)

    @property
    def tokens_dense(self) -> int:
        """Tokens that a plain forward of all rows of the items computes."""
        return sum(item.num_rows * (self.layout.num_positions if item.level == "macro" else 1) for item in self.items)

    @property
    def tokens_computed(self) -> int:
        """Tokens that the model computes."""
        return sum(item.num_tokens for item in self.items)

    @property
    def num_batches(self) -> int:
        """Forwards."""
        return sum(item.num_batches for item in self.items)

    @property
    def dense_bytes(self) -> int:
        """Bytes of macro and micro as they are read, of the layers and positions that are stored."""
        layout = self.layout
        rows = layout.num_sequences * len(layout.positions) + layout.num_tokens
        return rows * len(layout.layers) * layout.hidden_size * ITEM_BYTES[layout.stored_dtype]

    def as_json(self) -> dict[str, Any]:
        """Every field and every sum, of JSON types; of an item its rows, its shards and its sizes."""
        sums = ("num_shards", "num_blocks_run", "missing_shards", "tokens_dense", "tokens_computed", "num_batches", "dense_bytes")
        items = [
            {
                "level": item.level,
                "start": item.start,
                "stop": item.stop,
                "shards": [shard.index for shard in item.shards],
                "tokens": item.num_tokens,
                "batches": item.num_batches,
            }
            for item in self.items
        ]
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "identity": asdict(self.identity), **{name: getattr(self, name) for name in sums}, "items": items}


def make_plan(job: PreparedExtract) -> ExtractPlan:
    """Lay out the missing work of a prepared extraction."""
    layout, sharing, items = job.engine.layout, job.engine.sharing, job.missing_items()
    shares = any(len(tile.segments) > 1 for item in items for tile in item.tiles) or (sharing.shared and not items)
    complete = not items and job.stored_same is not None and job.stored_same.complete
    distinct = num_distinct_prefixes(common_prefix_lengths(job.corpus.tokens), layout.num_positions)
    return ExtractPlan(
        name=job.name,
        identity=job.identity,
        device=str(job.engine.model.device),
        distinct_prefixes=tuple(distinct.tolist()),
        forward="prefix-shared" if shares else "plain",
        forward_note=sharing.reason if shares or not sharing.shared else "no rows share prefixes enough to pay",
        items=items,
        audit_rows=0 if complete else job.spec.audit_rows,
        largest_state=job.largest_state,
    )
