"""What a report says of each dataset: what was run, and where it comes from."""

import json
from dataclasses import dataclass
from typing import Any

from ie_store.report.html import details, facts, table, tag, text
from ie_store.store.results.open_estimates import Estimates


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset, described and with its results."""

    name: str
    described: dict[str, Any]
    """As `describe_dataset` returns it."""
    estimates: Estimates


def card(dataset: Dataset) -> str:
    """Model, corpus, and what was estimated."""
    found, identity = dataset.described, dataset.described["identity"]
    model, layout, corpus = identity["model"], identity["layout"], found["corpus"]
    labels = [str(node.attrs["label"]) for node in dataset.estimates.children.values()]
    rows = [
        ("model", f"{model['id']}: {model['num_blocks']} blocks, hidden size {model['hidden_size']}"),
        ("weights", dataset.estimates.attrs["weights"]),
        ("corpus", corpus["recipe"]),
        ("rows", f"{corpus['num_sequences']:,} of {corpus['num_positions']} tokens, {layout['num_tokens']:,} distinct tokens"),
        ("listed", "all there are" if corpus["complete"] else "a sample"),
        ("stored", f"{len(layout['layers'])} layers, {len(layout['positions'])} positions, {layout['stored_dtype']}"),
        ("results", ", ".join(labels)),
    ]
    state = [] if found["complete"] else [("state", f"incomplete: {found['incomplete_reason']}")]
    return tag("div", tag("h3", text(dataset.name)) + facts([*rows, *state]), class_="card")


def own_variables(dataset: Dataset) -> str:
    """Variables of a user's own as a table, and how to open them; empty where there are none."""
    found = dataset.described["derived"]
    if not found:
        return ""
    headings = ("opened as", "dimensions", "unit", "from", "what it is")
    rows = [
        (f"[{one['node']!r}].{one['variable']}", ", ".join(one["dimensions"]), one["units"] or "", one["lineage"] or "",
         one["long_name"] or "")
        for one in found
    ]  # fmt: skip
    opened = f"ie_store.open_estimates({dataset.described['store']!r}, {dataset.name!r})"
    shown = table(headings, rows, f"variables of {dataset.name} of a user's own")
    return tag("div", tag("h3", text(dataset.name)) + tag("p", tag("code", text(opened))) + shown, class_="card")


def provenance(dataset: Dataset) -> str:
    """Digests, options of every result, and the sessions that wrote."""
    found, identity = dataset.described, dataset.described["identity"]
    model = identity["model"]
    rows = [
        ("store", found["store"]),
        ("revision", model["revision"] or "none"),
        ("weights digest", model["weights_digest"]),
        ("tokenizer digest", model["tokenizer_digest"] or "none"),
        ("corpus fingerprint", found["corpus"]["fingerprint"]),
        ("computed in", f"{model['compute_dtype']}, {model['attention']} attention, beginning of sequence: {model['bos']}"),
        ("audit", _audit(found["audit"])),
    ]
    results = [
        (node.attrs["label"], node.attrs["results"], node.attrs["options"]) for node in dataset.estimates.children.values()
    ]
    sessions = [found["sessions"], *(group.get("sessions", ()) for group in found["estimates"])]
    raw = tag("pre", "\n".join(text(line) for line in json.dumps(sessions, indent=1).split("\n")))
    inner = facts(rows) + details("Results and their options", table(("reading", "results", "options"), results))
    return tag("div", tag("h3", text(dataset.name)) + inner + details("Sessions that wrote", raw), class_="card")


def _audit(audit: dict[str, Any] | None) -> str:
    if audit is None:
        return "none"
    worst = max(audit["relative_error"].values(), default=0.0)
    return f"{audit['rows']} sequences recomputed in float32: relative error up to {worst:.2g}"
