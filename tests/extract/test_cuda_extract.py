"""Stage one on a pretended CUDA device: its branches run, nothing is mixed, states are the CPU's."""

from pathlib import Path

import numpy as np
import pytest
from pretend_cuda import pretend_cuda
from tiny_models import prefix_rows, save_tiny

from ie_store.extract.run import extract
from ie_store.options import ExtractSpec
from ie_store.store.open import open_reader
from ie_store.store.verify import verify_dataset


def files_of_states(store: Path) -> dict[str, bytes]:
    """All but the ledger, whose sums are of one dataset's identity, the device among it."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("c/**/*"))
        if path.is_file() and "ledger" not in path.parts
    }


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_states_of_the_device_are_the_cpus(tmp_path, family, compute_dtype):
    folder = save_tiny(tmp_path, family)
    np.save(tmp_path / "rows.npy", prefix_rows())
    here, there = (
        ExtractSpec(
            store=str(tmp_path / device),
            model=str(folder),
            corpus=f"tokens:{tmp_path / 'rows.npy'}",
            device=device,
            compute_dtype=compute_dtype,
            audit_rows=3,
        )
        for device in ("cpu", "cuda:0")
    )
    extract(here)
    with pretend_cuda():
        report = extract(there)
    assert open_reader(there.store, report.name).complete
    assert not verify_dataset(there.store, report.name).faults
    wanted, found = (files_of_states(tmp_path / device) for device in ("cpu", "cuda:0"))
    assert any("macro" in name for name in wanted)
    assert any("micro" in name for name in wanted)
    assert found == wanted
