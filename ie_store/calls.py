"""The calls of the library: a stage with keyword arguments, which are the fields of its spec; a store or a dataset opened.

Each loads what it needs when it is called. The stages themselves take a spec: `ie_store.extract.run.extract` and the others.
"""

import inspect
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

from ie_store.estimators import DEFAULTS, EstimatorSpec, estimator_spec
from ie_store.options import Attention, DtypeChoice, EstimateSpec, ExtractSpec, OnProgress, ProfileSpec, ignore_progress
from ie_store.profiles import PROFILE_NAMES, ProfileMethod, profile_method
from ie_store.specs import BosPolicy, Emergence, StoredDtype

if TYPE_CHECKING:
    import xarray as xr

    from ie_store.extract.report import ExtractReport
    from ie_store.store.dataset.decoded import ShownDtype
    from ie_store.variables import WholeArrays

StorePath = str | os.PathLike[str]
"""A local folder, or s3://BUCKET/PREFIX."""


def extract(
    store: StorePath,
    *,
    model: str,
    corpus: str,
    gguf_file: str | None = None,
    revision: str | None = None,
    weights: str = "stored",
    name: str | None = None,
    positions: str = "all",
    layers: str = "all",
    dtype: DtypeChoice = "auto",
    compute_dtype: StoredDtype | None = None,
    bos: BosPolicy = "none",
    attention: Attention = "auto",
    device: str = "auto",
    batch_size: int = 0,
    num_sequences: int | None = None,
    seed: int = 0,
    replace: bool = False,
    repair: bool = False,
    trust_remote_code: bool = False,
    audit_rows: int = 16,
    workers: int = 0,
    scheduler: str | None = None,
    on_progress: OnProgress = ignore_progress,
) -> "ExtractReport":
    """Run a model over a corpus and store its hidden states; called again, it goes on where it stopped.

    The arguments are the options of ``ie-store extract``.

    Args:
        store: local folder, created where missing, or s3://BUCKET/PREFIX.
        model: hub id or local folder.
        corpus: recipe, for example ``icl:country?names=10`` or ``text:FILE?length=8``.
        gguf_file: name of the GGUF file inside the model folder or repository.
        revision: of the model on the hub.
        weights: ``stored``, or ``random[:SEED]``: the same architecture with seeded weights as before any training.
        name: MODEL/CORPUS under which the dataset is stored; made from the ids by default.
        positions: of macro states to store: ``all``, ``last``, or a list like ``0,3,7`` or ``2-5``.
        layers: likewise.
        dtype: of storage: ``float16``, ``bfloat16``, ``float32``, or ``auto``: float16 unless a sample comes near its range.
        compute_dtype: that the model computes in; float32 on CPU, bfloat16 on CUDA by default.
        bos: beginning-of-sequence token: ``none``, or ``prepend`` before each sequence and each lone token.
        attention: ``sdpa``, ``eager``, or ``auto``: sdpa where the model has it.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        batch_size: rows per forward batch; 0 chooses.
        num_sequences: keep a random sample of so many sequences.
        seed: of the sample.
        replace: remove a dataset of the same name and other identity first.
        repair: check every stored chunk first, and compute damaged shards again.
        trust_remote_code: run model code that comes with a hub repository.
        audit_rows: rows recomputed one by one in float32 to measure the numerical error.
        workers: processes of this machine that share the work and its cores; 0: this process alone.
        scheduler: address of a Dask scheduler whose workers do the work.
        on_progress: called with rows computed and bytes written.

    Returns:
        A report of what was done, with ``name`` (MODEL/CORPUS, as `open_store` takes it), ``num_rows`` (sequences),
        ``num_bytes``, ``seconds``, and ``audit``, the relative error of the stored states by layer.

    Raises:
        InputError: an argument that cannot be used as given; the store is untouched.
        IdentityError: a dataset of the same name was made from something else.
        BusyError, DiskSpaceError, NonFiniteError, StoreError: as `ie_store.extract.run.extract`.
    """
    spec = ExtractSpec(
        store=os.fspath(store), model=model, corpus=corpus, gguf_file=gguf_file, revision=revision, weights=weights, name=name,
        positions=positions, layers=layers, dtype=dtype, compute_dtype=compute_dtype, bos=bos, attention=attention,
        device=device, batch_size=batch_size, num_sequences=num_sequences, seed=seed, replace=replace, repair=repair,
        trust_remote_code=trust_remote_code, audit_rows=audit_rows, workers=workers, scheduler=scheduler,
    )  # fmt: skip
    from ie_store.extract.run import extract as run

    return run(spec, on_progress=on_progress)


