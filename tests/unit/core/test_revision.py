"""The revision moves with everything that changes the serving pods, and with nothing else."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schema.specs import CLASSIFIER, ENGINES, FULL, MINIMAL, edited, spec_schema, without
from visionmodel_contract.keys import digest_of
from visionmodel_operator.api.schema import with_defaults
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.v1alpha1 import parse_spec
from visionmodel_operator.core.revision import (
    DEFAULTS_V1,
    SCHEME_VERSION,
    is_plan_of,
    plan_digest,
    revision_document,
    revision_of,
)

DIGEST = "sha256:" + "0a" * 32
OTHER_DIGEST = "sha256:" + "0b" * 32
_UNIDENTIFYING = ("backend", "queueName", "deadline", "autoApply")
IDENTIFYING = ("model", "task", "conversion", "accelerators", "serving")

OF_TYPES = ("task.Classification.", "task.Segmentation.")


def by_uri(spec: Any) -> Any:
    """Return a spec whose data are named without digests."""
    return without(
        ("conversion", "calibration", "digest"), without(("conversion", "gates", "parity", "datasetDigest"), spec)
    )


def earlier(spec: Any) -> Any:
    """A spec by URI, without the fields that came after the golden hashes of the others."""
    return without(("conversion", "exports"), without(("conversion", "pruning"), by_uri(spec)))


EARLIER = earlier(FULL)
PLAIN = without(("model", "inputs"), EARLIER)
STORED_OUTPUT = {"decoder": "Grid", "scoreThreshold": 0.3, "iouThreshold": 0.5, "maxDetections": 100}
"""What the API server made of a decoder alone while the schema had these defaults."""

GOLDEN = {
    "minimal": (MINIMAL, "38d996a408"),
    "full, tensors": ({**PLAIN, "task": {"type": "Tensor"}}, "7618b84b9e"),
    "full, images": (PLAIN, "83dd45e3c2"),
    "full, inputs": (EARLIER, "4d7caaf5eb"),
    "full, data by digest": (without(("conversion", "exports"), without(("conversion", "pruning"))), "c08a1e0df8"),
    "full, pruned and exported": (by_uri(FULL), "c70470ef55"),
    "smallest detector": ({**MINIMAL, "task": {"type": "Detection", "output": {"decoder": "Grid"}}}, "5ea1930c66"),
    "stored detector": ({**MINIMAL, "task": {"type": "Detection", "output": STORED_OUTPUT}}, "5ea1930c66"),
    "smallest classifier": ({**MINIMAL, "task": {"type": "Classification"}}, "0be43abf7e"),
    "smallest segmenter": ({**MINIMAL, "task": {"type": "Segmentation"}}, "9a2b8a2ab8"),
    "full, classifier": (earlier(CLASSIFIER), "378516d37d"),
    "one default GPU": ({**MINIMAL, "accelerators": [{}]}, "48583b7244"),
    "full, engines": (without(("conversion", "tensorrt", "refit"), ENGINES), "e83f7b647c"),
}


@pytest.mark.parametrize(("spec", "expected"), GOLDEN.values(), ids=GOLDEN.keys())
def test_golden_hashes_of_scheme_1(spec: Any, expected: str) -> None:
    assert (SCHEME_VERSION, revision_of(parse_spec(spec))) == (1, expected)


def test_document_of_the_smallest_spec() -> None:
    assert revision_document(parse_spec(MINIMAL)) == MINIMAL


def test_document_holds_what_differs() -> None:
    conversion = {k: v for k, v in FULL["conversion"].items() if k not in _UNIDENTIFYING}
    unnamed = ("storageUri", "quantizer")
    conversion["calibration"] = {k: v for k, v in conversion["calibration"].items() if k not in unnamed}
    conversion["exports"] = sorted(conversion["exports"])
    parity = {k: v for k, v in conversion["gates"]["parity"].items() if k != "datasetUri"}
    assert revision_document(parse_spec(FULL)) == {
        "model": {"digest": DIGEST, "inputs": FULL["model"]["inputs"]},
        "task": {k: v for k, v in FULL["task"].items() if k != "input"}
        | {"input": {k: v for k, v in FULL["task"]["input"].items() if k != "dtype"}},
        "conversion": conversion | {"gates": conversion["gates"] | {"parity": parity}},
        "accelerators": [{k: v for k, v in FULL["accelerators"][0].items() if k != "resourceName"}],
        "serving": {k: v for k, v in FULL["serving"].items() if k != "replicas"},
    }


BY_OPENVINO = edited(("conversion", "backend"), "OpenVINO", edited(("accelerators",), []))
UNCHANGED = {
    "secret": edited(("model", "secretRef", "name"), "other"),
    "no secret": without(("model", "secretRef")),
    "trust": edited(("model", "trustPickle"), True),
    "uri beside a digest": edited(("model", "storageUri"), "s3://elsewhere/m.onnx"),
    "calibration's uri beside a digest": edited(("conversion", "calibration", "storageUri"), "s3://elsewhere/c.npz"),
    "dataset's uri beside a digest": edited(("conversion", "gates", "parity", "datasetUri"), "s3://elsewhere/e.npz"),
    "format by name": without(("model", "modelFormat")),
    "deadline": edited(("conversion", "deadline"), "5m"),
    "autoApply": edited(("conversion", "autoApply"), False),
    "queueName": edited(("conversion", "queueName"), "other-queue"),
    "replicas": edited(("serving", "replicas"), 7),
    "traffic": without(("traffic",)),
    "rollout": without(("rollout",)),
    "suspend": edited(("suspend",), True),
    "history": edited(("revisionHistoryLimit",), 9),
    "deadline of progress": edited(("progressDeadlineSeconds",), 9),
}

CHANGED = {
    "goal under Auto": edited(("conversion", "gates", "parity", "metrics", 0, "value"), 0.5),
    "latency goal under Auto": edited(("conversion", "gates", "latency", 0, "max"), "20ms"),
    "candidates": edited(("conversion", "candidates"), ["fp32"]),
    "improvement": edited(("conversion", "minImprovement"), 5),
    "calibration": edited(("conversion", "calibration", "samples"), 512),
    "calibration digest": edited(("conversion", "calibration", "digest"), OTHER_DIGEST),
    "calibration unpinned": without(("conversion", "calibration", "digest")),
    "dataset digest under Auto": edited(("conversion", "gates", "parity", "datasetDigest"), OTHER_DIGEST),
    "dataset unpinned under Auto": without(("conversion", "gates", "parity", "datasetDigest")),
    "method": edited(("conversion", "calibration", "method"), "MinMax"),
    "task": edited(("task",), {"type": "Tensor"}),
    "label": edited(("task", "labels", 0), "disc"),
    "decoder": edited(("task", "output", "decoder"), "Grid"),
    "score threshold": edited(("task", "output", "scoreThreshold"), 0.3),
    "mean": edited(("task", "input", "mean"), [0, 0, 0]),
    "resize": edited(("task", "input", "resize"), "Letterbox"),
    "digest": edited(("model", "digest"), OTHER_DIGEST),
    "digest unpinned": without(("model", "digest")),
    "format": edited(("model", "modelFormat", "name"), "keras"),
    "inputs": without(("model", "inputs")),
    "dims": edited(("model", "inputs", 0, "dims", 3), 64),
    "simplify": edited(("conversion", "simplify"), True),
    "quantizer": edited(("conversion", "calibration", "quantizer"), "ModelOpt", BY_OPENVINO),
    "backend": BY_OPENVINO,
    "pruning": without(("conversion", "pruning")),
    "exports": edited(("conversion", "exports"), ["TFLite"]),
    "engines": ENGINES,
    "engines, refit": edited(("conversion", "tensorrt", "refit"), False, ENGINES),
    "engines, default options": edited(("conversion", "tensorrt"), {}, ENGINES),
    "engines, batch": edited(("conversion", "batch", "max"), 16, ENGINES),
    "engines, shapes": edited(("conversion", "dynamicShapes"), [], ENGINES),
    "no accelerators": edited(("accelerators",), []),
    "two accelerators": edited(("accelerators",), FULL["accelerators"] * 2),
    "count": edited(("accelerators", 0, "count"), 1),
    "toleration": edited(("accelerators", 0, "tolerations", 0, "key"), "other"),
    "runtime": edited(("serving", "runtimeVersion"), "26.08"),
    "requests emptied": edited(("serving", "resources", "requests"), {}),
    "requests": edited(("serving", "resources", "requests"), {"cpu": "2"}),
    "batch": edited(("serving", "batching", "maxBatchSize"), 8),
    "instances": edited(("serving", "instances"), 3),
    "warmup": edited(("serving", "warmup"), True),
    "pod label": edited(("serving", "pod", "labels"), {}),
    "env": edited(("serving", "pod", "env", 0, "value"), "2"),
}


@pytest.mark.parametrize("spec", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_revision_stays(spec: Any) -> None:
    assert revision_of(parse_spec(spec)) == revision_of(parse_spec(FULL))


def test_goals_name_no_revision_of_fp32() -> None:
    fixed = edited(("conversion",), {"precision": "fp32", "minImprovement": 5})
    goals = edited(("conversion",), {**fixed["conversion"], "minImprovement": 9, "gates": FULL["conversion"]["gates"]})
    assert revision_of(parse_spec(goals)) == revision_of(parse_spec(fixed))


def test_goals_name_the_revision_of_what_is_searched_by_them() -> None:
    fixed = edited(("conversion",), {"precision": "int8"})
    goals = edited(("conversion",), {"precision": "int8", "gates": FULL["conversion"]["gates"]})
    assert revision_of(parse_spec(goals)) != revision_of(parse_spec(fixed))


def test_every_change_gives_a_revision_of_its_own() -> None:
    revisions = {name: revision_of(parse_spec(spec)) for name, spec in {"full": FULL, **CHANGED}.items()}
    assert len(set(revisions.values())) == len(revisions)


def test_unpinned_model_is_named_by_its_uri() -> None:
    moved = edited(("model", "storageUri"), "s3://models/shapes/8/model.onnx", MINIMAL)
    assert revision_of(parse_spec(moved)) != revision_of(parse_spec(MINIMAL))


def test_part_of_a_default_map_is_not_the_default() -> None:
    part = {**MINIMAL, "serving": {"resources": {"requests": {"cpu": "500m"}}}}
    assert revision_of(parse_spec(part)) != revision_of(parse_spec(MINIMAL))


def paths(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """Paths of every field with a default and every list or map, which default to empty."""
    if "properties" in schema:
        for name, child in schema["properties"].items():
            yield from paths(f"{path}.{name}".lstrip("."), child)
        return
    if "default" in schema or schema["type"] in ("array", "object"):
        yield path
    if "items" in schema:
        yield from paths(f"{path}[]", schema["items"])


def test_every_default_of_an_identifying_field_has_a_row() -> None:
    """A new field with a default and without a row would rename the revisions of all stored objects."""
    left_out = ("conversion.deadline", "conversion.autoApply", "model.trustPickle")
    expected = {p for p in paths("", spec_schema()) if p.startswith(IDENTIFYING) and not p.startswith(left_out)}
    # no default of the API: the format is derived from the file's name, and onnx says what is derived anyway
    derived = {"model.modelFormat.name"}
    # the API server cannot know defaults that depend on the task's type; a detector's once stood in the schema
    derived |= {f"task.output.{name}" for name in ("scoreThreshold", "iouThreshold", "maxDetections")}
    derived |= {path for path in DEFAULTS_V1 if path.startswith(OF_TYPES)}
    assert DEFAULTS_V1.keys() == expected | derived


def test_table_is_frozen() -> None:
    """The rows in the order in which they came; the digest of a group never changes."""
    types = {path: value for path, value in DEFAULTS_V1.items() if path.startswith(OF_TYPES)}
    tasks = {path: value for path, value in DEFAULTS_V1.items() if path.startswith("task.") and path not in types}
    auto = ("conversion.candidates", "conversion.minImprovement", "conversion.calibration", "conversion.gates")
    precisions = {path: value for path, value in DEFAULTS_V1.items() if path.startswith(auto)}
    inputs = {path: value for path, value in DEFAULTS_V1.items() if path.startswith("model.inputs")}
    exports = {path: value for path, value in DEFAULTS_V1.items() if path.startswith("conversion.exports")}
    quantizer = "conversion.calibration.quantizer"
    del precisions[quantizer]
    engines = {
        path: value
        for path, value in DEFAULTS_V1.items()
        if path.startswith(("conversion.dynamicShapes", "conversion.tensorrt"))
    }
    refit = "conversion.tensorrt.refit"
    del engines[refit]
    later = {*tasks, *types, *precisions, *inputs, *exports, *engines, quantizer, refit}
    first = {path: value for path, value in DEFAULTS_V1.items() if path not in later}
    assert digest_of(first) == "1c5c8471aa0b82857501a2f8a091b963a23c1d3a05b05c6365c02f483d401289"
    assert digest_of(tasks) == "1df677181b6dc3a8e4b41f3efb8f9ba06869ede37b76f7e026a28d4a46a6051f"
    assert digest_of(precisions) == "f049c163e0aea36c51b9d76714094b6c9452911f2fe4b2e84a75b4067d1f1e4d"
    assert digest_of(types) == "3b681f4e1500ba6b9ca8fac0529bf0e794e875fe02a02789ab2c7a32b1366063"
    assert digest_of(inputs) == "e8ac56833efb41b45f0be76e299a9ee90f8b64de7ff07f1be0ee18f0b3858661"
    assert DEFAULTS_V1[quantizer] == "ONNXRuntime"
    assert digest_of(exports) == "c603e448c3a1de1423696bddf757586330c098335695b82ec2d2b4532509a2ed"
    assert digest_of(engines) == "6cd0d4368930db8cc8555cd82a20cee8c8ff97e1f53e1e14999d6a16ca0d79b0"
    assert DEFAULTS_V1[refit] is False


TYPE_DEFAULTS = {
    "Classification": {"decoder": "Softmax", "topK": 5, "scoreThreshold": 0},
    "Segmentation": {"decoder": "ClassScores"},
}


@pytest.mark.parametrize(("kind", "output"), TYPE_DEFAULTS.items(), ids=TYPE_DEFAULTS)
def test_writing_out_the_defaults_of_a_type_never_changes_the_revision(kind: str, output: Any) -> None:
    short = revision_of(parse_spec({**MINIMAL, "task": {"type": kind}}))
    for part in ({}, output, *({name: value} for name, value in output.items())):
        assert revision_of(parse_spec({**MINIMAL, "task": {"type": kind, "output": part}})) == short


def test_the_default_threshold_of_a_sigmoid_may_be_written_out() -> None:
    specs = [
        {**MINIMAL, "task": {"type": "Segmentation", "output": {"decoder": "Sigmoid", **threshold}}}
        for threshold in ({}, {"scoreThreshold": 0.5}, {"scoreThreshold": 0.6})
    ]
    short, written, other = (revision_of(parse_spec(spec)) for spec in specs)
    assert short == written != other


def test_the_default_of_one_type_is_no_default_of_another() -> None:
    """0.3 is what a detector's threshold is left out for; a classifier's is 0."""
    classifier = {**MINIMAL, "task": {"type": "Classification", "output": {"scoreThreshold": 0.3}}}
    assert revision_document(parse_spec(classifier))["task"] == {
        "type": "Classification",
        "Classification": {"scoreThreshold": 0.3},
    }


def explicit(spec: Any) -> dict[str, Any]:
    """The spec as the API server stores it, empty lists and maps written out too."""
    return parse_spec(with_defaults(spec_schema(), spec)).to_wire()


def prune(draw: st.DrawFn, path: str, value: Any) -> Any:
    """Leave out some of what equals the frozen defaults."""
    if isinstance(value, list):
        return [prune(draw, f"{path}[]", item) for item in value]
    if not isinstance(value, dict) or path in DEFAULTS_V1:
        return value
    kept = {}
    for name, item in value.items():
        inner = f"{path}.{name}".lstrip(".")
        if inner in DEFAULTS_V1 and DEFAULTS_V1[inner] == item and draw(st.booleans(), label=inner):
            continue
        kept[name] = prune(draw, inner, item)
    return kept


def shrunk(draw: st.DrawFn, document: Any) -> Any:
    """A random mixture of FULL's values and defaults: each field of FULL is there or not."""
    if not isinstance(document, dict):
        return copy.deepcopy(document)
    return {name: shrunk(draw, item) for name, item in document.items() if draw(st.booleans(), label=name)}


