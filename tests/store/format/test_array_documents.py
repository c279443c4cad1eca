"""Documents of arrays, places of chunks and bytes in JSON: what readers take from strangers, and what they refuse."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from made_store import make

from ie_store.errors import StoreError
from ie_store.specs import StoreLayout
from ie_store.store.files.open import open_storage
from ie_store.store.format import arrays, metadata, shard_index, small_arrays
from ie_store.store.format.array_document import MOST_DIMENSIONS, MOST_VALUES, Codec, parse_array
from ie_store.store.format.codec import codec_document, require_readable
from ie_store.store.format.typed_json import Malformed, encode_bytes, parse


def sharded():
    return json.loads(json.dumps(arrays.state_template(make("unused").layout, "macro").document()))


def test_the_document_of_a_sharded_array():
    found = parse_array(sharded())
    assert (found.shape, found.chunk_shape, found.inner_shape) == ((3, 3, 21, 8), (3, 3, 8, 8), (1, 1, 8, 8))
    assert (found.data_type, found.fill_value) == ("float16", "NaN")
    assert found.dimensions == ("layer", "position", "sequence", "hidden")
    assert [codec.name for codec in found.codecs] == ["sharding_indexed"]
    assert found.inner_codecs == tuple(Codec(**item) for item in codec_document(2))
    assert not found.is_plain
    require_readable(found.inner_codecs, "here")
    require_readable([Codec(name="bytes"), Codec(name="blosc")], "here")


def small(**changed):
    values = np.arange(6, dtype="<i4").reshape(3, 2)
    template = arrays.ArrayTemplate(
        name="a", shape=(3, 2), chunk_shape=(3, 2), data_type="int32", fill_value=0, dimensions=("row", "column")
    )
    return values, template.document() | changed


def test_a_document_as_other_programs_write_it_is_read_alike():
    _, document = small(codecs=[{"name": "bytes"}, {"name": "crc32c"}], attributes={"theirs": 1}, dimension_names=None)
    del document["storage_transformers"]
    document["chunk_key_encoding"] = {"name": "default", "configuration": {}}
    found = parse_array(document)
    assert found.is_plain
    assert found.dimensions is None
    del document["dimension_names"]
    assert parse_array(document) == found
    document["codecs"] = [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}]
    assert not parse_array(document).is_plain


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"zarr_format": 2}, "zarr_format is 2"),
        ({"node_type": "group"}, "node_type is 'group'"),
        ({"data_type": "complex64"}, "data_type is 'complex64'"),
        ({"chunk_grid": {"name": "rectilinear", "configuration": {}}}, "'regular' is expected"),
        ({"chunk_grid": {"name": "regular", "configuration": {}}}, r"chunk_grid.configuration.chunk_shape is None"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3]}}}, "a list of 2 is expected"),
        (
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [-1, 2]}}},
            r"chunk_grid.configuration.chunk_shape is",
        ),
        ({"chunk_key_encoding": {"name": "v2", "configuration": {}}}, "'default' with '/'"),
        ({"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}}, "'default' with '/'"),
        ({"shape": [-1, 2]}, "sizes of at least 0"),
        ({"shape": [MOST_VALUES, 2]}, "values is expected"),
        ({"shape": [0, MOST_VALUES + 1]}, "values is expected"),
        ({"shape": []}, "one to 8 dimensions"),
        ({"shape": [1] * (MOST_DIMENSIONS + 1)}, "one to 8 dimensions"),
        ({"codecs": [{}]}, r"codecs\[0\] is .*an object with name"),
        ({"codecs": [{"name": "bytes", "configuration": 1}]}, r"codecs\[0\].configuration is 1"),
    ],
)
def test_documents_that_do_not_fit(changed, words):
    with pytest.raises(Malformed, match=words):
        parse_array(small(**changed)[1])


def test_the_largest_shape_fits():
    grid = {"name": "regular", "configuration": {"chunk_shape": [1] * MOST_DIMENSIONS}}
    shape = [MOST_VALUES, *[1] * (MOST_DIMENSIONS - 1)]
    assert parse_array(small(shape=shape, chunk_grid=grid)[1]).shape == tuple(shape)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"index_location": "start"}, "'end' is expected"),
        ({"codecs": None}, r"codecs\[0\].configuration.codecs is None"),
        ({"codecs": [{"name": 1}]}, r"codecs\[0\].configuration.codecs\[0\].name is 1"),
        ({"chunk_shape": [1, 1, 8]}, "a list of 4 is expected"),
    ],
)
def test_shards_that_do_not_fit(changed, words):
    document = sharded()
    document["codecs"][0]["configuration"] |= changed
    with pytest.raises(Malformed, match=words):
        parse_array(document)


@pytest.fixture
def files(tmp_path):
    return open_storage(str(tmp_path))


@pytest.mark.parametrize(
    ("raw", "words"),
    [(b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice in one object"), (b'{"a": 1e999}', "1e999 is no JSON number")],
)
def test_objects_that_readers_would_read_differently(files, raw, words):
    files.write_atomic("a/zarr.json", [raw])
    with pytest.raises(StoreError, match=words):
        metadata.read_document(files, "a")


@pytest.mark.parametrize(
    ("changed", "shape", "words"),
    [
        ({}, (2, 2), r"declares shape \(3, 2\), \(2, 2\) is expected"),
        ({"shape": [3, 0]}, None, "it is not ours"),
        ({"shape": [0, 2]}, None, "it is not ours"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, 1]}}}, None, "it is not ours"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 2]}}}, None, "it is not ours"),
        ({"shape": "3"}, None, "does not fit the format of an array"),
    ],
)
def test_small_arrays_that_are_not_ours(files, changed, shape, words):
    metadata.write_document(files, "g/a", small(**changed)[1])
    with pytest.raises(StoreError, match=words):
        small_arrays.read_plain(files, "g/a", shape)


def test_an_empty_small_array(files):
    metadata.write_document(
        files, "g/a", small(shape=[0], chunk_grid={"name": "regular", "configuration": {"chunk_shape": [1]}})[1]
    )
    found = small_arrays.read_plain(files, "g/a", (0,))
    assert (found.shape, found.dtype) == ((0,), np.dtype("<i4"))


def index_of(*chunks):
    index = shard_index.empty_index((len(chunks),))
    for place, chunk in enumerate(chunks):
        if chunk is not None:
            index[place] = chunk
    return index


@pytest.mark.parametrize(
    ("chunk", "fits"),
    [((0, 116), True), ((84, 116), True), ((85, 116), False), ((0, 117), False), ((200, 0), True), ((201, 0), False),
     ((2**64 - 2, 5), False), ((5, 2**64 - 2), False), ((2**64 - 1, 3), False), ((3, 2**64 - 1), False)],
)  # fmt: skip
def test_chunks_lie_within_the_file_and_are_no_longer_than_a_chunk_can_be(chunk, fits):
    index = index_of(None, chunk)
    num_bytes = 200 + shard_index.index_bytes((2,))
    if fits:
        shard_index.require_within(index, num_bytes, 100, "here")
        return
    with pytest.raises(
        StoreError, match=f"here: its index names a chunk of {chunk[1]:,} bytes at byte {chunk[0]:,}; .* 116 bytes"
    ):
        shard_index.require_within(index, num_bytes, 100, "here")


def test_a_chunk_may_fill_a_file_up_to_its_index_and_no_further():
    """A grid of 2 x 3 has an index of 6 x 16 + 4 = 100 bytes; a chunk of 100 is encoded in at most 116."""
    index = shard_index.empty_index((2, 3))
    index[1, 2] = (0, 116)
    shard_index.require_within(index, 216, 100, "here")
    with pytest.raises(StoreError, match=r"a chunk of 116 bytes at byte 0; .* the chunks end at byte 115"):
        shard_index.require_within(index, 215, 100, "here")
    index[0, 1], index[1, 0] = (1, 116), (2, 116)
    with pytest.raises(StoreError, match="a chunk of 116 bytes at byte 1; "):
        shard_index.require_within(index, 216, 100, "here")


def test_no_file_of_ours_is_longer_than_the_most():
    index = index_of(*((place * 128, 116) for place in range(3)))
    assert shard_index.end_of_chunks(shard_index.empty_index((2,))) == 0
    whole = shard_index.end_of_chunks(index) + shard_index.index_bytes((3,))
    assert whole <= shard_index.most_shard_bytes((3,), 100) == 3 * (100 + 16 + 64) + 3 * 16 + 4


def test_bytes_are_base64():
    assert encode_bytes(b"\0\1\2") == "AAEC"
    assert parse(bytes, "AAEC") == b"\0\1\2"
    for value in ("AAE", "A\nAEC", "!!!!", 1, None):
        with pytest.raises(Malformed) as refused:
            parse(bytes, value, "records.values")
        assert str(refused.value) == f"records.values is {value!r}; a text in base64 is expected"
    with pytest.raises(TypeError, match="set is not a JSON value"):
        encode_bytes(set())


def declared(files, made, **changed):
    found = metadata.require_dataset(files, made.name)
    document = asdict(found)
    document["identity"]["layout"] |= changed
    return metadata.parse(type(found), json.loads(json.dumps(document)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"num_tokens": 64}, "declares 64 distinct tokens in 63"),
        ({"num_layers": 4}, "declares 4 layers of 2 blocks"),
        ({"num_positions": 2**22}, "chunks in a shard"),
        ({"num_sequences": 2**20}, "token_id/zarr.json does not fit the dataset's identity"),
    ],
)
def test_datasets_that_declare_more_than_their_files_hold(made, changed, words):
    files = open_storage(made.store)
    with pytest.raises(StoreError, match=words):
        metadata.require_declared(files, made.name, declared(files, made, **changed))


def test_a_corpus_whose_tokens_are_all_distinct_is_no_fault(made):
    files = open_storage(made.store)
    metadata.require_declared(files, made.name, declared(files, made, num_tokens=63))


def test_many_tokens_are_compared_with_their_files(made, monkeypatch):
    files = open_storage(made.store)
    found = metadata.require_dataset(files, made.name)
    assert isinstance(found.identity.layout, StoreLayout)
    monkeypatch.setattr(metadata, "FEW_TOKENS", 0)
    metadata.require_declared(files, made.name, found)
    files.write_atomic(f"{made.name}/token_id/c/0/0", [b"short"])
    with pytest.raises(StoreError, match="token_id/c/0/0 has 5 bytes, 256 are expected"):
        metadata.require_declared(files, made.name, found)
