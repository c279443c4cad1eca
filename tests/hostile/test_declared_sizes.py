"""What a document declares is compared with the files before memory or loops are spent on it."""

import gzip
import json
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from called import ie_store
from known_store import NAME, random_tokens, write_store
from made_store import make

from ie_store.corpus.make import make_corpus
from ie_store.errors import InputError, StoreError
from ie_store.specs import digest
from ie_store.store.files.open import open_storage
from ie_store.store.format.metadata import read_document
from ie_store.store.format.small_arrays import read_plain

SECONDS = 3.0
BYTES = 2**28


class Bounded:
    """Fails where what stands inside takes long or much memory."""

    def __enter__(self):
        self._start, self._peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def __exit__(self, kind, error, trace):
        assert time.process_time() - self._start < SECONDS
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._peak) * 1024 < BYTES


def reseal(path, change):
    """Change attributes as a forger would: with the digest that fits."""
    document = json.loads(path.read_text())
    values = {name: value for name, value in document["attributes"].items() if name != "digest"}
    change(values)
    document["attributes"] = values | {"digest": digest(values)}
    path.write_text(json.dumps(document))


def require_refused(store, name, commands=("info", "show", "verify", "estimate")):
    for command in commands:
        with Bounded():
            result = ie_store(command, store, name, *(["--estimator", "exact"] if command == "estimate" else []))
        assert result.exit_code == 2, (command, result.output)
        assert result.stderr.startswith("error: ")
    assert ie_store("ls", store).exit_code == 0


@pytest.mark.parametrize(
    "forged",
    [
        {"num_sequences": 10**15},
        {"num_sequences": 10**9, "rows_per_shard": 1},
        {"num_tokens": 10**15},
        {"num_layers": 10**12},
        {"num_positions": 10**12},
        {"num_positions": 10**6, "num_sequences": 10**6},
        {"hidden_size": 2**40},
        {"rows_per_shard": 2**40},
    ],
    ids=str,
)
def test_forged_layouts_are_refused(tmp_path, forged):
    made = make(tmp_path / "store").write()

    def change(values):
        values["identity"]["layout"] |= forged

    reseal(Path(made.path, "zarr.json"), change)
    require_refused(made.store, made.name)


@pytest.mark.parametrize(
    "forged",
    [
        {"shape": [10**15, 3]},
        {"shape": [2**62, 2**62]},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**40, 3]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 3]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1]}}},
        {"data_type": "object"},
        {"data_type": [["a", "i4"]]},
        {"shape": [-1, 3]},
        {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}]},
        {"codecs": "bytes"},
    ],
    ids=str,
)
def test_forged_arrays_are_refused(tmp_path, forged):
    made = make(tmp_path / "store").write()
    path = Path(made.path, "token_id/zarr.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | forged))
    with Bounded(), pytest.raises(StoreError, match="token_id"):
        read_plain(open_storage(made.store), f"{made.name}/token_id")
    require_refused(made.store, made.name, ("verify", "estimate"))


def test_a_result_array_of_another_shape_is_refused(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(80))
    assert ie_store("estimate", store, NAME, "--estimator", "exact").exit_code == 0
    path = next(Path(store, NAME, "estimates").glob("exact-*/mi_macro/zarr.json"))
    document = json.loads(path.read_text())
    for shape in ([1, 6], [6, 1], [10**7, 10**7]):
        grid = {"name": "regular", "configuration": {"chunk_shape": shape}}
        path.write_text(json.dumps(document | {"shape": shape, "chunk_grid": grid}))
        with Bounded():
            result = ie_store("show", store, NAME)
        assert result.exit_code == 2
        assert "mi_macro" in result.stderr


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 200_000 + "]" * 200_000, "not a JSON object"),
        ('{"a": ' * 100_000 + "1" + "}" * 100_000, "not a JSON object"),
        ('{"zarr_format": ' + "9" * 10_000 + "}", "not a JSON object"),
        ('{"zarr_format": 3, "zarr_format": 3}', "stands twice"),
        ('{"zarr_format": NaN}', "no JSON number"),
        ('{"zarr_format": 1e999}', "no JSON number"),
        ("\ud800".encode("utf-8", "surrogatepass"), "not a JSON object"),
    ],
    ids=["deep list", "deep object", "digits", "twice", "NaN", "overflow", "surrogate"],
)
@pytest.mark.parametrize("file", ["zarr.json", "token_id/zarr.json", "ledger/zarr.json"])
def test_documents_that_no_parser_should_trust(tmp_path, text, what, file):
    made = make(tmp_path / "store").write()
    Path(made.path, file).write_bytes(text if isinstance(text, bytes) else text.encode())
    with Bounded(), pytest.raises(StoreError, match=what):
        read_document(open_storage(made.store), f"{made.name}/{file}".removesuffix("/zarr.json"))
    for command in ("verify",) if file.startswith("token_id") else ("info", "verify"):
        assert ie_store(command, made.store, made.name).exit_code == 2


