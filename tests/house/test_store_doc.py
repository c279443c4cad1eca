"""docs/store.md says enough: a reader written from it alone, without ie_store, reads a store, checks it, and agrees with ours.

Everything above the line of dashes imports nothing of ours; the store is made, and read the other way, below it.
"""

import base64
import hashlib
import json
import re
import struct
from pathlib import Path

import google_crc32c
import numcodecs.blosc
import numpy as np
import pytest

NOT_STORED = 2**64 - 1
OF_GROUP = ("ie_store_format", "Conventions")
OF_DATASET = (*OF_GROUP, "identity", "corpus", "complete", "incomplete_reason", "audit", "labels", "coordinates")
OF_RESULTS = (*OF_GROUP, "estimator", "activations_digest", "num_blocks", "num_positions", "sessions", "flags", "checksums")


def canonical(value) -> str:
    """Canonical JSON, by hand."""
    match value:
        case dict():
            return "{" + ",".join(f"{text(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
        case list():
            return "[" + ",".join(map(canonical, value)) + "]"
        case str():
            return text(value)
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case int():
            return str(value)
        case float():
            return number(value)
    raise TypeError(value)


def text(value: str) -> str:
    out = []
    for character in value:
        short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}.get(character)
        units = struct.unpack(f">{len(character.encode('utf-16-be')) // 2}H", character.encode("utf-16-be"))
        plain = character if 32 <= ord(character) < 127 else "".join(f"\\u{unit:04x}" for unit in units)
        out.append(short or plain)
    return '"' + "".join(out) + '"'


def number(value: float) -> str:
    """Shortest digits, laid out as the page says."""
    digits, _, exponent = next(s for n in range(17) if float(s := f"{value:.{n}e}") == value).partition("e")
    power = int(exponent)
    if power < -4 or power >= 16:
        return f"{digits}e{power:+03d}"
    fixed = f"{value:.{max(1, len(digits.lstrip('-').replace('.', '')) - 1 - power)}f}"
    return fixed


def sha256(value) -> str:
    return hashlib.sha256(canonical(value).encode("ascii")).hexdigest()


def attributes(group: Path, names) -> dict:
    found = json.loads((group / "zarr.json").read_text())["attributes"]
    fields = {name: found[name] for name in names}
    assert sha256(fields) == found["digest"], group
    return fields


