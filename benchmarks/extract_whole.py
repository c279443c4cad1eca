"""A whole extraction against its forwards alone: what casting, copying, encoding and writing cost on top of the model.

    python benchmarks/extract_whole.py --model FOLDER [--gguf-file NAME] [--rows 4096] [--pairs 3] [--out FILE.json]

Consecutive rows of the 25-name country corpus. "Forwards alone" runs the same shared forwards of the same groups and drops
their states; "whole" is an extraction into an empty store until everything is written and synchronised. The audit, which takes
the same few seconds however many rows there are, is shown by itself.
"""

import argparse
import json
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ie_store.corpus.make import make_corpus
from ie_store.extract.forward.prefix_forward import TileForward
from ie_store.extract.model.load import load_model
from ie_store.extract.model.quiet import quiet_logging
from ie_store.extract.prepare import PreparedExtract, prepare
from ie_store.extract.run import extract
from ie_store.options import ExtractSpec


def forwards_alone(job: PreparedExtract) -> float:
    engine, start = job.engine, time.perf_counter()
    for unit in job.missing_items():
        for batches in engine.batches(unit.level, unit.rows(job.corpus)[0], unit.tiles):
            forward = TileForward(engine.model.decoder, batches, engine.model.device)
            for batch in batches.batches:
                forward.run(batch, lambda batch, layer, states: None)
    if engine.model.device.type == "cuda":
        torch.cuda.synchronize(engine.model.device)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gguf-file")
    parser.add_argument("--compute-dtype")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--first", type=int, default=100_352, help="first row of the slice")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=asked.folder, prefix="extract_whole-"))
    spec = ExtractSpec(
        store=str(folder / "store"), model=asked.model, gguf_file=asked.gguf_file, corpus=f"tokens:{folder / 'rows.npy'}",
        compute_dtype=asked.compute_dtype, device=asked.device,
    )  # fmt: skip
    runs = []
    with quiet_logging():
        model = load_model(spec)
        whole = make_corpus("icl:country", tokenizer=model.tokenizer, vocab_size=model.spec.vocab_size).tokens
        np.save(folder / "rows.npy", whole[asked.first : asked.first + asked.rows])
        del model
        for pair in range(asked.pairs):
            alone = forwards_alone(prepare(spec)) if pair % 2 else 0.0
            report = extract(spec)
            shutil.rmtree(folder / "store")
            alone = alone or forwards_alone(prepare(spec))
            written = report.seconds - report.audit_seconds
            runs.append({"forwards": alone, "whole": written, "waiting": report.waiting_seconds, "audit": report.audit_seconds})
            print(", ".join(f"{what} {seconds:.2f} s" for what, seconds in runs[-1].items()), flush=True)
    shutil.rmtree(folder)
    ratio = statistics.median(run["whole"] / run["forwards"] for run in runs)
    print(f"{asked.rows} rows: a whole extraction takes {ratio:.3f}x its forwards alone, and the audit")
    if asked.out:
        about = {"machine": platform.platform(), "threads": torch.get_num_threads(), "torch": torch.__version__}
        asked.out.write_text(json.dumps(about | {"rows": asked.rows, "runs": runs, "ratio": ratio}, indent=2) + "\n")


if __name__ == "__main__":
    main()
