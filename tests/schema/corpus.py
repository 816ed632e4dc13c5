"""Good and bad VisionModel specs for the differential suite: pydantic and the API server must agree on each.

Cases for bounds, enums, types, defaults and required fields are made from the schema itself, so that a new field
cannot be forgotten; what cannot be derived (patterns, CEL rules) stands in tables that a test checks for gaps.
"""

import copy
import itertools
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from schema.rules import RULES
from schema.specs import (
    BLUE_GREEN,
    CLASSIFIER,
    ENGINES,
    FULL,
    MINIMAL,
    Json,
    Path,
    edited,
    spec_schema,
    value_at,
    without,
)
from visionmodel_operator.api.base import DURATION_PATTERN, QUANTITY_PATTERN
from visionmodel_operator.api.spec import URI_PATTERN
from visionmodel_operator.api.steps import HEADER_NAME_PATTERN, HEADER_VALUE_PATTERN


@dataclass(frozen=True)
class Case:
    """One spec with the verdict that it must get; None where only agreement is asked for."""

    name: str
    spec: Json
    accepted: bool | None


@dataclass(frozen=True)
class Node:
    """One place of the schema and where a base has it."""

    path: Path
    schema: Json
    required: bool = True
    base: Json = field(default_factory=lambda: FULL)


BASES = (FULL, CLASSIFIER, ENGINES, BLUE_GREEN)
"""The first one that has a field is where it is varied."""


def nodes() -> Iterator[Node]:
    """Every node of the spec's schema below the root, located in a base; KeyError when all lack one."""
    yield from _children((), spec_schema())


def _children(path: Path, schema: Json) -> Iterator[Node]:
    for name, child in schema.get("properties", {}).items():
        yield from _located(Node((*path, name), child, name in schema.get("required", ())))
    if "additionalProperties" in schema:
        key = next(iter(value_at(path)))
        yield from _located(Node((*path, key), schema["additionalProperties"]))
    if "items" in schema:
        item = schema["items"]
        base = _base_of((*path, 0))
        yield Node((*path, 0), item, base=base)
        for name, child in item.get("properties", {}).items():
            index = next((i for i, entry in enumerate(value_at(path, base)) if name in entry), None)
            if index is None:
                raise KeyError(f"no base has {'.'.join(map(str, path))}[].{name}")
            yield from _located(Node((*path, index, name), child, name in item.get("required", ())))


def _located(node: Node) -> Iterator[Node]:
    yield replace(node, base=_base_of(node.path))
    yield from _children(node.path, node.schema)


def _base_of(path: Path) -> Json:
    base = next((base for base in BASES if _has(base, path)), None)
    if base is None:
        raise KeyError(f"no base has {'.'.join(map(str, path))}")
    return base


def _has(base: Json, path: Path) -> bool:
    try:
        value_at(path, base)
    except (KeyError, IndexError):
        return False
    return True


WRONG_TYPES: dict[str, tuple[Json, ...]] = {
    "string": (7, True, [], {}),
    "integer": ("7", 1.5, True, [], {}),
    "number": ("7", True, [], {}),
    "boolean": ("true", 0, 1, [], {}),
    "array": ("x", {}, 1),
    "object": ("x", [], 1),
}

LongText = Callable[[int], str]


@dataclass(frozen=True)
class PatternSamples:
    """What a pattern must accept and refuse, and a text of any length that it accepts (if it has such)."""

    good: tuple[str, ...]
    bad: tuple[str, ...]
    long: LongText | None = None