@st.composite
def spellings(draw: st.DrawFn) -> tuple[Any, Any]:
    """One wish, with all defaults written out and with some of them left out."""
    wish: dict[str, Any] = copy.deepcopy(MINIMAL)
    for name in ("conversion", "serving"):
        if draw(st.booleans(), label=name):
            wish[name] = shrunk(draw, FULL[name])
    if "candidates" in wish.get("conversion", {}):
        wish["conversion"]["precision"] = "Auto"
    if "pruning" in wish.get("conversion", {}):
        wish["conversion"] |= {name: copy.deepcopy(FULL["conversion"][name]) for name in ("pruning", "gates")}
    if "calibration" in wish.get("conversion", {}):
        wish["conversion"]["calibration"]["storageUri"] = "s3://data/calibration.npz"
    gates = wish.get("conversion", {}).get("gates", {})
    if gates.get("parity", {}).keys() & {"metrics", "datasetDigest"}:
        gates["parity"]["datasetUri"] = "s3://data/holdout.npz"
    if "memory" in gates:
        gates["memory"] = {"max": "1Gi"}
    if draw(st.booleans(), label="task"):
        part = shrunk(draw, FULL["task"])
        wish["task"] = {**part, "type": "Detection", "output": {**part.get("output", {}), "decoder": "Grid"}}
    if draw(st.booleans(), label="accelerators"):
        wish["accelerators"] = [shrunk(draw, FULL["accelerators"][0]) for _ in range(draw(st.integers(0, 2)))]
    full = explicit(wish)
    return full, prune(draw, "", full)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault of the specs
