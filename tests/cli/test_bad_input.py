"""Nonsense in every option: a message, exit code 2, no traceback, the store as it was."""

from pathlib import Path

import pytest
from called import ie_store

NAME = "tiny-gpt2/rows"
EXTRACT_NONSENSE = {
    "dtype": ["--dtype", "float8"],
    "compute dtype": ["--compute-dtype", "int8"],
    "bos": ["--bos", "append"],
    "bos the tokenizer lacks": ["--bos", "prepend"],
    "positions word": ["--positions", "some"],
    "positions outside": ["--positions", "0,99"],
    "layers outside": ["--layers", "7"],
    "layers reversed": ["--layers", "3-1"],
    "batch size": ["--batch-size", "-1"],
    "batch size word": ["--batch-size", "many"],
    "too many sequences": ["--num-sequences", "1000000"],
    "no sequences": ["--num-sequences", "0"],
    "device": ["--device", "abacus"],
    "absent device": ["--device", "cuda:7"],
    "attention": ["--attention", "none at all"],
    "audit rows": ["--audit-rows", "0"],
    "name": ["--as", "no-slash"],
    "name upwards": ["--as", "../up"],
    "gguf file": ["--gguf-file", "missing.gguf"],
    "model": ["--model", "/no/such/folder"],
    "model name": ["--model", "no-such-organisation/no-such-model"],
    "recipe kind": ["--corpus", "poem:x"],
    "recipe option": ["--corpus", "icl:country?colour=red"],
    "recipe value": ["--corpus", "icl:country?shots=many"],
    "recipe file": ["--corpus", "text:/no/such/file"],
    "empty recipe": ["--corpus", ""],
    "names the tokenizer lacks": ["--corpus", "icl:country"],
    "unknown option": ["--frobnicate"],
}
ESTIMATE_NONSENSE = {
    "estimator": ["--estimator", "mien"],
    "blocks": ["--blocks", "3"],
    "blocks word": ["--blocks", "first"],
    "positions": ["--positions", "9"],
    "steps": ["--steps", "0"],
    "folds": ["--folds", "0"],
    "seeds": ["--seeds", "-2"],
    "batch": ["--batch-size", "1"],
    "rate": ["--learning-rate", "7"],
    "sigmas": ["--estimator", "noise", "--sigmas", "4,2,1"],
    "sigmas words": ["--estimator", "noise", "--sigmas", "a,b"],
    "sigma": ["--estimator", "noise", "--sigma", "3"],
    "scale": ["--scale", "inches"],
    "device": ["--device", "abacus"],
}


def _tree(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("what", EXTRACT_NONSENSE)
@pytest.mark.parametrize("command", ["extract", "plan"])
def test_extract_refuses(command: str, what: str, tmp_path: Path, model_folder: Path, tokens_file: Path) -> None:
    given = {"--model": str(model_folder), "--corpus": f"tokens:{tokens_file}"}
    nonsense = EXTRACT_NONSENSE[what]
    arguments = [part for flag, value in given.items() if flag not in nonsense for part in (flag, value)]
    result = ie_store(command, tmp_path / "store", *arguments, *nonsense)
    _require_refusal(result.exit_code, result.output)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("what", ESTIMATE_NONSENSE)
def test_estimate_refuses(what: str, store: Path) -> None:
    before = _tree(store)
    result = ie_store("estimate", store, NAME, *ESTIMATE_NONSENSE[what])
    _require_refusal(result.exit_code, result.output)
    assert _tree(store) == before


@pytest.mark.parametrize("command", ["info", "verify", "show", "estimate", "rm"])
@pytest.mark.parametrize("name", ["tiny-gpt2/absent", "no-slash", "../../etc/passwd", ""])
def test_absent_dataset(command: str, name: str, store: Path) -> None:
    before = _tree(store)
    result = ie_store(command, store, name, *(["--yes"] if command == "rm" else []))
    _require_refusal(result.exit_code, result.output)
    assert _tree(store) == before


@pytest.mark.parametrize("command", ["ls", "info", "verify", "show", "estimate"])
def test_not_a_store(command: str, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        result = ie_store(command, folder, *([] if command == "ls" else [NAME]))
        _require_refusal(result.exit_code, result.output)
    assert list(tmp_path.iterdir()) == []


def test_other_identity_is_refused_with_the_field_and_the_mend(store: Path, model_folder: Path, tokens_file: Path) -> None:
    before = _tree(store)
    arguments = ("--model", model_folder, "--corpus", f"tokens:{tokens_file}", "--as", NAME, "--dtype", "float32")
    result = ie_store("extract", store, *arguments)
    _require_refusal(result.exit_code, result.output)
    for word in ("stored_dtype", "float16", "float32", "--as", "--replace", "ie-store rm"):
        assert word in result.output
    assert _tree(store) == before


def _require_refusal(exit_code: int, output: str) -> None:
    assert exit_code == 2, output
    assert output.strip()
    assert "Traceback" not in output
