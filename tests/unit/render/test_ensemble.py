"""The ensemble of an image task: its four configurations read back by Triton's protobuf, and what is refused."""

from typing import Any

import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from tritonclient.grpc import model_config_pb2 as triton

from unit.render.samples import DETECTION_SPEC, DETECTOR, PLATFORM, REVISION, artifact, spec
from visionmodel_contract.report import ArtifactInfo, TensorSpec
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.errors import UserError
from visionmodel_operator.render.repository import config_files, repository_models
from visionmodel_operator.render.triton_config import model_version
from visionmodel_pipeline.answers import raw_names
from visionmodel_pipeline.decoders import DECODERS
from visionmodel_pipeline.geometry import FIELDS
from visionmodel_pipeline.settings import (
    ClassificationSettings,
    DetectionSettings,
    PreSettings,
    SegmentationSettings,
    output_settings,
)

VERSION = model_version(REVISION)
GRID = {"decoder": "Grid"}


def configs(of: VisionModelSpec = DETECTION_SPEC, made: ArtifactInfo = DETECTOR) -> dict[str, Any]:
    """Every configuration by the model's name."""
    texts = config_files("shapes", REVISION, of, made, PLATFORM)
    names = {model.config_key: model.name for model in repository_models("shapes", of)}
    return {names[key]: text_format.Parse(text, triton.ModelConfig()) for key, text in texts.items()}


def tensor(name: str, *dims: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, dims=(-1, *dims))


def parameters(config: Any) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def detection(**task: Any) -> VisionModelSpec:
    return spec(task={"type": "Detection", "output": GRID, **task})


def test_ensemble() -> None:
    expected = text_format.Parse(
        f"""
        name: "shapes" platform: "ensemble" max_batch_size: 8 version_policy {{ specific {{ versions: {VERSION} }} }}
        input {{ name: "image" data_type: TYPE_STRING dims: [1] }}
        output {{ name: "num_detections" data_type: TYPE_INT32 dims: [1] }}
        output {{ name: "boxes" data_type: TYPE_FP32 dims: [100, 4] }}
        output {{ name: "scores" data_type: TYPE_FP32 dims: [100] }}
        output {{ name: "labels" data_type: TYPE_STRING dims: [100] }}
        ensemble_scheduling {{
          step {{ model_name: "shapes-pre" model_version: -1
            input_map {{ key: "image" value: "image" }}
            output_map {{ key: "tensor" value: "pre.tensor" }}
            output_map {{ key: "geometry" value: "pre.geometry" }} }}
          step {{ model_name: "shapes-net" model_version: -1
            input_map {{ key: "images" value: "pre.tensor" }}
            output_map {{ key: "boxes" value: "net.boxes" }}
            output_map {{ key: "scores" value: "net.scores" }} }}
          step {{ model_name: "shapes-post" model_version: -1
            input_map {{ key: "geometry" value: "pre.geometry" }}
            input_map {{ key: "boxes" value: "net.boxes" }}
            input_map {{ key: "scores" value: "net.scores" }}
            output_map {{ key: "num_detections" value: "num_detections" }}
            output_map {{ key: "boxes" value: "boxes" }}
            output_map {{ key: "scores" value: "scores" }}
            output_map {{ key: "labels" value: "labels" }} }}
        }}
        """,
        triton.ModelConfig(),
    )
    assert configs()["shapes"] == expected


def test_only_the_network_batches_and_is_warmed_up() -> None:
    found = configs()
    assert [name for name, config in found.items() if config.HasField("dynamic_batching")] == ["shapes-net"]
    assert [name for name, config in found.items() if config.model_warmup] == ["shapes-net"]
    assert {config.max_batch_size for config in found.values()} == {8}


def test_the_network_is_what_a_tensor_model_would_be() -> None:
    alone = spec(serving={"resources": {"requests": {"cpu": "2500m"}}})
    (text,) = config_files("shapes-net", REVISION, alone, DETECTOR, PLATFORM).values()
    assert configs()["shapes-net"] == text_format.Parse(text, triton.ModelConfig())


def test_steps_read_their_parameters() -> None:
    found = configs()
    assert PreSettings.from_parameters(parameters(found["shapes-pre"])) == PreSettings(64, 64)
    assert DetectionSettings.from_parameters(parameters(found["shapes-post"])) == DetectionSettings(
        "Grid", labels=("circle", "square", 'tri"angle')
    )


def test_every_field_reaches_the_steps() -> None:
    wanted = {
        **{"layout": "NHWC", "resize": "CenterCrop", "colorSpace": "BGR", "mean": [0.5, 0, 1], "std": [1, 2, 0.25]},
        **{"height": 32, "width": 48, "maxBytes": "1Ki", "maxPixels": 99},
    }
    output = {"decoder": "YOLOv8", "scoreThreshold": 0.125, "iouThreshold": 0.75, "maxDetections": 7}
    made = artifact(inputs=(tensor("x", 32, 48, 3),), outputs=(tensor("output0", 6, 84),))
    found = configs(detection(input=wanted, output=output, labels=["ä", "b"]), made)
    assert PreSettings.from_parameters(parameters(found["shapes-pre"])) == PreSettings(
        32, 48, "NHWC", "CenterCrop", "BGR", (0.5, 0.0, 1.0), (1.0, 2.0, 0.25), 1024, 99
    )
    assert DetectionSettings.from_parameters(parameters(found["shapes-post"])) == DetectionSettings(
        "YOLOv8", 0.125, 0.75, 7, ("ä", "b")
    )
    assert [list(one.dims) for one in found["shapes"].output] == [[1], [7, 4], [7], [7]]