def test_ten_megabytes_in_one_attribute(tmp_path):
    made = make(tmp_path / "store").write()
    reseal(Path(made.path, "zarr.json"), lambda values: values["corpus"].update(recipe="\x1b" * 10_000_000))
    with Bounded():
        result = ie_store("info", made.store, made.name)
    assert result.exit_code == 2
    assert len(result.stderr) < 2_000


def npy(path, shape, dtype="<i4", content=b"\0" * 16):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + content)
    return path


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((2**32, 120), "<i4", "declares 2,061,584,302,080 bytes of token ids and it holds 16"),
        ((2**62, 2**62), "<i4", "declares"),
        ((-1, 4), "<i4", "shape"),
        ((2, 2), "|O", "holds Python objects"),
        ((4,), "<i4", "two axes"),
    ],
    ids=str,
)
def test_npy_headers_are_compared_with_the_file(tmp_path, shape, dtype, message, pack):
    path = npy(tmp_path / "rows.npy", shape, dtype)
    if pack:
        path.write_bytes(gzip.compress(path.read_bytes()))
    with Bounded(), pytest.raises(InputError, match=message):
        make_corpus(f"tokens:{path}", tokenizer=None, vocab_size=10)


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"\x93NUMPY\x09\x00\x01\x00{", b"\x80\x04K\x01."]
)
def test_npy_files_that_are_none(tmp_path, content):
    path = tmp_path / "rows.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not a \.npy file of numbers"):
        make_corpus(f"tokens:{path}", tokenizer=None, vocab_size=10)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_orders_and_byte_orders(tmp_path, order):
    rows = np.arange(12, dtype=">i8").reshape(4, 3)
    np.save(tmp_path / "rows.npy", np.array(rows, order=order))
    corpus = make_corpus(f"tokens:{tmp_path}/rows.npy", tokenizer=None, vocab_size=12)
    assert corpus.tokens.tolist() == rows.tolist()


def test_a_whole_dataset_beside_damaged_ones(tmp_path):
    """`to_zarr(mode="a")` of a user, which erases a group's attributes, and broken documents: only they are refused."""
    whole = make(tmp_path / "store", "model/whole").write()
    expected = {command: ie_store(command, whole.store, whole.name, "--json").stdout for command in ("info", "show", "verify")}
    for number, text in enumerate(["", "{", "[]", '{"zarr_format": 3, "node_type": "group", "attributes": {}}', "{}"]):
        broken = make(tmp_path / "store", f"model/broken{number}").write()
        Path(broken.path, "zarr.json").write_text(text)
    import xarray as xr

    erased = make(tmp_path / "store", "model/erased").write()
    xr.Dataset({"mine": ("x", [1.0])}).to_zarr(erased.path, mode="a", consolidated=False)
    listed = json.loads(ie_store("ls", whole.store, "--json").stdout)
    assert [one["name"] for one in listed["datasets"]] == ["model/whole"]
    assert len(listed["damaged"]) == 6
    for command, shown in expected.items():
        assert ie_store(command, whole.store, whole.name, "--json").stdout == shown
    for name in ("model/erased", *(f"model/broken{number}" for number in range(5))):
        for command in ("info", "show", "verify"):
            assert ie_store(command, whole.store, name).exit_code == 2


def test_attributes_that_others_add_to_arrays_harm_nothing(tmp_path):
    import zarr

    made = make(tmp_path / "store").write()
    before = ie_store("info", made.store, made.name, "--json").stdout
    for name in ("token_id", "token", "macro", "micro", "layer"):
        zarr.open_array(f"{made.path}/{name}", mode="a").attrs["comment"] = "mine"
    assert ie_store("verify", made.store, made.name).exit_code == 0
    after = json.loads(ie_store("info", made.store, made.name, "--json").stdout)
    assert after | {"bytes": None} == json.loads(before) | {"bytes": None}
