"""An extraction that is ready to run: model loaded, corpus made, identity known; nothing written."""

import os
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from ie_store.corpus.make import make_corpus
from ie_store.corpus.rows import Corpus, require_in_vocabulary
from ie_store.errors import InputError, StoreError
from ie_store.extract.engine import Engine, model_rows
from ie_store.extract.forward.sharing import CHECKED_ROWS, Sharing, check_sharing
from ie_store.extract.layout import choose_layout, num_blocks_for
from ie_store.extract.model.gguf_once import gguf_parsed_once
from ie_store.extract.model.load import load_weights
from ie_store.extract.model.open import OpenedModel, open_model, revision_of
from ie_store.extract.naming import name_of
from ie_store.extract.refuse import asked_layers, require_same_parts
from ie_store.extract.stored_dtype import choose_stored_dtype, largest_state
from ie_store.extract.work import WorkItem, missing_items
from ie_store.grid import parse_selection
from ie_store.options import ExtractSpec
from ie_store.provenance import user_name
from ie_store.specs import LEVELS, DatasetIdentity, Level, StoredDtype
from ie_store.store.dataset.handle import require_identity
from ie_store.store.dataset.reader import DatasetReader, open_reader
from ie_store.store.dataset.writer import DatasetWriter, open_writer
from ie_store.store.files.protocol import Storage

MOST_TOKEN_IDS = 2**31
"""Where a configuration does not say how many there are; the loaded model does."""
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
    held: Storage | None = None
    """The storage through which the dataset is held for this run, where it is."""
    largest_state: float | None = None
    """Largest magnitude in the sample of states that the dtype was chosen by; None where it was given or found."""

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
        """Create or resume the dataset; see `store.dataset.writer.open_writer` for its errors."""
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
            held=self.held,
        )


@gguf_parsed_once()
def prepare(spec: ExtractSpec, held: Storage | None = None) -> PreparedExtract:
    """Make the corpus and load the model, cheapest checks first: the weights come last.

    Args:
        spec: what to do.
        held: the storage through which the caller holds the dataset, where it does.

    Raises:
        InputError: something in ``spec`` cannot be used as given.
        IdentityError: a dataset of the same name was made from something else.
    """
    name = name_of(spec)
    opened = open_model(spec)
    corpus = _corpus(spec, opened)
    stored = None
    with suppress(StoreError):  # what is damaged is told by whoever opens it to write
        stored = open_reader(spec.store, name)
    _require_same_so_far(spec, stored, opened, corpus)
    model = load_weights(spec, opened)
    require_in_vocabulary(corpus.tokens, corpus.source_row, model.spec.vocab_size)
    layers = parse_selection(spec.layers, model.decoder.num_layers, "layers")
    positions = parse_selection(spec.positions, corpus.spec.num_positions, "positions")
    rows = model_rows(corpus.tokens[:CHECKED_ROWS], positions, model.bos_id)
    # The check runs all blocks whatever is stored: whether and how rows are shared must not depend on the selection of layers,
    # so that a layer's states are the same bits in every dataset of this model and corpus.
    sharing = check_sharing(model.decoder, rows, model.device)
    model = replace(model, decoder=model.decoder.ending_at(num_blocks_for(layers)))

    def job(dtype: StoredDtype, largest: float | None) -> PreparedExtract:
        layout = choose_layout(spec, model, corpus, dtype, stored.layout if stored else None)
        return PreparedExtract(
            spec=spec,
            name=name,
            engine=Engine(model=model, layout=layout, sharing=sharing),
            corpus=corpus,
            identity=DatasetIdentity(
                model=model.spec, corpus_fingerprint=corpus.spec.fingerprint, recipe=corpus.spec.recipe, layout=layout
            ),
            stored=stored,
            held=held,
            largest_state=largest,
        )

    prepared = _with_dtype(spec, stored, job, lambda: largest_state(model, corpus, layers, positions, spec.seed))
    if stored is not None and not spec.replace:
        require_identity(stored.dataset, prepared.identity)
    return prepared


def _with_dtype(
    spec: ExtractSpec,
    stored: DatasetReader | None,
    job: Callable[[StoredDtype, float | None], PreparedExtract],
    look: Callable[[], float],
) -> PreparedExtract:
    """The job in the dtype that was asked for; ``auto`` stays with what is stored, so that a run is never resumed in another."""
    if spec.dtype != "auto":
        return job(spec.dtype, None)
    if stored is not None:
        as_stored = job(stored.layout.stored_dtype, None)
        if as_stored.stored_same is not None or not spec.replace:
            return as_stored
    largest = look()
    return job(choose_stored_dtype(largest), largest)


def _require_same_so_far(spec: ExtractSpec, stored: DatasetReader | None, opened: OpenedModel, corpus: Corpus) -> None:
    """Refuse what the weights cannot change any more."""
    layers = asked_layers(spec, opened.num_blocks)
    positions = parse_selection(spec.positions, corpus.spec.num_positions, "positions")
    if stored is None or spec.replace:
        return
    sizes = {
        "num_positions": corpus.spec.num_positions,
        "positions": positions,
        "num_sequences": corpus.spec.num_sequences,
        "num_tokens": len(corpus.token_values),
    }
    model = {
        "revision": revision_of(spec, opened),
        "tokenizer_digest": opened.tokenizer.digest if opened.tokenizer else None,
        "compute_dtype": opened.compute_dtype,
    }
    require_same_parts(
        stored.dataset,
        model=model,
        layout={**layers, **sizes},
        corpus_fingerprint=corpus.spec.fingerprint,
        recipe=corpus.spec.recipe,
    )


def _corpus(spec: ExtractSpec, opened: OpenedModel) -> Corpus:
    if opened.tokenizer is None and not spec.corpus.startswith("tokens:"):
        raise InputError(
            f"corpus {spec.corpus!r} needs a tokenizer, and that of model {spec.model!r} cannot be loaded "
            f"({opened.tokenizer_fault}); give token ids with tokens:FILE.npy"
        )
    corpus = make_corpus(
        spec.corpus,
        tokenizer=opened.tokenizer,
        vocab_size=opened.vocab_size or MOST_TOKEN_IDS,
        num_sequences=spec.num_sequences,
        seed=spec.seed,
    )
    length = corpus.spec.num_positions + (opened.bos_id is not None)
    if opened.max_positions is not None and length > opened.max_positions:
        raise InputError(
            f"the corpus has sequences of {length} tokens (what is prepended included) and model {spec.model!r} takes at most "
            f"{opened.max_positions}; make the sequences shorter"
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
        "user": user_name(),
        "forward": "prefix-shared" if sharing.shared else f"plain: {sharing.reason}",
    }
