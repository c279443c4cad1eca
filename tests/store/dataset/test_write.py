"""Creating, resuming, refusing, replacing; and disks that fill up."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from made_store import make

from ie_store.errors import BusyError, DiskSpaceError, IdentityError, InputError, StoreError
from ie_store.specs import Slab
from ie_store.store.files import local
from ie_store.store.format.arrays import LOCK_FOLDER
from ie_store.store.open import open_reader
from ie_store.store.verify import verify_dataset


def tree(path, without=("session", "ledger/zarr.json")):
    """Bytes of every file below a folder, but for the sessions, which tell runs apart."""
    files = (file for file in Path(path).rglob("*") if file.is_file())
    named = {str(file.relative_to(path)): file.read_bytes() for file in files}
    return {name: held for name, held in named.items() if not any(part in name for part in without) and ".lock" not in name}


def test_resume_writes_what_is_missing_and_ends_the_same(tmp_path):
    whole, resumed = make(tmp_path / "a").write(), make(tmp_path / "b")
    with resumed.open_writer(session={"run": 1}) as writer:
        assert writer.missing_shards("macro") == [0, 1, 2]
        assert writer.missing_shards("micro") == [0, 1]
        writer.write_shard(resumed.layout.shard("macro", 1), resumed.shard_states("macro", 1))
    with resumed.open_writer(session={"run": 2}) as writer:
        assert writer.missing_shards("macro") == [0, 2]
    with resumed.open_writer(session={"run": 3}) as writer:
        writer.write_shard(resumed.layout.shard("macro", 0), resumed.shard_states("macro", 0))
    resumed.write()
    assert tree(resumed.path) == tree(whole.path)
    ledger = zarr.open_group(f"{resumed.path}/ledger", mode="r")
    assert [session.get("run") for session in ledger.attrs["sessions"]] == [1, 3, None]
    assert ledger["macro_session"][...].tolist() == [1, 0, 2]
    assert ledger["micro_session"][...].tolist() == [2, 2]


def test_finished_dataset_is_reused_untouched(made):
    before = tree(made.path, without=())
    with made.open_writer(session={"run": "again"}) as writer:
        assert writer.missing_shards("macro") == writer.missing_shards("micro") == []
    assert tree(made.path, without=()) == before


@pytest.mark.parametrize("damage", ["delete", "truncate", "grow", "index", "uncommit"])
def test_damaged_shards_are_missing_and_written_again(made, damage):
    whole = tree(made.path)
    path = Path(made.path) / "macro/c/0/0/1/0"
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "grow":
        path.write_bytes(bytes(8) + path.read_bytes())
    elif damage == "index":
        held = bytearray(path.read_bytes())
        held[-10] ^= 1
        path.write_bytes(held)
    else:
        (Path(made.path) / "ledger/macro/c/1/0/0").unlink()
    assert open_reader(made.store, made.name).missing_shards("macro") == [1]
    with pytest.raises(StoreError, match="lacks 1 macro and 0 micro shards"), made.open_writer() as writer:
        writer.mark_complete({})
    made.write()
    assert tree(made.path) == whole


def test_rows_past_the_end_are_ignored(tmp_path):
    short, full = make(tmp_path / "a").write(), make(tmp_path / "b")
    with full.open_writer() as writer:
        for level in ("macro", "micro"):
            for index in writer.missing_shards(level):
                shard, states = full.layout.shard(level, index), full.shard_states(level, index)
                room = np.full((*states.shape[:-2], shard.size, states.shape[-1]), 7, states.dtype)
                room[..., : states.shape[-2], :] = states
                writer.write_shard(shard, room)
        writer.mark_complete({"rows": 2, "relative_error": {"0": 0.0}})
    assert tree(full.path) == tree(short.path)


def test_other_identity_is_refused_by_field_and_untouched(made):
    before = tree(made.path, without=())
    other = replace(made.identity, model=replace(made.identity.model, weights_digest="v"), recipe="s")
    with pytest.raises(IdentityError) as caught:
        made.open_writer(identity=other)
    for part in (
        "model.weights_digest: stored 'w', asked 'v'",
        "recipe: stored 'r', asked 's'",
        "--as",
        "--replace",
        "ie-store rm",
    ):
        assert part in str(caught.value)
    assert tree(made.path, without=()) == before
    with made.open_writer(identity=other, replace=True) as writer:
        assert writer.missing_shards("macro") == [0, 1, 2]
    made.identity = other
    made.write()
    assert verify_dataset(made.store, made.name).faults == []


def test_replace_keeps_a_dataset_of_the_same_identity(made):
    with made.open_writer(replace=True) as writer:
        assert writer.missing_shards("macro") == []


def test_replacing_with_another_dtype_leaves_no_strays(made, recwarn):
    other = make(made.store, dtype="bfloat16", seed=3)
    with pytest.raises(IdentityError):
        other.open_writer()
    with other.open_writer(replace=True):
        pass
    other.write()
    assert set(zarr.open_group(other.path, mode="r")) >= {"macro_bfloat16_bits", "token_id"}
    assert not (Path(other.path) / "macro").exists()
    assert not recwarn.list


def test_second_writer_is_refused_while_the_first_lives(made):
    with made.open_writer(), pytest.raises(BusyError, match=rf"held by a living process \(.*{os.getpid()}"):
        made.open_writer()
    with made.open_writer():
        pass


def test_lock_of_a_dead_process_is_free(made):
    program = (
        f"import os, sys; sys.path.insert(0, os.path.dirname(os.path.dirname({__file__!r}))); from made_store import make\n"
        f"made = make({made.store!r}); writer = made.open_writer(); print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=str(child.pid)):
            made.open_writer()
        child.kill()
        child.wait()
        with made.open_writer():
            pass


def test_two_datasets_in_one_store_do_not_meet(tmp_path):
    one, two = make(tmp_path / "s", "m/one"), make(tmp_path / "s", "m/two", seed=2)
    with one.open_writer(), two.open_writer():
        pass
    one.write()
    two.write()
    assert verify_dataset(one.store, one.name).faults == verify_dataset(two.store, two.name).faults == []


def test_leftovers_of_a_cut_off_creation_are_wiped(tmp_path):
    made = make(tmp_path / "s", dtype="bfloat16").write()
    (Path(made.path) / "zarr.json").unlink()
    other = make(tmp_path / "s", seed=4)
    other.write()
    assert verify_dataset(other.store, other.name).faults == []
    assert tree(other.path) == tree(make(tmp_path / "fresh", seed=4).write().path)


def test_temporaries_are_swept(made):
    left = [Path(made.path) / name for name in ("macro/c/0/0/1/0.1234.tmp", f"{LOCK_FOLDER}/zarr.json.99.tmp")]
    for path in left:
        path.write_bytes(b"half")
    with made.open_writer():
        assert not any(path.exists() for path in left)


@pytest.mark.parametrize("foreign", ["file", "folder", "group", "model", "dataset", "version", "unexpected files"])
def test_what_is_not_ours_is_not_touched(tmp_path, foreign):
    store = tmp_path / "s"
    made = make(store)
    if foreign == "file":
        store.write_text("mine")
    elif foreign == "folder":
        (store / "photos").mkdir(parents=True)
        (store / "photos/cat.jpg").write_bytes(b"cat")
    elif foreign == "group":
        zarr.create_group(store)
    elif foreign == "version":
        zarr.create_group(store, attributes={"ie_store_format": 99})
    else:
        make(store, "other/one").write()
        if foreign == "model":
            zarr.create_group(store / "model")
        elif foreign == "dataset":
            zarr.create_group(store / made.name)
        else:
            (store / "model/corpus").mkdir(parents=True)
            (store / "model/corpus/notes.txt").write_text("mine")
    before = tree(tmp_path, without=())
    with pytest.raises(StoreError) as caught:
        made.open_writer()
    assert str(store) in str(caught.value)
    assert tree(tmp_path, without=()) == before


def test_unfit_corpora_are_refused(tmp_path):
    made = make(tmp_path / "s")
    for changed, match in (
        ({"tokens": made.tokens[:-1]}, r"tokens have shape \(20, 3\), the layout says \(21, 3\)"),
        ({"tokens": made.tokens[::-1].copy()}, "not sorted"),
        ({"tokens": np.zeros_like(made.tokens)}, "1 distinct tokens, the layout says 7"),
        ({"source_row": np.arange(3)}, r"source_row has shape \(3,\)"),
        ({"labels": {"who": np.arange(3)}}, r"who has shape \(3,\)"),
        ({"labels": {"macro": np.arange(21)}}, "label 'macro' cannot name an array"),
        ({"labels": {"a b": np.arange(21)}}, "label 'a b' cannot name an array"),
    ):
        with pytest.raises(InputError, match=match):
            made.open_writer(**changed)
        assert not Path(made.path, "zarr.json").exists()


def test_unfit_states_are_refused(made):
    shard, states = made.layout.shard("macro", 0), made.shard_states("macro", 0)
    with made.open_writer() as writer:
        for wrong in (states[1:], states.astype(np.float32), states[:, :, :3], states[..., ::-1]):
            with pytest.raises(InputError, match="macro shard 0"):
                writer.write_shard(shard, wrong)
        with pytest.raises(InputError, match="macro shard 9"):
            writer.write_shard(replace(shard, index=9), states)
    assert verify_dataset(made.store, made.name).faults == []


def test_full_disk_leaves_a_store_that_resumes(tmp_path, monkeypatch):
    whole, made = make(tmp_path / "a").write(), make(tmp_path / "b")
    made.open_writer().close()
    real, room = os.write, [20_000]

    def write(descriptor, held):
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(descriptor, memoryview(held)[: max(1, min(len(held), room[0]))])
        room[0] -= count
        return count

    monkeypatch.setattr(local.os, "write", write)
    for give in range(0, 3000, 300):
        room[0] = give
        with pytest.raises(DiskSpaceError, match=r"no room for .*b/model/corpus.*are free; free some space"):
            made.write()
        assert not list(Path(made.path).rglob("*.tmp"))
    room[0] = 10**9
    made.write()
    assert tree(made.path) == tree(whole.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_really_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        made = make(disk / "s", rows=256, hidden=64, num_layers=4)
        made.states["macro"] = np.random.default_rng(0).standard_normal(made.states["macro"].shape).astype(np.float16)
        filler = disk / "filler"
        filler.write_bytes(bytes(1_100_000))
        with pytest.raises(DiskSpaceError, match="are free"):
            made.write()
        assert not list(disk.rglob("*.tmp"))
        reader = open_reader(made.store, made.name)
        written = sorted(set(range(32)) - set(reader.missing_shards("macro")))
        for shard in written:
            rows = reader.read_rows(Slab(level="macro", layer=3, position=2), 8 * shard, 8 * shard + 8, verify=True)
            assert np.array_equal(rows, made.states["macro"][3, 2, 8 * shard : 8 * shard + 8])
        filler.unlink()
        made.write()
        assert verify_dataset(made.store, made.name).faults == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_what_no_reader_would_take_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("ie_store.store.format.metadata.MOST_CELLS", 1)
    made = make(tmp_path / "s")
    with pytest.raises(InputError, match=r"could not be read again once it is written .*at most 1 chunks") as found:
        made.write()
    assert "--repair" not in str(found.value)
    assert not list(Path(made.path).rglob("zarr.json"))