@given(spellings())
def test_writing_out_defaults_never_changes_the_revision(pair: tuple[Any, Any]) -> None:
    full, sparse = pair
    assert revision_of(parse_spec(full)) == revision_of(parse_spec(sparse))


@given(st.permutations(list(FULL)))
def test_order_of_fields_is_no_identity(order: list[str]) -> None:
    assert revision_of(parse_spec({name: FULL[name] for name in order})) == revision_of(parse_spec(FULL))


SHAPES = [{"input": name, "axis": axis, "min": 1, "opt": 2, "max": 3} for name in ("b", "a") for axis in (3, 2)]


@given(st.permutations(["TFLite", "OpenVINO", "ORT"]))
def test_order_of_exports_is_no_identity(order: list[str]) -> None:
    exports = [parse_spec(edited(("conversion", "exports"), one)) for one in (order, sorted(order))]
    assert revision_of(exports[0]) == revision_of(exports[1])


@given(st.permutations(SHAPES))
def test_order_of_dynamic_shapes_is_no_identity(order: list[Any]) -> None:
    shaped = [parse_spec(edited(("conversion", "dynamicShapes"), shapes, ENGINES)) for shapes in (order, SHAPES)]
    assert revision_of(shaped[0]) == revision_of(shaped[1])


def test_changed_default_of_the_api_starts_no_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that was stored with the old default keeps its name after the default has changed."""
    stored = parse_spec(with_defaults(spec_schema(), MINIMAL))
    before = revision_of(stored)
    newer = stored.serving.model_copy(
        update={"batching": stored.serving.batching.model_copy(update={"max_batch_size": 16})}
    )
    monkeypatch.setattr(VisionModelSpec.model_fields["serving"], "default", newer)
    VisionModelSpec.model_rebuild(force=True)
    try:
        assert revision_of(parse_spec(stored.to_wire())) == before
        assert revision_of(parse_spec(MINIMAL)) != before
    finally:
        monkeypatch.undo()
        VisionModelSpec.model_rebuild(force=True)


PLAN_CHANGES = {
    "step": edited(("rollout", "steps", 2, "setWeight"), 50),
    "endless pause": edited(("rollout", "steps", 3, "pause"), {}),
    "interval": edited(("rollout", "analysis", "interval"), "6s"),
    "metric": edited(("rollout", "analysis", "metrics", 0, "sloMax"), 0.5),
}


@pytest.mark.parametrize("spec", PLAN_CHANGES.values(), ids=PLAN_CHANGES.keys())
def test_plan_digest_moves_with_the_plan(spec: Any) -> None:
    assert plan_digest(parse_spec(spec).rollout) != plan_digest(parse_spec(FULL).rollout)


@pytest.mark.parametrize("field", ["paused", "drain", "drainMax", "routeTimeout", "onNewRevision"])
def test_plan_digest_stays_when_the_rollout_is_steered(field: str) -> None:
    assert plan_digest(parse_spec(without(("rollout", field))).rollout) == plan_digest(parse_spec(FULL).rollout)


def test_plan_digest_ignores_written_out_defaults() -> None:
    written = parse_spec(with_defaults(spec_schema(), MINIMAL))
    assert plan_digest(written.rollout) == plan_digest(parse_spec(MINIMAL).rollout)


BEFORE: Any = {"steps": [{"setWeight": 12.5}, {"pause": {"duration": "1m"}}], "analysis": {"interval": "5s"}}
RECORDED_BEFORE = {"Restart": "5d4b6e21b7521b6b", "Queue": "f65c6beccbf7c1f4", "Reject": "96df355433ccc4a2"}
"""Digests of this plan under each policy, from an operator that took the policy into them."""


@pytest.mark.parametrize("policy", RECORDED_BEFORE)
@pytest.mark.parametrize("digest", RECORDED_BEFORE.values(), ids=RECORDED_BEFORE.keys())
def test_an_older_digest_is_of_its_plan_whatever_the_policy_is_now(policy: str, digest: str) -> None:
    now = parse_spec({**MINIMAL, "rollout": {**BEFORE, "onNewRevision": policy}}).rollout
    edited_since = parse_spec({**MINIMAL, "rollout": {**BEFORE, "analysis": {"interval": "6s"}}}).rollout
    assert is_plan_of(now, digest)
    assert not is_plan_of(edited_since, digest)
