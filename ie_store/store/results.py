"""Results of stage two, under what they were computed from; written problem by problem, readable at any moment.

::

    MODEL/CORPUS/estimates/<estimator>-<digest>/      plain Zarr, one file per array: see `result_arrays`

A flush writes the arrays that changed, then the attributes (flags, sessions), then the outcomes, each file whole or not
at all. The outcomes are the commit marks: a problem without one is estimated again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isfinite
from time import monotonic
from types import TracebackType
from typing import Any

import numpy as np

from ie_store.errors import IdentityError, StoreError
from ie_store.options import EstimatorSpec, relevant_options
from ie_store.specs import DatasetIdentity, Emergence, MIEstimate, Problem, digest
from ie_store.store.attributes import DatasetAttributes, GroupAttributes, ResultsAttributes
from ie_store.store.door import Files, Lock
from ie_store.store.files import open_files
from ie_store.store.layout import dataset_name
from ie_store.store.metadata import (
    read_dataset,
    read_document,
    read_group,
    require_array,
    require_dataset,
    write_document,
    write_group,
)
from ie_store.store.plain import read_plain, sealed
from ie_store.store.removal import is_temporary
from ie_store.store.result_arrays import (
    Arrays,
    arrays_of,
    emergences_of,
    estimates_of,
    flags_of,
    grid_sizes,
    shape_of,
    template_of,
)

FLUSH_SECONDS = 10.0
"""Problems that end within this time of the last flush wait for the next: so much work a kill may cost."""
LOCK_FOLDER = "block"
"""Array folder that keeps a group's lock and scratch files: strays in a group's folder make Zarr readers warn."""
COMMIT_MARK = "outcome_"


def results_key(name: str, spec: EstimatorSpec) -> str:
    """Key of the group of an estimator's results on dataset ``name``."""
    return f"{name}/estimates/{spec.name}-{digest(relevant_options(spec))[:12]}"


def open_results(store: str, name: str, spec: EstimatorSpec, session: dict[str, Any]) -> "ResultsWriter":
    """Create or resume the results of ``spec`` on dataset ``name``, held exclusively until closed.

    Args:
        store: local folder or s3://BUCKET/PREFIX.
        name: MODEL/CORPUS.
        spec: the estimator; its relevant options are the results' identity.
        session: provenance of this run (versions, device, threads, time); kept with the problems it estimates.

    Raises:
        InputError, StoreError: no such store or dataset.
        IdentityError: the results there were computed from other activations.
        BusyError: a living process estimates the same.
    """
    files = open_files(store)
    attributes = _dataset_attributes(files, name)
    key = results_key(name, spec)
    lock = files.lock(f"{key}/{LOCK_FOLDER}/.lock")
    try:
        if _still_there(files, name) != attributes.identity:
            lock.remove()
            raise StoreError(
                f"{files.address(name)} was removed or replaced just now; look at it with 'ie-store info', then estimate"
            )
        files.delete(*filter(is_temporary, list(files.list_keys(key))))
        return ResultsWriter(files, key, lock, _resumed(files, key, spec, attributes, session))
    except BaseException:
        lock.release()
        raise


def _still_there(files: Files, name: str) -> DatasetIdentity | None:
    found = read_dataset(files, name)
    return found.identity if found else None


def _dataset_attributes(files: Files, name: str) -> DatasetAttributes:
    return require_dataset(files, dataset_name(name))


def _resumed(
    files: Files, key: str, spec: EstimatorSpec, dataset: DatasetAttributes, session: dict[str, Any]
) -> ResultsAttributes:
    """Attributes of the results group: those of a new one, or the stored ones with one more session."""
    layout = dataset.identity.layout
    attributes = ResultsAttributes(
        estimator=relevant_options(spec),
        activations_digest=digest(dataset.identity),
        num_blocks=layout.num_layers - 1,
        num_positions=layout.num_positions,
        sessions=(session,),
    )
    stored = read_group(files, key, ResultsAttributes)
    if stored is None:
        return attributes
    if stored.activations_digest != attributes.activations_digest:
        raise IdentityError(
            f"{files.address(key)} was computed from other activations (digest {stored.activations_digest[:12]}, "
            f"the dataset's is {attributes.activations_digest[:12]}); remove that folder and estimate again"
        )
    return replace(attributes, sessions=(*stored.sessions, session), flags=stored.flags)


def read_results(store: str, name: str, spec: EstimatorSpec) -> dict[Problem, MIEstimate]:
    """The estimates of ``spec`` on dataset ``name`` so far; empty where there are none.

    Raises:
        InputError, StoreError: no such store or dataset.
    """
    files = open_files(store)
    _dataset_attributes(files, name)
    key = results_key(name, spec)
    attributes = read_group(files, key, ResultsAttributes)
    return _contents(files, key, read_arrays(files, key), attributes)[0] if attributes else {}


def _contents(
    files: Files, key: str, arrays: Arrays, attributes: ResultsAttributes
) -> tuple[dict[Problem, MIEstimate], list[Emergence]]:
    """The estimates and emergences in a results group; `StoreError` where an array is gone."""
    estimator, flags = attributes.estimator["name"], attributes.flags
    try:
        return estimates_of(arrays, flags, estimator), emergences_of(arrays, flags, estimator)
    except KeyError as error:
        raise StoreError(f"{files.address(key)} has no array {error}: remove that folder and estimate again") from error


