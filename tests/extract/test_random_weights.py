"""The same architecture with seeded initial weights: drawn as transformers draws them, and named so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_tiny
from transformers import AutoConfig, AutoModelForCausalLM

from ie_store.errors import IdentityError, InputError
from ie_store.extract.model.load import LoadedModel, load_model
from ie_store.extract.run import extract
from ie_store.options import ExtractSpec
from ie_store.store.catalog import list_datasets
from ie_store.store.open import open_reader

MakeSpec = Callable[..., ExtractSpec]


def loaded(folder: Path, weights: str, **more: Any) -> LoadedModel:
    return load_model(ExtractSpec(store="unused", model=str(folder), corpus="tokens:rows.npy", weights=weights, **more))


def test_weights_are_those_that_the_model_itself_starts_from(llama_folder: Path) -> None:
    model = loaded(llama_folder, "random:5")
    torch.manual_seed(5)
    expected = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(llama_folder)).model.state_dict()
    found = model.decoder.module.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_the_spread_is_that_of_the_configuration(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, "llama", vocab_size=2000, initializer_range=0.07)
    embeddings = loaded(folder, "random").decoder.module.get_input_embeddings().weight
    assert float(embeddings.std()) == pytest.approx(0.07, rel=0.02)
    assert float(embeddings.mean()) == pytest.approx(0.0, abs=0.002)


def test_a_seed_gives_one_digest_and_another_seed_another(llama_folder: Path) -> None:
    state = torch.get_rng_state()
    digests = [loaded(llama_folder, weights).spec.weights_digest for weights in ("random", "random:0", "random:1", "stored")]
    assert torch.equal(torch.get_rng_state(), state)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_tied_weights_stay_tied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.nn.Module] = []
    build = AutoModelForCausalLM.from_config

    def watched(*arguments: Any, **options: Any) -> Any:
        made.append(build(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(AutoModelForCausalLM, "from_config", watched)
    folder = save_tiny(tmp_path, "llama", tie_word_embeddings=True)
    made.clear()
    for compute_dtype in ("float32", "bfloat16"):
        loaded(folder, "random", compute_dtype=compute_dtype)
        assert made[-1].get_output_embeddings().weight is made[-1].get_input_embeddings().weight


@pytest.mark.parametrize("family", ["llama", "gpt2", "mamba", "deepseek_v3"])
def test_low_precision_is_the_float32_draw_rounded(tmp_path: Path, family: str) -> None:
    folder = save_tiny(tmp_path, family)
    exact, rounded = (loaded(folder, "random:2", compute_dtype=dtype).decoder.module for dtype in ("float32", "bfloat16"))
    for name, weight in rounded.state_dict().items():
        assert torch.equal(weight, exact.state_dict()[name].to(weight.dtype)), name
    frequencies = {name: value for name, value in exact.named_buffers() if "inv_freq" in name}
    assert all(torch.equal(dict(rounded.named_buffers())[name], value) for name, value in frequencies.items())


def test_it_is_named_in_the_identity_the_dataset_and_the_list(make_spec: MakeSpec) -> None:
    spec = make_spec(weights="random:3", compute_dtype="bfloat16")
    report = extract(spec)
    assert report.name == "llama-random3/rows"
    identity = open_reader(spec.store, report.name).identity
    assert identity.model.id == "llama~random3"
    assert [one.model for one in list_datasets(spec.store)[0]] == ["llama~random3"]
    assert extract(spec).reused
    assert 0 < max(report.audit["relative_error"].values()) < 0.02
    with pytest.raises(IdentityError, match=r"model.id: stored 'llama~random3', asked 'llama'"):
        extract(make_spec(name=report.name))


def test_no_weight_files_are_needed(llama_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((llama_folder / "config.json").read_bytes())
    assert loaded(tmp_path, "random").spec.num_blocks == 3
    with pytest.raises(InputError, match="cannot be loaded"):
        loaded(tmp_path, "stored")


@pytest.mark.parametrize("weights", ["", "Random", "random:", "random:-1", "random:x", "random:1.5", "random:0:1", "stored:0"])
def test_other_weights_are_refused(weights: str) -> None:
    with pytest.raises(InputError, match=r"weights is .*; it must be stored, random, or random:SEED"):
        ExtractSpec(weights=weights)


def test_a_seed_too_large_is_refused() -> None:
    assert ExtractSpec(weights=f"random:{2**63 - 1}").weights_seed == 2**63 - 1
    with pytest.raises(InputError, match="seed is 9223372036854775808"):
        ExtractSpec(weights=f"random:{2**63}")
