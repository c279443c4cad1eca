"""Where sentences end."""

import re
from collections.abc import Iterator

_CLOSING = "\"'\u201d\u2019\u00bb)\\]\uff09\u300d\u300f"
_OPENING = "\"'\u201c\u2018\u00ab([\u00bf\u00a1"
_WIDE_STOPS = "\u3002\uff01\uff1f"
"""Chinese and Japanese stops, which no white space follows."""
_BOUNDARY = re.compile(rf"[.!?\u2026]+[{_CLOSING}]*\s+|[{_WIDE_STOPS}]+[{_CLOSING}]*\s*")
_LOOK_AROUND = 16
"""Characters before and after a stop that decide; bounded, so that one huge line takes no quadratic time."""
_ABBREVIATIONS = re.compile(
    r"mr|mrs|ms|dr|prof|rev|hon|gen|col|lt|capt|sgt|st|mt|jr|sr|vs|vol|fig|eq|e\.g|i\.e|cf|approx|dept|inc|ltd", re.IGNORECASE
)


def split_sentences(text: str) -> Iterator[str]:
    """Sentences of ``text``, stripped, in order.

    A line break ends a sentence. So does a full stop, question or exclamation mark before white space, unless a lower-case
    letter follows or the stop belongs to an abbreviation (``Dr.``) or an initial (``J.``).
    """
    for line in text.splitlines():
        start = 0
        for match in _BOUNDARY.finditer(line):
            if _ends_sentence(line, start, match):
                yield line[start : match.end()].strip()
                start = match.end()
        if line[start:].strip():
            yield line[start:].strip()


def _ends_sentence(line: str, start: int, match: re.Match[str]) -> bool:
    following = line[match.end() : match.end() + _LOOK_AROUND]
    if following.lstrip(_OPENING)[:1].islower():
        return False
    if match.group().rstrip() != ".":
        return True
    words = line[max(start, match.start() - _LOOK_AROUND) : match.start()].rsplit(maxsplit=1)
    last = words[-1].lstrip(_OPENING) if words else ""
    is_initial = len(last) == 1 and last.isupper() and last != "I"
    return not is_initial and not _ABBREVIATIONS.fullmatch(last)
