"""Good and bad VisionModel specs for the differential suite: pydantic and the API server must agree on each.

Cases for bounds, enums, types, defaults and required fields are made from the schema itself, so that a new field
cannot be forgotten; what cannot be derived (patterns, CEL rules) stands in tables that a test checks for gaps.
"""

import copy
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from visionmodel_operator.api.base import DURATION_PATTERN, QUANTITY_PATTERN
from visionmodel_operator.api.crd import object_schema
from visionmodel_operator.api.spec import URI_PATTERN

Json = Any
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Case:
    """One spec with the verdict that it must get; None where only agreement is asked for."""

    name: str
    spec: Json
    accepted: bool | None


MINIMAL: Json = {"model": {"storageUri": "s3://models/shapes/7/model.onnx"}, "task": {"type": "Tensor"}}

FULL: Json = {
    "model": {
        "storageUri": "s3://models/shapes/7/model.onnx",
        "modelFormat": {"name": "onnx"},
        "digest": "sha256:" + "0a" * 32,
        "secretRef": {"name": "models-s3"},
    },
    "task": {"type": "Tensor"},
    "conversion": {
        "backend": "ONNXRuntime",
        "precision": "fp32",
        "simplify": False,
        "gates": {
            "parity": {
                "datasetUri": "s3://data/holdout.npz",
                "metrics": [{"name": "top1", "goal": "max-degradation", "value": 0.01}],
            }
        },
        "deadline": "30m",
        "autoApply": True,
    },
    "accelerators": [
        {
            "resourceName": "nvidia.com/gpu",
            "count": 2,
            "product": "NVIDIA-L4",
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}],
        }
    ],
    "serving": {
        "runtimeVersion": "26.07",
        "replicas": 2,
        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
        "batching": {
            "maxBatchSize": 16,
            "preferredBatchSizes": [4, 8],
            "maxQueueDelay": "1ms",
            "maxQueueSize": 64,
            "queueTimeout": "1s",
        },
        "instances": 2,
        "warmup": False,
        "pod": {
            "labels": {"team": "vision"},
            "annotations": {"note": "hello"},
            "priorityClassName": "serving",
            "runtimeClassName": "nvidia",
            "imagePullSecrets": [{"name": "pull"}],
            "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
        },
    },
    "traffic": {
        "gatewayRefs": [
            {
                "name": "vision",
                "namespace": "gateways",
                "sectionName": "http",
                "protocol": "HTTP",
                "hostnames": ["models.example"],
            }
        ],
        "requestTimeout": "5s",
    },
    "rollout": {
        "strategy": "Canary",
        "steps": [{"setWeight": 12.5}, {"pause": {"duration": "1m"}}],
        "paused": True,
        "drain": "10s",
        "drainMax": "1m",
        "routeTimeout": "20s",
        "analysis": {
            "interval": "5s",
            "falseRollbackRate": 0.05,
            "minSamples": 50,
            "warmup": "10s",
            "metricsGrace": "1m",
            "metricsDeadline": "10m",
            "maxStepDuration": "20m",
            "onInconclusive": "Abort",
            "onMissingMetrics": "Abort",
            "maxRestarts": 1,
            "metrics": [
                {
                    "name": "errors",
                    "type": "ErrorRate",
                    "gating": True,
                    "tolerateRatio": 1.5,
                    "sloMax": 0.02,
                    "failureLimit": 2,
                },
                {"name": "latency", "type": "LatencyRatio", "quantile": 0.95, "maxRatio": 2.5, "floor": "5ms"},
                {
                    "name": "brightness",
                    "type": "Threshold",
                    "query": "avg(brightness)",
                    "thresholdRange": {"min": 0, "max": 255.5},
                },
            ],
        },
    },
    "suspend": False,
    "revisionHistoryLimit": 3,
    "progressDeadlineSeconds": 300,
}
"""Every field that a user may set, at least once."""


def edited(path: Path, value: Json, base: Json = FULL) -> Json:
    """Return a copy of `base` with `value` at `path`."""
    document = copy.deepcopy(base)
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return document


def without(path: Path, base: Json = FULL) -> Json:
    """Return a copy of `base` without the field at `path`."""
    document = copy.deepcopy(base)
    target = document
    for step in path[:-1]:
        target = target[step]
    del target[path[-1]]
    return document


