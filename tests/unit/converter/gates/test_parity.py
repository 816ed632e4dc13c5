"""Both models on the same inputs: which numbers come out, what enters them, and what is refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unit.converter.gates.archives import IMAGE_INPUT, coco, image_task, noise, stored, zip_bytes
from visionmodel_contract.conversion import ImageTask, MetricGoal
from visionmodel_contract.precision import Goal
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure
from visionmodel_converter.gates.arrays import ArraySamples
from visionmodel_converter.gates.comparison import Worst
from visionmodel_converter.gates.dataset import load_samples
from visionmodel_converter.gates.goals import Measured
from visionmodel_converter.gates.parity import measure
from visionmodel_converter.gates.samples import Samples

Run = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
X = (TensorSpec(name="x", dtype="float32", dims=(-1, 3)),)
Y = (TensorSpec(name="y", dtype="float32", dims=(-1, 3)),)
SAMPLES = ArraySamples({"x": np.eye(3, dtype=np.float32)}, np.array([0, 1, 1]), None, None)
UNLABELLED = ArraySamples(SAMPLES.inputs, None, None, None)


def scaled(factor: float) -> Run:
    return lambda tensors: {"y": tensors["x"] * np.float32(factor)}


def goals(*names: str) -> tuple[MetricGoal, ...]:
    return tuple(MetricGoal(name=name, goal=Goal.THRESHOLD, value=0.5) for name in names)


def measured(source: Run, artifact: Run, samples: Samples | None, *names: str, **options: Any) -> dict[str, Measured]:
    given = {"inputs": X, "outputs": Y, "seed": 7, **options}
    return measure(source, artifact, samples, goals(*names), **given)


def test_the_same_model_agrees_with_itself() -> None:
    result = measured(scaled(1), scaled(1), None)
    assert result.keys() == {"maxAbsError", "maxRelativeError", "cosine"}
    assert result["maxRelativeError"] == Measured(0.0, 0.0, 4)
    assert result["cosine"].value == pytest.approx(1.0)


def test_random_inputs_and_samples_both_count() -> None:
    result = measured(scaled(1), scaled(1.5), SAMPLES)
    assert result["maxAbsError"].value == pytest.approx(0.5)
    assert result["maxAbsError"].samples == 4 + 3


def test_random_inputs_can_be_left_out_where_there_are_samples() -> None:
    def differs_on_noise(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        is_sample = np.isin(tensors["x"], (0, 1)).all()
        return {"y": tensors["x"] * np.float32(1 if is_sample else 2)}

    assert measured(scaled(1), differs_on_noise, SAMPLES, random_counts=False)["maxAbsError"] == Measured(0.0, 0.0, 3)
    assert measured(scaled(1), differs_on_noise, SAMPLES)["maxAbsError"].value > 0.1
    assert measured(scaled(1), differs_on_noise, None, random_counts=False)["maxAbsError"].value > 0.1


def test_labels_of_tensors() -> None:
    result = measured(scaled(1), scaled(-1), SAMPLES, "top1", "top1Agreement")
    assert result["top1"] == Measured(0.0, 2 / 3, 3)
    assert result["top1Agreement"].value == 0.0


def test_the_tasks_own_metric_is_measured_unasked() -> None:
    assert {"top1", "top5", "top1Agreement"} <= measured(scaled(1), scaled(1), SAMPLES).keys()


GRID = (
    TensorSpec(name="boxes", dtype="float32", dims=(-1, 2, 4)),
    TensorSpec(name="scores", dtype="float32", dims=(-1, 2, 2)),
)


def fixed_detector(score: float) -> Run:
    """Answers every picture with one square in the network's 8 x 8 pixels."""

    def run(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        count = len(tensors["x"])
        boxes = np.tile(np.array([[0, 0, 4, 4], [4, 4, 8, 8]], np.float32), (count, 1, 1))
        scores = np.tile(np.array([[score, 0], [0, 0]], np.float32), (count, 1, 1))
        return {"boxes": boxes, "scores": scores}

    return run


def detections(folder: Path, task: ImageTask) -> Samples:
    """Two pictures of 40 x 48 whose upper left quarter is a circle."""
    document = coco({name: [(1, [0, 0, 20, 24])] for name in ("a.png", "b.png")}, {1: "circle", 2: "square"})
    data = zip_bytes({"annotations.json": document, "a.png": noise(1), "b.png": noise(2)})
    return load_samples(stored(folder, data), IMAGE_INPUT, task=task, shown="d", max_bytes=10**7)


def test_images_end_to_end(tmp_path: Path) -> None:
    task = image_task(decoder="Grid", labels=("circle", "square"))
    worst = Worst(1)
    result = measured(
        fixed_detector(0.9),
        fixed_detector(0.9),
        detections(tmp_path, task),
        "map50_95",
        "mapAgreement",
        inputs=IMAGE_INPUT,
        outputs=GRID,
        task=task,
        worst=worst,
    )
    assert [result["map50_95"].value, result["map50_95"].source_value] == pytest.approx([1.0, 1.0])
    assert result["map50_95"].samples == 2
    assert result["mapAgreement"].value == pytest.approx(1.0)
    assert [comparison.name for comparison in worst.worst_first()] == ["a.png"]


def test_worst_samples_are_told_by_the_tasks_own_metric() -> None:
    """A goal on classes beside a detection task must not list each sample twice."""
    outputs = (*Y, *GRID)

    def both(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"y": tensors["x"], **fixed_detector(0.9)(tensors)}

    boxes = np.tile(np.array([[0, 0, 4, 4]], np.float32), (3, 1, 1))
    samples = ArraySamples(SAMPLES.inputs, SAMPLES.label, boxes, np.zeros((3, 1), np.int64))
    worst = Worst(10)
    result = measured(both, both, samples, "top1", "map50", outputs=outputs, worst=worst)
    assert {"top1", "map50"} <= result.keys()
    assert [comparison.name for comparison in worst.worst_first()] == ["sample 0", "sample 1", "sample 2"]


def test_numbers_of_classes_are_judged_by_how_many_differ() -> None:
    """A near tie per picture falls to the other class; the numbers are as far apart as they can be."""

    def classes(tie: int) -> Run:
        def run(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            found = np.full((len(tensors["x"]), 200, 200), 3, np.int64)
            found[:, 0, 0] = tie
            return {"y": found}

        return run

    outputs = (TensorSpec(name="y", dtype="int64", dims=(-1, 200, 200)),)
    result = measured(classes(0), classes(20), None, outputs=outputs)
    assert result["maxRelativeError"].value == result["maxAbsError"].value == pytest.approx(1 / 40_000)
    assert result["cosine"].value == pytest.approx(1 - 1 / 40_000)


def nan(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {"y": tensors["x"] * np.float32("nan")}


def flat(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {"y": tensors["x"].ravel()}


def narrow(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {"y": tensors["x"][:, :2]}


@pytest.mark.parametrize(
    ("source", "artifact", "samples", "names", "reason", "words"),
    [
        (nan, nan, None, (), "ParityFailed", "of the source holds NaN"),
        (scaled(1), nan, None, (), "ParityFailed", "of the artifact holds NaN or infinity for random inputs"),
        (flat, flat, None, (), "StaticBatch", "its first axis must be the batch"),
        (scaled(1), narrow, None, (), "ParityFailed", "has shape [1, 2] in the artifact"),
        (scaled(1), scaled(1), UNLABELLED, ("top1",), "DatasetInvalid", "metric top1 needs labels"),
        (scaled(1), scaled(1), SAMPLES, ("map50",), "MetricNotApplicable", "'y' [-1, 3]"),
        (scaled(1), scaled(1), SAMPLES, ("maskIou",), "MetricNotApplicable", "scores [batch, classes, height"),
        (scaled(1), scaled(1), None, ("top1Agreement",), "MetricNotApplicable", "needs samples"),
        (
            scaled(1),
            scaled(1),
            ArraySamples(SAMPLES.inputs, np.array([0, 1, 3]), None, None),
            ("top1",),
            "DatasetInvalid",
            "name class 3, the model has 3 classes",
        ),
    ],
    ids=[
        *("source-nan", "artifact-nan", "lost-batch", "other-shape", "no-labels", "no-detector", "no-masks"),
        *("no-samples", "too-many-classes"),
    ],
)
def test_refusals(
    source: Run, artifact: Run, samples: Samples | None, names: tuple[str, ...], reason: str, words: str
) -> None:
    with pytest.raises(ConversionFailure) as caught:
        measured(source, artifact, samples, *names)
    assert caught.value.reason == reason
    assert words in caught.value.message


def test_a_source_without_detections_cannot_be_agreed_with(tmp_path: Path) -> None:
    task = image_task(decoder="Grid")
    with pytest.raises(ConversionFailure, match=r"lower task\.output\.scoreThreshold") as caught:
        measured(
            fixed_detector(0.1),
            fixed_detector(0.1),
            detections(tmp_path, task),
            "mapAgreement",
            inputs=IMAGE_INPUT,
            outputs=GRID,
            task=task,
        )
    assert caught.value.reason == "MetricNotApplicable"
