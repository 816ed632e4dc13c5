"""Unusual inputs: answered with numbers, refused as a client's fault, or the artifact is refused."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageFile

from unit.converter.gates.archives import IMAGE_INPUT, image_task
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.edge_cases import (
    IMAGE_CASES,
    TENSOR_CASES,
    check_edge_cases,
    refuse_failed_edge_cases,
)
from visionmodel_converter.report import EdgeCaseResult
from visionmodel_pipeline.decoding import BadImage
from visionmodel_pipeline.preparing import prepare
from visionmodel_pipeline.settings import PreSettings

Run = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
LOGITS = (TensorSpec(name="y", dtype="float32", dims=(-1, 3)),)
GRID = (
    TensorSpec(name="boxes", dtype="float32", dims=(-1, 1, 4)),
    TensorSpec(name="scores", dtype="float32", dims=(-1, 1, 3)),
)
TASK = image_task(max_bytes="100000000", max_pixels="50000000")


def means(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {"y": tensors["x"].mean(axis=(2, 3))}


def inverse(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Not a number for a black picture."""
    with np.errstate(divide="ignore"):
        return {"y": 1 / tensors["x"].mean(axis=(2, 3))}


def outcomes(results: tuple[EdgeCaseResult, ...]) -> dict[str, str]:
    return {result.name: result.outcome for result in results}


def test_a_sound_pipeline_answers_or_refuses_every_image() -> None:
    results = check_edge_cases(means, means, inputs=IMAGE_INPUT, outputs=LOGITS, task=TASK)
    refused = {"truncated", "empty", "no-image"}
    assert outcomes(results) == {case.name: "refused" if case.name in refused else "answered" for case in IMAGE_CASES}
    refuse_failed_edge_cases(results)


def test_serving_limits_hold_for_the_cases_too() -> None:
    small = image_task(max_bytes="100000000", max_pixels="1000000")
    results = check_edge_cases(means, means, inputs=IMAGE_INPUT, outputs=LOGITS, task=small)
    assert outcomes(results)["huge"] == "refused"


def test_part_of_a_picture_must_not_pass_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as a library may do behind our back
    results = check_edge_cases(means, means, inputs=IMAGE_INPUT, outputs=LOGITS, task=TASK)
    assert {result.name: result.detail for result in results if result.outcome == "failed"} == {
        "truncated": "it was taken for an image"
    }


def test_not_a_number_fails_whatever_the_source_does() -> None:
    results = check_edge_cases(inverse, inverse, inputs=IMAGE_INPUT, outputs=LOGITS, task=TASK)
    failed = {name for name, outcome in outcomes(results).items() if outcome == "failed"}
    assert failed == {"black", "transparent"}
    with pytest.raises(ConversionFailure) as caught:
        refuse_failed_edge_cases(results)
    assert caught.value.reason is Reason.EDGE_CASE_FAILED
    assert "black: output 'y' holds NaN or infinity" in caught.value.message