PATTERNS: dict[str, PatternSamples] = {
    DURATION_PATTERN: PatternSamples(
        ("30s", "1h30m", "500ms", "1500us", "999999h", "2.5s", "0001s", "1m1m"),
        ("", "30", "s", "-5s", "5 m", "1d", "PT30S", "1.5", ".5s", "5S", "1s\n", "1_000s", "1234567s", "１s", "1ns"),
        lambda length: "1h" * (length // 2) if length % 2 == 0 else "1ms" + "1h" * ((length - 3) // 2),
    ),
    HEADER_NAME_PATTERN: PatternSamples(
        ("x-canary", "X-Canary", "X1"),
        ("", "-x", "x-", "x canary", "x_canary", "x:", "x-canary\n", "x-canäry"),
        lambda length: "x" * length,
    ),
    HEADER_VALUE_PATTERN: PatternSamples(
        ("1", "a=b;c", "!~"), ("", "a b", " a", "a\n", "ä", "\x7f"), lambda length: "~" * length
    ),
    QUANTITY_PATTERN: PatternSamples(
        ("1", "500m", "0.5", "2Gi", "100k"),
        ("", "1 Gi", "-1", "1gi", "1e3", "Gi", "1.", ".5", "1Gi\n", "1" * 13),
    ),
    URI_PATTERN: PatternSamples(
        (
            "s3://b/k",
            "gs://b/k",
            "abfs://container@account.dfs.core.windows.net/a/m.onnx",
            "https://host:8443/a%20b?x=1#y",
            "hf://org/repo@refs%2Fpr%2F1/a/m.onnx",
            "hf://datasets/org/repo/eval.npz",
            "oci://registry:5000/models/shapes:v1@sha256:0123#models/m.onnx",
            "pvc://claim/m.onnx",
            "mlflow://my%20model/@champion",
        ),
        (
            "",
            "s3://b",
            "s3://b/",
            "http://h/m",
            "abfs://container/m.onnx",
            "abfss://container@account.dfs.core.windows.net/m.onnx",
            "abfs://user:secret@container@account.dfs.core.windows.net/m.onnx",
            "https://user:secret@host/m",
            "s3://key:secret@b/k",
            "oci://user:secret@host/repo:v1",
            "az://b/k",
            "file:///etc/passwd",
            "mlflow://model",
            "s3:///k",
            "s3://b/a b",
            "s3://b/ä",
            "S3://b/k",
            " s3://b/k",
        ),
        lambda length: "s3://b/" + "k" * (length - 7),
    ),
    r"^sha256:[0-9a-f]{64}$": PatternSamples(
        ("sha256:" + "f" * 64,), ("sha256:" + "F" * 64, "sha256:" + "f" * 63, "f" * 64, "sha512:" + "f" * 64)
    ),
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": PatternSamples(
        ("a", "0a", "a-b.c"), ("", "-a", "a-", "A", "a_b", "a b", "ä"), lambda length: "a" * length
    ),
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": PatternSamples(
        ("a", "0a", "a-b"), ("", "-a", "a-", "A", "a.b"), lambda length: "a" * length
    ),
    r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$": PatternSamples(
        ("nvidia.com/gpu", "nvidia.com/mig-1g.5gb"),
        ("", "gpu", "nvidia.com/", "/gpu", "NVIDIA/gpu", "a/b/c"),
        lambda length: "a/" + "b" * (length - 2),
    ),
    r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$": PatternSamples(
        ("NVIDIA-L4", "A"), ("", "-A", "A-", "NVIDIA L4"), lambda length: "A" * length
    ),
    r"^[0-9]{2}\.[0-9]{2}$": PatternSamples(("26.07",), ("26.7", "2607", "26.071", "26.07.1", "", "２６.07")),
    r"^[A-Za-z_][A-Za-z0-9_]*$": PatternSamples(
        ("A", "_a1"), ("", "1A", "A-B", "A B", "A="), lambda length: "A" * length
    ),
    r"^[a-z]([-a-z0-9]*[a-z0-9])?$": PatternSamples(
        ("a", "a-1"), ("", "1a", "a-", "A", "a.b"), lambda length: "a" * length
    ),
}


RULED_DEFAULTS = ("conversion.precision", "conversion.gates", "conversion.gates.parity")
"""Defaults that do not go with what else FULL asks for: its candidates need precision Auto, its pruning goals."""
RULED_BOUNDS = (
    "conversion.batch.opt",
    "conversion.batch.max",
    "conversion.dynamicShapes.0.min",
    "conversion.dynamicShapes.0.opt",
    "conversion.dynamicShapes.0.max",
)
"""Numbers that a rule compares with each other or with serving.batching.maxBatchSize; rules have cases of their own."""


def generated_cases() -> list[Case]:
    """Return the cases that follow from the schema."""
    whole = {"minimal": MINIMAL, "full": FULL, "classifier": CLASSIFIER, "engines": ENGINES, "blue-green": BLUE_GREEN}
    cases = [Case(name, spec, True) for name, spec in whole.items()]
    for node in nodes():
        where = ".".join(map(str, node.path))
        for name, value, ok in _values(node):
            accepted = None if ok and where in RULED_BOUNDS else ok
            cases.append(Case(f"{where}:{name}", edited(node.path, value, node.base), accepted))
        cases += _presence(node, where)
    return cases


def _presence(node: Node, where: str) -> Iterator[Case]:
    if isinstance(node.path[-1], int):
        yield Case(f"{where}:null entry", edited(node.path, None, node.base), False)
        return
    yield Case(f"{where}:null", edited(node.path, None, node.base), None)
    yield Case(f"{where}:absent", without(node.path, node.base), None)
    if "default" in node.schema:
        ok = None if where in RULED_DEFAULTS else True
        yield Case(f"{where}:default", edited(node.path, node.schema["default"], node.base), ok)
    if "properties" in node.schema:
        yield Case(f"{where}:unknown field", edited((*node.path, "notAField"), 1, node.base), True)
        yield Case(f"{where}:snake case", edited((*node.path, "not_a_field"), 1, node.base), True)


