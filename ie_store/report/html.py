"""HTML from values: every text passes `text`, which makes control characters visible and escapes markup."""

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ie_store.printable import printable


def text(value: Any) -> str:
    """A value as it may stand in a page, in an attribute too."""
    return html.escape(printable(str(value)), quote=True)


def tag(name: str, inner: str = "", **attributes: str) -> str:
    """An element around finished HTML; attribute values are escaped, ``class_`` and ``data_x`` mean ``class`` and ``data-x``."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items())
    return f"<{name}{given}>{inner}</{name}>"


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """A table that scrolls inside its frame; numbers stand right."""
    head = "".join(tag("th", text(heading), scope="col") for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    made = f"{tag('caption', text(caption)) if caption else ''}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return tag("div", tag("table", made), class_="scroll", tabindex="0", role="region", aria_label=caption or "table")


def _cell(value: Any) -> str:
    return f'<td class="n">{text(value)}</td>' if isinstance(value, int | float) else f"<td>{text(value)}</td>"


def facts(rows: Iterable[tuple[str, Any]]) -> str:
    """Two columns: what, and its value."""
    return tag("dl", "".join(f"<dt>{text(what)}</dt><dd>{text(value)}</dd>" for what, value in rows))


def details(summary: str, inner: str) -> str:
    """Something to be opened, by mouse or by keyboard."""
    return tag("details", tag("summary", text(summary)) + inner)


def embedded_json(value: Any) -> str:
    """JSON that no parser of HTML takes for markup: within a ``script`` element nothing ends it."""
    raw = json.dumps(_printable(value), separators=(",", ":"), allow_nan=False)
    return raw.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value


def script_source(script: str) -> str:
    """What a content security policy calls this very script, so that no other one runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
