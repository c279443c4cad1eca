"""Datasets of seeded numbers, small enough to look at whole."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ie_store.fingerprint import fingerprint
from ie_store.prefixes import lexicographic_order
from ie_store.specs import CorpusSpec, DatasetIdentity, ModelSpec, StoreLayout
from ie_store.store.dataset.writer import open_writer
from ie_store.store.format.arrays import numpy_dtype
from ie_store.texts import CorpusTexts


@dataclass(repr=False)
class Made:
    """A dataset on disk and the truth it was made from."""

    store: str
    name: str
    layout: StoreLayout
    identity: DatasetIdentity
    corpus: CorpusSpec
    tokens: np.ndarray
    states: dict[str, np.ndarray]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    texts: CorpusTexts | None = None

    @property
    def path(self) -> str:
        return f"{self.store}/{self.name}"

    def open_writer(self, **changed: Any):
        arguments = {
            "identity": self.identity,
            "corpus": self.corpus,
            "tokens": self.tokens,
            "source_row": source_rows(len(self.tokens)),
            "labels": self.labels,
            "texts": self.texts,
            "session": {"versions": {"numpy": np.__version__}},
        }
        return open_writer(self.store, self.name, **(arguments | changed))

    def shard_states(self, level: str, index: int) -> np.ndarray:
        """What the extractor hands over: the stored layers and positions of a shard's rows."""
        shard, layout = self.layout.shard(level, index), self.layout
        rows = self.states[level][..., shard.start : shard.stop, :]
        chosen = rows[list(layout.layers)][:, list(layout.positions)] if level == "macro" else rows[list(layout.layers)]
        return np.ascontiguousarray(chosen)

    def write(self, complete: bool = True) -> "Made":
        with self.open_writer() as writer:
            for level in ("micro", "macro"):
                for index in writer.missing_shards(level):
                    writer.write_shard(self.layout.shard(level, index), self.shard_states(level, index))
            if complete:
                writer.mark_complete({"rows": 2, "relative_error": {"0": 0.0}})
        return self


def source_rows(rows):
    return np.arange(rows)[::-1].copy()


def states_of(rng, shape, dtype, levels_of_repeat=3):
    """Rows that repeat like those of sorted sequences, of the dtype as stored."""
    rows = np.sort(rng.integers(0, max(1, shape[-2] // levels_of_repeat), shape[-2]))
    values = rng.standard_normal(shape).astype(np.float32)[..., rows, :]
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(numpy_dtype(dtype))


def make(
    store, name="model/corpus", *, seed=0, rows=21, num_positions=3, num_layers=3, hidden=8, dtype="float16", size=8, **changed
):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 7, (rows, num_positions)).astype(np.int32) * 11
    tokens = tokens[lexicographic_order(tokens)]
    num_tokens = len(np.unique(tokens))
    given = {"layers": tuple(range(num_layers)), "positions": tuple(range(num_positions)), "tokens_per_shard": 4} | changed
    labels, texts = given.pop("labels", {}), given.pop("texts", None)
    layout = StoreLayout(
        num_layers=num_layers, num_positions=num_positions, num_sequences=rows, num_tokens=num_tokens, hidden_size=hidden,
        stored_dtype=dtype, rows_per_shard=size, shards_per_group=1, rows_per_batch=16, **given,
    )  # fmt: skip
    model = ModelSpec(
        id="m", revision=None, weights_digest="w", tokenizer_digest=None, num_blocks=num_layers - 1, hidden_size=hidden,
        vocab_size=100, compute_dtype="float32", attention="sdpa", bos="none",
    )  # fmt: skip
    found = fingerprint(tokens, source_rows(rows), labels)
    corpus = CorpusSpec(
        recipe="r", name="corpus", fingerprint=found, num_sequences=rows, num_positions=num_positions, complete=False,
        population_prefix_nats=(1.0, 2.0, 3.0), dropped=(("too short", 2),),
    )  # fmt: skip
    identity = DatasetIdentity(model=model, corpus_fingerprint=found, recipe="r", layout=layout)
    states = {
        "macro": states_of(rng, (num_layers, num_positions, rows, hidden), dtype),
        "micro": states_of(rng, (num_layers, num_tokens, hidden), dtype),
    }
    return Made(str(store), name, layout, identity, corpus, tokens, states, labels, texts)