class ResultsWriter:
    """The results of one estimator on one dataset. `open_results` makes it; close it to write what is left and let go."""

    def __init__(self, files: Files, key: str, lock: Lock, attributes: ResultsAttributes) -> None:
        self._files, self._key, self._lock, self._attributes = files, key, lock, attributes
        self._attributes_written: ResultsAttributes | None = None
        self._written = read_arrays(files, key)
        self._flushed = monotonic()
        self.estimates, self.emergences = _contents(files, key, self._written, attributes)

    def commit(self, estimates: Mapping[Problem, MIEstimate]) -> None:
        """Keep estimates; they reach the disk within `FLUSH_SECONDS` of work, or when the writer closes."""
        session = {"session": len(self._attributes.sessions) - 1}
        for problem, estimate in estimates.items():
            self.estimates[problem] = replace(estimate, diagnostics=estimate.diagnostics | session)
        if monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def set_emergences(self, emergences: Iterable[Emergence]) -> None:
        """Keep emergences beside those of other blocks and positions."""
        kept = {(e.block, e.position): e for e in [*self.emergences, *emergences]}
        self.emergences = [kept[at] for at in sorted(kept)]

    def flush(self) -> None:
        """Write what changed."""
        shape = (self._attributes.num_blocks, self._attributes.num_positions)
        arrays = arrays_of(self.estimates, self.emergences, *shape)
        changed = {name: values for name, values in arrays.items() if not _same(values, self._written.get(name))}
        marks = {name: changed.pop(name) for name in list(changed) if name.startswith(COMMIT_MARK)}
        self._write_arrays(changed)
        self._write_attributes()
        self._write_arrays(marks)
        self._flushed = monotonic()

    def _write_arrays(self, arrays: Arrays) -> None:
        for name, values in arrays.items():
            self._files.write_atomic("/".join([self._key, name, "c", *["0"] * values.ndim]), [sealed(values)])
            if name not in self._written:
                write_document(self._files, f"{self._key}/{name}", template_of(name, values).document())
            self._written[name] = values

    def _write_attributes(self) -> None:
        self._attributes = replace(self._attributes, flags=flags_of(self.estimates, self.emergences))
        parent, scratch = self._key.rpartition("/")[0], f"{self._key}/{LOCK_FOLDER}"
        if read_document(self._files, parent) is None:
            write_group(self._files, parent, GroupAttributes(), scratch=scratch)
        if self._attributes != self._attributes_written:
            write_group(self._files, self._key, self._attributes, scratch=scratch)
            self._attributes_written = self._attributes

    def close(self) -> None:
        """Write what is left and let go."""
        try:
            self.flush()
        finally:
            self._lock.release()

    def __enter__(self) -> "ResultsWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _same(values: Any, written: Any) -> bool:
    return written is not None and bool(np.array_equal(values, written, equal_nan=True))


def read_arrays(files: Files, key: str) -> Arrays:
    """All arrays of a results group that are whole; empty where there is no group."""
    attributes = read_group(files, key, ResultsAttributes)
    if attributes is None:
        return {}
    names = [name for name in files.list_folders(key) if read_document(files, f"{key}/{name}") is not None]
    num_sigmas = require_array(files, f"{key}/sigma").shape[0] if "sigma" in names else 0
    sizes = grid_sizes(attributes.num_blocks, attributes.num_positions, num_sigmas)
    return {name: read_plain(files, f"{key}/{name}", shape_of(name, sizes)) for name in names}


def show_results(store: str, name: str) -> dict[str, Any]:
    """Every emergence estimated on dataset ``name``.

    Returns:
        ``{"model", "corpus", "estimates": [{"estimator", "block", "position", "ie_nats", "interval_nats", "macro_nats",
        "micro_nats", "ceiling_nats", "outcome", ...}]}``, by estimator, block and position; values in nats, None where
        unknown or infinite.

    Raises:
        InputError, StoreError: no such store or dataset.
    """
    files = open_files(store)
    _dataset_attributes(files, name)
    model, corpus = name.split("/")
    entries: list[dict[str, Any]] = []
    for folder in files.list_folders(f"{name}/estimates"):
        key = f"{name}/estimates/{folder}"
        attributes = read_group(files, key, ResultsAttributes)
        if attributes is None:
            continue
        estimates, emergences = _contents(files, key, read_arrays(files, key), attributes)
        for emergence in emergences:
            macro = estimates[Problem(level="macro", block=emergence.block, position=emergence.position)]
            entries.append(_entry(emergence, macro, attributes.estimator, folder))
    return {"model": model, "corpus": corpus, "estimates": entries}


def _entry(emergence: Emergence, macro: MIEstimate, estimator: dict[str, Any], folder: str) -> dict[str, Any]:
    numbers = {f"macro_{name}": _number(value) for name, value in macro.diagnostics.items() if isinstance(value, float)}
    return {
        "estimator": emergence.estimator,
        "block": emergence.block,
        "position": emergence.position,
        "ie_nats": _number(emergence.ie_nats),
        "interval_nats": [_number(end) for end in emergence.interval_nats],
        "standard_error_nats": _number(emergence.standard_error_nats),
        "macro_nats": _number(emergence.macro_nats),
        "micro_nats": _number(emergence.micro_nats),
        "ceiling_nats": _number(emergence.ceiling_nats),
        "outcome": emergence.outcome.value,
        "ceiling_population_nats": _number(emergence.ceiling_population_nats),
        "macro_interval_nats": [_number(end) for end in macro.interval_nats],
        "macro_ceiling_nats": _number(macro.ceiling_nats),
        "macro_outcome": macro.outcome.value,
        "flags": list(emergence.flags),
        "curve_nats": [[_number(low), _number(high)] for low, high in emergence.curve_nats],
        "options": estimator,
        "results": folder,
        **numbers,
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