def small_array(folder: Path) -> np.ndarray:
    document = json.loads((folder / "zarr.json").read_text())
    rows, shape = document["chunk_grid"]["configuration"]["chunk_shape"], document["shape"]
    chunks = []
    for i in range(-(-shape[0] // rows[0])):
        raw = folder.joinpath("c", str(i), *["0"] * (len(shape) - 1)).read_bytes()
        assert google_crc32c.value(raw[:-4]) == int.from_bytes(raw[-4:], "little"), folder
        chunks.append(np.frombuffer(raw[:-4], np.dtype(document["data_type"]).newbyteorder("<")).reshape(rows))
    return np.concatenate(chunks)[: shape[0]]


def decode(encoded: bytes) -> bytes:
    version, _, flags, _, nbytes, _, cbytes = struct.unpack("<BBBBIII", encoded[:16])
    assert (version, cbytes) == (2, len(encoded))
    if flags & 2:
        assert cbytes == nbytes + 16
        return encoded[16:]
    return bytes(numcodecs.blosc.decompress(encoded))


class Dataset:
    def __init__(self, folder: Path):
        self.folder, self.attributes = folder, attributes(folder, OF_DATASET)
        assert self.attributes["complete"]
        self.identity = sha256(self.attributes["identity"])
        self.layout = self.attributes["identity"]["layout"]
        self.is_bits = self.layout["stored_dtype"] == "bfloat16"

    def slab(self, level: str, *cell: int) -> np.ndarray:
        """(row, hidden) of one layer, and of one position of macro; checked against the ledger."""
        layout = self.layout
        grid = (layout["num_layers"], layout["num_positions"])[: len(cell)]
        total = layout["num_sequences" if level == "macro" else "num_tokens"]
        size = layout["rows_per_shard" if level == "macro" else "tokens_per_shard"]
        parts = [self.chunk(level, shard, grid, cell).reshape(size, -1) for shard in range(-(-total // size))]
        return np.concatenate(parts)[:total]

    def chunk(self, level: str, shard: int, grid: tuple[int, ...], cell: tuple[int, ...]) -> np.ndarray:
        name = f"{level}_bfloat16_bits" if self.is_bits else level
        file = self.folder.joinpath(name, "c", *["0"] * len(grid), str(shard), "0").read_bytes()
        index = file[-16 * int(np.prod(grid)) - 4 :]
        assert google_crc32c.value(index[:-4]) == struct.unpack("<I", index[-4:])[0]
        place = int(np.ravel_multi_index(cell, grid))
        offset, length = struct.unpack_from("<QQ", index, 16 * place)
        assert (offset, length) != (NOT_STORED, NOT_STORED)
        encoded = file[offset : offset + length]
        entry = self.folder.joinpath("ledger", level, "c", str(shard), *["0"] * len(grid)).read_bytes()
        assert google_crc32c.value(entry[:-4]) == struct.unpack("<I", entry[-4:])[0]
        prefix = f"{self.identity}/{level}/{shard}/{''.join(f'{number}/' for number in cell)}".encode("ascii")
        if google_crc32c.value(prefix + encoded) != struct.unpack_from("<I", entry, 4 * place)[0]:
            raise ValueError(f"{level} shard {shard}, {cell}: not what the ledger says")
        raw = decode(encoded)
        if self.is_bits:
            return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        return np.frombuffer(raw, np.dtype(self.layout["stored_dtype"]).newbyteorder("<"))

    def label(self, name: str) -> np.ndarray:
        values = small_array(self.folder / name)
        texts = json.loads((self.folder / name / "zarr.json").read_text())["attributes"].get("categories")
        return values if texts is None else np.array(texts)[values]

    def fingerprint(self) -> str:
        sha = hashlib.sha256()
        arrays = [("tokens", "i4", small_array(self.folder / "token_id")), ("source_row", "i8", self.source_row())]
        for name in sorted(self.attributes["labels"]):
            document = json.loads((self.folder / name / "zarr.json").read_text())
            texts = document["attributes"].get("categories")
            kind = document["data_type"] if texts is None else "texts[" + ", ".join(map(text, texts)) + "]"
            arrays.append((name, kind, small_array(self.folder / name)))
        for name, kind, values in arrays:
            shape = "(" + ", ".join(map(str, values.shape)) + ("," if values.ndim == 1 else "") + ")"
            sha.update(f"{name}\0{kind}\0{shape}\0".encode("ascii") + values.tobytes())
        return sha.hexdigest()

    def texts(self, name: str) -> list[str]:
        data, span = small_array(self.folder / f"{name}_bytes"), small_array(self.folder / f"{name}_span")
        digest = json.loads((self.folder / f"{name}_span" / "zarr.json").read_text())["attributes"]["digest"]
        head = f"{self.attributes['identity']['corpus_fingerprint']}\0{name}\0{len(span)}\0".encode("ascii")
        assert hashlib.sha256(head + span.tobytes() + data.tobytes()).hexdigest() == digest
        return [data.tobytes()[start:stop].decode() for start, stop in span]

    def source_row(self) -> np.ndarray:
        return small_array(self.folder / "source_row")


def results(group: Path) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Arrays of a group of results, and its records, all checked."""
    found = attributes(group, OF_RESULTS)
    assert group.name == f"{found['estimator']['name']}-{sha256(found['estimator'])[:12]}"
    arrays = {name: small_array(group / name) for name in found["checksums"]}
    for name, values in arrays.items():
        shape = "(" + ", ".join(map(str, values.shape)) + ("," if values.ndim == 1 else "") + ")"
        assert google_crc32c.value(shape.encode() + values.tobytes()) in found["checksums"][name], name
    records = [json.loads(path.read_text()) for path in sorted((group / "position/records").iterdir())]
    for record in records:
        assert sha256({name: value for name, value in record.items() if name != "digest"}) == record["digest"]
        assert record["activations_digest"] == found["activations_digest"]
    return arrays, records


# ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["float16", "bfloat16", "float32"])
def made(request, tmp_path):
    from made_store import make

    labels = {"kind": np.array(["é x", "b"] * 10 + ["\U0001f600"]), "weight": np.arange(21) / 7}
    return make(tmp_path / "store", dtype=request.param, labels=labels).write()


def test_a_reader_written_from_the_page_agrees_with_ours(made):
    from ie_store import open_store

    ours, theirs = open_store(made.store, made.name), Dataset(Path(made.path))
    for layer in range(3):
        np.testing.assert_array_equal(theirs.slab("micro", layer), ours.micro.sel(layer=layer).values)
        for position in range(3):
            np.testing.assert_array_equal(
                theirs.slab("macro", layer, position), ours.macro.sel(layer=layer, position=position).values
            )
    token, token_id = (small_array(Path(made.path) / name) for name in ("token", "token_id"))
    np.testing.assert_array_equal(token_id, ours.token_id.values)
    joined = theirs.slab("micro", 1)[np.searchsorted(token, token_id[:, 2])]
    np.testing.assert_array_equal(joined, ours.micro_state.sel(layer=1, position=2).values)
    assert theirs.label("kind").tolist() == ours.kind.values.tolist()
    np.testing.assert_array_equal(theirs.label("weight"), ours.weight.values)


def test_texts_follow_from_the_page(tmp_path):
    from made_store import make

    from ie_store.texts import CorpusTexts, make_texts, shared_texts

    words, sentences = [" é", "b", "", "\U0001f600", "c c", "\n", "g"], ["one.", "zwei é"]
    texts = CorpusTexts(token=make_texts(words), source=shared_texts(sentences, np.arange(21) % 2))
    theirs = Dataset(Path(make(tmp_path / "store", texts=texts).write().path))
    assert theirs.texts("token_text") == words
    assert theirs.texts("source_text") == ["one.", "zwei é"] * 10 + ["one."]


def test_digests_and_fingerprint_follow_from_the_page(made):
    from ie_store.specs import digest

    theirs = Dataset(Path(made.path))
    assert theirs.identity == digest(made.identity)
    assert theirs.fingerprint() == theirs.attributes["identity"]["corpus_fingerprint"]
    root = Path(made.store)
    for group in (root, root / "model"):
        attributes(group, OF_GROUP)
    attributes(Path(made.path) / "ledger", ("sessions",))


def test_chunks_of_both_forms_are_read(tmp_path):
    from made_store import make

    made = make(tmp_path / "store", rows=300, hidden=64, size=64).write()
    whole = Dataset(Path(made.path))
    flags = set()
    for place in (Path(made.path) / "macro").rglob("c/0/0/*/0"):
        file = place.read_bytes()
        for offset, _ in struct.iter_unpack("<QQ", file[-16 * 9 - 4 : -4]):
            assert offset % 64 == 0
            flags.add(bool(file[offset + 2] & 2))
    rng = np.random.default_rng(0)
    made = make(tmp_path / "other", rows=64, hidden=64, size=64)
    made.states["macro"] = rng.standard_normal(made.states["macro"].shape).astype(np.float16)
    loose = Dataset(Path(made.write().path))
    flags |= {bool(place.read_bytes()[2] & 2) for place in (Path(made.path) / "macro").rglob("c/0/0/*/0")}
    assert flags == {True, False}
    np.testing.assert_array_equal(loose.slab("macro", 1, 2), made.states["macro"][1, 2])
    assert whole.slab("macro", 0, 0).shape == (300, 64)


def test_the_reader_sees_a_flipped_bit_that_plain_zarr_shows_as_data(tmp_path):
    import xarray as xr
    from made_store import make

    made = make(tmp_path / "store", rows=64, hidden=64, size=64)
    made.states["macro"] = np.random.default_rng(0).standard_normal(made.states["macro"].shape).astype(np.float16)
    place = Path(made.write().path) / "macro/c/0/0/0/0"
    raw = bytearray(place.read_bytes())
    raw[16 + 100] ^= 1
    place.write_bytes(raw)
    with pytest.raises(ValueError, match="not what the ledger says"):
        Dataset(Path(made.path)).slab("macro", 0, 0)
    plain = xr.open_zarr(made.path, consolidated=False).macro[0, 0].values
    assert (plain != made.states["macro"][0, 0]).sum() == 1


def test_results_and_records_follow_from_the_page(tmp_path):
    from made_store import make

    from ie_store.store.dataset.handle import open_dataset
    from ie_store.store.results.records import Record
    from ie_store.store.results.writer import open_results
    from ie_store.variables import Variable, piece

    made = make(tmp_path / "store").write()
    variable = Variable(name="norm", dimensions=("layer", "position"), long_name="norm", units="1", lineage="macro states")
    dataset = open_dataset(made.store, made.name)
    group = open_results(dataset, {"name": "norm", "of": [1.5, 1e-7, 1e22, 0.1, -2.0]})
    with group.hold_run():
        group.commit(Record(item="a", session={"é": 1}, flags={}, pieces=(piece(variable, ((0, 2), (1,)), [2.5, -1e-9]),)))
        group.assemble()
    arrays, records = results(Path(made.store) / group.key)
    (stored,) = records[0]["pieces"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(stored["data"]), "<f8"), [2.5, -1e-9])
    np.testing.assert_array_equal(arrays["norm"][np.ix_(*stored["index"])].ravel(), [2.5, -1e-9])
    assert np.isnan(arrays["norm"]).sum() == 7


@pytest.mark.parametrize(
    "value", [0.1, 1.0, -2.5, 1e15, 1e16, 123456789012345678.0, 1e-4, 1.5e-5, 5e-324, 1.7976931348623157e308]
)
def test_canonical_json_as_the_page_lays_it_out_is_pythons(value):
    assert canonical({"b": [value, None, True, 3], "a\n": 'é"😀'}) == json.dumps(
        {"b": [value, None, True, 3], "a\n": 'é"😀'}, sort_keys=True, separators=(",", ":")
    )


def test_the_page_lists_the_attributes_that_are_digested():
    page = (Path(__file__).parents[2] / "docs/store.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[2] for line in page.splitlines() if line.startswith("| ")}
    listed = {name: tuple(re.findall(r"`(\w+)`", cell)) for name, cell in rows.items()}
    assert listed["store, MODEL, `estimates`"] == OF_GROUP
    assert listed["dataset"] == OF_DATASET
    assert listed["results"] == OF_RESULTS
    assert listed["`ledger`"] == ("sessions",)
