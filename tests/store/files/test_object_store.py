"""Stores at s3:// addresses, against moto's server in this process: bytes, claims, readers of others, interruptions."""

import json
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from made_store import make, source_rows

from ie_store import open_store
from ie_store.errors import BusyError, IdentityError, InputError, StoreError
from ie_store.estimators import estimator_spec
from ie_store.specs import MIEstimate, Outcome, Problem, Slab
from ie_store.store.catalog import describe_dataset, list_datasets
from ie_store.store.dataset import create
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.dataset.remove import remove_dataset
from ie_store.store.files import s3, s3_lock
from ie_store.store.files.open import open_storage
from ie_store.store.format.arrays import coordinate_values
from ie_store.store.open import open_reader
from ie_store.store.results.estimate_variables import estimate_pieces
from ie_store.store.results.records import Record
from ie_store.store.results.show import read_results
from ie_store.store.results.writer import open_results
from ie_store.store.verify import verify_dataset

BUCKET = "hidden-states"
"""That of the fixture `server`."""
OPTIONS = {"use_listings_cache": False}


@pytest.fixture
def store(server, request):
    return f"s3://{BUCKET}/{request.node.name}/store"


@pytest.fixture
def made(store):
    return make(store).write()


def objects(server, address):
    """Every object below an address, read with another client."""
    prefix = address.removeprefix(f"s3://{BUCKET}/")
    found = server.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {o["Key"].removeprefix(prefix): server.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read() for o in found}


def uploads(server):
    return server.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


