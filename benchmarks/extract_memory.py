"""Peak memory of an extraction over its corpus's size: it must not grow with it.

    python benchmarks/extract_memory.py [--rows 10000 300000] [--model FOLDER [--gguf-file NAME]] [--out FILE.json]

Each size runs in a process of its own over the first rows of the 25-name country corpus, by default with a tiny seeded
Llama; the table shows the highest resident memory, and what of it is above the process before the model was loaded, the
model and the two groups in host memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


def tiny_model(folder: Path) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 256}
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder / "model")
    return folder / "model"


def run_one(rows: int, model: str, gguf_file: str | None) -> dict[str, float]:
    """Extract and measure, in this process."""
    from ie_store.extract.model.quiet import quiet_logging
    from ie_store.extract.prepare import prepare
    from ie_store.extract.run import extract
    from ie_store.options import ExtractSpec

    mib = 2**20

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "rows.npy", first_rows(rows))
        spec = ExtractSpec(
            store=str(folder / "store"), model=model or str(tiny_model(folder)), gguf_file=gguf_file,
            corpus=f"tokens:{folder / 'rows.npy'}",
        )  # fmt: skip
        before = peak()
        with quiet_logging():
            job = prepare(spec)
        layout = job.engine.layout
        group = layout.rows_per_shard * layout.shards_per_group * len(layout.layers) * len(layout.positions) * layout.hidden_size
        weights = sum(tensor.nbytes for tensor in job.engine.model.decoder.module.state_dict().values()) / mib
        del job
        report = extract(spec)
    groups = 2 * 2 * group / mib
    return {
        "rows": rows, "peak_mib": peak(), "before_mib": before, "model_mib": weights, "two_groups_mib": groups,
        "rest_mib": peak() - before - weights - groups, "seconds": report.seconds,
    }  # fmt: skip


def first_rows(rows: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.int32]]":
    """Rows (row, position) of four of 25 names in rising order, a comma after each."""
    names = np.stack(np.unravel_index(np.arange(25**4), (25,) * 4), 1).astype(np.int32)
    distinct = (np.diff(np.sort(names, 1), axis=1) > 0).all(1)
    found = np.full((int(distinct.sum()), 8), 100, np.int32)
    found[:, 0::2] = names[distinct]
    return found[:rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 300_000])
    parser.add_argument("--model", default="")
    parser.add_argument("--gguf-file")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_one(options.one, options.model, options.gguf_file)))
        return
    given = ["--model", options.model] if options.model else []
    given += ["--gguf-file", options.gguf_file] if options.gguf_file else []
    results = []
    print("    rows   peak MiB  before  model  two groups   rest    s")
    for rows in options.rows:
        command = [sys.executable, __file__, "--one", str(rows), *given]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        results.append(found)
        print(
            f"{rows:8d} {found['peak_mib']:10.0f} {found['before_mib']:7.0f} {found['model_mib']:6.0f} "
            f"{found['two_groups_mib']:11.0f} {found['rest_mib']:6.0f} {found['seconds']:4.0f}",
            flush=True,
        )
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
