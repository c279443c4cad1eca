"""A tiny seeded model with a word tokenizer, and a store made from it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from called import ie_store

WORDS = ["the", "a", "cat", "dog", "sees", "hears", "red", "blue", "small", "big", "bird", "tree", "and", "or", "of", "in"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=32, n_embd=32, n_layer=3, n_head=4)).save_pretrained(folder)
    words = Tokenizer(WordLevel({"[UNK]": 0} | {word: number for number, word in enumerate(WORDS, 1)}, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokens_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 rows of 4 tokens."""
    path = tmp_path_factory.mktemp("corpus") / "rows.npy"
    np.save(path, np.random.default_rng(0).integers(0, 32, (200, 4)))
    return path


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, tokens_file: Path) -> Path:
    """A store with one complete dataset, tiny-gpt2/rows."""
    path = tmp_path_factory.mktemp("stores") / "store"
    result = ie_store("extract", path, "--model", model_folder, "--corpus", f"tokens:{tokens_file}", "--as", "tiny-gpt2/rows")
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture
def store(made_store: Path, tmp_path: Path) -> Path:
    """The same store, of a test's own."""
    return Path(shutil.copytree(made_store, tmp_path / "store-of-its-own"))
