"""What a spec asks of the prepare Job, and the keys under which the answer is kept."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from schema.specs import FULL, MINIMAL, edited, without
from visionmodel_contract.conversion import (
    CalibrationOptions,
    ConversionOptions,
    ConversionRequest,
    GatesRequest,
    ImageTask,
    LatencyGoal,
    MetricGoal,
    ParityRequest,
    PublishTarget,
    SourceInput,
    SourceRequest,
    SpeedRequest,
    ThroughputGoal,
)
from visionmodel_contract.keys import gate_key, prepare_key
from visionmodel_contract.precision import Backend, CalibrationMethod, ExportFormat, Goal, Precision, PruningPattern
from visionmodel_operator.api.v1alpha1 import parse_spec
from visionmodel_operator.core.conversion_request import (
    artifact_key,
    conversion_options,
    conversion_request,
    gate_key_of,
    gates_request,
    names_verdict,
    source_format,
)
from visionmodel_operator.core.image_task import image_task
from visionmodel_operator.core.snapshot import Platform

DIGEST = "sha256:" + "0a" * 32
OTHER_DIGEST = "sha256:" + "0b" * 32

INPUTS = (SourceInput(name="image", dtype="uint8", dims=(-1, 3, 64, 96)),)

PLATFORM = Platform(
    runtimes={},
    default_runtime="26.07",
    converter_image="registry.example/converter:1",
    artifact_repository="registry.example/artifacts",
    artifact_repository_insecure=True,
)


def test_conversion_request() -> None:
    assert conversion_request(
        parse_spec(FULL), namespace="demo", name="shapes", revision="91be04c7aa", platform=PLATFORM
    ) == ConversionRequest(
        namespace="demo",
        name="shapes",
        revision="91be04c7aa",
        source=SourceRequest(uri="s3://models/shapes/7/model.onnx", format="onnx", digest=DIGEST, inputs=INPUTS),
        options=ConversionOptions(
            backend=Backend.ONNX_RUNTIME,
            precisions=(Precision.FP32, Precision.INT8),
            min_improvement_percent=12.5,
            simplify=False,
            pruning=PruningPattern.TWO_OF_FOUR,
            calibration=CalibrationOptions(
                dataset_uri="s3://data/calibration.npz",
                digest="sha256:" + "0c" * 32,
                samples=256,
                method=CalibrationMethod.ENTROPY,
            ),
        ),
        task=ImageTask(
            preprocess={
                "height": "64",
                "width": "96",
                "layout": "NHWC",
                "resize": "Stretch",
                "color_space": "BGR",
                "mean": "[0.485, 0.456, 0.406]",
                "std": "[0.229, 0.224, 0.225]",
                "max_bytes": "1048576",
                "max_pixels": "1000000",
            },
            postprocess={
                "decoder": "YOLOv8",
                "score_threshold": "0.25",
                "iou_threshold": "0.45",
                "max_detections": "20",
                "labels": '["circle", "square"]',
            },
        ),
        gates=GatesRequest(
            parity=ParityRequest(
                dataset_uri="s3://data/holdout.npz",
                dataset_digest="sha256:" + "0d" * 32,
                metrics=(MetricGoal(name="top1", goal=Goal.MAX_DEGRADATION, value=0.01),),
            ),
            speed=SpeedRequest(
                latency=(LatencyGoal(percentile="p95", batch=4, max_ms=15.0),),
                throughput=(ThroughputGoal(batch=8, min_per_second=100.0),),
                max_memory_bytes=4 * 1024**3,
                threads=1,
                max_batch=16,
            ),
            accelerated=True,
        ),
        exports=(ExportFormat.TFLITE, ExportFormat.OPENVINO),
        publish=PublishTarget(repository="registry.example/artifacts", insecure=True),
    )


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"type": "Tensor"}, None),
        (
            {"type": "Detection", "output": {"decoder": "Grid"}},
            {"decoder": "Grid", "score_threshold": "0.3", "iou_threshold": "0.5", "max_detections": "100"},
        ),
        ({"type": "Classification"}, {"decoder": "Softmax", "score_threshold": "0.0", "top_k": "5"}),
        (
            {"type": "Classification", "output": {"decoder": "Probabilities", "topK": 1, "scoreThreshold": 0.25}},
            {"decoder": "Probabilities", "score_threshold": "0.25", "top_k": "1"},
        ),
        ({"type": "Segmentation", "output": {}}, {"decoder": "ClassScores", "score_threshold": "0.5"}),
        (
            {"type": "Segmentation", "output": {"decoder": "Sigmoid", "scoreThreshold": 0}},
            {"decoder": "Sigmoid", "score_threshold": "0.0"},
        ),
    ],
)
def test_output_of_each_type(task: Any, expected: dict[str, str] | None) -> None:
    found = image_task(parse_spec({**MINIMAL, "task": task}).task)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.postprocess == {**expected, "labels": "[]"}
        assert found.preprocess["resize"] == "Letterbox"


@pytest.mark.parametrize("uri", ["s3://bucket/artifacts", "pvc://artifacts/visionmodel"])
def test_artifacts_go_where_the_platform_says(uri: str) -> None:
    platform = replace(PLATFORM, artifact_repository=None, artifact_uri=uri, artifact_repository_insecure=False)
    request = conversion_request(parse_spec(MINIMAL), namespace="d", name="s", revision="r", platform=platform)
    assert request.publish == PublishTarget(uri=uri)


@pytest.mark.parametrize("stores", [{}, {"repository": "r/a", "uri": "s3://b"}], ids=["none", "two"])
def test_an_artifact_goes_into_one_store(stores: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        PublishTarget(**stores)


def test_request_of_the_smallest_spec_asks_for_agreement_with_the_source() -> None:
    request = conversion_request(parse_spec(MINIMAL), namespace="d", name="s", revision="r", platform=PLATFORM)
    assert (request.source, request.gates) == (
        SourceRequest(uri="s3://models/shapes/7/model.onnx", format="onnx", digest=None),
        GatesRequest(),
    )


@pytest.mark.parametrize(
    ("spec", "resolved", "digest"),
    [
        pytest.param(FULL, None, DIGEST, id="pinned"),
        pytest.param(FULL, OTHER_DIGEST, DIGEST, id="the pin wins"),
        pytest.param(without(("model", "digest")), OTHER_DIGEST, OTHER_DIGEST, id="resolved"),
    ],
)
def test_artifact_key(spec: Any, resolved: str | None, digest: str) -> None:
    known = parse_spec(spec)
    expected = prepare_key(
        digest, conversion_options(known), inputs=INPUTS, task=image_task(known.task), gates=gates_request(known)
    )
    assert artifact_key(known, resolved) == expected


CALIBRATION, PARITY = ("conversion", "calibration"), ("conversion", "gates", "parity")
FIXED = edited(("conversion", "precision"), "fp32", without(("conversion", "candidates")))


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(MINIMAL, id="source"),
        pytest.param(without((*CALIBRATION, "digest")), id="calibration"),
        pytest.param(without((*CALIBRATION, "digest"), FIXED), id="calibration of fp32"),
        pytest.param(without((*PARITY, "datasetDigest")), id="dataset that is searched on"),
    ],
)
def test_unknown_digest_has_no_key(spec: Any) -> None:
    assert artifact_key(parse_spec(spec)) is None


@pytest.mark.parametrize(
    ("base", "changed"),
    [
        pytest.param(FULL, edited((*CALIBRATION, "storageUri"), "pvc://a/b.npz"), id="place of the calibration data"),
        pytest.param(FULL, edited((*PARITY, "datasetUri"), "pvc://a/b.npz"), id="place of the dataset"),
        pytest.param(FIXED, without((*PARITY, "datasetDigest"), FIXED), id="fp32 is made without the dataset"),
    ],
)
def test_key_stays(base: Any, changed: Any) -> None:
    assert artifact_key(parse_spec(base)) == artifact_key(parse_spec(changed)) is not None


@pytest.mark.parametrize(
    "field", [(*CALIBRATION, "digest"), (*PARITY, "datasetDigest")], ids=["calibration", "dataset"]
)
def test_other_data_have_another_key(field: Any) -> None:
    assert artifact_key(parse_spec(edited(field, OTHER_DIGEST))) != artifact_key(parse_spec(FULL))


def test_verdict_is_keyed_by_the_dataset_and_not_by_its_place() -> None:
    moved = parse_spec(edited((*PARITY, "datasetUri"), "pvc://a/b.npz"))
    other = parse_spec(edited((*PARITY, "datasetDigest"), OTHER_DIGEST))
    unpinned = parse_spec(without((*PARITY, "datasetDigest")))
    spec = parse_spec(FULL)
    assert gate_key_of(moved, "a") == gate_key_of(spec, "a")
    assert len({gate_key_of(one, "a") for one in (spec, other, unpinned)}) == 3
    assert [names_verdict(one) for one in (spec, unpinned, parse_spec(MINIMAL))] == [True, False, True]


def test_golden_keys_of_specs_without_data() -> None:
    digest, searched = "sha256:" + "0" * 64, ConversionOptions(precisions=(Precision.FP16,))
    assert prepare_key(digest, ConversionOptions()) == "830a3dde96ed58c59d598658fca45a10"
    assert prepare_key(digest, searched) == "c56492e3fb47c9be323206d43b66d410"
    assert gate_key("a", GatesRequest()) == "ce893e1e2bc056419f3127c2419b3073"


def test_data_without_a_digest_have_no_key() -> None:
    unpinned = ConversionOptions(calibration=CalibrationOptions(dataset_uri="s3://a/b"))
    with pytest.raises(ValueError, match="resolve it first"):
        prepare_key(DIGEST, unpinned)


def test_gate_key_moves_with_the_goals_and_the_artifact() -> None:
    spec = parse_spec(FULL)
    changed = parse_spec(edited(("conversion", "gates", "parity", "metrics", 0, "value"), 0.5))
    keys = {gate_key_of(spec, "a"), gate_key_of(changed, "a"), gate_key_of(spec, "b")}
    assert len(keys) == 3
    assert gate_key_of(parse_spec(MINIMAL), "a") == gate_key("a", GatesRequest())


@pytest.mark.parametrize(
    ("conversion", "precisions"),
    [
        pytest.param({}, ["fp32"], id="default"),
        pytest.param({"precision": "int8"}, ["int8"], id="fixed"),
        pytest.param({"precision": "Auto"}, ["fp32", "fp16"], id="Auto without calibration"),
        pytest.param(
            {"precision": "Auto", "calibration": {"storageUri": "s3://a/b"}}, ["fp32", "fp16", "int8"], id="Auto"
        ),
        pytest.param(
            {"precision": "Auto", "candidates": ["int8", "fp32", "int8"]}, ["fp32", "int8"], id="highest first, once"
        ),
    ],
)
def test_precisions(conversion: Any, precisions: list[str]) -> None:
    options = conversion_options(parse_spec({**MINIMAL, "conversion": conversion}))
    assert [one.value for one in options.precisions] == precisions


def test_cpus_of_the_pod_move_no_verdict_that_measures_no_time() -> None:
    small = parse_spec({**MINIMAL, "serving": {"resources": {"limits": {"cpu": "1"}}}})
    large = parse_spec({**MINIMAL, "serving": {"resources": {"limits": {"cpu": "8"}}}})
    assert gate_key_of(small, "a") == gate_key_of(large, "a")
    timed = {"conversion": {"gates": {"latency": [{"max": "5ms"}]}}}
    keys = {gate_key_of(parse_spec({**spec.to_wire(), **timed}), "a") for spec in (small, large)}
    assert len(keys) == 2


def test_images_of_the_calibration_enter_the_key_of_what_they_shape() -> None:
    detector = {**MINIMAL, "model": {**MINIMAL["model"], "digest": DIGEST}}
    detector["task"] = {"type": "Detection", "output": {"decoder": "Grid"}}
    stretched = {**detector, "task": {**detector["task"], "input": {"resize": "Stretch"}}}
    int8 = {"conversion": {"precision": "int8", "calibration": {"storageUri": "s3://a/b", "digest": DIGEST}}}
    assert artifact_key(parse_spec(detector)) == artifact_key(parse_spec(stretched))
    assert artifact_key(parse_spec(detector | int8)) != artifact_key(parse_spec(stretched | int8))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"storageUri": "s3://m/net.keras"}, "keras"),
        ({"storageUri": "s3://m/net.pt"}, None),
        ({"storageUri": "s3://m/net.onnx", "modelFormat": {"name": "tflite"}}, "tflite"),
    ],
    ids=["by the name", "left to the content", "what is asked wins"],
)
def test_source_format(model: Any, expected: str | None) -> None:
    assert source_format(parse_spec({**MINIMAL, "model": model})) == expected


def test_declared_inputs_enter_the_key_and_trust_does_not() -> None:
    without_inputs = without(("model", "inputs"))
    other_dims = edited(("model", "inputs", 0, "dims", 3), 64)
    assert len({artifact_key(parse_spec(spec)) for spec in (FULL, without_inputs, other_dims)}) == 3
    assert artifact_key(parse_spec(edited(("model", "trustPickle"), True))) == artifact_key(parse_spec(FULL))
