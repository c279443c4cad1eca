"""SIGTERM ends a command as Ctrl-C does: a message, exit code 143, locks free, and the next run goes on at once."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from known_store import NAME, random_tokens, write_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def started(arguments):
    program = [sys.executable, "-m", "ie_store_cli.main", *map(str, arguments)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(there, process, seconds=120):
    end = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing was written"
        time.sleep(0.02)


def require_terminated(process, times=1):
    for _ in range(times):
        process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "stopped: what was finished is kept" in errors
    assert "Traceback" not in errors
    return output


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    GPT2LMHeadModel(GPT2Config(vocab_size=512, n_positions=16, n_embd=128, n_layer=8, n_head=2)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("times", [1, 2])
def test_extract(tmp_path, model, times):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).integers(0, 512, (20_000, 16)))
    store = tmp_path / "store"
    arguments = ["extract", store, "--model", model, "--corpus", f"tokens:{tmp_path / 'rows.npy'}", "--as", "m/c"]
    process = started([*arguments, "--batch-size", 8])
    wait_for(Path(store, "m/c/zarr.json").exists, process)
    time.sleep(0.3)
    require_terminated(process, times)
    assert Path(store, "m/c/token_id/.lock").read_text() == ""
    assert not list(store.rglob("*.tmp"))
    again = started([*arguments, "--batch-size", 8])
    time.sleep(0.1)
    wait_for(lambda: '"pid"' in Path(store, "m/c/token_id/.lock").read_text(), again)
    require_terminated(again)


def test_estimate(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(400))
    arguments = ["estimate", store, NAME, "--estimator", "mine", "--device", "cpu", "--steps", 1_000_000]
    for _ in range(2):  # the second goes on at once: no lock is left
        process = started(arguments)

        def holds_a_lock():
            return any(path.read_text() for path in Path(store, NAME, "estimates").glob("mine-*/position/.lock"))

        wait_for(holds_a_lock, process)
        time.sleep(2)
        require_terminated(process)
        assert not holds_a_lock()
