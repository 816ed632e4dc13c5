"""Samples that do not fit, ranges per method, and the bound on the entropy search."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto

from unit.converter.precision import nets
from visionmodel_contract.precision import CalibrationMethod
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.precision import calibration
from visionmodel_converter.precision.calibration import (
    calibrate,
    largest_magnitudes,
    methods_of,
    refuse_unfit_samples,
)
from visionmodel_converter.precision.layout import Layout, plan_of

RESIDUAL = nets.residual_net()
PLAN = plan_of(RESIDUAL.proto, Layout.TENSORRT)
IMAGES = nets.images(24)
MIN_MAX, PERCENTILE, ENTROPY = CalibrationMethod.MIN_MAX, CalibrationMethod.PERCENTILE, CalibrationMethod.ENTROPY


def with_nan() -> NDArray[np.float32]:
    images = IMAGES.copy()
    images[3, 1, 2, 2] = np.nan
    return images


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], "holds no sample"),
        ([{"images": IMAGES[:0]}], "holds no sample"),
        ([{"pictures": IMAGES}], "missing; the batch has ['pictures']"),
        ([{"images": IMAGES[:, :3]}], "float32 [24, 3, 8, 8], the model wants float32 [-1, 4, 8, 8]"),
        ([{"images": IMAGES[0]}], "float32 [4, 8, 8]"),
        ([{"images": IMAGES}, {"images": IMAGES.astype(np.float64)}], "batch 1, input 'images': it is float64"),
        ([{"images": with_nan()}], "NaN"),
    ],
    ids=["no-batch", "empty", "other-name", "other-shape", "no-batch-axis", "other-type", "nan"],
)
def test_unfit_samples_are_named(samples: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConversionFailure) as caught:
        refuse_unfit_samples(samples, RESIDUAL.inputs)
    assert caught.value.reason is Reason.CALIBRATION_INVALID
    assert says in caught.value.message


def test_samples_the_model_fails_on_are_named() -> None:
    net = nets.vector_net(
        [
            nets.node("Cast", ["x"], "row", to=TensorProto.INT64),
            nets.node("Gather", ["table", "row"], "found"),
            nets.node("MatMul", ["found", "w"], "y"),
        ],
        {"table": np.ones(3, np.float32), "w": np.ones((16, 16), np.float32)},
        dims=["batch", 16],
        out_dims=["batch", 16],
    )
    good, bad = np.zeros((5, 16), np.float32), np.full((2, 16), 9, np.float32)
    plan = plan_of(net.proto, Layout.TENSORRT)
    with pytest.raises(ConversionFailure, match="fails on calibration samples 5 to 6") as caught:
        calibrate(net.proto, [{"x": good}, {"x": bad}], MIN_MAX, plan, threads=1)
    assert caught.value.reason is Reason.CALIBRATION_INVALID


def test_auto_is_all_three() -> None:
    assert methods_of(CalibrationMethod.AUTO) == (MIN_MAX, PERCENTILE, ENTROPY)
    assert methods_of(ENTROPY) == (ENTROPY,)


def limits(method: CalibrationMethod, samples: list[dict[str, Any]], tensor: str = "images") -> tuple[float, float]:
    ranges = calibrate(RESIDUAL.proto, samples, method, PLAN, threads=1)
    low, high = ranges.data[tensor].range_value
    return float(np.ravel(low)[0]), float(np.ravel(high)[0])


def test_min_max_is_the_samples_range_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = (float(IMAGES.min()), float(IMAGES.max()))
    whole = [{"images": IMAGES}]
    assert limits(MIN_MAX, whole) == expected
    assert limits(MIN_MAX, [{"images": IMAGES[:5]}, {"images": IMAGES[5:]}]) == expected
    monkeypatch.setattr(calibration, "ELEMENTS_PER_RUN", 4 * 8 * 8 * 7)  # runs of 7, the last of 3
    assert limits(MIN_MAX, whole) == expected
    assert calibrate(RESIDUAL.proto, whole, PERCENTILE, PLAN, threads=1).samples == 24


def test_percentile_cuts_one_outlier_in_many() -> None:
    images = nets.images(500)
    images[7, 0, 0, 0] = 1000.0
    low, high = limits(PERCENTILE, [{"images": images}])
    assert (low, high) == pytest.approx((float(images.min()), 5), rel=0.2)
    assert limits(MIN_MAX, [{"images": images}])[1] == 1000.0


def test_entropy_really_cuts() -> None:
    images = nets.images(24)
    images[7, 0, 0, 0] = 50.0
    plan = plan_of(RESIDUAL.proto, Layout.TENSORRT)
    only_input = type(plan)(plan.layout, plan.weighted, (), {}, frozenset(["images"]), frozenset())
    data = calibrate(RESIDUAL.proto, [{"images": images}], ENTROPY, only_input, threads=1).data
    assert set(data.keys()) == {"images"}  # nothing is searched that nobody asked for
    assert float(data["images"].range_value[1]) < 25.0


def test_magnitudes_of_every_tensor() -> None:
    found = largest_magnitudes(RESIDUAL.proto, [{"images": IMAGES}], threads=1)
    assert found["images"] == float(np.abs(IMAGES).max())
    assert set(found) >= {"stem", "sum", "pooled", "logits"}


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(4)))
def test_order_and_cut_of_the_samples_do_not_matter(order: list[int]) -> None:
    parts = np.split(IMAGES, 4)
    shuffled = [{"images": parts[index]} for index in order]
    for method in (MIN_MAX, PERCENTILE):
        assert limits(method, shuffled, "trunk") == limits(method, [{"images": IMAGES}], "trunk")


def test_bright_images_after_dark_ones_cost_no_memory() -> None:
    samples = [{"images": IMAGES * np.float32(1e-12)}, {"images": IMAGES}]
    low, high = limits(PERCENTILE, samples)
    assert high == pytest.approx(float(IMAGES.max()), rel=0.1)
    assert low < 0


def test_dark_samples_give_some_range() -> None:
    zeros = [{"images": np.zeros((4, 4, 8, 8), np.float32)}]
    for method in (MIN_MAX, PERCENTILE):
        assert limits(method, zeros) == (0.0, 0.0)
