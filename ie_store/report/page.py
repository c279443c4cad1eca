"""The page: head, sentences, what was run, pictures with their tables, provenance, words. All of it in one file."""

import re
from dataclasses import replace
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from ie_store.plot.marks import WHOLE
from ie_store.report.dataset_facts import Dataset, card, own_variables, provenance
from ie_store.report.html import details, embedded_json, facts, script_source, table, tag, text
from ie_store.report.pictures import Picture, Section
from ie_store.report.thin import thin
from ie_store.report.words import WORDS
from ie_store.specs import Outcome

_HIDDEN = ("run", "left", "right", "at", "low", "high")
"""Columns of a picture's table that only its marks need."""
OWN = "own-variables"
FEW_PICTURES = 12
DATA_BYTES = 950_000
"""Of all pictures with their tables: beside Vega's 900 kB a page stays below 2 MB, however many pictures it has."""


def page(datasets: list[Dataset], sentences: list[str], sections: list[Section], bundle: str) -> str:
    """The whole document.

    Args:
        datasets: what is shown.
        sentences: the headline, computed from the values.
        sections: the pictures.
        bundle: Vega, Vega-Lite and Vega-Embed as one script that sets ``vegaEmbed``.
    """
    names = " and ".join(dataset.name for dataset in datasets)
    sections = _fitted(sections)
    ids = {
        id(picture): f"picture-{section.key}-{number}" for section in sections for number, picture in enumerate(section.pictures)
    }
    specs = {ids[id(picture)]: picture.specification for section in sections for picture in section.pictures}
    script = files("ie_store.report").joinpath("page.js").read_text()
    style = files("ie_store.report").joinpath("page.css").read_text()
    body = [
        tag("a", "To the pictures", href="#pictures-start", class_="skip"),
        _header(names, datasets, sections),
        tag("main", "".join([_headline(sentences), _run(datasets), *(_section(section, ids) for section in sections)])
            + _own_variables(datasets) + _provenance(datasets) + _glossary()),
        tag("footer", tag("p", text(f"Made by ie-store {version('ie-store')}, without anything from elsewhere."))),
        f'<script type="application/json" id="pictures">{embedded_json(specs)}</script>',
        f"<script>{bundle}</script><script>{script}</script>",
    ]  # fmt: skip
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
        f"script-src {script_source(bundle)} {script_source(script)} 'unsafe-eval'"
    )
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{text(names)}: Information Emergence</title><style>{style}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _fitted(sections: list[Section]) -> list[Section]:
    """The sections with as much of their pictures' data as `DATA_BYTES` have room for."""
    share = DATA_BYTES // max(FEW_PICTURES, sum(len(section.pictures) for section in sections))
    return [replace(section, pictures=tuple(_fit(picture, share) for picture in section.pictures)) for section in sections]


def _fit(picture: Picture, num_bytes: int) -> Picture:
    table: Any = picture.chart.data
    size = len(embedded_json(picture.specification).encode()) + len(_table(picture, "").encode())
    if size <= num_bytes:
        return picture
    chart = picture.chart.copy()
    chart.data = thin(table, max(2, len(table) * num_bytes // size))
    return replace(picture, chart=chart, num_left_out=len(table) - len(chart.data))


def _header(names: str, datasets: list[Dataset], sections: list[Section]) -> str:
    links = [("headline", "Headline"), ("run", "What was run"), *((section.key, section.title) for section in sections)]
    links += [(OWN, "Variables of your own")] if any(dataset.described["derived"] for dataset in datasets) else []
    links += [("provenance", "Provenance"), ("words", "Words")]
    items = "".join(tag("li", tag("a", text(title), href=f"#{key}")) for key, title in links)
    return tag("header", tag("h1", text(names)) + tag("nav", tag("ul", items), aria_label="contents"))


def _headline(sentences: list[str]) -> str:
    said = sentences or ["Nothing is told apart by the intervals at hand, so there is nothing to say in a sentence."]
    return _part("headline", "Headline", tag("ul", "".join(tag("li", text(sentence)) for sentence in said), class_="headline"))


def _part(key: str, title: str, inner: str) -> str:
    return tag("section", tag("h2", text(title), id=key) + inner, aria_labelledby=key)


def _run(datasets: list[Dataset]) -> str:
    return _part("run", "What was run", tag("div", "".join(map(card, datasets)), class_="side")) + '<a id="pictures-start"></a>'


def _section(section: Section, ids: dict[int, str]) -> str:
    figures = "".join(_figure(section, picture, ids[id(picture)]) for picture in section.pictures)
    return _part(section.key, section.title, tag("p", text(section.reading), class_="quiet") + tag("div", figures, class_="side"))


def _figure(section: Section, picture: Picture, key: str) -> str:
    name = f"{section.title}: {picture.name}"
    file = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{section.key}-{picture.name}")
    frame = tag("div", "", id=key, class_="picture", role="img", aria_label=name, data_file=file)
    buttons = "".join(
        tag("button", ending.upper(), type="button", data_save=ending, data_of=key, aria_label=f"save {name} as {ending.upper()}")
        for ending in ("png", "svg")
    )
    shown = tag("h3", text(picture.name)) + frame + tag("div", buttons, class_="buttons")
    return tag("figure", shown + _table(picture, name), class_="alone" if len(section.pictures) == 1 else "beside")


def _table(picture: Picture, caption: str) -> str:
    """The numbers behind a picture; columns without any are left out."""
    data: Any = picture.chart.data
    columns = [name for name in data.columns if name not in _HIDDEN and any(map(_is_known, data[name]))]
    rows = [[_shown(row[name], name in WHOLE) for name in columns] for row in data[columns].to_dict("records")]
    titles = [{"interval": "95% interval", "exact": "exact"}.get(name, name.replace("_", " ")) for name in columns]
    left_out = f" ({picture.num_left_out:,} more are left out here and in the picture)" if picture.num_left_out else ""
    return details(f"Table: {len(rows):,} rows{left_out}", table(titles, rows, caption))


def _is_known(value: Any) -> bool:
    return value not in ("", None) and value == value


def _shown(value: Any, is_whole: bool) -> Any:
    if not _is_known(value):
        return ""
    if is_whole:
        return int(value)
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _own_variables(datasets: list[Dataset]) -> str:
    tables = "".join(map(own_variables, datasets))
    return _part(OWN, "Variables of your own", tag("div", tables, class_="side")) if tables else ""


def _provenance(datasets: list[Dataset]) -> str:
    return _part("provenance", "Provenance", tag("div", "".join(map(provenance, datasets)), class_="side"))


def _glossary() -> str:
    plain = {word: meaning.replace("`", "") for word, meaning in WORDS.items()}
    outcomes = [(f"outcome: {outcome.value}", outcome.advice) for outcome in Outcome]
    return _part("words", "Words", facts([*plain.items(), *outcomes]))