def test_a_crash_is_a_result() -> None:
    def crashes(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        raise ConversionFailure(Reason.RUNTIME_REFUSES, "the kernel fell over")

    results = check_edge_cases(means, crashes, inputs=IMAGE_INPUT, outputs=LOGITS, task=TASK)
    assert {result.outcome for result in results} == {"failed", "refused"}
    assert "the kernel fell over" in {result.detail for result in results}


def test_a_fault_of_the_device_is_none_of_the_networks() -> None:
    def falls_over(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        raise ConversionFailure(Reason.DEVICE_FAILED, "an illegal memory access was encountered")

    for inputs, task in ((IMAGE_INPUT, TASK), (X, None)):
        with pytest.raises(ConversionFailure) as failure:
            check_edge_cases(means, falls_over, inputs=inputs, outputs=LOGITS, task=task)
        assert failure.value.reason is Reason.DEVICE_FAILED


def test_detections_go_through_serving_post_processing() -> None:
    def everywhere(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        count = len(tensors["x"])
        return {
            "boxes": np.full((count, 1, 4), [-1e30, -1e30, 1e30, 1e30], np.float32),
            "scores": np.full((count, 1, 3), 0.9, np.float32),
        }

    task = image_task(decoder="Grid", max_bytes="100000000", max_pixels="50000000")
    results = check_edge_cases(everywhere, everywhere, inputs=IMAGE_INPUT, outputs=GRID, task=task)
    assert "failed" not in outcomes(results).values()


def means_of_halves(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Two classes at half the input's size: bright and dark."""
    small = tensors["x"].mean(axis=1, keepdims=True)[..., ::2, ::2]
    return {"m": np.concatenate([small, 1 - small], axis=1)}


@pytest.mark.parametrize("resize", ["Letterbox", "CenterCrop", "Stretch"])
def test_classes_and_masks_go_through_serving_post_processing(resize: str) -> None:
    limits = {"max_bytes": "100000000", "max_pixels": "50000000", "resize": resize}
    masks = (TensorSpec(name="m", dtype="float32", dims=(-1, 2, 4, 4)),)
    refused = {"truncated", "empty", "no-image"}
    expected = {case.name: "refused" if case.name in refused else "answered" for case in IMAGE_CASES}
    for run, outputs, decoder in ((means, LOGITS, "Softmax"), (means_of_halves, masks, "ClassScores")):
        task = image_task(decoder=decoder, **limits)
        assert outcomes(check_edge_cases(run, run, inputs=IMAGE_INPUT, outputs=outputs, task=task)) == expected


def test_what_is_no_probability_fails() -> None:
    def doubled(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"y": 2 * tensors["x"].mean(axis=(2, 3))}

    task = image_task(decoder="Probabilities", max_bytes="100000000", max_pixels="50000000")
    results = check_edge_cases(doubled, doubled, inputs=IMAGE_INPUT, outputs=LOGITS, task=task)
    assert outcomes(results)["white"] == "failed"
    assert {result.detail for result in results if result.outcome == "failed"} == {
        "output 'y' holds what is no probability"
    }


def test_cases_are_what_their_names_say() -> None:
    settings = PreSettings(height=8, width=8, max_bytes=10**9)
    sizes = {}
    for case in IMAGE_CASES:
        try:
            _, geometry = prepare(case.data(), settings)
        except BadImage:
            continue
        sizes[case.name] = (geometry.source_width, geometry.source_height)
    assert (sizes["one-pixel"], sizes["panorama"], sizes["tower"]) == ((1, 1), (3200, 64), (64, 3200))
    assert sizes["exif-rotated"] == (128, 256)  # stored 256 x 128, turned a quarter
    assert sizes["huge"][0] * sizes["huge"][1] == 24_000_000


X = (TensorSpec(name="x", dtype="float32", dims=(-1, 4)),)


def identity(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {"y": tensors["x"]}


def overflowing(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    with np.errstate(over="ignore"):
        return {"y": (tensors["x"] * 1000).astype(np.float16)}


@pytest.mark.parametrize(
    ("source", "artifact", "expected"),
    [
        (identity, identity, dict.fromkeys(TENSOR_CASES, "answered")),
        (
            identity,
            overflowing,
            {"zeros": "answered", "ones": "answered", "large": "failed", "large-negative": "failed"},
        ),
        (
            overflowing,
            overflowing,
            {"zeros": "answered", "ones": "answered", "large": "refused", "large-negative": "refused"},
        ),
    ],
    ids=["sound", "artifact-overflows", "source-overflows-too"],
)
def test_tensors(source: Run, artifact: Run, expected: dict[str, str]) -> None:
    assert outcomes(check_edge_cases(source, artifact, inputs=X, outputs=LOGITS, task=None)) == expected


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("uint8", {0, 1, 255}), ("int64", {0, 1}), ("float32", {0.0, 1.0, 255.0, -255.0})],
)
def test_values_fit_the_type(dtype: str, values: set[float]) -> None:
    seen: set[float] = set()

    def recording(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        assert tensors["x"].shape == (1, 4)
        assert tensors["x"].dtype.name == dtype
        seen.update(np.unique(tensors["x"]).tolist())
        return {"y": tensors["x"]}

    spec = (TensorSpec(name="x", dtype=dtype, dims=(-1, 4)),)
    check_edge_cases(recording, recording, inputs=spec, outputs=LOGITS, task=None)
    assert seen == values
