"""Text of strangers, made fit to be shown. Imports nothing of ours.

Recipes, ids, labels, flags, paths and messages may hold escape sequences that a terminal obeys, overrides of the reading
direction, or characters without width. Whatever shows text to people shows what `printable` makes of it.
"""

import re

LONGEST_SHOWN = 10_000
"""Characters shown of one text."""
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters that Python counts as printable and nobody can see."""


def printable(text: str, longest: int = LONGEST_SHOWN) -> str:
    r"""``text`` on one line of visible characters: any other one as its escape (``\x1b``, ``\n``, ``\u202e``).

    A text of more than ``longest`` characters is cut, and says how many are left out.
    """
    cut = text[:longest]
    shown = "".join(char if char.isprintable() and not _INVISIBLE.match(char) else _escape(char) for char in cut)
    return shown if len(text) <= longest else f"{shown}... ({len(text) - longest:,} more characters)"


def printable_lines(text: str) -> str:
    """A message as `printable`, its line breaks kept; lines after the first are indented, so that none passes for ours."""
    first, *others = text.split("\n")
    return "\n".join([printable(first), *("  " + printable(line).lstrip() for line in others)])


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
