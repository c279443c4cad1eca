"""Changed bytes are never returned as data: flipped, swapped, foreign and missing parts of a dataset."""

import pickle
import random
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import zarr
from called import ie_store as command
from known_store import NAME, random_tokens, write_store
from made_store import make

import ie_store
from ie_store.errors import StoreError
from ie_store.specs import LEVELS, Slab
from ie_store.store.format.arrays import NOT_STORED
from ie_store.store.format.shard_index import pack_index, parse_index
from ie_store.store.open import open_reader
from ie_store.store.verify import verify_dataset

FLIPS = 24
LAYERS, POSITIONS = 3, 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A complete dataset of four macro shards and one of micro."""
    return Path(write_store(tmp_path_factory.mktemp("whole") / "store", random_tokens(200)))


@pytest.fixture
def store(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "store"))


def shard_files(store):
    return sorted([*(store / NAME / "macro/c").rglob("0"), *(store / NAME / "micro/c").rglob("0")], key=str)


def files_of(store, level):
    return sorted(path for path in (store / NAME / level / "c").rglob("*") if path.is_file())


def entry(store, level, shard):
    return store / NAME / "ledger" / level / "c" / str(shard) / ("0/0" if level == "macro" else "0")


def index_of(path):
    grid = (LAYERS, POSITIONS) if "/macro/" in str(path) else (LAYERS,)
    return parse_index(path.read_bytes(), grid, str(path))


def is_padding(path, offset):
    extents = index_of(path).reshape(-1, 2).tolist()
    return offset < max(map(sum, extents)) and not any(start <= offset < start + length for start, length in extents)


@cache
def seeded_flips(store, seed, padding):
    """(file below the store, byte, bit), spread over all bits of all shards, in or outside the padding between chunks."""
    drawn = random.Random(seed)
    files = [path for level in LEVELS for path in files_of(store, level)]
    found = []
    while len(found) < FLIPS:
        path = drawn.choice(files)
        offset = drawn.randrange(path.stat().st_size)
        if is_padding(path, offset) == padding:
            found.append((path.relative_to(store), offset, drawn.randrange(8)))
    return found


def flip(path, offset, bit):
    held = bytearray(path.read_bytes())
    held[offset] ^= 1 << bit
    path.write_bytes(held)


def slabs():
    yield from (Slab(level="macro", layer=c, position=t) for c in range(LAYERS) for t in range(POSITIONS))
    yield from (Slab(level="micro", layer=c, position=None) for c in range(LAYERS))


def lazy(store, slab, **options):
    dataset = ie_store.open_store(store, NAME, **options)
    states = dataset[slab.level][slab.layer]
    return (states if slab.position is None else states[slab.position]).values


@cache
def written(whole):
    """The numbers of every slab, by slab."""
    return {slab: lazy(whole, slab) for slab in slabs()}


def refusals(store, whole):
    """How many slabs are refused through `open_store`; each of the others has the numbers that were written."""
    refused = 0
    for slab, numbers in written(whole).items():
        try:
            assert np.array_equal(lazy(store, slab), numbers)
        except StoreError:
            refused += 1
    return refused


def estimate(store):
    return command("estimate", store, NAME, "--estimator", "noise", "--blocks", "all", "--positions", "all")


def assert_refused_everywhere(store, said):
    """`verify` finds it, `estimate` refuses it with exit code 2, and writes no numbers."""
    assert any(said in fault for fault in verify_dataset(str(store), NAME).faults)
    assert command("verify", store, NAME).exit_code == 2
    result = estimate(store)
    assert result.exit_code == 2, result.output
    assert "ie-store extract' command with --repair" in result.output
    assert "Traceback" not in result.output


def test_the_whole_dataset_is_read_and_estimated(store, whole):
    assert verify_dataset(str(store), NAME).faults == []
    assert refusals(store, whole) == 0
    assert estimate(store).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", range(FLIPS))
def test_a_flipped_bit(store, whole, number):
    path, offset, bit = seeded_flips(whole, 24, padding=False)[number]
    flip(store / path, offset, bit)
    assert_refused_everywhere(store, " shard ")
    assert refusals(store, whole) >= 1


def test_bits_between_chunks_change_nothing(store, whole):
    for path, offset, bit in seeded_flips(whole, 25, padding=True):
        flip(store / path, offset, bit)
    assert refusals(store, whole) == 0


def test_shards_swapped_together_with_their_entries(store, whole):
    first, second = files_of(store, "macro")[:2]
    for one, other in ((first, second), (entry(store, "macro", 0), entry(store, "macro", 1))):
        held = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(held)
    assert_refused_everywhere(store, "macro shard 0, layer 0, position 0 is damaged (crc32c) or belongs elsewhere")
    assert refusals(store, whole) == LAYERS * POSITIONS


def test_chunks_swapped_within_a_shard_together_with_their_sums(store, whole):
    path = files_of(store, "macro")[0]
    index = index_of(path).copy()
    index[[0, 1], 2] = index[[1, 0], 2]
    path.write_bytes(path.read_bytes()[: -len(pack_index(index))] + pack_index(index))
    ledger = zarr.open_group(f"{store}/{NAME}/ledger", mode="r+", use_consolidated=False)["macro"]
    sums = ledger[0]
    sums[[0, 1], 2] = sums[[1, 0], 2]
    ledger[0] = sums
    assert_refused_everywhere(store, "macro shard 0, layer 0, position 2 is damaged (crc32c) or belongs elsewhere")
    assert refusals(store, whole) == 2


@pytest.mark.parametrize("level", LEVELS)
def test_a_shard_and_its_entry_from_another_dataset(store, whole, tmp_path, level):
    def shift(macro, micro):
        macro += 1
        micro += 1

    other = Path(write_store(tmp_path / "other", random_tokens(200, seed=1), change=shift))
    shutil.copy(files_of(other, level)[0], files_of(store, level)[0])
    shutil.copy(entry(other, level, 0), entry(store, level, 0))
    assert_refused_everywhere(store, f"{level} shard 0, layer 0")
    assert refusals(store, whole) == (LAYERS * POSITIONS if level == "macro" else LAYERS)


@pytest.mark.parametrize(
    ("array", "foreign"),
    [("token_id", random_tokens(200, seed=1)), ("source_row", np.arange(200)[::-1]), ("token", np.array([2, 7, 12, 18]))],
)
def test_a_foreign_corpus_with_valid_checksums(store, array, foreign):
    zarr.open_group(f"{store}/{NAME}", mode="r+", use_consolidated=False)[array][...] = foreign
    said = "does not hold the " if array == "token" else "are not those that the states belong to"
    assert_refused_everywhere(store, said)
    for name in ("tokens", "token_values", "source_row"):
        with pytest.raises(StoreError, match=said):
            getattr(open_reader(str(store), NAME), name)
    with pytest.raises(StoreError, match=said):
        _ = ie_store.open_store(store, NAME).micro_state[0].values
    assert len(open_reader(str(store), NAME, verify=False).tokens) == 200


@pytest.mark.parametrize("what", ["codes", "range", "categories", "numbers", "kind"])
def test_foreign_labels(tmp_path, what):
    made = make(tmp_path / "s", labels={"who": np.array(list("abc") * 7), "year": np.arange(21.0)}).write()
    reader = open_reader(made.store, made.name)
    assert {name: values.tolist() for name, values in reader.labels.items()} == {
        name: values.tolist() for name, values in made.labels.items()
    }
    group = zarr.open_group(made.path, mode="r+", use_consolidated=False)
    if what in ("codes", "range"):
        group["who"][3] = 2 if what == "codes" else 3
    elif what == "numbers":
        group["year"][3] = 2
    else:
        group["who"].attrs["categories"] = ["a", "b", "d"] if what == "categories" else "abc"
    assert any("are not those that" in fault or "categories" in fault for fault in verify_dataset(made.store, made.name).faults)
    with pytest.raises(StoreError, match=r"are not those that the states belong to|categories"):
        _ = open_reader(made.store, made.name).tokens


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("lost", ["shard", "entry"])
def test_a_lost_shard_of_a_complete_dataset(store, whole, level, lost):
    (files_of(store, level)[0] if lost == "shard" else entry(store, level, 0)).unlink()
    assert_refused_everywhere(store, "is missing" if lost == "shard" else "though the dataset says that it is complete")
    assert refusals(store, whole) == (LAYERS * POSITIONS if level == "macro" else LAYERS)
    with pytest.raises(StoreError, match=f"{level} shard 0, layer 0.*is missing though the dataset is complete; run the same"):
        lazy(store, next(slab for slab in slabs() if slab.level == level))


@pytest.mark.parametrize("extent", [(0, 2**40), (2**63, 2**63), (2**50, 100), (0, 1553), (NOT_STORED, 5), (5, NOT_STORED)])
def test_an_index_that_names_what_is_not_there(store, whole, extent):
    """Found before memory is spent: a chunk has 64 rows of 6 numbers of 4 bytes and a header of 16."""
    path = files_of(store, "macro")[1]
    index = index_of(path).copy()
    index[1, 1] = extent
    path.write_bytes(path.read_bytes()[: -len(pack_index(index))] + pack_index(index))
    assert_refused_everywhere(store, "")
    assert refusals(store, whole) >= 1
    for checked in (True, False):
        with pytest.raises(StoreError, match=r"its index names a chunk of|lacks this chunk"):
            open_reader(str(store), NAME, verify=checked).read_slab(Slab(level="macro", layer=1, position=1))


def test_without_verification_numbers_come_as_they_lie(store):
    path = files_of(store, "macro")[0]
    offset, length = map(int, index_of(path)[1, 1])
    flip(path, offset + length - 2, 6)
    slab = Slab(level="macro", layer=1, position=1)
    loose = open_reader(str(store), NAME, verify=False)
    with pytest.raises(StoreError, match=r"macro shard 0, layer 1, position 1\) is damaged: its checksum"):
        open_reader(str(store), NAME).read_slab(slab)
    assert loose.read_slab(slab).shape == (200, 6)
    assert open_reader(str(store), NAME).read_slab(slab, verify=False).shape == (200, 6)
    with pytest.raises(StoreError, match="is damaged"):
        loose.read_slab(slab, verify=True)
    assert pickle.loads(pickle.dumps(loose)).slab_array(slab).compute(scheduler="sync").shape == (200, 6)
    with pytest.raises(StoreError, match="is damaged"):
        pickle.loads(pickle.dumps(open_reader(str(store), NAME).slab_array(slab))).compute(scheduler="sync")


@pytest.mark.parametrize("hidden", [64, 2048])
def test_long_chunks_are_summed_to_their_last_byte(tmp_path, hidden):
    """Chunks of 64 rows that Blosc stores as they are: shorter and longer than a piece."""
    made = make(tmp_path / "s", rows=70, hidden=hidden, size=64, dtype="float32")
    made.states["macro"] = np.random.default_rng(5).standard_normal(made.states["macro"].shape).astype(np.float32)
    made.write()
    slab = Slab(level="macro", layer=1, position=1)
    assert np.array_equal(open_reader(made.store, made.name).read_slab(slab), made.states["macro"][1, 1])
    path = Path(made.path) / "macro/c/0/0/0/0"
    offset, length = map(int, index_of(path)[1, 1])
    assert length == 64 * hidden * 4 + 16
    for place in (
        {0, 3, 15, 16, length // 2, length - 1} | set(range(2**18 - 1, length, 2**18)) | set(range(2**18, length, 2**18))
    ):
        flip(path, offset + place, 4)
        with pytest.raises(StoreError, match="is damaged: its checksum is not the ledger's"):
            open_reader(made.store, made.name).read_slab(slab)
        flip(path, offset + place, 4)
    assert np.array_equal(open_reader(made.store, made.name).read_slab(slab), made.states["macro"][1, 1])
