"""Loading: what a model is, and what is said when it cannot be used."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import BLOCKS, HIDDEN, VOCAB, save_tiny, tiny_config, tiny_model
from transformers import AutoModelForMaskedLM, T5Config, T5ForConditionalGeneration

from ie_store.errors import InputError
from ie_store.extract.model.load import load_model
from ie_store.extract.naming import name_of
from ie_store.options import ExtractSpec


def spec_of(folder: Path, **more: str) -> ExtractSpec:
    return ExtractSpec(store="unused", model=str(folder), corpus="tokens:rows.npy", **more)


def test_a_loaded_model_says_what_it_is(llama_folder: Path) -> None:
    model = load_model(spec_of(llama_folder))
    assert model.spec.id == "llama"
    assert (model.spec.num_blocks, model.spec.hidden_size, model.spec.vocab_size) == (BLOCKS, HIDDEN, VOCAB)
    assert (model.spec.compute_dtype, model.spec.attention, model.opened.max_positions) == ("float32", "sdpa", 64)
    assert load_model(spec_of(llama_folder, attention="eager")).spec.attention == "eager"
    assert model.tokenizer is None


def test_the_digest_changes_with_weights_and_configuration_alone(llama_folder: Path, tmp_path: Path) -> None:
    digest = load_model(spec_of(llama_folder)).spec.weights_digest
    moved = shutil.copytree(llama_folder, tmp_path / "moved")
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "transformers_version": "0", "_name_or_path": "elsewhere"}))
    assert load_model(spec_of(moved)).spec.weights_digest == digest
    (moved / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert load_model(spec_of(moved)).spec.weights_digest != digest
    (moved / "config.json").write_text(json.dumps(config))
    weights = load_file(moved / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-6
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    assert load_model(spec_of(moved)).spec.weights_digest != digest
    assert load_model(spec_of(llama_folder, compute_dtype="bfloat16")).spec.weights_digest != digest


def test_missing_weights_are_not_replaced_by_random_ones(llama_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(llama_folder, tmp_path / "holes")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack 1 weights \(model.layers.1.mlp.up_proj.weight\)"):
        load_model(spec_of(folder))


def test_a_model_without_its_head_is_enough(llama_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(llama_folder, tmp_path / "headless")
    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight", None)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_model(spec_of(folder)).spec.num_blocks == BLOCKS


def test_what_is_no_dense_causal_decoder_is_refused(llama_folder: Path, tmp_path: Path) -> None:
    sizes = {"vocab_size": VOCAB, "d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(tmp_path / "t5")
    with pytest.raises(InputError, match="encoder-decoder"):
        load_model(spec_of(tmp_path / "t5"))
    AutoModelForMaskedLM.from_config(tiny_config("bert")).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="not causal"):
        load_model(spec_of(tmp_path / "bert"))
    folder = shutil.copytree(llama_folder, tmp_path / "quantised")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "awq", "bits": 4}}))
    with pytest.raises(InputError, match="quantised"):
        load_model(spec_of(folder))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "cannot be loaded"),
        ("{}", "not a causal language model that transformers knows|cannot be loaded"),
        ('{"model_type": "no_such_type"}', "not a causal language model that transformers knows|cannot be loaded"),
        ('{"model_type": "vit"}', "not a causal language model that transformers knows"),
        ('{"model_type": "llama"}', "cannot be loaded"),
        ('{"auto_map": {"AutoConfig": "a.B", "AutoModelForCausalLM": "a.C"}}', "--trust-remote-code"),
    ],
)
def test_folders_that_hold_no_model(tmp_path: Path, config: str, message: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=message):
        load_model(spec_of(tmp_path))


def test_messages_point_to_gguf_files(tmp_path: Path) -> None:
    (tmp_path / "some.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match=r"add --gguf-file some.gguf"):
        load_model(spec_of(tmp_path))
    with pytest.raises(InputError, match=r"is a file; give its folder; .* add --gguf-file some.gguf"):
        load_model(spec_of(tmp_path / "some.gguf"))
    with pytest.raises(InputError, match=r"cannot be loaded|not a causal"):
        load_model(spec_of(tmp_path, gguf_file="some.gguf"))


def test_a_token_to_prepend_must_exist(llama_folder: Path, tmp_path: Path) -> None:
    assert load_model(spec_of(llama_folder, bos="prepend")).bos_id == 1
    assert load_model(spec_of(llama_folder)).bos_id is None
    folder = save_tiny(tmp_path, "llama", bos_token_id=None)
    with pytest.raises(InputError, match="no beginning-of-sequence token"):
        load_model(spec_of(folder, bos="prepend"))


def test_attention_is_that_of_the_model_unless_asked(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, "gemma2")
    assert load_model(spec_of(folder)).spec.attention == "eager"
    with pytest.raises(InputError, match="no 'sdpa' attention"):
        load_model(spec_of(folder, attention="sdpa"))


def test_names_come_from_model_and_corpus() -> None:
    def name(**more: str) -> str:
        return name_of(ExtractSpec(**{"store": "s", "model": "org/Some-Model_1.5", "corpus": "icl:country?names=10", **more}))

    assert name() == "Some-Model_1.5/country-names10"
    assert name(model="/models/tiny llama/") == "tiny_llama/country-names10"
    assert name(gguf_file="weights/Model.Q4_1.gguf") == "Model.Q4_1/country-names10"
    assert name(name="a/b") == "a/b"
    with pytest.raises(InputError, match="MODEL/CORPUS"):
        name(name="a/b/c")


def test_bfloat16_weights_keep_their_dtype(tmp_path: Path) -> None:
    tiny_model(tiny_config("llama")).to(torch.bfloat16).save_pretrained(tmp_path / "half")
    model = load_model(spec_of(tmp_path / "half", compute_dtype="bfloat16"))
    assert {weight.dtype for weight in model.decoder.module.parameters()} == {torch.bfloat16}


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM
print("this code runs")
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_code_that_comes_with_a_model_runs_only_when_told_to(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for module in ("transformers.dynamic_module_utils", "transformers.utils.hub", "transformers.utils"):
        monkeypatch.setattr(f"{module}.HF_MODULES_CACHE", str(tmp_path / "modules"), raising=False)
    folder = shutil.copytree(llama_folder, tmp_path / "own")
    (folder / "own.py").write_text(CODE + f"open({str(tmp_path / 'ran')!r}, 'w')")
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    with pytest.raises(InputError, match="--trust-remote-code"):
        load_model(spec_of(folder))
    assert not (tmp_path / "ran").exists()
    model = load_model(ExtractSpec(store="unused", model=str(folder), corpus="tokens:x", trust_remote_code=True))
    assert (tmp_path / "ran").exists()
    assert model.spec.num_blocks == BLOCKS
    assert capfd.readouterr() == ("", "")
