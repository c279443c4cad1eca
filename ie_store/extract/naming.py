"""What a dataset is called in the store: MODEL/CORPUS."""

import re
from pathlib import Path

from ie_store.corpus.make import corpus_name
from ie_store.options import ExtractSpec
from ie_store.store.format.arrays import dataset_name


def name_of(spec: ExtractSpec) -> str:
    """The name that ``spec`` gives, or one made from its model and corpus; needs neither.

    Raises:
        InputError: the name is not MODEL/CORPUS, or the recipe cannot be parsed.
    """
    made = f"{_model_part(spec)}/{corpus_name(spec.corpus, num_sequences=spec.num_sequences, seed=spec.seed)}"
    return dataset_name(spec.name if spec.name is not None else made)


def _model_part(spec: ExtractSpec) -> str:
    """``org/name`` is ``name``, a folder its own name, a GGUF file its stem; with the seed of random weights behind it."""
    text = Path(spec.gguf_file).stem if spec.gguf_file else Path(spec.model).resolve().name
    name = re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip("._-") or "model"
    return name if spec.weights_seed is None else f"{name}-random{spec.weights_seed}"
