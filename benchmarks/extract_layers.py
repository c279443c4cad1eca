"""Some layers against all: the time of an extraction whose forward ends early, loading and the audit left out.

    python benchmarks/extract_layers.py --model FOLDER [--gguf-file NAME] [--layers 9,10] [--rows 16384] [--out FILE.json]

The first rows of the 25-name country corpus, each selection in a process of its own, in the order some, all, all, some, ...
Wall time is from the plan to the last byte written; processor time, of all threads, that of the process meanwhile, and the
audit of one row with it: it counts less what else the machine does.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def run_one(layers: str, rows: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Extract, in this process."""
    from ie_store.extract.run import extract
    from ie_store.options import ExtractSpec

    began: list[float] = []
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        spec = ExtractSpec(
            store=folder, model=asked.model, gguf_file=asked.gguf_file, corpus=f"tokens:{rows}", layers=layers,
            device=asked.device, dtype="float16", name="m/c", audit_rows=1,
        )  # fmt: skip
        report = extract(spec, on_plan=lambda plan, forecast: began.append(time.process_time()))
        processor = time.process_time() - began[0]
    return {
        "layers": layers, "blocks": report.plan.num_blocks_run, "seconds": report.seconds - report.audit_seconds,
        "forward_seconds": report.forward_seconds, "processor_seconds": processor, "tokens": report.plan.tokens_computed,
    }  # fmt: skip


def write_rows(path: Path, asked: argparse.Namespace) -> None:
    from ie_store.corpus.make import make_corpus
    from ie_store.extract.model.open import open_model
    from ie_store.extract.model.quiet import quiet_logging
    from ie_store.options import ExtractSpec

    with quiet_logging():
        opened = open_model(ExtractSpec(store="unused", model=asked.model, gguf_file=asked.gguf_file))
        tokens = make_corpus("icl:country", tokenizer=opened.tokenizer, vocab_size=opened.vocab_size or 0).tokens
    np.save(path, tokens[: asked.rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gguf-file")
    parser.add_argument("--layers", default="9,10")
    parser.add_argument("--rows", type=int, default=16_384)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(run_one(*asked.one, asked)))
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        rows = Path(folder, "rows.npy")
        write_rows(rows, asked)
        runs = []
        for pair in range(asked.pairs):
            for layers in (asked.layers, "all") if pair % 2 == 0 else ("all", asked.layers):
                command = [sys.executable, *sys.argv, "--one", layers, str(rows)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                runs.append(json.loads(done.stdout))
                print(runs[-1], flush=True)
    ratios = {}
    for what in ("seconds", "forward_seconds", "processor_seconds"):
        some, whole = (
            statistics.median(run[what] for run in runs if (run["layers"] == "all") == is_all) for is_all in (False, True)
        )
        ratios[what] = some / whole
    print(f"layers {asked.layers} against all: " + ", ".join(f"{what} {ratio:.3f}x" for what, ratio in ratios.items()))
    if asked.out:
        about = {"machine": platform.platform(), "rows": asked.rows}
        asked.out.write_text(json.dumps(about | {"runs": runs, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