def test_same_bytes_as_a_local_store(made, server, tmp_path):
    local = make(tmp_path / "store").write()
    names = {str(path.relative_to(local.store)) for path in Path(local.store).rglob("*") if path.is_file()}
    found = objects(server, made.store + "/")
    assert set(found) == names
    for name in names - {"model/corpus/token_id/.lock"}:
        assert found[name] == Path(local.store, name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_all_readers_agree(store, server, dtype):
    made = make(store, dtype=dtype, layers=(0, 2)).write()
    reader = pickle.loads(pickle.dumps(open_reader(made.store, made.name)))
    name = "macro" if dtype == "float16" else "macro_bfloat16_bits"
    plain = xr.open_zarr(made.path, consolidated=False, chunks=None, storage_options=OPTIONS)[name].values
    group = zarr.open_group(made.path, mode="r", storage_options=OPTIONS)
    ours = open_store(made.store, made.name)
    engine = xr.open_dataset(made.path, engine="ie_store")
    truth = made.states["macro"] if dtype == "float16" else (made.states["macro"].astype(np.uint32) << 16).view(np.float32)
    for layer in (0, 2):
        assert np.array_equal(plain[layer], made.states["macro"][layer])
        assert np.array_equal(group[name][layer], made.states["macro"][layer])
        assert np.array_equal(ours["macro"].sel(layer=layer).values, truth[layer])
        assert np.array_equal(engine["macro"].sel(layer=layer).values, truth[layer])
        for position in range(3):
            slab = Slab(level="macro", layer=layer, position=position)
            assert np.array_equal(reader.read_slab(slab, verify=True), made.states["macro"][layer, position])
    assert np.array_equal(reader.tokens, made.tokens)
    joined = ours["micro"].sel(token=ours["token_id"]).transpose("layer", "sequence", "position", "hidden")
    assert np.array_equal(joined.values, ours["micro_state"].values, equal_nan=True)


@pytest.mark.slow
def test_verify_describe_list_and_remove(made, server):
    report = verify_dataset(made.store, made.name)
    assert report.faults == []
    assert report.num_shards == 5
    ((summary,), _) = list_datasets(made.store)
    found = objects(server, made.path + "/")
    assert (summary.name, summary.complete, summary.disk_bytes) == (made.name, True, sum(map(len, found.values())))
    assert describe_dataset(made.store, made.name)["missing_shards"] == {"macro": 0, "micro": 0}
    beside = make(made.store, "model/corpus2", seed=2).write()
    remove_dataset(made.store, made.name)
    assert objects(server, made.path + "/") == {}
    assert [summary.name for summary in list_datasets(made.store)[0]] == [beside.name]
    assert verify_dataset(beside.store, beside.name).faults == []


@pytest.mark.slow
def test_faults_are_found_and_written_again(made, server):
    key = f"{made.path}/macro/c/0/0/1/0".removeprefix(f"s3://{BUCKET}/")
    whole = server.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    server.put_object(Bucket=BUCKET, Key=key, Body=whole[:100] + b"?" + whole[101:])
    (fault,) = verify_dataset(made.store, made.name).faults
    assert "is damaged (crc32c)" in fault
    server.put_object(Bucket=BUCKET, Key=key, Body=whole[:-9])
    assert open_reader(made.store, made.name).missing_shards("macro") == [1]
    server.put_object(Bucket=BUCKET, Key=key, Body=b"")
    assert open_reader(made.store, made.name).missing_shards("macro") == [1]
    server.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(StoreError, match=r"macro shard 1.*is missing though the dataset is complete"):
        open_reader(made.store, made.name).read_slab(Slab(level="macro", layer=0, position=0))
    made.write()
    assert server.get_object(Bucket=BUCKET, Key=key)["Body"].read() == whole


@pytest.mark.slow
def test_changed_objects_are_refused_and_repaired(made, server):
    key = f"{made.path}/micro/c/0/1/0".removeprefix(f"s3://{BUCKET}/")
    whole = server.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    server.put_object(Bucket=BUCKET, Key=key, Body=whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
    with pytest.raises(StoreError, match=r"micro shard 1, layer 0\) is damaged: its checksum is not the ledger's"):
        open_reader(made.store, made.name).read_slab(Slab(level="micro", layer=0, position=None))
    arrays = coordinate_values(made.layout, made.tokens, source_rows(21), made.labels)
    with made.open_writer() as writer:
        assert writer.repair(arrays).shards == {"macro": [], "micro": [1]}
        assert writer.missing_shards("micro") == [1]
    assert not open_reader(made.store, made.name).complete
    made.write()
    assert server.get_object(Bucket=BUCKET, Key=key)["Body"].read() == whole
    with made.open_writer() as writer:
        assert not writer.repair(arrays)


@pytest.mark.slow
def test_refused_and_untouched(made, server):
    before = objects(server, made.store)
    other = replace(made.identity, recipe="s")
    with pytest.raises(IdentityError, match=r"ie-store rm s3://"):
        made.open_writer(identity=other)
    assert objects(server, made.store) == before
    with made.open_writer(identity=other, replace=True) as writer:
        assert writer.missing_shards("macro") == [0, 1, 2]


def test_what_is_not_ours_is_not_touched(store, server):
    server.put_object(Bucket=BUCKET, Key=f"{store}/photos/cat.jpg".removeprefix(f"s3://{BUCKET}/"), Body=b"cat")
    with pytest.raises(StoreError, match="not a store and not empty"):
        make(store).open_writer()
    assert objects(server, store) == {"/photos/cat.jpg": b"cat"}


@pytest.mark.slow
def test_a_creation_that_failed_is_taken_up(store, monkeypatch):
    made = make(store)
    with monkeypatch.context() as broken:
        broken.setattr(create, "write_empty_ledger", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            made.open_writer()
    assert verify_dataset(made.write().store, made.name).faults == []


@pytest.mark.slow
def test_results(made, server):
    spec, problem = estimator_spec("cca"), Problem(level="macro", block=0, position=1)
    estimate = MIEstimate(
        estimator="cca", nats=1.5, interval_nats=(1.0, 2.0), standard_error_nats=0.1, ceiling_nats=3.0,
        ceiling_population_nats=None, outcome=Outcome.CONVERGED,
    )  # fmt: skip
    results = open_results(open_dataset(made.store, made.name), spec.identity)
    with results.hold_run():
        with pytest.raises(BusyError):
            results.hold_run()
        results.commit(Record(item="all", session={"run": 1}, flags={}, pieces=tuple(estimate_pieces({problem: estimate}))))
        results.assemble()
        with pytest.raises(BusyError):
            remove_dataset(made.store, made.name)
    assert read_results(made.store, made.name, spec)[problem].nats == 1.5
    tree = xr.open_datatree(made.path, engine="zarr", consolidated=False, chunks=None, storage_options=OPTIONS)
    (group,) = tree["estimates"].children.values()
    assert float(group["mi_macro"][0, 1]) == 1.5
    tree.close()
    remove_dataset(made.store, made.name)
    assert objects(server, made.path + "/") == {}


@pytest.fixture
def parts(monkeypatch):
    """Small parts: 5 MiB is the least that S3 takes."""
    monkeypatch.setattr(s3, "PART_BYTES", 5 * 2**20)


def test_large_files_go_in_parts_and_come_back(store, server, parts):
    files = open_storage(store)
    data = np.random.default_rng(0).bytes(16 * 2**20 + 7)
    assert files.write_atomic("big", (data[i : i + 999_999] for i in range(0, len(data), 999_999))) == len(data)
    assert files.read("big", 2**25) == data
    assert server.head_object(Bucket=BUCKET, Key=f"{store}/big".removeprefix(f"s3://{BUCKET}/"))["ETag"].endswith('-4"')
    assert files.write_atomic("exact", [bytes(10 * 2**20)]) == files.size("exact") == 10 * 2**20
    assert files.write_atomic("empty", []) == files.size("empty") == 0
    assert files.read_suffix("big", 10) == data[-10:]
    assert files.read_suffix("empty", 10) == b""
    one, two = bytearray(3), bytearray(5)
    files.read_into("big", 1000, [memoryview(one), memoryview(two)])
    assert one + two == data[1000:1008]
    with pytest.raises(StoreError, match="missing"):
        files.read_into("none", 0, [memoryview(one)])
    with pytest.raises(StoreError, match="truncated"):
        files.read_into("big", len(data) - 2, [memoryview(one)])


def test_no_more_than_a_few_parts_wait(store, server, parts):
    taken, sent = 0, []
    files = open_storage(store)
    send = files._bucket.send

    def slow_send(method, body, **arguments):
        time.sleep(0.02)
        tag = send(method, body, **arguments)
        sent.append(taken)
        return tag

    def pieces():
        nonlocal taken
        for taken in range(1, 31):  # noqa: B007
            yield bytes(2**20)

    files._bucket.send = slow_send
    files.write_atomic("big", pieces())
    assert sent[0] <= 5 * (s3.PARTS_IN_FLIGHT + 2)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failed_upload_leaves_nothing(store, server, parts, error):
    def pieces(num_bytes):
        yield bytes(num_bytes)
        raise error

    for num_bytes in (10, 11 * 2**20):
        files = open_storage(store)
        with pytest.raises(error):
            files.write_atomic("shard", pieces(num_bytes))
        assert files.read("shard") is None
        assert uploads(server) == []


@pytest.mark.slow
def test_uploads_of_killed_writers_are_swept(made, server):
    key = f"{made.path}/macro/c/0/0/1/0".removeprefix(f"s3://{BUCKET}/")
    whole = objects(server, made.path)
    upload = server.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    server.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"half")
    assert verify_dataset(made.store, made.name).faults == []
    with made.open_writer() as writer:
        assert uploads(server) == []
        assert writer.missing_shards("macro") == []
    assert whole.keys() == objects(server, made.path).keys()


def test_second_writer_is_refused_while_the_first_lives(made):
    with made.open_writer(), pytest.raises(BusyError, match=r'held by a living process \({"pid": \d+, "host"'):
        made.open_writer()
    with made.open_writer():
        pass


@pytest.fixture
def soon(monkeypatch):
    """Claims that expire within seconds; the server's clock shows whole ones."""
    monkeypatch.setattr(s3_lock, "EXPIRE_SECONDS", 3.0)
    monkeypatch.setattr(s3_lock, "HEARTBEAT_SECONDS", 0.2)


@pytest.mark.slow
def test_a_living_claim_stays_and_a_silent_one_is_taken_over(made, soon):
    writer = made.open_writer()
    time.sleep(4.5)
    with pytest.raises(BusyError):
        made.open_writer()
    beat = writer._lock._refresh
    writer._lock._refresh = lambda: None  # as if the process slept
    time.sleep(4.5)
    with made.open_writer() as second:
        writer._lock._refresh = beat
        with pytest.raises(BusyError, match="another took it over"):
            writer.write_shard(made.layout.shard("macro", 0), made.shard_states("macro", 0))
        writer.close()
        with pytest.raises(BusyError, match="living process"):
            made.open_writer()
        second.write_shard(made.layout.shard("macro", 0), made.shard_states("macro", 0))
    assert verify_dataset(made.store, made.name).faults == []


@pytest.mark.slow
def test_claim_of_a_killed_process_expires(store, server, soon):
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); from made_store import make\n"
        f"writer = make({store!r}).open_writer(); print('held', flush=True); sys.stdin.read()"
    )
    made = make(store)
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=str(child.pid)):
            made.open_writer()
        child.kill()
        child.wait()
    time.sleep(4.5)
    assert verify_dataset(made.write().store, made.name).faults == []


