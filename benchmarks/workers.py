"""Two single-threaded workers against one, beside what two processes gain on this machine at bare matmuls.

    python benchmarks/workers.py [--rows 2048] [--hidden 256] [--blocks 16] [--rounds 2] [--out FILE.json]
    python benchmarks/workers.py --model FOLDER [--gguf-file NAME] [--sequences 98304] --out FILE.json

A made-up dataset of seeded states, one problem an item, `noise` at the last position. A rate is finished macro problems by
seconds, from the end of the second one on: so neither the start of processes nor the opening of the dataset counts. The most
that two workers can gain is measured in the same rounds: matmuls in one process, and in two at once. With ``--model`` an
extraction of that model too, its rate in rows of macro states. A round measures one and two in turn; gains, and their shares of
what matmuls gain, are medians of the rounds' own.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch

import ie_store.estimate.run as stage
from ie_store.estimators import estimator_spec
from ie_store.extract.run import extract
from ie_store.fingerprint import fingerprint
from ie_store.options import EstimateSpec, ExtractSpec, Progress
from ie_store.prefixes import lexicographic_order
from ie_store.specs import CorpusSpec, DatasetIdentity, ModelSpec, StoreLayout
from ie_store.store.dataset.writer import open_writer

NAME = "model/random"
POSITIONS = 2
CORPUS = "icl:country?names=25&shots=4&num_sequences="
MATMUL_SECONDS, MATMUL_SIZE = 4.0, 512


def write_store(store: str, rows: int, hidden: int, blocks: int) -> None:
    """A dataset whose ``rows`` prefixes are all distinct, with normal states."""
    random, layers = np.random.default_rng(0), blocks + 1
    pairs = random.choice(rows * 4, rows, replace=False)
    tokens = np.stack([pairs // 256, pairs % 256], axis=1).astype(np.int32)
    tokens = tokens[lexicographic_order(tokens)]
    layout = StoreLayout(
        num_layers=layers, num_positions=POSITIONS, num_sequences=rows, num_tokens=len(np.unique(tokens)), hidden_size=hidden,
        stored_dtype="float16", layers=tuple(range(layers)), positions=tuple(range(POSITIONS)), rows_per_shard=1024,
        tokens_per_shard=256, shards_per_group=1, rows_per_batch=1,
    )  # fmt: skip
    model = ModelSpec(
        id="random", revision=None, weights_digest="", tokenizer_digest=None, num_blocks=blocks, hidden_size=hidden,
        vocab_size=1, compute_dtype="float32", attention="none", bos="none",
    )  # fmt: skip
    source_row = np.arange(rows)
    found = fingerprint(tokens, source_row, {})
    corpus = CorpusSpec(
        recipe="random", name="random", fingerprint=found, num_sequences=rows, num_positions=POSITIONS, complete=False
    )
    identity = DatasetIdentity(model=model, corpus_fingerprint=found, recipe="random", layout=layout)
    with open_writer(
        store, NAME, identity=identity, corpus=corpus, tokens=tokens, source_row=source_row, labels={}, session={}
    ) as writer:
        for level in ("micro", "macro"):
            for index in writer.missing_shards(level):
                shard = layout.shard(level, index)
                cells = (layers, POSITIONS) if level == "macro" else (layers,)
                shape = (*cells, shard.stop - shard.start, hidden)
                writer.write_shard(shard, random.standard_normal(shape).astype(np.float16))
        writer.mark_complete({"rows": 1, "relative_error": {}})


def problems_per_second(store: str, workers: int, seed: int) -> float:
    """Macro problems of ``workers`` processes of one thread each."""
    ends: list[float] = []

    def tell(progress: Progress) -> None:
        if any(p.level == "macro" and e.estimator == "noise" for p, e in progress.found.items()):
            ends.append(time.monotonic())

    spec = EstimateSpec(store=store, name=NAME, estimators=(estimator_spec("noise", seed=seed),), device="cpu", workers=workers)
    with mock.patch.object(os, "cpu_count", return_value=workers), mock.patch.object(stage, "BATCH_BYTES", {"cpu": 1}):
        stage.run_estimate(spec, tell)
    return (len(ends) - 2) / (ends[-1] - ends[1])


def rows_per_second(folder: str, asked: argparse.Namespace, workers: int) -> float:
    """Rows of an extraction by ``workers`` processes of one thread each."""
    ends: list[tuple[float, int]] = []

    def tell(progress: Progress) -> None:
        if progress.stage == "macro states" and progress.done:
            ends.append((time.monotonic(), progress.done))

    store, corpus = f"{folder}/extracted", f"{CORPUS}{asked.sequences}"
    spec = ExtractSpec(store=store, model=asked.model, gguf_file=asked.gguf_file, corpus=corpus, device="cpu", workers=workers)
    with mock.patch.object(os, "cpu_count", return_value=workers):
        extract(spec, tell)
    shutil.rmtree(store)
    (began, before), (ended, after) = ends[1], ends[-1]
    return (after - before) / (ended - began)


def _matmuls(begin: Any, counts: Any) -> None:
    torch.set_num_threads(1)
    values = torch.ones((MATMUL_SIZE, MATMUL_SIZE))
    torch.mm(values, values)
    begin.wait()
    end, count = time.monotonic() + MATMUL_SECONDS, 0
    while time.monotonic() < end:
        torch.mm(values, values)
        count += 1
    counts.put(count)


def matmuls_per_second(processes: int) -> float:
    """Of all processes together."""
    context = multiprocessing.get_context("spawn")
    begin, counts = context.Barrier(processes), context.Queue()
    started = [context.Process(target=_matmuls, args=(begin, counts)) for _ in range(processes)]
    for process in started:
        process.start()
    total = sum(counts.get() for _ in started)
    for process in started:
        process.join()
    return total / MATMUL_SECONDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", help="folder of a model that is extracted too")
    parser.add_argument("--gguf-file", help="its weights there, where they are GGUF")
    parser.add_argument("--sequences", type=int, default=98_304, help="of the extraction")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rates: dict[str, list[float]] = {f"{number} {what}": [] for what in ("matmul", "estimate", "extract") for number in (1, 2)}
    with tempfile.TemporaryDirectory() as folder:
        write_store(f"{folder}/store", asked.rows, asked.hidden, asked.blocks)
        for seed in range(asked.rounds):
            for number in (1, 2):
                rates[f"{number} matmul"].append(matmuls_per_second(number))
                rates[f"{number} estimate"].append(problems_per_second(f"{folder}/store", number, 2 * seed + number))
                if asked.model:
                    rates[f"{number} extract"].append(rows_per_second(folder, asked, number))
    by_round = {
        what: [two / one for one, two in zip(rates[f"1 {what}"], rates[f"2 {what}"], strict=True)]
        for what in ("matmul", "estimate", "extract")
        if rates[f"1 {what}"]
    }
    gains = {what: median(found) for what, found in by_round.items()}
    shares = {
        what: median(gain / most for gain, most in zip(found, by_round["matmul"], strict=True))
        for what, found in by_round.items()
    }
    for name, found in rates.items():
        print(f"{name:<12} {', '.join(f'{rate:.4g}' for rate in found)} a second")
    for what, gain in gains.items():
        print(f"{what}: two gain {gain:.2f}, {shares[what]:.2f} of what bare matmuls gain")
    if asked.out:
        sizes = {name: getattr(asked, name) for name in ("rows", "hidden", "blocks", "rounds", "gguf_file", "sequences")}
        found = {"machine": platform.platform(), "torch": torch.__version__, **sizes, "rates": rates}
        found |= {"gain": gains, "share": shares, "gain_by_round": by_round}
        asked.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
