"""Extraction against the dump that people write first: output_hidden_states, one float32 .npy per layer, macro and micro.

    python benchmarks/naive_dump.py --model FOLDER [--gguf-file NAME] [--rows 2048] [--out FILE.json]

Both take the same consecutive rows of the 25-name country corpus. The naive dump runs every row, and every token of every
row alone for its micro state, in batches of 64, without logits. Ours includes the audit. Model loading is in neither.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ie_store.corpus.make import make_corpus
from ie_store.extract.model.load import LoadedModel, load_model
from ie_store.extract.model.quiet import quiet_logging
from ie_store.extract.run import extract
from ie_store.options import ExtractSpec

BATCH = 64


def naive(model: LoadedModel, tokens: NDArray[np.int32], folder: Path) -> None:
    rows = torch.from_numpy(tokens.astype(np.int64))
    for level, inputs in (("macro", rows), ("micro", rows.reshape(-1, 1))):
        batch = BATCH if level == "macro" else BATCH * rows.shape[1]
        files: list[np.memmap[Any, Any]] = []
        for start in range(0, len(inputs), batch):
            with torch.inference_mode():
                output = model.decoder.module(input_ids=inputs[start : start + batch], output_hidden_states=True, use_cache=False)
            if not files:
                shape = (*inputs.shape, output.hidden_states[0].shape[-1])
                files = [
                    np.lib.format.open_memmap(folder / f"{level}_{layer}.npy", mode="w+", dtype=np.float32, shape=shape)
                    for layer in range(len(output.hidden_states))
                ]
            for file, states in zip(files, output.hidden_states, strict=True):
                file[start : start + batch] = states.float().numpy()
        for file in files:
            file.flush()


def measured(folder: Path, work: Callable[[], object]) -> dict[str, float]:
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gguf-file")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--first", type=int, default=100_000, help="first row of the slice")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", help="where to write; a temporary folder by default")
    parser.add_argument("--out")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory(dir=asked.folder) as name, quiet_logging():
        folder = Path(name)
        spec = ExtractSpec(
            store=str(folder / "store"), model=asked.model, gguf_file=asked.gguf_file, corpus=f"tokens:{folder / 'rows.npy'}"
        )
        model = load_model(spec)
        whole = make_corpus("icl:country", tokenizer=model.tokenizer, vocab_size=model.spec.vocab_size)
        np.save(folder / "rows.npy", whole.tokens[asked.first : asked.first + asked.rows])
        (folder / "dump").mkdir()
        model.decoder.plain_states(torch.zeros((BATCH, 8), dtype=torch.int64))
        dump = measured(folder / "dump", lambda: naive(model, np.load(folder / "rows.npy"), folder / "dump"))
        report = extract(spec)
        store = measured(folder / "store", lambda: None) | {"seconds": report.seconds}
    parts = {name: getattr(report, f"{name}_seconds") for name in ("forward", "waiting", "audit")}
    ratios = {what: dump[what] / store[what] for what in ("seconds", "bytes")}
    print(f"{'':12}{'seconds':>10}{'MB':>12}")
    for what, values in (("naive dump", dump), ("ie-store", store)):
        print(f"{what:12}{values['seconds']:>10.1f}{values['bytes'] / 1e6:>12.1f}")
    print(f"{asked.rows} rows: {ratios['seconds']:.1f}x less time, {ratios['bytes']:.1f}x fewer bytes")
    print("ie-store: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items()))
    if asked.out:
        about = {"machine": platform.platform(), "threads": asked.threads, "torch": torch.__version__, "rows": asked.rows}
        Path(asked.out).write_text(
            json.dumps(about | {"naive": dump, "ie_store": store, "parts": parts, "ratios": ratios}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
