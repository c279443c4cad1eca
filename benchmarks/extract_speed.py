"""Prefix-shared against plain forward: rows per second of the same rows, measured in interleaved pairs.

    python benchmarks/extract_speed.py --model FOLDER [--gguf-file NAME] [--compute-dtype bfloat16] [--rows 512] [--pairs 5]

Prints one line per corpus and writes JSON where ``--out`` says. The plain forward runs every row of the slice, in the batch
size that was fastest for it; both drop their states.
"""

import argparse
import ast
import json
import platform
import pydoc_data.topics
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ie_store.corpus.make import make_corpus
from ie_store.extract.forward.batches import TileBatches, tile_batches
from ie_store.extract.forward.prefix_forward import TileForward
from ie_store.extract.forward.tiles import plan_tile
from ie_store.extract.model.load import LoadedModel, load_model
from ie_store.extract.model.quiet import quiet_logging
from ie_store.options import ExtractSpec
from ie_store.prefixes import common_prefix_lengths, num_distinct_prefixes

PLAIN_BATCHES = (32, 64, 128)
PROBED_ROWS = 256


def run(model: LoadedModel, plan: TileBatches) -> float:
    forward = TileForward(model.decoder, plan, model.device)
    start = time.perf_counter()
    for batch in plan.batches:
        forward.run(batch, lambda batch, layer, states: None)
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter() - start


def measure(model: LoadedModel, name: str, tokens: NDArray[np.int32], group_rows: int, pairs: int) -> dict[str, Any]:
    groups = [tokens[start : start + group_rows] for start in range(0, len(tokens), group_rows)]
    budget = 512 if model.device.type == "cpu" else 16384
    shared = [tile_batches(rows, plan_tile(rows, budget // tokens.shape[1], sharing=True)) for rows in groups]

    def plain(batch: int) -> list[TileBatches]:
        return [tile_batches(rows, plan_tile(rows, batch, sharing=False)) for rows in groups]

    few = tokens[:PROBED_ROWS]
    tried = {batch: tile_batches(few, plan_tile(few, batch, sharing=False)) for batch in PLAIN_BATCHES}
    probe = {batch: min(run(model, plan) for _ in range(2)) for batch, plan in tried.items()}
    best = min(probe, key=lambda batch: probe[batch])
    ratios: list[float] = []
    seconds: dict[str, list[float]] = {"plain": [], "shared": []}
    for pair in range(pairs):
        order = [("plain", plain(best)), ("shared", shared)]
        took = {what: sum(run(model, plan) for plan in plans) for what, plans in (order if pair % 2 else order[::-1])}
        ratios.append(took["plain"] / took["shared"])
        for what, value in took.items():
            seconds[what].append(value)
    distinct = sum(int(num_distinct_prefixes(common_prefix_lengths(rows), tokens.shape[1]).sum()) for rows in groups)
    ratio, speedup = tokens.size / distinct, statistics.median(ratios)
    result = {
        "corpus": name,
        "rows": len(tokens),
        "group_rows": group_rows,
        "compute_dtype": model.spec.compute_dtype,
        "plain_batch": best,
        "plain_rows_per_second": len(tokens) / statistics.median(seconds["plain"]),
        "shared_rows_per_second": len(tokens) / statistics.median(seconds["shared"]),
        "computed_tokens": sum(plan.num_tokens for plan in shared),
        "distinct_prefix_ratio": ratio,
        "speedup": speedup,
        "of_ratio": speedup / ratio,
        "all_pairs": ratios,
        "segments": [[segment.start, segment.stop] for segment in shared[0].segments],
    }
    print(
        f"{name:10} {model.spec.compute_dtype:8} plain {result['plain_rows_per_second']:7.1f} rows/s (batch {best}), shared "
        f"{result['shared_rows_per_second']:7.1f} rows/s: {speedup:.2f}x = {speedup / ratio:.2f} of the distinct-prefix ratio "
        f"{ratio:.2f} (pairs {min(ratios):.2f}..{max(ratios):.2f})",
        flush=True,
    )
    return result


def corpora(model: LoadedModel, rows: int) -> dict[str, NDArray[np.int32]]:
    """Consecutive sorted rows of each corpus: a slice of what the whole would compute."""
    made = partial(make_corpus, tokenizer=model.tokenizer, vocab_size=model.spec.vocab_size)
    country = made("icl:country?names=10").tokens
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text.txt")
        text.write_text("\n".join([*pydoc_data.topics.topics.values(), *library_prose()]))
        windows = made(f"text:{text}?length=8&windows=all&num_sequences=50000").tokens
    middle = len(windows) // 2
    return {"country10": country[:rows], "text": windows[middle : middle + rows]}


def library_prose() -> list[str]:
    """English that every Python brings along: the documentation strings of its standard library."""
    trees = (ast.parse(path.read_bytes()) for path in sorted(Path(ast.__file__).parent.glob("*.py")))
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Module)
    return [text for tree in trees for node in ast.walk(tree) if isinstance(node, kinds) and (text := ast.get_docstring(node))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gguf-file")
    parser.add_argument("--compute-dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--group-rows", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--corpus", action="append", choices=["country10", "text"])
    parser.add_argument("--out")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    spec = ExtractSpec(
        store="unused", model=asked.model, gguf_file=asked.gguf_file, compute_dtype=asked.compute_dtype, device=asked.device
    )
    with quiet_logging():
        model = load_model(spec)
        results = [
            measure(model, name, tokens, asked.group_rows, asked.pairs)
            for name, tokens in corpora(model, asked.rows).items()
            if not asked.corpus or name in asked.corpus
        ]
    if asked.out:
        about = {"machine": platform.platform(), "threads": asked.threads, "torch": torch.__version__}
        Path(asked.out).write_text(json.dumps(about | {"results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
