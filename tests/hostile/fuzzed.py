"""Mutations of a store's files, seeded: of JSON values by their type, of bytes, and forgeries whose seals fit."""

import json
import random
from copy import deepcopy
from typing import Any

from ie_store.specs import digest
from ie_store.store.format.small_arrays import with_checksum

NESTED = '"NESTED"'
NASTY: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**40, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308, "", "x", "3", "NaN",
    "\x1b[31m[/x]", "\ud800", "../..", "x" * 100_000, "bytes", "float64", "object", [], {}, [[]], [0], [-1, 3], [2**62, 2**62],
    ["x"], {"name": "x"}, {"name": "bytes"}, {"configuration": {}}, {"": None},
]  # fmt: skip
DEEP = ["[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000]
LITERALS = ["NaN", "Infinity", "-Infinity", "1e999", "9" * 10_000, *DEEP]


def mutated(path: str, content: bytes, chance: random.Random) -> tuple[bytes | None, bool]:
    """Another content of a file (None: no file), and whether its seals were forged to fit."""
    if chance.random() < 0.02:
        return None, False
    if path.endswith("zarr.json") and chance.random() < 0.8:
        return _document(content, chance)
    if "/estimates/" in path and not path.endswith("zarr.json") and chance.random() < 0.5:
        return _forged_chunk(content, chance), True
    return _bytes(content, chance), False


def _document(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    document = json.loads(content)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        _change(document, chance)
    attributes = document.get("attributes") if isinstance(document, dict) else None
    is_forged = isinstance(attributes, dict) and "digest" in attributes and chance.random() < 0.4
    if is_forged:
        attributes["digest"] = digest({name: value for name, value in attributes.items() if name != "digest"})
    text = json.dumps(document)
    if chance.random() < 0.1:
        text = _textual(text, chance)
    return text.replace(NESTED, chance.choice(LITERALS)).encode(), is_forged


def _textual(text: str, chance: random.Random) -> str:
    """A field twice, or blanks, which change nothing."""
    if chance.random() < 0.3:
        return " " + text.replace(",", " ,\n")
    names = [part.split('"')[0] for part in text.split('{"')[1:]]
    name = chance.choice(names) if names else "x"
    return text.replace(f'{{"{name}"', f'{{"{name}": {json.dumps(chance.choice(NASTY[:20]))}, "{name}"', 1)


def _change(document: Any, chance: random.Random) -> None:
    containers = [found for found in _containers(document) if found]
    if not containers:
        return
    holder = chance.choice(containers)
    key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    action = chance.random()
    if action < 0.6:
        holder[key] = _other(holder[key], chance)
    elif action < 0.8:
        del holder[key]
    elif isinstance(holder, dict):
        holder[chance.choice(["extra", "name", "shape", "\x1b", ""])] = deepcopy(chance.choice(NASTY))
    else:
        holder.insert(key, deepcopy(chance.choice([*NASTY, holder[key]])))


def _other(value: Any, chance: random.Random) -> Any:
    if isinstance(value, int | float) and abs(value) < 1e300 and chance.random() < 0.4:
        return chance.choice([value + 1, value - 1, -value, value * 2, value * 10**9, str(value), [value], float(value) + 0.5])
    if isinstance(value, list) and chance.random() < 0.4:
        return chance.choice([value * 2, value[::-1], value[1:], [value], dict(enumerate(map(str, value)))])
    return "NESTED" if chance.random() < 0.1 else deepcopy(chance.choice(NASTY))


def _containers(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return []
    inside = value.values() if isinstance(value, dict) else value
    return [value, *(found for item in inside for found in _containers(item))]


def _forged_chunk(content: bytes, chance: random.Random) -> bytes:
    import numpy as np

    raw = bytearray(content[:-4])
    if raw:
        start = chance.randrange(len(raw))
        for place in range(start, min(len(raw), start + chance.choice([1, 8]))):
            raw[place] = chance.choice([0, 127, 128, 255, chance.randrange(256)])
    return with_checksum(np.frombuffer(bytes(raw), np.uint8))


def _bytes(content: bytes, chance: random.Random) -> bytes:
    place, action = chance.randrange(len(content) + 1), chance.random()
    noise = chance.randbytes(chance.choice([1, 1, 2, 8, 100]))
    if action < 0.5 and content:
        return content[:place] + noise + content[place + len(noise) :]
    if action < 0.75:
        return content[:place]
    return content[:place] + noise + content[place:] if action < 0.95 else b""
