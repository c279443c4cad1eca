"""The options of each kind of recipe, with their defaults; a field's docstring is what the manual says of it."""

from dataclasses import dataclass
from typing import Any, Literal

from ie_store.corpus.recipe import Kind, Recipe, read_options
from ie_store.errors import InputError
from ie_store.fields import require_at_least, suggestion

LIST_DEFAULTS: dict[str, dict[str, str]] = {
    "country": {"names": "25", "shots": "4"},
    "animal": {"names": "16", "shots": "5"},
    "color": {"names": "15", "shots": "5"},
}
"""Names and shots of the three published corpora, by built-in list."""


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Options of every kind: how many rows are kept, and which."""

    num_sequences: int | None = None
    """Rows to keep, drawn without replacement; ``all`` keeps them all."""
    seed: int = 0
    """Seed of that draw."""

    def __post_init__(self) -> None:
        require_at_least("seed", self.seed, 0)
        if self.num_sequences is not None:
            require_at_least("num_sequences", self.num_sequences, 1)


@dataclass(frozen=True, kw_only=True)
class PermutationOptions(SampleOptions):
    """Options of ``icl:``."""

    names: int
    """Names to choose from: the first ones of the list that are one token in their place."""
    shots: int
    """Names in a row, each followed by the separator."""
    separator: str = ","
    """Text after each name; one token in its place."""
    space: Literal["auto", "leading", "none"] = "auto"
    """Whether a space stands before each name; ``auto``: where the tokenizer tells `` France`` from ``France``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("shots", self.shots, 1)
        if self.names < self.shots:
            raise InputError(f"shots is {self.shots} but there are only {self.names} names; a row repeats no name")
        if not self.separator:
            raise InputError("separator is empty; each name is followed by one token, for example ','")


@dataclass(frozen=True, kw_only=True)
class TextOptions(SampleOptions):
    """Options of ``text:``."""

    length: int = 8
    """Tokens in a row."""
    windows: Literal["starts", "all"] = "starts"
    """``starts``: the first tokens of each sentence; ``all``: every run of that length inside a sentence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("length", self.length, 1)


@dataclass(frozen=True, kw_only=True)
class RecordOptions(TextOptions):
    """Options of ``jsonl:`` and ``parquet:``."""

    label: str = ""
    """Column kept as a label of each row; empty for none."""


@dataclass(frozen=True, kw_only=True)
class HubOptions(RecordOptions):
    """Options of ``hf:``."""

    split: str = "train"
    """Split of the data set."""
    config: str = ""
    """Configuration of the data set; empty for its default."""


@dataclass(frozen=True, kw_only=True)
class TokenOptions(SampleOptions):
    """Options of ``tokens:``."""

    complete: bool = False
    """The file lists the whole population, so its entropies are the truth and not an estimate."""


OPTIONS: dict[Kind, type[SampleOptions]] = {
    "icl": PermutationOptions,
    "text": TextOptions,
    "jsonl": RecordOptions,
    "parquet": RecordOptions,
    "hf": HubOptions,
    "tokens": TokenOptions,
}


def read_kind_options(recipe: Recipe, defaults: dict[str, str] | None = None) -> Any:
    """The recipe's options as an instance of its kind's class; ``defaults`` stand where the recipe is silent.

    Raises:
        InputError: an unknown option, a value out of range, or (icl) a list that is not built in.
    """
    listed: dict[str, str] = {}
    if recipe.kind == "icl":
        if recipe.source not in LIST_DEFAULTS:
            close = suggestion(recipe.source, LIST_DEFAULTS)
            raise InputError(f"corpus {str(recipe)!r}: there is no such list{close}; choose one of: {', '.join(LIST_DEFAULTS)}")
        listed = LIST_DEFAULTS[recipe.source]
    return read_options(recipe, OPTIONS[recipe.kind], listed | (defaults or {}))
