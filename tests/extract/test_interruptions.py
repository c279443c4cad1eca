"""What happens to finished shards when the user, the disk or the writer stops a run."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import ie_store.extract.prepare
from ie_store.errors import DiskSpaceError, InputError
from ie_store.extract.layout import choose_layout
from ie_store.extract.run import extract
from ie_store.options import ExtractSpec, Progress
from ie_store.specs import Shard, Slab, StoreLayout
from ie_store.store.dataset.writer import DatasetWriter
from ie_store.store.open import open_reader

MakeSpec = Callable[..., ExtractSpec]


@pytest.fixture(autouse=True)
def six_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(*arguments: Any) -> StoreLayout:
        return replace(choose_layout(*arguments), rows_per_shard=4, shards_per_group=1)

    monkeypatch.setattr(ie_store.extract.prepare, "choose_layout", chosen)


def last_layer(spec: ExtractSpec) -> np.ndarray:
    reader = open_reader(spec.store, "llama/rows")
    return np.stack([reader.read_slab(Slab(level="macro", layer=3, position=p), verify=True) for p in range(9)])


def require_resumable(spec: ExtractSpec, whole: ExtractSpec, least: int) -> None:
    """At least ``least`` macro shards are there; a second run adds the others and ends with the same bits."""
    reader = open_reader(spec.store, "llama/rows")
    missing = reader.missing_shards("macro")
    assert not reader.complete
    assert least <= 6 - len(missing) < 6
    assert extract(spec).num_shards == len(missing) + len(reader.missing_shards("micro"))
    extract(whole)
    assert np.array_equal(last_layer(spec), last_layer(whole))


def test_control_c_leaves_finished_shards(make_spec: MakeSpec, tmp_path: Any) -> None:
    def press(progress: Progress) -> None:
        if progress.stage == "macro states" and progress.done > 16:
            raise KeyboardInterrupt

    spec = make_spec()
    with pytest.raises(KeyboardInterrupt):
        extract(spec, press)
    require_resumable(spec, make_spec(store=str(tmp_path / "whole")), least=4)


@pytest.mark.parametrize("error", [DiskSpaceError("no room"), OSError(5, "Input/output error")])
def test_a_write_that_fails_names_its_shard(
    make_spec: MakeSpec, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    write = DatasetWriter.write_shard

    def failing(self: DatasetWriter, shard: Shard, states: np.ndarray) -> int:
        if (shard.level, shard.index) == ("macro", 2):
            raise error
        return write(self, shard, states)

    spec = make_spec()
    with monkeypatch.context() as patch:
        patch.setattr(DatasetWriter, "write_shard", failing)
        with pytest.raises(type(error)) as caught:
            extract(spec)
    told = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert "while writing macro shard 2 (rows 8 to 11)" in told
    reason = open_reader(spec.store, "llama/rows").attributes.incomplete_reason
    assert ("no room" in reason) == isinstance(error, DiskSpaceError)
    require_resumable(spec, make_spec(store=str(tmp_path / "whole")), least=2)


def test_too_large_a_batch_for_the_device_is_an_error_to_mend(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    spec = make_spec()
    job = ie_store.extract.prepare.prepare(spec)
    monkeypatch.setattr("ie_store.extract.perform.prepare", lambda spec, held: replace(job, held=held))
    monkeypatch.setattr(job.engine.model.decoder.module, "forward", full)
    with pytest.raises(InputError, match="smaller --batch-size"):
        extract(spec)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_states_from_a_gpu_are_those_of_the_cpu(make_spec: MakeSpec) -> None:
    spec, same = make_spec(dtype="float32"), {"dtype": "float32", "compute_dtype": "float32", "batch_size": 4}
    extract(spec)
    report = extract(make_spec(**same, name="gpu/rows", device="cuda"))
    reader = open_reader(spec.store, report.name)
    states = np.stack([reader.read_slab(Slab(level="macro", layer=3, position=p), verify=True) for p in range(9)])
    assert np.linalg.norm(states - last_layer(spec)) <= 1e-5 * np.linalg.norm(states)
