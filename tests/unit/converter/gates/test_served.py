"""What serving would answer, and decoders that do not fit what the network gives."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unit.converter.gates.archives import IMAGE_INPUT, image_task
from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.served import refuse_wrong_decoder, served_problem
from visionmodel_converter.gates.tasks import Specs
from visionmodel_pipeline.classification import softmax
from visionmodel_pipeline.geometry import geometry_of

Tensors = Mapping[str, NDArray[Any]]
SCORES: Specs = (TensorSpec(name="y", dtype="float32", dims=(-1, 3)),)
LOGIT: Specs = (TensorSpec(name="y", dtype="float32", dims=(-1, 1, 8, 8)),)
MASKS: Specs = (TensorSpec(name="y", dtype="float32", dims=(-1, 2, 4, 4)),)


def logits(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {"y": 10 * tensors["x"].mean(axis=(2, 3))}


def shares(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {"y": softmax(logits(tensors)["y"]).astype(np.float32)}


def independent(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """A sigmoid per class: probabilities that do not sum to one."""
    return {"y": 1 / (1 + np.exp(-logits(tensors)["y"]))}


@pytest.mark.parametrize(
    ("run", "task"),
    [
        (logits, image_task(decoder="Softmax")),
        (shares, image_task(decoder="Probabilities")),
        (independent, image_task(decoder="Probabilities")),
        (shares, image_task()),
        (shares, None),
    ],
    ids=["logits", "shares", "several-labels", "no-decoder", "tensors"],
)
def test_decoders_that_fit(run: Callable[[Tensors], dict[str, NDArray[Any]]], task: ImageTask | None) -> None:
    refuse_wrong_decoder(run, inputs=IMAGE_INPUT, outputs=SCORES, task=task, seed=1)
    if task is not None:
        geometry = geometry_of("Stretch", (5, 7), (8, 8))
        answer = run({"x": np.ones((1, 3, 8, 8), np.float32)})
        assert served_problem(answer, geometry, inputs=IMAGE_INPUT, outputs=SCORES, task=task) is None


@pytest.mark.parametrize(
    ("run", "decoder", "words"),
    [
        (shares, "Softmax", "'y' already are what a softmax gives; set it to Probabilities"),
        (logits, "Probabilities", "; set it to Softmax"),
    ],
    ids=["softmax-twice", "no-softmax"],
)
def test_decoders_that_do_not_fit(run: Callable[[Tensors], dict[str, NDArray[Any]]], decoder: str, words: str) -> None:
    with pytest.raises(ConversionFailure) as caught:
        refuse_wrong_decoder(run, inputs=IMAGE_INPUT, outputs=SCORES, task=image_task(decoder=decoder), seed=1)
    assert caught.value.reason is Reason.BAD_REQUEST
    assert caught.value.message.startswith(f"task.output.decoder is {decoder}, but the values of output")
    assert caught.value.message.endswith(words)


def lesion_logits(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {"y": 4 * tensors["x"].mean(axis=1, keepdims=True) - 2}


def lesion_shares(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {"y": 1 / (1 + np.exp(-lesion_logits(tensors)["y"]))}


def test_a_sigmoid_is_not_applied_twice() -> None:
    """Every probability is above the logit of one half, so every mask would be one class, and agree with its source."""
    task = image_task(decoder="Sigmoid")
    refuse_wrong_decoder(lesion_logits, inputs=IMAGE_INPUT, outputs=LOGIT, task=task, seed=1)
    with pytest.raises(ConversionFailure, match="'y' already are what a sigmoid gives") as caught:
        refuse_wrong_decoder(lesion_shares, inputs=IMAGE_INPUT, outputs=LOGIT, task=task, seed=1)
    assert caught.value.reason is Reason.BAD_REQUEST
    assert caught.value.message.endswith("export the model without its last sigmoid, which the decoder applies")


@pytest.mark.parametrize(
    ("decoder", "dims", "words"),
    [
        ("Softmax", (3, 1, 1), "reads scores with 2 axes; the model has 'y' [-1, 3, 1, 1]: set"),
        ("Grid", (3,), "reads boxes with 3 axes, scores with 3 axes; the model has 'y' [-1, 3]"),
        ("ClassMap", (2, 4, 4), "reads classes with 3 axes; the model"),
        ("ClassScores", (4, 4), "reads scores with 4 axes and 2 to 255 classes; the model"),
        ("ClassScores", (1, 4, 4), "reads scores with 4 axes and 2 to 255 classes; the model"),
        ("ClassScores", (256, 4, 4), "reads scores with 4 axes and 2 to 255 classes; the model"),
        ("Sigmoid", (2, 4, 4), "reads scores with 4 axes and 1 channel; the model"),
    ],
)
def test_outputs_that_no_decoder_reads(decoder: str, dims: tuple[int, ...], words: str) -> None:
    outputs = (TensorSpec(name="y", dtype="float32", dims=(-1, *dims)),)
    with pytest.raises(ConversionFailure) as caught:
        refuse_wrong_decoder(logits, inputs=IMAGE_INPUT, outputs=outputs, task=image_task(decoder=decoder), seed=1)
    assert caught.value.reason is Reason.BAD_REQUEST
    assert f"task.output.decoder is {decoder}, which {words}" in caught.value.message


def test_more_classes_than_the_shape_tells() -> None:
    outputs = (TensorSpec(name="y", dtype="float32", dims=(-1, -1, 4, 4)),)
    answer = {"y": np.ones((1, 256, 4, 4), np.float32)}
    task, geometry = image_task(decoder="ClassScores"), geometry_of("Stretch", (5, 7), (8, 8))
    with pytest.raises(ConversionFailure, match="the model has 256 classes; at most 255") as caught:
        served_problem(answer, geometry, inputs=IMAGE_INPUT, outputs=outputs, task=task)
    assert caught.value.reason is Reason.BAD_REQUEST


@pytest.mark.parametrize(("value", "is_problem"), [(1.005, False), (1.02, True), (-0.005, False), (-0.02, True)])
def test_probabilities_may_be_rounded(value: float, is_problem: bool) -> None:
    geometry = geometry_of("Stretch", (5, 7), (8, 8))
    answer = {"y": np.array([[0.5, value, 0.0]], np.float32)}
    problem = served_problem(
        answer, geometry, inputs=IMAGE_INPUT, outputs=SCORES, task=image_task(decoder="Probabilities")
    )
    assert (problem == "output 'y' holds what is no probability") is is_problem


def test_masks_are_in_pixels_of_the_source() -> None:
    geometry = geometry_of("Letterbox", (5, 7), (8, 8))
    answer = {"y": np.ones((1, 2, 4, 4), np.float32)}
    task = image_task(decoder="ClassScores")
    assert served_problem(answer, geometry, inputs=IMAGE_INPUT, outputs=MASKS, task=task) is None
