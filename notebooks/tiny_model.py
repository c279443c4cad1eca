"""A tiny causal language model with seeded weights that has learnt nothing, so that examples run anywhere in seconds."""

import re
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils import logging

from ie_store.corpus.names import NAMES


def save_tiny_model(folder: str | Path, text: str = "") -> str:
    """Write a GPT-2 of 3 blocks and 32 dimensions with its tokenizer to ``folder``, and return the folder.

    Every word of ``text`` and of the built-in lists of names is one token, the space before it included.
    """
    words = sorted({*re.findall(r"[A-Za-z]+", text), *(name for names in NAMES.values() for name in names if " " not in name)})
    pieces = ["[UNK]", ",", *(start + word for word in words for start in ("", " "))]
    tokenizer = Tokenizer(WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split(Regex(r" ?[A-Za-z]+|[^A-Za-z ]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(pieces), n_positions=32, n_embd=32, n_layer=3, n_head=4, initializer_range=0.15,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    logging.disable_progress_bar()
    GPT2LMHeadModel(config).save_pretrained(folder)
    logging.enable_progress_bar()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return str(folder)