@pytest.mark.parametrize(
    ("decoder", "outputs"),
    [
        pytest.param("Grid", (tensor("boxes", 9, 4), tensor("scores", 9, 2), tensor("more", 1)), id="Grid"),
        pytest.param(
            "Triple", (tensor("boxes", -1, 4), tensor("scores", -1), tensor("labels", -1, dtype="int64")), id="Triple"
        ),
        pytest.param("YOLOv8", (tensor("output0", 84, 8400),), id="YOLOv8"),
    ],
)
def test_the_post_step_gets_what_its_decoder_reads(decoder: str, outputs: tuple[TensorSpec, ...]) -> None:
    found = configs(detection(output={"decoder": decoder}), artifact(outputs=outputs))
    assert [one.name for one in found["shapes-post"].input] == ["geometry", *DECODERS[decoder].outputs]
    assert list(found["shapes-post"].input[0].dims) == [FIELDS]
    step = found["shapes"].ensemble_scheduling.step[2]
    assert step.input_map.keys() == {one.name for one in found["shapes-post"].input}


CLASSIFIER = artifact(inputs=(tensor("images", 1, 32, 32),), outputs=(tensor("logits", 10),))
SEGMENTER = artifact(inputs=(tensor("images", 3, 48, 64),), outputs=(tensor("out", 21, 6, 8), tensor("aux", 21, 6, 8)))
GRAY = {"colorSpace": "Gray", "mean": [0.5, 0.5, 0.5]}
DIGITS = {"type": "Classification", "input": GRAY, "output": {"topK": 3, "scoreThreshold": 0.25}}


def test_ensemble_of_a_classifier() -> None:
    found = configs(spec(task=DIGITS), CLASSIFIER)
    assert [(one.name, one.data_type, list(one.dims)) for one in found["shapes"].output] == [
        ("scores", triton.TYPE_FP32, [3]),
        ("labels", triton.TYPE_STRING, [3]),
    ]
    assert found["shapes-post"].output == found["shapes"].output
    assert found["shapes"].ensemble_scheduling.step[1].output_map == {"logits": "net.logits"}
    assert found["shapes"].ensemble_scheduling.step[2].input_map == {"geometry": "pre.geometry", "scores": "net.logits"}
    assert list(found["shapes-pre"].output[0].dims) == [1, 32, 32]
    assert PreSettings.from_parameters(parameters(found["shapes-pre"])) == PreSettings(
        32, 32, color_space="Gray", mean=(0.5, 0.5, 0.5)
    )
    assert output_settings(parameters(found["shapes-post"])) == ClassificationSettings("Softmax", 3, 0.25)


def test_ensemble_of_a_segmenter() -> None:
    found = configs(spec(task={"type": "Segmentation"}), SEGMENTER)
    assert [(one.name, one.data_type, list(one.dims)) for one in found["shapes"].output] == [
        ("mask", triton.TYPE_UINT8, [-1, -1]),
        ("labels", triton.TYPE_STRING, [-1]),
    ]
    assert found["shapes-post"].output == found["shapes"].output
    assert found["shapes"].ensemble_scheduling.step[2].input_map == {"geometry": "pre.geometry", "scores": "net.out"}
    assert output_settings(parameters(found["shapes-post"])) == SegmentationSettings("ClassScores", 48, 64)


@pytest.mark.parametrize(
    ("kind", "decoder", "outputs", "raw"),
    [
        ("Classification", "Softmax", (tensor("logits", 10), tensor("aux", 10)), "logits"),
        ("Classification", "Probabilities", (tensor("features", 64), tensor("scores", -1)), "scores"),
        ("Classification", "Softmax", (tensor("logits", 10), tensor("scores", 9, 3)), "logits"),
        ("Segmentation", "ClassScores", (tensor("out", -1, -1, -1),), "out"),
        ("Segmentation", "ClassMap", (tensor("argmax", 48, 64, dtype="int64"),), "argmax"),
        ("Segmentation", "Sigmoid", (tensor("out", 1, 48, 64),), "out"),
    ],
)
def test_the_output_that_a_decoder_of_one_tensor_reads(
    kind: str, decoder: str, outputs: tuple[TensorSpec, ...], raw: str
) -> None:
    found = configs(spec(task={"type": kind, "output": {"decoder": decoder}}), artifact(outputs=outputs))
    settings = output_settings(parameters(found["shapes-post"]))
    (read,) = raw_names(settings)
    assert [one.name for one in found["shapes-post"].input] == ["geometry", read]
    assert found["shapes"].ensemble_scheduling.step[2].input_map[read] == f"net.{raw}"


