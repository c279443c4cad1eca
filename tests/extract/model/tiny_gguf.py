"""A tiny Llama with seeded weights as a GGUF file."""

from pathlib import Path

import gguf
import numpy as np

HIDDEN, INNER, HEADS, BLOCKS = 32, 64, 4, 3
CHARACTERS = [chr(code) for code in range(ord("!"), ord("~"))]
VOCAB = len(CHARACTERS) + 3


def write_gguf(path: Path, seed: int = 0, num_blocks: int = BLOCKS) -> Path:
    """Write the model; the tensors of its blocks quantised to eight bits, the others plain."""
    writer, rng = gguf.GGUFWriter(path, "llama"), np.random.default_rng(seed)
    writer.add_name("tiny")
    writer.add_block_count(num_blocks)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<a>", "<b>", "<c>", *CHARACTERS])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (HIDDEN, HIDDEN), "attn_v": (HIDDEN, HIDDEN), "attn_output": (HIDDEN, HIDDEN)}
    shapes |= {"ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN), "ffn_down": (HIDDEN, INNER)}
    writer.add_tensor("token_embd.weight", rng.normal(0, 0.15, (VOCAB, HIDDEN)).astype(np.float32))
    for block in range(num_blocks):
        for name, shape in shapes.items():
            values = rng.normal(0, 0.15, shape).astype(np.float32)
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(f"blk.{block}.{name}.weight", gguf.quantize(values, kind), raw_dtype=kind)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{block}.{name}.weight", np.ones(HIDDEN, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
