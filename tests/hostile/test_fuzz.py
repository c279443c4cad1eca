"""Thousands of mutated stores through every command that reads: the same output as before, or one of our errors; nothing else.

What changes an output without an error must be found by ``verify``. ``IE_STORE_FUZZ=100000`` runs as many inputs;
``IE_STORE_FUZZ_SEED`` chooses others.
"""

import os
import random
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import fuzzed
import pytest
from called import ie_store
from known_store import NAME, random_tokens, write_store

from ie_store import open_store
from ie_store.errors import IeStoreError
from ie_store.estimate.run import estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec

NUM_INPUTS = int(os.environ.get("IE_STORE_FUZZ", "5000"))
SEED = int(os.environ.get("IE_STORE_FUZZ_SEED", "0"))
NUM_PARTS = 4
SIZES = re.compile(r"[\d.,]+ (B|kB|MB|GB)\b|[─━┃│┏┓┡┩└┘┳╇┴┬┼╋]|states [\d.]+ of the dense")


class Refused(Exception):
    """One of our errors."""


def command(*arguments):
    """Output of a command without the sizes of files, which follow the mutation."""
    result = ie_store(*arguments)
    if result.exit_code == 2 and re.search("^error: ", result.stderr, re.MULTILINE):
        raise Refused(result.stderr)
    assert result.exit_code == 0, result.output
    return " ".join(SIZES.sub("", result.stdout).split())


def opened(store):
    try:
        dataset = open_store(store, NAME, chunks=None)
        return [(name, values.dims, values.values.tobytes()) for name, values in sorted(dataset.variables.items())]
    except IeStoreError as error:
        raise Refused(str(error)) from error


def estimated(store):
    try:
        return repr(estimate(EstimateSpec(store=store, name=NAME, estimators=(estimator_spec("exact"),), device="cpu")))
    except IeStoreError as error:
        raise Refused(str(error)) from error


CALLS = {
    "ls": lambda store: command("ls", store),
    "info": lambda store: command("info", store, NAME),
    "show": lambda store: command("show", store, NAME),
    "verify": lambda store: command("verify", store, NAME),
    "open_store": opened,
    "estimate": estimated,
}
WEIGHTS = {"ls": 3, "info": 3, "show": 3, "verify": 3, "open_store": 2, "estimate": 1}


def contents(store):
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(Path(store).rglob("*")) if path.is_file()}


def restore(store, before):
    now = contents(store)
    for name in now.keys() - before.keys():
        Path(store, name).unlink()
    for name, content in before.items():
        if now.get(name) != content:
            Path(store, name).parent.mkdir(parents=True, exist_ok=True)
            Path(store, name).write_bytes(content)


def plant(store, name, content):
    if content is None:
        Path(store, name).unlink(missing_ok=True)
    else:
        Path(store, name).write_bytes(content)


@pytest.fixture
def store():
    """A tiny store with results of two estimators, in memory where the machine has a folder for that."""
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    path = write_store(Path(folder, "store"), random_tokens(70, positions=2), layers=2, hidden=4)
    for name in ("exact", "noise"):
        assert ie_store("estimate", path, NAME, "--estimator", name, "--device", "cpu").exit_code == 0
    yield path
    shutil.rmtree(folder)


def outcome(store, call, name, content, is_forged, truth):
    """same, refused, damaged (listed as such), forged (its seals fit), or found by verify; anything else fails."""
    try:
        shown = CALLS[call](store)
    except Refused:
        return "refused"
    if shown == truth[call]:
        return "same"
    if call in ("ls", "info") and "damaged" in shown:
        return "damaged"
    if is_forged:
        return "forged"
    if content is None and re.search(r"estimates/[^/]+/zarr\.json$", name):
        return "unfinished"  # a group of results without its document is what an estimate leaves that was cut off
    plant(store, name, content)
    with pytest.raises(Refused):
        CALLS["verify"](store)
    return "found by verify"


@pytest.mark.slow
@pytest.mark.timeout(max(900, NUM_INPUTS // 10))
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_no_mutation_goes_unseen(store, part):
    chance, num_inputs = random.Random(SEED * NUM_PARTS + part), -(-NUM_INPUTS // NUM_PARTS)
    before = contents(store)
    truth = {name: call(store) for name, call in CALLS.items()}
    restore(store, before)
    names = [name for name in before if not name.endswith(".lock")]
    counts, failures = Counter(), []
    for number in range(num_inputs):
        name = chance.choice(names)
        content, is_forged = fuzzed.mutated(name, before[name], chance)
        call = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        plant(store, name, content)
        try:
            counts[outcome(store, call, name, content, is_forged, truth)] += 1
        except (Exception, pytest.fail.Exception) as error:
            failures.append(f"input {number}: {call} with {name} = {content!r:.300}: {type(error).__name__}: {error!s:.200}")
            counts["failed"] += 1
        if call == "estimate":
            restore(store, before)
        else:
            Path(store, name).write_bytes(before[name])
    print(dict(counts))
    assert not failures, f"{len(failures)} of {num_inputs} failed ({dict(counts)}):\n" + "\n".join(failures[:20])