Value = tuple[str, Json, bool | None]


def _values(node: Node) -> Iterator[Value]:
    schema = node.schema
    for wrong in WRONG_TYPES[schema["type"]]:
        yield f"wrong type {wrong!r}", wrong, False
    match schema["type"]:
        case "string":
            yield from _strings(schema)
        case "integer" | "number":
            yield from _numbers(schema)
        case "array":
            yield from _lists(schema, value_at(node.path, _base_of((*node.path, 0))))
        case "object" if "maxProperties" in schema:
            sample = next(iter(value_at(node.path, node.base).values()))
            for count in (0, schema["maxProperties"], schema["maxProperties"] + 1):
                yield f"{count} keys", {f"k{i}": sample for i in range(count)}, count <= schema["maxProperties"]


def _strings(schema: Json) -> Iterator[Value]:
    if "enum" in schema:
        for value in schema["enum"]:
            yield f"enum {value}", value, None
        for value in ("Bogus", "", schema["enum"][0] + " ", schema["enum"][0].swapcase()):
            if value not in schema["enum"]:  # one without letters has no case to swap
                yield f"not in enum {value!r}", value, False
        return
    limit = schema["maxLength"]
    if "pattern" in schema:
        samples = PATTERNS[schema["pattern"]]
        ruled = "x-kubernetes-validations" in schema  # the rule may refuse what the pattern accepts
        for value in samples.good:
            yield f"matches {value!r}", value, None if ruled else True
        for value in samples.bad:
            yield f"does not match {value!r}", value, False
        long = samples.long
    else:
        long = _printable
        yield "not ASCII, counted in characters", "ü" * limit, True
        yield "not ASCII, one character too long", "😀" * (limit + 1), False
        yield "empty", "", schema.get("minLength", 0) == 0
    if long is not None:
        yield "longest", long(limit), True
        yield "too long", long(limit + 1), False


def _printable(length: int) -> str:
    return (string.ascii_letters * (length // 52 + 1))[:length]


def _numbers(schema: Json) -> Iterator[Value]:
    step = 1 if schema["type"] == "integer" else 1e-3
    if schema["type"] == "integer":
        yield "integral float", float(schema.get("maximum", 3)), None
        yield "beyond 64 bits", 2**70, False
    else:
        yield "integer", 1, None
        yield "huge", 1e300, None
    for bound, outward in (("minimum", -step), ("maximum", step)):
        if bound in schema:
            exclusive = schema.get(f"exclusive{bound.capitalize()}", False)
            yield bound, schema[bound], not exclusive
            yield f"beyond {bound}", schema[bound] + outward, False
            yield f"inside {bound}", schema[bound] - outward, True


def _lists(schema: Json, sample: list[Json]) -> Iterator[Value]:
    limit, least = schema["maxItems"], schema.get("minItems", 0)
    keyed, is_set = (schema["x-kubernetes-list-type"] == kind for kind in ("map", "set"))
    names = schema["items"].get("enum", [])
    protocols = schema["items"].get("properties", {}).get("protocol", {}).get("enum", [])
    distinct = keyed or any("exists_one" in rule["rule"] for rule in schema.get("x-kubernetes-validations", ()))
    for count in sorted({0, max(0, least - 1), least, limit, limit + 1}):
        items = [copy.deepcopy(sample[0]) for _ in range(count)]
        if distinct:
            key = "name" if "name" in sample[0] else "input"
            items = [item | {key: f"{item[key]}{i}"} for i, item in enumerate(items)]
        if protocols:
            turns = itertools.cycle(protocols)
            items = [item | {"name": f"gw{i}", "protocol": next(turns)} for i, item in enumerate(items)]
        if is_set:
            items = [*names, *sample][:count]
        yield f"{count} entries", items, least <= count <= limit
    if keyed or is_set:
        yield "duplicate key", [sample[0], sample[0]], False


def rule_cases() -> list[Case]:
    """Return the cases around the CEL rules."""
    return [
        Case(f"{message}:{name}", spec, accepted)
        for message, cases in RULES.items()
        for accepted, specs in ((True, cases.accepted), (False, cases.refused))
        for name, spec in specs.items()
    ]


def rule_messages(schema: Json) -> set[str]:
    """Return the messages of every CEL rule below a schema node."""
    found = {rule["message"] for rule in schema.get("x-kubernetes-validations", ())}
    children = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return found.union(*(rule_messages(child) for child in children if child))


def all_cases() -> list[Case]:
    """Return the whole corpus; names are unique."""
    return generated_cases() + rule_cases()
