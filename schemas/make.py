"""The published contract of the store, as JSON Schema 2020-12, made from the code's own dataclasses.

    python schemas/make.py [FOLDER]     writes *.schema.json beside this file, or into FOLDER

A test fails where the published ones differ from what the code makes.

A dataclass becomes an object whose fields are all required and which allows no others; the docstring under a field becomes its
description. The dataclasses below are what ``show --json`` prints; those of groups stand in ``store/format/attributes.py``.
"""

import ast
import inspect
import json
import re
import sys
import types
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from ie_store.estimators import ESTIMATORS, NAMES, Estimator
from ie_store.profiles import PROFILES, Profile
from ie_store.specs import MIEstimate, Outcome, StoreLayout
from ie_store.store.format.arrays import coordinate_values, state_template
from ie_store.store.format.attributes import Attributes, DatasetAttributes, GroupAttributes, LedgerAttributes, ResultsAttributes
from ie_store.store.results.own_variables import OwnVariable
from ie_store.texts import CorpusTexts, make_texts

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ShownEstimate:
    """One Information Emergence in ``ie-store show --json``; null stands where a value is unknown or infinite."""

    estimator: str
    block: int
    position: int
    ie_nats: float | None
    interval_nats: tuple[float | None, float | None]
    standard_error_nats: float | None
    macro_nats: float | None
    micro_nats: float | None
    ceiling_nats: float | None
    outcome: Outcome
    ceiling_population_nats: float | None
    macro_interval_nats: tuple[float | None, float | None]
    macro_ceiling_nats: float | None
    macro_outcome: Outcome
    flags: tuple[str, ...]
    curve_nats: tuple[tuple[float | None, float | None], ...]
    """noise: certified interval at each of the estimator's sigmas."""
    options: dict[str, Any]
    results: str
    """Name of the group of results."""


@dataclass(frozen=True, kw_only=True)
class ToldApart:
    """How many pairs of blocks with the same exact value a reading tells apart at a position."""

    estimator: str
    results: str
    """Name of the group of results."""
    position: int
    pairs: int
    apart: int
    """Pairs whose intervals do not overlap, and whose values differ by at least 0.01 bit."""
    share: float | None
    """``apart`` of ``pairs``; null where there are none."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What ``ie-store show --json`` prints."""

    model: str
    corpus: str
    weights: str
    """``stored weights``, or ``random weights, seed 0``."""
    estimates: tuple[ShownEstimate, ...]
    told_apart: tuple[ToldApart, ...]
    derived: tuple[OwnVariable, ...]
    """Variables of a user's own."""


@dataclass(frozen=True, kw_only=True)
class ShownDifference:
    """Macro information of two datasets by the same results at the same block and position."""

    estimator: str
    block: int
    position: int
    options: dict[str, Any]
    results: str
    """Name of the group of results, the same in both."""
    macro_nats: float | None
    macro_interval_nats: tuple[float | None, float | None]
    macro_outcome: Outcome
    macro_ceiling_nats: float | None
    against_nats: float | None
    against_interval_nats: tuple[float | None, float | None]
    against_outcome: Outcome
    against_ceiling_nats: float | None
    difference_nats: float | None
    """The former minus the latter; null where an outcome does not let a value be read as it is."""
    difference_interval_nats: tuple[float, float] | None
    """Low minus high to high minus low."""
    difference_error: float | None
    """Probability that this interval misses, at most: that of the two intervals together."""
    apart: bool
    """True where the intervals do not overlap, and the values differ by at least 0.01 bit."""


@dataclass(frozen=True, kw_only=True)
class ShownAlone:
    """What one of two datasets has and the other has not."""

    name: str
    """MODEL/CORPUS that has it."""
    estimator: str
    options: dict[str, Any]
    results: str
    num_values: int
    """Blocks and positions at which the other has none."""


@dataclass(frozen=True, kw_only=True)
class ShownAgainst:
    """What ``ie-store show --against --json`` prints."""

    name: str
    against: str
    weights: str
    against_weights: str
    corpus_fingerprint: str
    estimates: tuple[ShownDifference, ...]
    alone: tuple[ShownAlone, ...]


CONTRACTS: dict[str, type] = {
    "group": GroupAttributes,
    "dataset": DatasetAttributes,
    "ledger": LedgerAttributes,
    "results": ResultsAttributes,
    "show": Shown,
    "against": ShownAgainst,
    "mi-estimate": MIEstimate,
}
OPEN = {ShownEstimate: {"^macro_(?!interval_nats$|outcome$)": {"type": ["number", "null"]}}}
"""Classes that are written with further fields, by pattern of their names: every number that an estimate carries, for one."""
SEALED: dict[str, Schema] = {
    "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of the canonical JSON of the other fields."}
}
"""What every group of ours carries besides its attributes."""
LIMITS: dict[str, Schema] = {
    r".*digest|(corpus_)?fingerprint": {"pattern": "^[0-9a-f]{64}$"},
    r"num_(layers|positions|sequences|tokens|blocks)|hidden_size|vocab_size|.*_per_.*|rows": {"minimum": 1},
    r"block|position|standard_error_nats|pairs": {"minimum": 0},
}
"""What holds for the value of a field besides its type, by the field's name."""


