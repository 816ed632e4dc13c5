"""Bounds of an engine's inputs from the model's shapes and the ranges asked for."""

import numpy as np
import pytest

from visionmodel_contract.build import DynamicAxis, EngineOptions, ShapeRange
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.engines.profiles import ShapeBounds, profile_of, refuse_other_sizes, served_sizes
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_pipeline.settings import PreSettings

BATCH = ShapeRange(min=1, opt=8, max=32)
SIDES = ShapeRange(min=320, opt=640, max=1280)


def image(*dims: int) -> TensorSpec:
    return TensorSpec(name="images", dtype="float32", dims=dims)


def options(*axes: DynamicAxis) -> EngineOptions:
    return EngineOptions(batch=BATCH, dynamic_shapes=axes)


def axis(index: int, name: str = "images") -> DynamicAxis:
    return DynamicAxis(input=name, axis=index, range=SIDES)


@pytest.mark.parametrize(
    ("dims", "axes", "bounds"),
    [
        pytest.param((-1, 3, 64, 64), (), ((1, 3, 64, 64), (8, 3, 64, 64), (32, 3, 64, 64)), id="batch"),
        pytest.param((1, 3, 64, 64), (), ((1, 3, 64, 64),) * 3, id="all fixed"),
        pytest.param(
            (-1, 3, -1, -1),
            (axis(2), axis(3)),
            ((1, 3, 320, 320), (8, 3, 640, 640), (32, 3, 1280, 1280)),
            id="image sizes",
        ),
    ],
)
def test_bounds(dims: tuple[int, ...], axes: tuple[DynamicAxis, ...], bounds: tuple[tuple[int, ...], ...]) -> None:
    assert profile_of((image(*dims),), options(*axes)) == {"images": ShapeBounds(*bounds)}


@pytest.mark.parametrize(
    ("dims", "axes", "words"),
    [
        pytest.param((-1, 3, -1, 64), (), "axis 2 is free", id="no range"),
        pytest.param((-1, 3, 64, 64), (axis(2),), "axis 2 of input 'images'", id="range of a fixed axis"),
        pytest.param((-1, 3, -1, 64), (axis(2), axis(2, "other")), "input 'other'", id="unknown input"),
        pytest.param((-1, 3, -1, 64), (axis(2), axis(9)), "axis 9", id="unknown axis"),
    ],
)
def test_refused(dims: tuple[int, ...], axes: tuple[DynamicAxis, ...], words: str) -> None:
    with pytest.raises(ConversionFailure, match=words) as refusal:
        profile_of((image(*dims),), options(*axes))
    assert refusal.value.reason == Reason.BAD_REQUEST
    assert "dynamicShapes" in refusal.value.message


PROFILE = profile_of((image(-1, 3, -1, -1),), options(axis(2), axis(3)))


@pytest.mark.parametrize("sides", [(319, 640), (640, 1281)])
def test_samples_of_other_sizes_concern_who_asks_and_not_the_engine(sides: tuple[int, int]) -> None:
    with pytest.raises(ConversionFailure, match=r"dataset eval.npz holds samples of shape \[3, .* widen") as refusal:
        refuse_other_sizes({"images": np.zeros((1, 3, *sides))}, PROFILE, shown="eval.npz")
    assert refusal.value.reason == Reason.BAD_REQUEST


@pytest.mark.parametrize("numbers", [(0, 1, 2), (2, 1, 3), (1, 3, 2)])
def test_ranges_are_ordered_and_positive(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"not in order|greater than or equal"):
        ShapeRange(min=numbers[0], opt=numbers[1], max=numbers[2])


@pytest.mark.parametrize(
    ("dims", "axes", "images", "served"),
    [
        pytest.param((-1, 3, -1, -1), (2, 3), None, (-1, 3, 640, 640), id="no task"),
        pytest.param((-1, 3, -1, -1), (2, 3), PreSettings(320, 1280), (-1, 3, 320, 1280), id="task"),
        pytest.param((-1, 3, 480, -1), (3,), PreSettings(480, 800), (-1, 3, 480, 800), id="one side free"),
        pytest.param((-1, -1, -1, 3), (1, 2), PreSettings(320, 800, "NHWC"), (-1, 320, 800, 3), id="channels last"),
    ],
)
def test_sizes_that_are_served(
    dims: tuple[int, ...], axes: tuple[int, ...], images: PreSettings | None, served: tuple[int, ...]
) -> None:
    inputs = (image(*dims),)
    profile = profile_of(inputs, options(*(axis(index) for index in axes)))
    assert served_sizes(inputs, profile, images) == (image(*served),)


@pytest.mark.parametrize(("height", "width"), [(319, 640), (640, 1281)])
def test_a_task_with_images_that_the_engine_does_not_take(height: int, width: int) -> None:
    inputs = (image(-1, 3, -1, -1),)
    profile = profile_of(inputs, options(axis(2), axis(3)))
    with pytest.raises(ConversionFailure, match=r"the engine takes 320 to 1280 on axis \d of input 'images'") as caught:
        served_sizes(inputs, profile, PreSettings(height, width))
    assert caught.value.reason is Reason.BAD_REQUEST
