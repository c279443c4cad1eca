"""Make a report: datasets of a store, their results, sentences and pictures, as one HTML file."""

from collections.abc import Sequence
from pathlib import Path

from ie_store.errors import InputError
from ie_store.report.dataset_facts import Dataset
from ie_store.report.page import page
from ie_store.report.pictures import pairs, sections
from ie_store.store.catalog import describe_dataset, list_datasets
from ie_store.store.results.against import show_against
from ie_store.store.results.open_estimates import Estimates, open_estimates
from ie_store.store.results.readings import Entry, readings_of
from ie_store.store.results.sentences import against_sentences, pairs_sentence, readings_sentences
from ie_store.store.results.show import show_results


def report(store: str, names: Sequence[str], output: str) -> Path:
    """Write the report of datasets of a store, side by side, to the file ``output``.

    Args:
        store: the store's folder or address.
        names: MODEL/CORPUS of each; none means every dataset with results, those with stored weights first.
        output: where the HTML file goes; one that is there is replaced.

    Raises:
        InputError: no such dataset, none with results, or a folder that is not there.
        StoreError, IdentityError: damaged results, or results of other states.
    """
    target = Path(output)
    if not target.parent.is_dir():
        raise InputError(f"{target.parent} is not a folder; make it, or choose another place for the report with -o")
    opened = [open_estimates(store, name) for name in dict.fromkeys(names)] or _all_with_results(store)
    datasets = [
        Dataset(name=one.attrs["name"], described=describe_dataset(store, one.attrs["name"]), estimates=one) for one in opened
    ]
    target.write_text(page(datasets, _sentences(store, opened), sections(opened), _bundle()), encoding="utf-8")
    return target


def _all_with_results(store: str) -> list[Estimates]:
    whole, _ = list_datasets(store)
    found = [open_estimates(store, summary.name) for summary in whole if summary.estimates]
    if not found:
        raise InputError(f"{store} has no dataset with estimates; make some with: ie-store estimate {store} MODEL/CORPUS")
    return sorted(found, key=lambda estimates: (estimates.attrs["corpus"], estimates.attrs["weights"] != "stored weights"))


def _sentences(store: str, opened: list[Estimates]) -> list[str]:
    """What the tables say, with the dataset's name before it where there are several."""
    said = []
    for estimates in opened:
        shown = show_results(store, estimates.attrs["name"])
        readings = readings_of(shown["estimates"])
        found = [*readings_sentences(readings), *pairs_sentence(readings, shown["told_apart"])]
        said += [f"{estimates.attrs['name']}: {sentence}" if len(opened) > 1 else sentence for sentence in found]
    return [sentence for first, other in pairs(opened) for sentence in _against(store, first, other)] + said


def _against(store: str, first: Estimates, other: Estimates) -> list[str]:
    names = first.attrs["name"], other.attrs["name"]
    try:
        shown = show_against(store, *names)
    except InputError:  # nothing in common that could be compared
        return []
    mine, theirs = readings_of(shown["estimates"]), readings_of([_other_side(entry) for entry in shown["estimates"]])
    random = shown["weights"] != "stored weights", shown["against_weights"] != "stored weights"
    return against_sentences(mine, theirs, names, random)


def _other_side(entry: Entry) -> Entry:
    return entry | {f"macro_{key}": entry[f"against_{key}"] for key in ("nats", "interval_nats", "outcome", "ceiling_nats")}


def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    try:
        from vl_convert import javascript_bundle
    except ModuleNotFoundError:
        raise InputError("a report needs the package vl-convert-python; install it with: pip install 'ie-store[plot]'") from None
    return javascript_bundle()  # type: ignore[call-arg]  # its stub forgets the default
