"""Classifiers and segmenters from the resource to the verdict: archives of images, judged as serving will answer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from component.colors import COLORS, color_network, file_of, picture
from example_models.digits import dataset
from unit.converter.gates.archives import tar_bytes, zip_bytes
from visionmodel_contract.exits import ExitCode
from visionmodel_operator.api.v1alpha1 import parse_spec
from visionmodel_operator.core.conversion_request import conversion_request
from visionmodel_operator.core.snapshot import Platform

from .conftest import Finished, JobRunner

COUNT = 60
DIGITS = dataset(np.random.default_rng(21), COUNT)
CLAIM = "pvc://models"


def digit(row: int) -> bytes:
    pixels = np.rint(DIGITS.images[row, 0] * 255).astype(np.uint8)
    return file_of(Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST))


def folder_per_class() -> dict[str, bytes]:
    return {f"digits/{label}/{row:03}.png": digit(row) for row, label in enumerate(DIGITS.labels)}


def listed() -> dict[str, bytes]:
    rows = "".join(f"{row:03}.png,{label}\n" for row, label in enumerate(DIGITS.labels))
    return {"labels.csv": f"file,label\n{rows}".encode()} | {f"images/{row:03}.png": digit(row) for row in range(COUNT)}


def masked(count: int = 12) -> dict[str, bytes]:
    files = {}
    for seed in range(count):
        shown, classes = picture(seed, (160, 120 + 8 * (seed % 3)))
        files[f"images/{seed:03}.png"] = file_of(shown)
        files[f"masks/{seed:03}.png"] = file_of(Image.fromarray(classes))
    return files


def asked(job: JobRunner, task: dict[str, Any], metric: str, value: float, **conversion: Any) -> str:
    """The request that the operator makes of a resource."""
    parity = {
        "datasetUri": f"{CLAIM}/data",
        "metrics": [{"name": metric, "goal": "threshold", "value": value}],
    }
    document = {
        "model": {"storageUri": f"{CLAIM}/model.onnx"},
        "task": task,
        "conversion": {"gates": {"parity": parity}, **conversion},
    }
    platform = Platform(
        runtimes={},
        default_runtime="26.07",
        converter_image="converter",
        artifact_repository=f"{job.registry.host}/{job.repository}",
        artifact_repository_insecure=True,
    )
    request = conversion_request(
        parse_spec(document), namespace="shop", name="net", revision="0123456789", platform=platform
    )
    return request.to_json()


def judged(
    job: JobRunner, model: bytes, data: bytes, task: dict[str, Any], metric: str, value: float, **conversion: Any
) -> Finished:
    claim = job.pvc_root / "models"
    claim.mkdir(parents=True)
    (claim / "model.onnx").write_bytes(model)
    (claim / "data").write_bytes(data)
    return job.run_here(asked(job, task, metric, value, **conversion))


def report_of(job: JobRunner, done: Finished) -> Any:
    assert done.summary.artifact is not None
    out = job.folder / "artifact"
    assert job.fetch_artifact(done.summary.artifact.image, out) == 0
    return json.loads((out / "report.json").read_text())


GRAY = {"type": "Classification", "input": {"colorSpace": "Gray"}}


@pytest.fixture(scope="session")
def classifier(trained: Path) -> bytes:
    return (trained / "digits" / "v1" / "model.onnx").read_bytes()


def test_top1_of_one_folder_per_class(job: JobRunner, classifier: bytes) -> None:
    done = judged(job, classifier, zip_bytes(folder_per_class()), GRAY, "top1", 0.9)
    assert done.code == 0, done.stderr
    (gate,) = done.summary.gates
    assert (gate.metric, gate.samples, gate.value) == ("top1", COUNT, gate.source_value)
    outcomes = {one["name"]: one["outcome"] for one in report_of(job, done)["edgeCases"]}
    assert {name for name, outcome in outcomes.items() if outcome == "refused"} == {"truncated", "empty", "no-image"}
    assert set(outcomes.values()) == {"refused", "answered"}
    assert {"black", "white", "noise", "one-pixel", "huge", "panorama"} <= outcomes.keys()


def test_top5_of_a_list_of_labels(job: JobRunner, classifier: bytes) -> None:
    done = judged(job, classifier, tar_bytes(listed(), "w:gz"), GRAY, "top5", 0.98)
    assert done.code == 0, done.stderr
    assert [(gate.metric, gate.samples) for gate in done.summary.gates] == [("top5", COUNT)]


def test_int8_is_calibrated_with_the_same_grey_pixels(job: JobRunner, classifier: bytes) -> None:
    others = dataset(np.random.default_rng(22), 100).images[:, 0]
    pictures = {
        f"{row}.png": file_of(Image.fromarray(np.rint(one * 255).astype(np.uint8))) for row, one in enumerate(others)
    }
    (job.pvc_root / "calibration").mkdir(parents=True)
    (job.pvc_root / "calibration" / "set.zip").write_bytes(zip_bytes(pictures))
    calibration = {"storageUri": "pvc://calibration/set.zip", "method": "MinMax"}
    data = zip_bytes(folder_per_class())
    done = judged(job, classifier, data, GRAY, "top1", 0.9, precision="int8", calibration=calibration)
    assert done.code == 0, done.stderr
    assert done.summary.artifact is not None
    assert done.summary.artifact.precision == "int8"
    assert [(gate.metric, gate.samples, gate.passed) for gate in done.summary.gates] == [("top1", COUNT, True)]


def test_a_classifier_that_misses_its_goal_is_refused(job: JobRunner, classifier: bytes) -> None:
    shifted = {f"{(int(label) + 1) % 10}/{row}.png": digit(row) for row, label in enumerate(DIGITS.labels)}
    done = judged(job, classifier, zip_bytes(shifted), GRAY, "top1", 0.9)
    assert (done.code, job.tags()) == (ExitCode.GATE_FAILED, [])


def test_logits_are_no_probabilities(job: JobRunner, classifier: bytes) -> None:
    task = {**GRAY, "output": {"decoder": "Probabilities"}}
    done = judged(job, classifier, zip_bytes(folder_per_class()), task, "top1", 0.9)
    failure = done.summary.failure
    assert failure is not None
    assert (failure.reason, done.code, job.tags()) == ("BadRequest", ExitCode.BAD_REQUEST, [])
    assert failure.message.endswith("; set it to Softmax")


COLORED = {"type": "Segmentation", "labels": list(COLORS)}


def test_mask_iou_of_masks_beside_the_images(job: JobRunner) -> None:
    done = judged(job, color_network(), zip_bytes(masked()), COLORED, "maskIou", 0.85)
    assert done.code == 0, done.stderr
    (gate,) = done.summary.gates
    assert (gate.metric, gate.samples, gate.value) == ("maskIou", 12, gate.source_value)
    assert 0.85 < gate.value < 1
    assert {one["outcome"] for one in report_of(job, done)["edgeCases"]} == {"refused", "answered"}


def test_a_mask_of_another_class_is_the_datasets_fault(job: JobRunner) -> None:
    files = masked(3)
    files["masks/001.png"] = file_of(Image.new("L", (160, 128), 9))
    done = judged(job, color_network(), zip_bytes(files), COLORED, "maskIou", 0.1)
    failure = done.summary.failure
    assert failure is not None
    assert (failure.reason, done.code) == ("DatasetInvalid", ExitCode.DATASET_INVALID)
    assert "names class 9 of 4" in failure.message