def estimate(
    store: StorePath,
    name: str,
    *,
    estimators: Iterable[str | EstimatorSpec[Any]] = DEFAULTS,
    blocks: str = "all",
    positions: str = "last",
    device: str = "auto",
    strict: bool = False,
    yes: bool = False,
    time_limit: str | None = None,
    memory: str | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    on_progress: OnProgress = ignore_progress,
) -> list[Emergence]:
    """Estimate Information Emergence of a dataset, into its store; called again, it goes on where it stopped.

    The arguments are the fields of `ie_store.options.EstimateSpec` and the options of ``ie-store estimate``.

    Args:
        store: local folder, or s3://BUCKET/PREFIX.
        name: MODEL/CORPUS.
        estimators: names, or `estimator_spec` where one is to have other options than its defaults.
        blocks: ``all`` that are stored, ``last``, or a list like ``0,5,10`` or ``2-5``.
        positions: of the growth curve, likewise.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        strict: raise `FlaggedError` where a result carries a flag; all are written.
        yes: start mine-paper even where it is predicted to take more than ten minutes.
        time_limit: end after so long with what is done, for example ``90s``, ``30m`` or ``2h``.
        memory: most memory beside what is loaded, for example ``4GiB``; changes no value. By default a quarter of the machine's.
        workers: processes of this machine that share the work and its cores; 0: this process alone. A script that asks for some
            does so below ``if __name__ == "__main__":``, as for all processes that Python starts.
        scheduler: address of a Dask scheduler whose workers do the work.
        on_progress: called with training steps and finished problems.

    Returns:
        The emergences asked for, in nats, by estimator (exact first), block and position; those estimated earlier too.

    Raises:
        InputError: an argument that cannot be used as given, or states that are not stored.
        StoreError, NonFiniteError, BusyError, FlaggedError: as `ie_store.estimate.run.estimate`.
    """
    asked = tuple(estimator_spec(one) if isinstance(one, str) else one for one in _listed(estimators))
    spec = EstimateSpec(
        store=os.fspath(store), name=name, estimators=asked, blocks=blocks, positions=positions, device=device, strict=strict,
        yes=yes, time_limit=time_limit, memory=memory, workers=workers, scheduler=scheduler,
    )  # fmt: skip
    from ie_store.estimate.run import estimate as run

    return run(spec, on_progress=on_progress)


def profile(
    store: StorePath,
    name: str,
    *,
    profiles: Iterable[str | ProfileMethod] = PROFILE_NAMES,
    layers: str = "all",
    positions: str = "last",
    device: str = "auto",
    memory: str | None = None,
    on_progress: OnProgress = ignore_progress,
) -> "dict[str, WholeArrays]":
    """Describe the layers of a dataset, into its store; called again, it goes on where it stopped.

    The arguments are the fields of `ie_store.options.ProfileSpec` and the options of ``ie-store profile``.

    Args:
        store: local folder, or s3://BUCKET/PREFIX.
        name: MODEL/CORPUS.
        profiles: names, or `profile_method` where one is to have other options than its defaults.
        layers: ``all`` that are stored, ``last``, or a list like ``0,5,10`` or ``2-5``.
        positions: likewise.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        memory: most memory beside what is loaded, as `estimate` has it.
        on_progress: called with finished layers.

    Returns:
        By profile and name a variable and its values over (layer, position, ...), NaN where nothing was computed.

    Raises:
        InputError: an argument that cannot be used as given, states that are not stored, or too little memory.
        StoreError, NonFiniteError, BusyError, DiskSpaceError: as `ie_store.estimate.profile.profile`.
    """
    asked = tuple(profile_method(one) if isinstance(one, str) else one for one in _listed(profiles))
    spec = ProfileSpec(
        store=os.fspath(store), name=name, profiles=asked, layers=layers, positions=positions, device=device, memory=memory
    )
    from ie_store.estimate.profile import profile as run

    return run(spec, on_progress=on_progress)


