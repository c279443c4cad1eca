"""Blocks behind the last stored layer are not run, and what is stored is the same bits as if they were."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import BLOCKS, prefix_rows, save_tiny

import ie_store.extract.perform
from ie_store.extract.model.decoder import Decoder
from ie_store.extract.model.load import load_model
from ie_store.extract.run import extract, plan_extract
from ie_store.options import ExtractSpec

MakeSpec = Callable[..., ExtractSpec]


def shard_bytes(store: Path) -> dict[str, bytes]:
    """Every shard file of a store's only dataset, by its place below the dataset."""
    return {
        "/".join(path.relative_to(store).parts[2:]): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and "/c/" in path.as_posix() and ("macro" in path.as_posix() or "micro" in path.as_posix())
    }


@pytest.fixture
def block_calls(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """For each forward after the model is prepared, the blocks that ran."""
    calls: list[set[int]] = []
    prepare = ie_store.extract.perform.prepare

    def watched(spec: ExtractSpec, *held: Any) -> Any:
        job = prepare(spec, *held)
        decoder = job.engine.model.decoder
        decoder.module.register_forward_pre_hook(lambda *_: calls.append(set()))
        for index, block in enumerate(decoder.blocks):
            block.register_forward_pre_hook(lambda *_, index=index: calls[-1].add(index))
        return job

    monkeypatch.setattr("ie_store.extract.perform.prepare", watched)
    return calls


@pytest.mark.parametrize(
    "family", ["llama", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "gemma", "gemma4_text", "mamba"))]
)
@pytest.mark.parametrize(("layers", "last"), [("0", 1), ("1", 1), ("0,2", 2)])
def test_stored_layers_are_the_same_bytes_as_those_of_a_whole_forward(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, block_calls: list[set[int]], family: str, layers: str,
    last: int,
) -> None:  # fmt: skip
    model = str(save_tiny(tmp_path, family))
    np.save(tmp_path / "rows.npy", prefix_rows(num_rows=200))
    report = extract(make_spec(model=model, layers=layers, batch_size=7, store=str(tmp_path / "cut")))
    assert block_calls
    assert all(ran == set(range(last)) for ran in block_calls)
    assert (report.plan.num_blocks_run, report.plan.as_json()["num_blocks_run"]) == (last, last)
    monkeypatch.setattr(Decoder, "ending_at", lambda self, layer: self)
    block_calls.clear()
    extract(make_spec(model=model, layers=layers, batch_size=7, store=str(tmp_path / "whole")))
    assert all(ran == set(range(BLOCKS)) for ran in block_calls)
    cut, whole = shard_bytes(tmp_path / "cut"), shard_bytes(tmp_path / "whole")
    assert len(cut) >= 2
    assert cut == whole


def test_unneeded_weights_leave_memory_and_all_layers_need_all(llama_folder: Path, make_spec: MakeSpec) -> None:
    model = load_model(make_spec())
    assert model.decoder.ending_at(BLOCKS).last_layer == BLOCKS
    assert all(weight.device.type == "cpu" for weight in model.decoder.module.parameters())
    ended = model.decoder.ending_at(1)
    assert {weight.device.type for weight in ended.blocks[0].parameters()} == {"cpu"}
    assert {weight.device.type for block in ended.blocks[1:] for weight in block.parameters()} == {"meta"}
    assert ended.num_layers == BLOCKS + 1


def test_the_audit_of_a_bfloat16_model_loads_and_ends_the_same_way(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[int | None] = []
    audit = ie_store.extract.perform.audit
    monkeypatch.setattr(
        "ie_store.extract.perform.audit", lambda engine, *more: ends.append(engine.model.decoder.end) or audit(engine, *more)
    )
    report = extract(make_spec(layers="1", compute_dtype="bfloat16"))
    assert ends == [1]
    assert set(report.audit["relative_error"]) == {"1"}


def test_a_plan_says_how_many_blocks_run(make_spec: MakeSpec) -> None:
    assert plan_extract(make_spec(layers="0-2"))[0].num_blocks_run == 2
    assert plan_extract(make_spec())[0].num_blocks_run == BLOCKS
