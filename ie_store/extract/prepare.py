"""An extraction that is ready to run: model loaded, corpus made, identity known; nothing written."""

import os
import platform
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from ie_store.corpus.make import make_corpus
from ie_store.corpus.rows import Corpus
from ie_store.errors import InputError, StoreError
from ie_store.extract.engine import Engine, model_rows
from ie_store.extract.forward.sharing import CHECKED_ROWS, Sharing, check_sharing
from ie_store.extract.layout import choose_layout, num_blocks_for
from ie_store.extract.model.load import LoadedModel, load_model
from ie_store.extract.naming import name_of
from ie_store.extract.work import WorkItem, missing_items
from ie_store.options import ExtractSpec
from ie_store.specs import LEVELS, DatasetIdentity, Level
from ie_store.store.dataset.reader import DatasetReader, open_reader
from ie_store.store.dataset.writer import DatasetWriter, open_writer
from ie_store.store.files.open import open_storage

_PACKAGES = ("ie-store", "torch", "transformers", "zarr", "numcodecs", "numpy")


@dataclass(frozen=True, kw_only=True)
class PreparedExtract:
    """What a run needs to know."""

    spec: ExtractSpec
    name: str
    engine: Engine
    corpus: Corpus
    identity: DatasetIdentity
    stored: DatasetReader | None
    """A dataset of the same name, whatever it was made from."""
    damaged: dict[Level, list[int]] = field(default_factory=dict)
    """Stored shards that a plan counts as missing."""

    @property
    def stored_same(self) -> DatasetReader | None:
        """The dataset to go on with, where it has the same identity."""
        same = self.stored is not None and not self.identity.differences(self.stored.identity)
        return self.stored if same else None

    def missing_items(self) -> tuple[WorkItem, ...]:
        """What is still to be computed."""
        layout, stored = self.engine.layout, self.stored_same
        missing: dict[Level, list[int]] = {level: list(range(layout.num_shards(level))) for level in LEVELS}
        if stored is not None:
            missing = {level: sorted({*stored.missing_shards(level), *self.damaged.get(level, ())}) for level in LEVELS}
        return missing_items(self.corpus, layout, missing, self.engine.tiles)

    def open_writer(self) -> DatasetWriter:
        """Create or resume the dataset; see `store.write.open_writer` for its errors."""
        return open_writer(
            self.spec.store,
            self.name,
            identity=self.identity,
            corpus=self.corpus.spec,
            tokens=self.corpus.tokens,
            source_row=self.corpus.source_row,
            labels=self.corpus.labels,
            texts=self.corpus.texts,
            session=session_facts(self.engine.model.device, self.engine.sharing),
            replace=self.spec.replace,
        )


def prepare(spec: ExtractSpec) -> PreparedExtract:
    """Load the model and make the corpus, cheapest checks first.

    Raises:
        InputError: something in ``spec`` cannot be used as given.
    """
    name = name_of(spec)
    open_storage(spec.store)
    model = load_model(spec)
    corpus = _corpus(spec, model)
    try:
        stored = open_reader(spec.store, name)
    except StoreError:
        stored = None
    layout = choose_layout(spec, model, corpus, stored.layout if stored else None)
    rows = model_rows(corpus.tokens[:CHECKED_ROWS], layout.positions, model.bos_id)
    # The check runs all blocks whatever is stored: whether and how rows are shared must not depend on the selection of layers,
    # so that a layer's states are the same bits in every dataset of this model and corpus.
    sharing = check_sharing(model.decoder, rows, model.device)
    model = replace(model, decoder=model.decoder.ending_at(num_blocks_for(layout.layers)))
    engine = Engine(model=model, layout=layout, sharing=sharing)
    identity = DatasetIdentity(
        model=model.spec, corpus_fingerprint=corpus.spec.fingerprint, recipe=corpus.spec.recipe, layout=layout
    )
    return PreparedExtract(spec=spec, name=name, engine=engine, corpus=corpus, identity=identity, stored=stored)


def _corpus(spec: ExtractSpec, model: LoadedModel) -> Corpus:
    if model.tokenizer is None and not spec.corpus.startswith("tokens:"):
        raise InputError(
            f"corpus {spec.corpus!r} needs a tokenizer, and that of model {spec.model!r} cannot be loaded "
            f"({model.tokenizer_fault}); give token ids with tokens:FILE.npy"
        )
    corpus = make_corpus(
        spec.corpus,
        tokenizer=model.tokenizer,
        vocab_size=model.spec.vocab_size,
        num_sequences=spec.num_sequences,
        seed=spec.seed,
    )
    length = corpus.spec.num_positions + (model.bos_id is not None)
    if model.max_positions is not None and length > model.max_positions:
        raise InputError(
            f"the corpus has sequences of {length} tokens (what is prepended included) and model {spec.model!r} takes at most "
            f"{model.max_positions}; make the sequences shorter"
        )
    return corpus


def session_facts(device: torch.device, sharing: Sharing) -> dict[str, Any]:
    """Provenance of a run: what may change the last bits of a state without being part of the dataset's identity."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device} ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "forward": "prefix-shared" if sharing.shared else f"plain: {sharing.reason}",
    }
