"""The store's format, piece by piece: typed values, documents, indexes, small arrays and names; what fits and what does not."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any, Literal

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from made_store import make

from ie_store.errors import InputError, StoreError
from ie_store.specs import StoreLayout
from ie_store.store.files.open import open_storage
from ie_store.store.format import arrays, codec, metadata, shard_index, small_arrays
from ie_store.store.format.attributes import FORMAT, DatasetAttributes, GroupAttributes
from ie_store.store.format.typed_json import Malformed, parse


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    pairs: tuple[tuple[str, int], ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    anything: Any = None


OUTER = {"inner": {"size": 3, "name": None}, "pairs": [["a", 1]], "shares": {"b": 2}, "anything": [1, {}]}
NESTED = {"inner": Inner(size=3), "pairs": (("a", 1),), "shares": {"b": 2.0}, "anything": [1, {}]}


def test_a_document_becomes_what_the_annotations_say():
    found = parse(Outer, OUTER)
    assert found == Outer(**NESTED)
    assert isinstance(found.shares["b"], float)


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, 2**63 - 1, 2**63 - 1),
        (int, -(2**63) + 1, -(2**63) + 1),
        (float, 3, 3.0),
        (float, -0.5, -0.5),
        (bool, True, True),
        (type(None), None, None),
        (str, "x" * 2**16, "x" * 2**16),
        (str | None, None, None),
        (str | None, "a", "a"),
        (Literal[2, "a"], 2, 2),
        (Literal[2, "a"], "a", "a"),
        (tuple[int, ...], [], ()),
        (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
        (tuple[int, str], (1, "a"), (1, "a")),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Any, object, object),
    ],
)
def test_values_that_fit(hint, value, expected):
    found = parse(hint, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (int, True, "a 64-bit integer"),
        (int, 1.0, "a 64-bit integer"),
        (int, "1", "a 64-bit integer"),
        (int, 2**63, "a 64-bit integer"),
        (int, -(2**63), "a 64-bit integer"),
        (float, True, "a float"),
        (float, "1", "a float"),
        (float, float("nan"), "a finite number"),
        (float, float("inf"), "a finite number"),
        (float, 10**400, "a finite number"),
        (bool, 1, "a bool"),
        (type(None), 0, "a NoneType"),
        (str, 1, "a text of at most 65,536"),
        (str, "x" * (2**16 + 1), "a text of at most 65,536"),
        (str | None, 1, "a text"),
        (Literal[2, "a"], 3, "one of 2, 'a'"),
        (Literal[1], True, "one of 1"),
        (Literal[1], 1.0, "one of 1"),
        (tuple[int, ...], "ab", "a list"),
        (tuple[int, ...], {"a": 1}, "a list"),
        (tuple[int, str], [1], "a list of 2"),
        (tuple[int, str], [1, "a", 2], "a list of 2"),
        (dict[str, int], [1], "an object"),
        (Inner, [1], "an object"),
        (Inner, {"size": 1}, "an object with name"),
        (Inner, {}, "an object with name, size"),
    ],
)
def test_values_that_do_not_fit(hint, value, words):
    with pytest.raises(Malformed, match=f"^the whole is .*; {words}") as caught:
        parse(hint, value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("inner", "size"), "1", "inner.size is '1'"),
        (("pairs",), [["a", 1], ["b", None]], r"pairs\[1\]\[1\] is None"),
        (("shares", "b"), None, "shares.b is None"),
        (("inner", "colour"), 1, "inner.colour is 1; no such field: only size, name"),
        (("colour",), 1, "^colour is 1; no such field"),
    ],
)
def test_a_value_is_named_by_its_place(path, value, where):
    document = json.loads(json.dumps(OUTER))
    parent = document
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = value
    with pytest.raises(Malformed, match=where):
        parse(Outer, document)


def test_what_a_spec_itself_refuses_is_named_by_its_place():
    document = vars(make("unused").layout) | {"num_layers": 0}
    with pytest.raises(Malformed, match=r"^shape is .*contradict each other.*num_layers"):
        parse(StoreLayout, document, "shape")


@pytest.mark.parametrize("hint", [complex, int | str, list, Literal])
def test_a_hint_without_a_parser_is_our_own_mistake(hint):
    with pytest.raises(TypeError, match="no parser for"):
        parse(hint, b"")


@pytest.mark.parametrize("hint", [tuple[Any, ...], dict[str, Any]])
def test_the_longest_list_and_object(hint, monkeypatch):
    monkeypatch.setattr("ie_store.store.format.typed_json.MOST_ITEMS", 3)
    value = {str(number): number for number in range(3)}
    parse(hint, value if hint == dict[str, Any] else list(value))
    value["more"] = 1
    with pytest.raises(Malformed):
        parse(hint, value if hint == dict[str, Any] else list(value))


@pytest.fixture
def files(tmp_path):
    return open_storage(str(tmp_path))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "Expecting value"),
        (b"[1]", "not an object"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b"\xff", "decode"),
        (b'{"a": ' * 100_000, "recursion"),
    ],
)
def test_a_document_that_is_no_json_object(files, raw, words):
    files.write_atomic("model/zarr.json", [raw])
    with pytest.raises(StoreError, match=rf"model/zarr.json is not a JSON object \(.*{words}.*\); restore it"):
        metadata.read_document(files, "model")


def test_documents_of_the_root_and_below(files):
    assert metadata.read_document(files, "") is None
    assert metadata.read_group(files, "model", GroupAttributes) is None
    metadata.write_document(files, "", {"a": 1})
    metadata.write_document(files, "model", {"b": None}, scratch="elsewhere")
    assert metadata.read_document(files, "") == {"a": 1}
    assert metadata.read_document(files, "model") == {"b": None}
    assert sorted(files.list_keys("")) == ["model/zarr.json", "zarr.json"]
    with pytest.raises(ValueError, match="JSON"):
        metadata.write_document(files, "", {"a": float("nan")})


def test_a_group_is_read_as_it_was_written(files):
    metadata.write_group(files, "", GroupAttributes())
    assert metadata.read_group(files, "", GroupAttributes) == GroupAttributes()
    metadata.require_store(files)


def group(**changed):
    return metadata.group_document(GroupAttributes()) | changed


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (group(node_type="array"), "is not the document of a Zarr v3 group"),
        (group(zarr_format=2), "is not the document of a Zarr v3 group"),
        (group(attributes=[]), "is not the document of a Zarr v3 group"),
        ({}, "is not the document of a Zarr v3 group"),
        (group(attributes={}), "a Zarr group of another program"),
        (group(attributes={"ie_store_format": True}), "has format version True"),
        (group(attributes={"ie_store_format": 1}), f"has format version 1; this ie-store reads version {FORMAT}"),
        (group(attributes={"ie_store_format": FORMAT}), "damaged: .*an object with Conventions"),
        (group(attributes={"ie_store_format": FORMAT, "Conventions": 7}), "Conventions is 7"),
        (group(attributes={"ie_store_format": FORMAT, "Conventions": "CF-1.11, ie-store-1"}), "was changed"),
        (group(attributes=group()["attributes"] | {"Conventions": "other"}), "was changed"),
        (group(attributes=group()["attributes"] | {"digest": None}), "was changed"),
    ],
)
def test_a_group_that_is_not_as_we_wrote_it(files, document, words):
    metadata.write_document(files, "", document)
    with pytest.raises(StoreError, match=words):
        metadata.require_store(files)


def test_attributes_of_others_are_left_alone(files):
    metadata.write_document(files, "", group(attributes=group()["attributes"] | {"theirs": 1}))
    metadata.require_store(files)


def test_what_is_no_store_and_what_is_no_dataset(made, tmp_path):
    with pytest.raises(StoreError, match=r"is not a store: it has no zarr\.json"):
        metadata.require_store(open_storage(str(tmp_path / "nothing")))
    files = open_storage(made.store)
    assert metadata.require_dataset(files, made.name).identity == made.identity
    assert metadata.read_dataset(files, "model/other") is None
    with pytest.raises(StoreError, match="model/other is not a dataset; 'ie-store ls "):
        metadata.require_dataset(files, "model/other")
    with pytest.raises(StoreError, match="model is a group of the store, not a dataset"):
        metadata.require_dataset(files, "model")
    assert isinstance(metadata.read_dataset(files, made.name), DatasetAttributes)


grids = st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple)


@given(grids, st.data())
def test_an_index_is_read_as_it_was_packed(grid, data):
    index = shard_index.empty_index(grid)
    assert shard_index.end_of_chunks(index) == 0
    numbers = data.draw(st.lists(st.integers(0, 2**40), min_size=index.size, max_size=index.size))
    index[:] = np.array(numbers, "<u8").reshape(index.shape)
    raw = shard_index.pack_index(index)
    body = struct.pack(f"<{len(numbers)}Q", *numbers)
    assert raw == body + struct.pack("<I", google_crc32c.value(body))
    assert len(raw) == shard_index.index_bytes(grid)
    assert np.array_equal(shard_index.parse_index(b"before" + raw, grid, "here"), index)
    assert shard_index.end_of_chunks(index) == max(sum(pair) for pair in zip(numbers[::2], numbers[1::2], strict=True))
    index[(0,) * len(grid)] = arrays.NOT_STORED
    rest = index.reshape(-1, 2)[1:]
    assert shard_index.end_of_chunks(index) == (int(rest.sum(1).max()) if len(rest) else 0)


def test_an_index_that_is_cut_or_changed():
    raw = shard_index.pack_index(shard_index.empty_index((2, 3)))
    assert len(raw) == 100
    with pytest.raises(StoreError, match="here is truncated: its index needs 100 bytes, the whole file has 99"):
        shard_index.parse_index(raw[1:], (2, 3), "here")
    for place in (0, 95, 96, 99):
        changed = bytearray(raw)
        changed[place] ^= 1
        with pytest.raises(StoreError, match="here: the checksum of its index does not match"):
            shard_index.parse_index(bytes(changed), (2, 3), "here")


def template(values, rows):
    return arrays.ArrayTemplate(
        name="numbers",
        shape=values.shape,
        chunk_shape=(rows, *values.shape[1:]),
        data_type=values.dtype.name,
        fill_value=0,
        dimensions=("row", "column")[: values.ndim],
    )


@pytest.mark.parametrize("dtype", ["<i4", ">i4", "<i8", "<f8"])
@pytest.mark.parametrize(("shape", "rows"), [((7,), 7), ((7,), 3), ((6,), 3), ((7, 2), 3), ((1, 2), 1)])
def test_small_arrays_come_back_here_and_in_zarr(files, tmp_path, dtype, shape, rows):
    values = np.random.default_rng(0).integers(-100, 100, shape).astype(dtype)
    small_arrays.write_plain(files, "group", template(values, rows), values)
    found = small_arrays.read_plain(files, "group/numbers")
    assert np.array_equal(found, values)
    assert found.dtype == values.dtype.newbyteorder("<")
    assert np.array_equal(zarr.open_array(str(tmp_path / "group/numbers"), mode="r")[...], values)


def test_chunks_carry_their_checksum(files):
    values = np.arange(3, dtype="<i4")
    small_arrays.write_plain(files, "group", template(values, 2), values)
    assert sorted(files.list_keys("group/numbers")) == [f"group/numbers/{name}" for name in ("c/0", "c/1", "zarr.json")]
    raw = struct.pack("<2i", 2, 0)
    assert files.read("group/numbers/c/1") == raw + struct.pack("<I", google_crc32c.value(raw))
    assert small_arrays.without_checksum(small_arrays.with_checksum(values), "here") == values.tobytes()


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        b"123",
        b"\0\0\0",
        b"\0\0\0\1",
        small_arrays.with_checksum(np.arange(2))[:-1],
        small_arrays.with_checksum(np.arange(2))[1:],
    ],
)
def test_a_chunk_whose_checksum_does_not_match(chunk):
    with pytest.raises(StoreError, match="here is damaged: its checksum"):
        small_arrays.without_checksum(chunk, "here")


def test_an_empty_chunk_with_its_checksum_is_whole():
    assert small_arrays.without_checksum(small_arrays.with_checksum(np.empty(0)), "here") == b""


def test_a_small_array_that_lacks_or_changed_a_part(files):
    values = np.arange(6, dtype="<i4")
    with pytest.raises(StoreError, match=r"group/numbers has no zarr.json"):
        small_arrays.read_plain(files, "group/numbers")
    small_arrays.write_plain(files, "group", template(values, 3), values)
    files.write_atomic("group/numbers/c/1", [small_arrays.with_checksum(values[:2])])
    with pytest.raises(StoreError, match=r"numbers/c/1 has 8 bytes, 12 are expected"):
        small_arrays.read_plain(files, "group/numbers")
    files.delete("group/numbers/c/1")
    with pytest.raises(StoreError, match=r"numbers/c/1 is missing"):
        small_arrays.read_plain(files, "group/numbers")
    document = template(values, 3).document()
    metadata.write_document(files, "group/numbers", document | {"codecs": document["codecs"][:1]})
    with pytest.raises(StoreError, match=r"rewritten by another program: its codecs are"):
        small_arrays.read_plain(files, "group/numbers")


@pytest.mark.parametrize("name", ["a/b", "A.1/b-2_c", "_a/b", "zarr.json2/b", "0/0"])
def test_names_of_datasets(name):
    assert arrays.dataset_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a", "/", "a/", "/b", "a/b/c", "a/.b", "__a/b", "a/zarr.json", "a b/c", "a/b\n", "../b", "-a/b"]
)
def test_what_is_no_name_of_a_dataset(name):
    with pytest.raises(InputError, match="is not MODEL/CORPUS"):
        arrays.dataset_name(name)


@pytest.mark.parametrize(
    ("dtype", "numbers", "array", "fill"),
    [("float16", "<f2", "macro", None), ("float32", "<f4", "macro", None), ("bfloat16", "<u2", "macro_bfloat16_bits", 32704)],
)
def test_arrays_of_states_by_dtype(dtype, numbers, array, fill):
    shape = make("unused", dtype=dtype, rows=21, size=8, hidden=8).layout
    assert arrays.numpy_dtype(dtype) == np.dtype(numbers)
    assert shape.level("macro").array == array
    assert shape.level("macro").shard_key(2) == f"{array}/c/0/0/2/0"
    assert shape.level("micro").shard_key(1) == f"{array.replace('macro', 'micro')}/c/0/1/0"
    number = arrays.fill_number(dtype)
    assert number == fill if fill else np.isnan(number)
    macro, micro = (arrays.state_template(shape, level) for level in ("macro", "micro"))
    assert (macro.shape, macro.chunk_shape, macro.inner_shape) == ((3, 3, 21, 8), (3, 3, 8, 8), (1, 1, 8, 8))
    assert (micro.shape, micro.chunk_shape, micro.inner_shape) == ((3, shape.num_tokens, 8), (3, 4, 8), (1, 4, 8))
    assert macro.dimensions == ("layer", "position", "sequence", "hidden")
    assert micro.dimensions == ("layer", "token", "hidden")
    assert macro.fill_value == (fill or "NaN")
    assert ("encoding" in macro.attributes) == (dtype == "bfloat16")
    assert macro.attributes["long_name"] != micro.attributes["long_name"]
    assert (shape.level("macro").grid, shape.level("micro").grid) == ((3, 3), (3,))


def test_stored_cells_lie_in_the_order_of_their_layers_and_positions():
    shape = make("unused", layers=(0, 2), positions=(1, 2)).layout
    assert shape.level("macro").stored_cells == [(0, 1), (0, 2), (2, 1), (2, 2)]
    assert shape.level("micro").stored_cells == [(0,), (2,)]


def coordinates(**labels):
    made = make("unused", rows=5)
    return arrays.coordinate_values(made.layout, made.tokens, np.arange(5), labels)


def test_labels_of_numbers_stay_and_texts_become_categories():
    found = coordinates(size=np.array([0.5] * 5), yes=np.array([True] * 5), word=np.array(["b c", "a", "", "a", "b c"]))
    assert list(found)[:6] == ["token_id", "layer", "position", "sequence", "token", "source_row"]
    assert list(found)[6:] == ["size", "word", "yes"]
    assert (found["size"][0].fill_value, found["yes"][0].fill_value, found["token"][0].fill_value) == ("NaN", False, 0)
    codes, attributes = found["word"][1], found["word"][0].attributes
    assert codes.tolist() == [2, 1, 0, 1, 2]
    assert attributes["categories"] == ["", "a", "b c"]
    assert (attributes["flag_values"], attributes["flag_meanings"]) == ([0, 1, 2], "_ a b_c")


@pytest.mark.parametrize("name", ["macro", "block", "token_id", "zarr.json", ".a", "a b", "", "__a"])
def test_labels_that_cannot_name_an_array(name):
    with pytest.raises(InputError, match="cannot name an array"):
        coordinates(**{name: np.arange(5)})


def test_too_many_categories(monkeypatch):
    monkeypatch.setattr(arrays, "MAX_CATEGORIES", 4)
    coordinates(word=np.array(list("abcda")))
    with pytest.raises(InputError, match="'word' has 5 distinct texts; at most 4"):
        coordinates(word=np.array(list("abcde")))


def test_long_arrays_are_cut_into_chunks(monkeypatch):
    monkeypatch.setattr(arrays, "ROWS_PER_CHUNK", 2)
    assert coordinates()["token_id"][0].chunk_shape == (2, 3)
    monkeypatch.setattr(arrays, "ROWS_PER_CHUNK", 5)
    assert coordinates()["token_id"][0].chunk_shape == (5, 3)


@pytest.mark.parametrize(("rows", "one_block"), [(8, True), (1024, False)])
def test_the_header_of_a_chunk_that_is_stored_as_it_is(rows, one_block):
    raw = np.random.default_rng(0).integers(0, 256, (rows, 1152), np.uint8).view("<f2")
    header, body = codec.encode_chunk(raw)
    block = raw.nbytes if one_block else 2**18
    assert header == struct.pack("<BBBBIII", 2, 1, 0b100010, 2, raw.nbytes, block, raw.nbytes + 16)
    assert body is raw
    assert codec.is_verbatim(header, raw.nbytes)
    assert not codec.is_verbatim(header, raw.nbytes + 1)
    for place in (2, 4, 12):
        changed = bytearray(header)
        changed[place] ^= 2
        assert not codec.is_verbatim(changed, raw.nbytes)


def test_codecs_of_the_format():
    names = [document["name"] for document in codec.codec_document(2)]
    assert names == ["bytes", "blosc"]


def test_a_chunk_shorter_than_a_header():
    with pytest.raises(StoreError, match="here: chunk header says 0 bytes that decode to 0, found 15"):
        codec.decode_chunk(np.zeros(15, np.uint8), np.empty(4, np.float32), "here")


LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
CHECKSUM = {"name": "crc32c"}


def common(shape, chunk_shape, **others):
    """What the documents of all our arrays agree on (Zarr v3.0, section 'array metadata')."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "storage_transformers": [],
    } | others