def test_of_many_who_take_over_one_succeeds(store, server, soon, monkeypatch):
    files = open_storage(store)
    stale = files.lock("claim")
    stale.abandon()
    monkeypatch.setattr(s3_lock, "EXPIRE_SECONDS", -1.0)  # whatever is there is stale ...

    def attempt(_):
        try:
            lock = open_storage(store).lock("claim")
        except BusyError:
            return None
        monkeypatch.setattr(s3_lock, "EXPIRE_SECONDS", 60.0)  # ... until one has it
        return lock

    with ThreadPoolExecutor(6) as pool:
        held = [lock for lock in pool.map(attempt, range(6)) if lock]
    lost = []
    for lock in held:
        lock._refresh()
        lost.append(lock._lost)
        lock.abandon()
    assert lost.count(False) == 1


def test_lost_answers_are_not_taken_for_rivals(store, server, monkeypatch):
    files = open_storage(store)
    send = files._bucket.send

    def twice(method, body, **arguments):
        send(method, body, **arguments)
        return send(method, body, **arguments)  # the repeat meets what the first has done

    monkeypatch.setattr(files._bucket, "send", twice)
    with files.lock("claim") as lock:
        lock._refresh()
        lock.require_held()
    told = json.loads(files.read("claim"))
    assert told["released"]
    with files.lock("claim") as lock:
        lock.remove()
    assert files.read("claim") is None