def value_at(path: Path, base: Json = FULL) -> Json:
    """Return what stands at `path`."""
    for step in path:
        base = base[step]
    return base


def spec_schema() -> Json:
    """Return the schema of the spec."""
    return object_schema()["properties"]["spec"]


@dataclass(frozen=True)
class Node:
    """One place of the schema and where FULL has it."""

    path: Path
    schema: Json
    required: bool = True


def nodes() -> Iterator[Node]:
    """Every node of the spec's schema below the root, located in FULL; KeyError when FULL lacks one."""
    yield from _children((), spec_schema())


def _children(path: Path, schema: Json) -> Iterator[Node]:
    for name, child in schema.get("properties", {}).items():
        yield from _located(Node((*path, name), child, name in schema.get("required", ())))
    if "additionalProperties" in schema:
        key = next(iter(value_at(path)))
        yield from _located(Node((*path, key), schema["additionalProperties"]))
    if "items" in schema:
        item = schema["items"]
        yield Node((*path, 0), item)
        for name, child in item.get("properties", {}).items():
            index = next((i for i, entry in enumerate(value_at(path)) if name in entry), None)
            if index is None:
                raise KeyError(f"FULL has no {'.'.join(map(str, path))}[].{name}")
            yield from _located(Node((*path, index, name), child, name in item.get("required", ())))