def sharded(chunk_shape, item_bytes):
    blosc = {"typesize": item_bytes, "cname": "lz4", "clevel": 5, "shuffle": "noshuffle", "blocksize": 262144}
    configuration = {
        "chunk_shape": chunk_shape,
        "codecs": [LITTLE, {"name": "blosc", "configuration": blosc}],
        "index_codecs": [LITTLE, CHECKSUM],
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": configuration}]


def test_the_documents_of_states_to_the_letter():
    macro = arrays.state_template(make("unused", dtype="float32").layout, "macro").document()
    assert macro == common(
        [3, 3, 21, 8],
        [3, 3, 8, 8],
        data_type="float32",
        fill_value="NaN",
        codecs=sharded([1, 1, 8, 8], 4),
        attributes={"long_name": "hidden state of the prefix that ends at position", "units": "1"},
        dimension_names=["layer", "position", "sequence", "hidden"],
    )
    micro = arrays.state_template(make("unused", dtype="bfloat16").layout, "micro").document()
    encoding = micro["attributes"].pop("encoding")
    assert "upper 16 bits" in encoding
    assert "32704 is NaN" in encoding
    assert "engine='ie_store'" in encoding
    assert micro == common(
        [3, 7, 8],
        [3, 4, 8],
        data_type="uint16",
        fill_value=32704,
        codecs=sharded([1, 4, 8], 2),
        attributes={"long_name": "hidden state of a token fed to the model alone", "units": "1"},
        dimension_names=["layer", "token", "hidden"],
    )


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "dimensions", "long_name"),
    [
        ("token_id", [5, 3], "int32", ["sequence", "position"], "token id of each sequence at each position"),
        ("layer", [3], "int64", ["layer"], "0 enters block 0; l is the output of block l-1"),
        ("position", [3], "int64", ["position"], "index of a token in its sequence"),
        ("sequence", [5], "int64", ["sequence"], "row of the corpus, in lexicographic order of tokens"),
        ("source_row", [5], "int64", ["sequence"], "row of the corpus's source"),
        ("size", [5], "int64", ["sequence"], "label size of the source"),
    ],
)
def test_the_documents_of_small_arrays_to_the_letter(name, shape, dtype, dimensions, long_name):
    found, values = coordinates(size=np.arange(5))[name]
    assert values.shape == tuple(shape)
    assert found.document() == common(
        shape,
        shape,
        data_type=dtype,
        fill_value=0,
        codecs=[LITTLE, CHECKSUM],
        attributes={"long_name": long_name},
        dimension_names=dimensions,
    )


def test_coordinates_count_from_zero_and_tokens_are_distinct_and_rise():
    made = make("unused", rows=5)
    found = {name: values for name, (_, values) in coordinates().items()}
    assert found["layer"].tolist() == found["position"].tolist() == [0, 1, 2]
    assert found["sequence"].tolist() == found["source_row"].tolist() == [0, 1, 2, 3, 4]
    assert found["token"].tolist() == sorted(set(made.tokens.ravel().tolist()))
    assert np.array_equal(found["token_id"], made.tokens)
    assert coordinates()["token"][0].attributes == {"long_name": "distinct token ids of the corpus, sorted"}


def test_labels_that_no_reader_would_take_are_refused(monkeypatch):
    monkeypatch.setattr("ie_store.store.format.arrays.MOST_LABEL_BYTES", 60)
    with pytest.raises(InputError, match=r"label 'word' has 5 distinct texts of \d+ bytes as JSON; at most 60 can be stored"):
        coordinates(word=np.array(["one", "two", "three", "four", "five"]))