def test_folders_are_told_from_names_that_begin_alike(store, server):
    files = open_storage(store)
    for key in ("a/b/c", "a/b2/c", "a/d", "ab/c"):
        files.write_atomic(key, [key.encode()])
    server.put_object(Bucket=BUCKET, Key=f"{store}/a/".removeprefix(f"s3://{BUCKET}/"), Body=b"")
    assert sorted(files.list_keys("a")) == ["a/b/c", "a/b2/c", "a/d"]
    assert files.list_folders("a") == ["b", "b2"]
    assert files.list_folders("") == ["a", "ab"]
    files.delete("a/b/c")
    assert files.list_folders("a") == ["b2"]
    files.delete("nothing")
    assert files.free_bytes() is None


def test_listings_longer_than_a_page(store, server, monkeypatch):
    files = open_storage(store)
    for key in range(7):
        files.write_atomic(f"many/{key}", [b""])
    pages = files._bucket.objects
    monkeypatch.setattr(files._bucket, "objects", lambda **arguments: pages(MaxKeys=3, **arguments))
    monkeypatch.setattr(s3, "KEYS_PER_REQUEST", 2)
    assert len(list(files.list_keys("many"))) == 7
    files.delete(*files.list_keys("many"))
    assert list(files.list_keys("many")) == []


def test_messages_name_the_mend(server, monkeypatch):
    for address in ("s3:/", "s3://", "s3://bucket//store", "s3:bucket"):
        with pytest.raises(InputError, match="give s3://BUCKET"):
            open_storage(address)
    with pytest.raises(InputError, match="only local folders and s3"):
        open_storage("gs://bucket/store")
    for address in ("s3://no-such-bucket/store", "s3://No_Bucket/store"):
        with pytest.raises(InputError, match="check that the bucket exists"):
            list_datasets(address)
    with pytest.raises(StoreError, match="is not a store"):
        list_datasets(f"s3://{BUCKET}/nothing")
    with pytest.raises(InputError, match="give s3://BUCKET"):
        xr.open_dataset(f"s3://{BUCKET}/nothing", engine="ie_store")
    monkeypatch.setitem(sys.modules, "ie_store.store.files.s3", None)
    with pytest.raises(InputError, match=r"pip install 'ie-store\[s3\]'"):
        open_storage(f"s3://{BUCKET}/store")


@pytest.mark.slow
def test_a_whole_bucket_may_be_a_store(server):
    server.create_bucket(Bucket="whole")
    made = make("s3://whole").write()
    assert verify_dataset("s3://whole/", made.name).faults == []
    assert np.array_equal(open_store(made.store, made.name)["macro"].values, made.states["macro"])
