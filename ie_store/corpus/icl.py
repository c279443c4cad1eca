"""``icl:``: all ordered selections of names, each followed by a separator token, or a sample of them.

A row is ``name separator name separator ...``, one token each. A name counts only where it is exactly one token *in its place*,
between separators, and is the same token in every place; the first place is no exception, so that one name is one token.
"""

from dataclasses import replace
from itertools import islice
from math import log, perm

import numpy as np
from numpy.typing import NDArray

from ie_store.corpus.names import NAMES
from ie_store.corpus.permutations import draw_selections, unrank
from ie_store.corpus.recipe_options import PermutationOptions
from ie_store.corpus.rows import Listing, Tokenizer
from ie_store.errors import InputError
from ie_store.prefixes import permutation_nats

LISTED_LIMIT = 2**24
"""Most rows that are held at once; more have to be sampled."""

Pairs = dict[str, tuple[int, int]]
"""Token of a name and of the separator after it, by name."""


def resolve_space(list_name: str, options: PermutationOptions, tokenizer: Tokenizer) -> PermutationOptions:
    """The options with ``space=auto`` decided: leading where the tokenizer has a token for a name with a space before it."""
    if options.space != "auto":
        return options
    spaced, bare = (_pairs_in_place(NAMES[list_name], space, options.separator, tokenizer) for space in (" ", ""))
    leading = any(spaced[name] != bare.get(name) for name in spaced)
    return replace(options, space="leading" if leading else "none")


def list_permutations(list_name: str, options: PermutationOptions, tokenizer: Tokenizer) -> Listing:
    """Rows of names and separators, in order of permutation number; ``space`` has been resolved.

    Raises:
        InputError: too few names are one token in their place, or more rows than can be listed or than there are.
    """
    names, separator = _name_tokens(list_name, options, tokenizer)
    population = perm(options.names, options.shots)
    num_rows = population if options.num_sequences is None else options.num_sequences
    _require_countable(list_name, options, num_rows, population)
    if num_rows == population:
        numbers = np.arange(num_rows)
        chosen = unrank(numbers, options.names, options.shots)
    else:
        numbers, chosen = draw_selections(options.names, options.shots, num_rows, options.seed)
    tokens = np.full((num_rows, 2 * options.shots), separator, dtype=np.int64)
    tokens[:, ::2] = names[chosen]
    prefix_nats, token_nats = _population_nats(options.names, options.shots)
    return Listing(
        tokens=tokens,
        source_row=numbers,
        complete=num_rows == population,
        population_prefix_nats=prefix_nats,
        population_token_nats=token_nats,
    )


def _require_countable(list_name: str, options: PermutationOptions, num_rows: int, population: int) -> None:
    asked = f"icl:{list_name} with {options.names} names and {options.shots} shots"
    if num_rows > population:
        raise InputError(f"num_sequences is {num_rows} but {asked} has only {population} sequences; ask for fewer, or for all")
    if num_rows > LISTED_LIMIT:
        raise InputError(
            f"{asked} would be {num_rows} sequences, more than the {LISTED_LIMIT} that are held at once; "
            "draw a sample with num_sequences=100000, or take fewer names or shots"
        )


def _population_nats(num_names: int, shots: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """H(prefix) and H(token) by position, each (position,), of all selections: a separator adds nothing to what precedes it."""
    prefix = [permutation_nats(num_names, chosen) for chosen in range(1, shots + 1) for _ in range(2)]
    return tuple(prefix), (log(num_names), 0.0) * shots


def _name_tokens(list_name: str, options: PermutationOptions, tokenizer: Tokenizer) -> tuple[NDArray[np.int64], int]:
    """Token ids (name,) of the first ``names`` names that fit, and the separator's token id."""
    space = " " if options.space == "leading" else ""
    pairs = _pairs_in_place(NAMES[list_name], space, options.separator, tokenizer)
    if len(pairs) < options.names:
        other = _pairs_in_place(NAMES[list_name], "" if space else " ", options.separator, tokenizer)
        other_name = "none" if space else "leading"
        raise InputError(
            f"icl:{list_name} needs {options.names} names that are one token followed by the one-token separator "
            f"{options.separator!r}; of {len(NAMES[list_name])} names in the list this tokenizer has {len(pairs)} with "
            f"space={options.space} and {len(other)} with space={other_name}; lower names, or change space or separator"
        )
    taken = list(islice(pairs.values(), options.names))
    return np.array([name for name, _ in taken], dtype=np.int64), taken[0][1]


def _pairs_in_place(names: tuple[str, ...], space: str, separator: str, tokenizer: Tokenizer) -> Pairs:
    """Names that are one token followed by one separator token, the same for all names, whatever stands before.

    Read off a row that repeats one name: a third repeat has to add two tokens, equal to the two before. The decoded token has
    to be the name again, which keeps out tokens for unknown words.
    """
    pairs: Pairs = {}
    taken: set[int] = set()
    separator_token: int | None = None
    for name in names:
        twice, thrice = (tokenizer.encode(f"{space}{name}{separator}" * repeats) for repeats in (2, 3))
        if len(twice) < 3 or len(thrice) != len(twice) + 2 or thrice[-2:] != twice[-2:]:
            continue
        token, after = thrice[-2:]
        same_name = tokenizer.decode([token]).strip().casefold() == name.casefold()
        if same_name and token not in taken and separator_token in (None, after):
            pairs[name], separator_token = (token, after), after
            taken.add(token)
    return pairs