@pytest.mark.parametrize(
    ("task", "made", "words"),
    [
        ({"type": "Classification"}, SEGMENTER, "which is not the scores of decoder Softmax: batch and .-1.; set"),
        ({"type": "Classification"}, CLASSIFIER, "1 channels; 3 are served. Correct .* task.input.colorSpace"),
        ({"type": "Classification", "input": {"colorSpace": "Gray"}}, SEGMENTER, "3 channels; 1 are served"),
        ({**DIGITS, "labels": ["zero"]}, CLASSIFIER, "1 names and the model 10 classes"),
        ({"type": "Segmentation", "labels": ["a"]}, SEGMENTER, "1 names and the model 21 classes"),
        ({"type": "Segmentation"}, artifact(outputs=(tensor("o", 1, 8, 8),)), "set task.output.decoder to Sigmoid"),
        ({"type": "Segmentation"}, artifact(outputs=(tensor("o", 256, 8, 8),)), "a mask holds at most 255"),
        (
            {"type": "Segmentation", "output": {"decoder": "Sigmoid"}, "labels": ["a", "b", "c"]},
            artifact(outputs=(tensor("o", 1, 8, 8),)),
            "3 names and the model 2 classes",
        ),
        ({"type": "Segmentation", "output": {"decoder": "Sigmoid"}}, SEGMENTER, "not the scores of decoder Sigmoid"),
    ],
)
def test_networks_that_do_not_fit_their_task(task: dict[str, Any], made: ArtifactInfo, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        configs(spec(task=task), made)
    assert refused.value.reason == Reason.INVALID_SPEC


@pytest.mark.parametrize(
    ("requests", "limits", "count"),
    [({"cpu": "100m"}, {}, 1), ({"cpu": "1"}, {"cpu": "3"}, 3), ({"cpu": "64"}, {}, 4), ({}, {}, 1)],
)
def test_steps_have_few_instances(requests: dict[str, str], limits: dict[str, str], count: int) -> None:
    of = spec(
        task={"type": "Detection", "output": GRID},
        serving={"resources": {"requests": requests, "limits": limits}},
        accelerators=[{}],
    )
    found = configs(of)
    groups = [(g.kind, g.count) for name in ("shapes-pre", "shapes-post") for g in found[name].instance_group]
    assert groups == [(triton.ModelInstanceGroup.KIND_CPU, count)] * 2


def test_free_sides_are_taken_from_the_spec() -> None:
    made = artifact(inputs=(tensor("images", 3, -1, -1),), outputs=DETECTOR.outputs)
    found = configs(detection(input={"height": 32, "width": 48}), made)
    assert list(found["shapes-net"].input[0].dims) == list(found["shapes-pre"].output[0].dims) == [3, 32, 48]
    assert found["shapes-net"].model_warmup


@pytest.mark.parametrize(
    ("task", "made", "words"),
    [
        pytest.param(
            {"input": {"height": 32}}, DETECTOR, "task.input.height is 32 and the model's input has 64", id="height"
        ),
        pytest.param({"input": {"width": 65}}, DETECTOR, "task.input.width is 65", id="width"),
        pytest.param({"input": {"layout": "NHWC"}}, DETECTOR, "64 channels; 3 are served", id="layout"),
        pytest.param(
            {},
            artifact(inputs=(tensor("x", 3, -1, 64),), outputs=DETECTOR.outputs),
            "any height; say which one in task.input.height",
            id="free height",
        ),
        pytest.param({}, artifact(inputs=(tensor("x", 12),), outputs=DETECTOR.outputs), "not the four axes", id="rank"),
        pytest.param(
            {},
            artifact(inputs=(tensor("x", 3, 8, 8, dtype="uint8"),), outputs=DETECTOR.outputs),
            "has type uint8, not float32",
            id="dtype",
        ),
        pytest.param(
            {},
            artifact(inputs=(tensor("x", 3, 8, 8), tensor("y", 1)), outputs=DETECTOR.outputs),
            "a model with one input, this one has 2",
            id="inputs",
        ),
        pytest.param({}, artifact(), "the model has no boxes, scores but grid", id="missing outputs"),
        pytest.param(
            {},
            artifact(outputs=(tensor("boxes", 9, 5), tensor("scores", 9, 2))),
            "which is not the boxes of decoder Grid",
            id="box of five",
        ),
        pytest.param(
            {"output": {"decoder": "YOLOv8"}}, artifact(outputs=(tensor("o", 4, 9),)), "more than 4 rows", id="no class"
        ),
        pytest.param({"labels": ["a", "b"]}, DETECTOR, "2 names and the model 3 classes", id="labels"),
    ],
)
def test_models_that_do_not_fit_are_the_users_to_mend(task: dict[str, Any], made: ArtifactInfo, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        configs(detection(**task), made)
    assert refused.value.reason == Reason.INVALID_SPEC


def test_batching_is_needed() -> None:
    of = spec(task={"type": "Detection", "output": GRID}, serving={"batching": {"maxBatchSize": 0}})
    with pytest.raises(UserError, match=r"set serving.batching.maxBatchSize to 1 or more"):
        configs(of)