def schema_of(hint: Any, definitions: dict[str, Schema]) -> Schema:
    """Schema of a type hint; dataclasses are entered in ``definitions`` and referred to."""
    plain = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if hint in plain:
        return {"type": plain[hint]}
    if is_dataclass(hint):
        name = getattr(hint, "__name__", "")
        if name not in definitions:
            definitions[name] = object_schema(hint, definitions)
        return {"$ref": f"#/$defs/{name}"}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (types.UnionType, Union):
        return _union([schema_of(argument, definitions) for argument in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": schema_of(arguments[0], definitions)}
    if origin is tuple:
        items = [schema_of(argument, definitions) for argument in arguments]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], definitions)}
    raise TypeError(f"no schema for {hint}")


def _union(members: list[Schema]) -> Schema:
    if all(list(member) == ["type"] for member in members):
        return {"type": [member["type"] for member in members]}
    return {"anyOf": members}


def object_schema(model: Any, definitions: dict[str, Schema]) -> Schema:
    """Schema of a dataclass in its `asdict` form."""
    hints, notes = get_type_hints(model), _field_notes(model)
    properties: dict[str, Schema] = {}
    for field in fields(model):
        limits = [limit for name, limit in LIMITS.items() if re.fullmatch(name, field.name)]
        note = notes.get(field.name) or field.metadata.get("help")
        properties[field.name] = _of_table(model, field.name, definitions) or schema_of(hints[field.name], definitions)
        for extra in (*limits, *([{"description": note}] if note else [])):
            properties[field.name] |= extra
    if model in get_args(Attributes):
        properties |= SEALED
    further = {"patternProperties": OPEN[model]} if model in OPEN else {}
    return {
        "description": inspect.cleandoc(model.__doc__),
        "type": "object",
        "properties": properties,
        **further,
        "required": list(properties),
        "additionalProperties": False,
    }


def _of_table(model: Any, field: str, definitions: dict[str, Schema]) -> Schema | None:
    """Schema of what a table of methods says: a name in it, or the identity of one of its rows; None for other fields."""
    if (model, field) in ((ShownEstimate, "estimator"), (MIEstimate, "estimator")):
        return {"enum": list(NAMES)}
    if (model, field) == (ShownEstimate, "options"):
        return {"oneOf": [_identity_schema(row, definitions) for row in ESTIMATORS]}
    if (model, field) == (ResultsAttributes, "estimator"):
        return {"oneOf": [_identity_schema(row, definitions) for row in (*ESTIMATORS, *PROFILES)]}
    return None


def _identity_schema(row: Estimator | Profile, definitions: dict[str, Schema]) -> Schema:
    options = object_schema(row.options, definitions)
    properties = {"name": {"const": row.name}, "version": {"const": row.version}} | options["properties"]
    return options | {"description": row.summary, "properties": properties, "required": list(properties)}


def _field_notes(model: type) -> dict[str, str]:
    """Docstrings under the fields of a class, by field."""
    definition = ast.parse(inspect.getsource(model)).body[0]
    notes = {}
    for field, note in pairwise(getattr(definition, "body", [])):
        match field, note:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                notes[name] = inspect.cleandoc(text)
    return notes


def arrays_schema() -> Schema:
    """Schema of an object that holds the ``zarr.json`` of each of a dataset's arrays, by name."""
    documents: dict[str, list[Schema]] = {}
    for dtype in ("float16", "float32", "bfloat16"):
        sizes = dict.fromkeys(("num_layers", "num_positions", "num_sequences", "num_tokens", "hidden_size"), 1)
        cuts = dict.fromkeys(("rows_per_shard", "tokens_per_shard", "shards_per_group", "rows_per_batch"), 1)
        layout = StoreLayout(**sizes, **cuts, stored_dtype=dtype, layers=(0,), positions=(0,))
        texts = CorpusTexts(token=make_texts(["a"]), source=make_texts(["a"]))
        coordinates = coordinate_values(layout, np.zeros((1, 1), dtype=np.int32), np.zeros(1, dtype=np.int64), {}, texts)
        for template in (*(found for found, _ in coordinates.values()), *(state_template(layout, x) for x in ("macro", "micro"))):
            documents.setdefault(template.name, []).append(template.document())
    states = [name for name in documents if name.startswith(("macro", "micro"))]
    plain = [name for name in states if not name.endswith("bits")]
    optional = [name for name in documents if "_text_" in name]
    return {
        "description": "The zarr.json of each array of a dataset, by name; labels may stand beside them, texts be missing.",
        "type": "object",
        "properties": {name: _array_schema(found) for name, found in documents.items()},
        "required": sorted(documents.keys() - {*states, *optional}),
        "oneOf": [{"required": plain}, {"required": [name for name in states if name not in plain]}],
    }


def _array_schema(documents: list[Schema]) -> Schema:
    same = {name: {"const": documents[0][name]} for name in ("zarr_format", "node_type", "dimension_names", "chunk_key_encoding")}
    dtypes = {"data_type": {"enum": list(dict.fromkeys(document["data_type"] for document in documents))}}
    axes = len(documents[0]["shape"])
    shape = {"shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": axes, "maxItems": axes}}
    return {"type": "object", "properties": {**same, **dtypes, **shape}, "required": [*same, *dtypes, *shape]}


def make_schemas() -> dict[str, Schema]:
    """Every published schema by file name."""
    made: dict[str, Schema] = {}
    for name, model in CONTRACTS.items():
        definitions: dict[str, Schema] = {}
        made[f"{name}.schema.json"] = {**object_schema(model, definitions), "$defs": definitions}
    made["arrays.schema.json"] = arrays_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: {**head, "$id": name, "title": f"ie-store {name.split('.')[0]}", **body} for name, body in made.items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, schema in make_schemas().items():
        (folder / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