def _listed(chosen: Any) -> tuple[Any, ...]:
    """What was chosen, where a single name stands for a list of one."""
    return tuple(chosen) if isinstance(chosen, Iterable) and not isinstance(chosen, str) else (chosen,)


@overload
def open_store(store: StorePath, *, chunks: Any = ..., dtype: "ShownDtype" = ..., verify: bool = ...) -> "xr.DataTree": ...
@overload
def open_store(
    store: StorePath, name: str, *, chunks: Any = ..., dtype: "ShownDtype" = ..., verify: bool = ...
) -> "xr.Dataset": ...
def open_store(
    store: StorePath,
    name: str | None = None,
    *,
    chunks: Any = {},  # noqa: B006  (never changed; {} is xarray's word for "the engine's own chunks")
    dtype: "ShownDtype" = "float32",
    verify: bool = True,
) -> "xr.DataTree | xr.Dataset":
    """Open one dataset of a store lazily, or the whole store with all results as a tree.

    ``layer`` and ``position`` hold what is stored and nothing else, so that every operation over them is over data:
    ``ds.macro.sel(layer=3)`` is a `KeyError` that says what is stored where layer 3 is not, and ``isel`` counts stored ones.

    Args:
        store: local folder, or s3://BUCKET/PREFIX.
        name: MODEL/CORPUS; without it the whole store is opened.
        chunks: as in `xarray.open_dataset`; by default one Dask chunk per slab. None reads without Dask.
        dtype: ``float32``, in which sums, means and squares of float16 states do not overflow, or ``stored``: as stored
            (bfloat16 still as float32, since numpy has none).
        verify: compare all states read with their checksums; a difference is a `StoreError`.

    Returns:
        Of a dataset ``macro`` (layer, position, sequence, hidden), ``micro`` (layer, token, hidden), ``token_id`` (sequence,
        position) and ``micro_state`` (layer, sequence, position, hidden) = ``micro.sel(token=token_id)``; where not all
        positions are stored also ``all_token_id`` (sequence, all_position). Labels of the source are texts or numbers
        (sequence,), in memory, for ``ds.label == "text"`` and ``groupby("label")``. NaN where nothing is written yet:
        ``attrs["complete"]`` is then 0, with ``incomplete_reason``.

        Of a store a tree with each dataset at ``MODEL/CORPUS`` and its results at ``MODEL/CORPUS/estimates/METHOD-DIGEST``,
        over (block, position, ...), in nats, at the layers and positions whose states are stored.

        Each dataset has the accessor ``ie`` (`ie_store.access.accessor.IeAccessor`): ``ds.ie.sample(100)`` and
        ``ds.ie.batches(layer, position)``.

    Raises:
        StoreError: no such store or dataset, or damaged; what else ``store`` is where it is something of a store's.
        InputError: ``name`` or ``dtype`` cannot be.
    """
    import_module("ie_store.access.accessor")
    from ie_store.store import open as opening

    if name is None:
        return opening.open_tree(os.fspath(store), chunks=chunks, dtype=dtype, verify=verify)
    return opening.open_lazily(os.fspath(store), name, chunks=chunks, dtype=dtype, verify=verify)


def callable_package(name: str, function: Callable[..., Any]) -> ModuleType:
    """The package ``ie_store.NAME``, which can be called as ``function``: stage and package bear the same name."""
    import_module(f"ie_store.{name}")
    package = sys.modules[f"ie_store.{name}"]
    members = {"__call__": staticmethod(function), "__signature__": inspect.signature(function)}
    package.__class__ = type("CallablePackage", (ModuleType,), members)
    package.__doc__ = function.__doc__
    return package