def _located(node: Node) -> Iterator[Node]:
    try:
        value_at(node.path)
    except (KeyError, IndexError) as error:
        raise KeyError(f"FULL has no {'.'.join(map(str, node.path))}") from error
    yield node
    yield from _children(node.path, node.schema)


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
    QUANTITY_PATTERN: PatternSamples(
        ("1", "500m", "0.5", "2Gi", "100k"),
        ("", "1 Gi", "-1", "1gi", "1e3", "Gi", "1.", ".5", "1Gi\n", "1" * 13),
    ),
    URI_PATTERN: PatternSamples(
        ("s3://b/k", "https://host:8443/a%20b?x=1#y", "pvc://claim/m.onnx"),
        (
            "",
            "s3://b",
            "s3://b/",
            "http://h/m",
            "gs://b/k",
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


def generated_cases() -> list[Case]:
    """Return the cases that follow from the schema."""
    cases = [Case("minimal", MINIMAL, True), Case("full", FULL, True)]
    for node in nodes():
        where = ".".join(map(str, node.path))
        cases += [Case(f"{where}:{name}", edited(node.path, value), ok) for name, value, ok in _values(node)]
        cases += _presence(node, where)
    return cases


def _presence(node: Node, where: str) -> Iterator[Case]:
    if isinstance(node.path[-1], int):
        yield Case(f"{where}:null entry", edited(node.path, None), False)
        return
    yield Case(f"{where}:null", edited(node.path, None), None)
    yield Case(f"{where}:absent", without(node.path), None)
    if "default" in node.schema:
        yield Case(f"{where}:default", edited(node.path, node.schema["default"]), True)
    if "properties" in node.schema:
        yield Case(f"{where}:unknown field", edited((*node.path, "notAField"), 1), True)
        yield Case(f"{where}:snake case", edited((*node.path, "not_a_field"), 1), True)


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
            yield from _lists(schema, value_at(node.path))
        case "object" if "maxProperties" in schema:
            sample = next(iter(value_at(node.path).values()))
            for count in (0, schema["maxProperties"], schema["maxProperties"] + 1):
                yield f"{count} keys", {f"k{i}": sample for i in range(count)}, count <= schema["maxProperties"]


def _strings(schema: Json) -> Iterator[Value]:
    if "enum" in schema:
        for value in schema["enum"]:
            yield f"enum {value}", value, None
        for value in ("Bogus", "", schema["enum"][0] + " ", schema["enum"][0].swapcase()):
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
    limit = schema["maxItems"]
    keyed = schema["x-kubernetes-list-type"] == "map"
    for count in (0, limit, limit + 1):
        items = [copy.deepcopy(sample[0]) for _ in range(count)]
        if keyed:
            items = [item | {"name": f"{item['name']}{i}"} for i, item in enumerate(items)]
        yield f"{count} entries", items, count <= limit
    if keyed:
        yield "duplicate key", [sample[0], sample[0]], False


_METRIC = ("rollout", "analysis", "metrics", 0)
_RANGE = ("rollout", "analysis", "metrics", 2, "thresholdRange")
_ENV = ("serving", "pod", "env", 0, "name")
_STEP = ("rollout", "steps", 0)
_INTERVAL = ("rollout", "analysis", "interval")
_PARITY = ("conversion", "gates", "parity")


@dataclass(frozen=True)
class RuleCases:
    """Specs around one CEL rule, each with a name."""

    accepted: dict[str, Json]
    refused: dict[str, Json]


RULES: dict[str, RuleCases] = {
    "top1 and map50 need labelled data: set datasetUri": RuleCases(
        {
            "cosine without data": edited(
                _PARITY, {"metrics": [{"name": "cosine", "goal": "threshold", "value": 0.99}]}
            ),
            "no metrics": edited(_PARITY, {}),
            "map50 with data": edited((*_PARITY, "metrics", 0, "name"), "map50"),
        },
        {
            "top1 without data": without((*_PARITY, "datasetUri")),
            "map50 as the second": edited(
                _PARITY,
                {
                    "metrics": [
                        {"name": "cosine", "goal": "threshold", "value": 0.99},
                        {"name": "map50", "goal": "threshold", "value": 0.5},
                    ]
                },
            ),
        },
    ),
    "NVIDIA_*, CUDA_VISIBLE_DEVICES, LD_PRELOAD and LD_LIBRARY_PATH are the platform's to set": RuleCases(
        {"prefix elsewhere": edited(_ENV, "MY_NVIDIA_"), "lower case": edited(_ENV, "ld_preload")},
        {
            "any NVIDIA_": edited(_ENV, "NVIDIA_VISIBLE_DEVICES"),
            "bare prefix": edited(_ENV, "NVIDIA_"),
            "CUDA_VISIBLE_DEVICES": edited(_ENV, "CUDA_VISIBLE_DEVICES"),
            "LD_PRELOAD": edited(_ENV, "LD_PRELOAD"),
            "LD_LIBRARY_PATH": edited(_ENV, "LD_LIBRARY_PATH"),
        },
    ),
    "a step has exactly one of setWeight and pause": RuleCases(
        {"weight 0": edited(_STEP, {"setWeight": 0}), "endless pause": edited(_STEP, {"pause": {}})},
        {"neither": edited(_STEP, {}), "both": edited(_STEP, {"setWeight": 5, "pause": {}})},
    ),
    "a Threshold metric needs query and thresholdRange": RuleCases(
        {
            "both there": edited(
                _METRIC, {"name": "m", "type": "Threshold", "query": "up", "thresholdRange": {"min": 1}}
            )
        },
        {
            "no range": edited(_METRIC, {"name": "m", "type": "Threshold", "query": "up"}),
            "no query": edited(_METRIC, {"name": "m", "type": "Threshold", "thresholdRange": {"min": 1}}),
        },
    ),
    "query belongs to Threshold metrics only": RuleCases(
        {"without": edited(_METRIC, {"name": "m", "type": "LatencyRatio"})},
        {
            "ErrorRate": edited(_METRIC, {"name": "m", "type": "ErrorRate", "query": "up"}),
            "LatencyRatio": edited(_METRIC, {"name": "m", "type": "LatencyRatio", "query": "up"}),
        },
    ),
    "a range needs min, max or both": RuleCases(
        {"min": edited(_RANGE, {"min": 1}), "max": edited(_RANGE, {"max": 1.5})}, {"neither": edited(_RANGE, {})}
    ),
    "min must not exceed max": RuleCases(
        {"equal": edited(_RANGE, {"min": 1, "max": 1.0}), "negative": edited(_RANGE, {"min": -2.5, "max": -1})},
        {"swapped": edited(_RANGE, {"min": 2, "max": 1.5})},
    ),
    "must be 1s or more": RuleCases(
        {"1s": edited(_INTERVAL, "1s"), "1000ms": edited(_INTERVAL, "1000ms"), "sum": edited(_INTERVAL, "0s1001ms")},
        {"0s": edited(_INTERVAL, "0s"), "999ms": edited(_INTERVAL, "999ms"), "us": edited(_INTERVAL, "999999us")},
    ),
}
"""By the rule's message."""


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
