"""Metrics against values worked out by hand and against properties that hold for all inputs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_converter.gates.metrics import (
    Map50,
    Top1,
    iou_matrix,
    suppressed,
)


@pytest.mark.parametrize(
    ("logits", "labels", "value"),
    [
        ([[0.1, 0.9], [0.8, 0.2]], [1, 0], 1.0),
        ([[0.1, 0.9], [0.8, 0.2]], [1, 1], 0.5),
        ([[math.nan, 0.9]], [1], math.nan),
    ],
    ids=["all-right", "half", "nan-logit"],
)
def test_top1(logits: list[list[float]], labels: list[int], value: float) -> None:
    metric = Top1()
    metric.add(np.array(logits, np.float32), np.array(labels, np.int64))
    assert metric.value() == pytest.approx(value, nan_ok=True)


def test_top1_without_samples_is_not_a_number() -> None:
    assert math.isnan(Top1().value())


def test_iou() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 9]], float)
    expected = np.array([[1, 1 / 7, 0], [1 / 7, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(iou_matrix(boxes, boxes), expected)


def test_suppression_is_class_wise_and_drops_low_scores() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [40, 40, 50, 50]], float)
    scores = np.array([[0.9, 0.0], [0.8, 0.7], [0.05, 0.0], [0.049, 0.0]])
    found = suppressed(boxes, scores)
    assert (found.labels.tolist(), found.scores.tolist()) == ([0, 0, 1], [0.9, 0.05, 0.7])


TRUTH = np.array([[[0, 0, 10, 10], [20, 20, 30, 30]]], np.float32)
ONE_CLASS = np.array([[0, 0]], np.int64)
MISS = [60, 60, 70, 70]


def map50(boxes: list[list[float]], scores: list[float]) -> float:
    metric = Map50()
    metric.add(np.array([boxes], np.float32), np.array([scores], np.float32)[..., None], TRUTH, ONE_CLASS)
    return metric.value()


@pytest.mark.parametrize(
    ("boxes", "scores", "value"),
    [
        ([[0, 0, 10, 10], [20, 20, 30, 30]], [0.9, 0.8], 1.0),
        ([[0, 0, 10, 10]], [0.9], 51 / 101),  # recall 0.5: the points 0.00 to 0.50
        ([[0, 0, 10, 10], MISS, [20, 20, 30, 30]], [0.9, 0.8, 0.7], (51 + 50 * 2 / 3) / 101),
        ([MISS, [0, 0, 10, 10], [20, 20, 30, 30]], [0.9, 0.8, 0.7], 2 / 3),  # envelope lifts 1/2 to 2/3
        ([[0, 0, 10, 10], [0, 4, 10, 14]], [0.9, 0.8], 51 / 101),  # overlap 0.43: not suppressed, a miss
        ([MISS], [0.9], 0.0),
        ([[0, 0, 10, 10]], [0.01], 0.0),
        ([[0, 0, 10, 10], [20, 20, 30, math.nan]], [0.9, 0.8], math.nan),
    ],
    ids=["perfect", "half-found", "miss-between", "miss-first", "second-hit", "only-miss", "below-threshold", "nan"],
)
def test_map50(boxes: list[list[float]], scores: list[float], value: float) -> None:
    assert map50(boxes, scores) == pytest.approx(value, nan_ok=True)


def test_padding_rows_are_no_ground_truth() -> None:
    metric = Map50()
    padded = np.concatenate([TRUTH, np.full((1, 3, 4), -1, np.float32)], axis=1)
    labels = np.array([[0, 0, -1, -1, -1]], np.int64)
    metric.add(TRUTH.copy(), np.array([[[0.9], [0.8]]], np.float32), padded, labels)
    assert metric.value() == 1.0


def test_class_without_ground_truth_does_not_count() -> None:
    metric = Map50()
    scores = np.array([[[0.9, 0.6], [0.8, 0.0]]], np.float32)  # class 1 is reported but never there
    metric.add(TRUTH.copy(), scores, TRUTH, ONE_CLASS)
    assert metric.value() == 1.0


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 3))
def test_map50_is_a_share_and_ignores_the_order_of_images(seed: int, images: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, 50, (images, 8, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(1, 30, (images, 8, 2))], axis=2).astype(np.float32)
    scores = generator.random((images, 8, classes)).astype(np.float32)
    truth = boxes[:, :3] + generator.normal(0, 2, (images, 3, 4)).astype(np.float32)
    labels = generator.integers(0, classes, (images, 3))
    forward, backward = Map50(), Map50()
    forward.add(boxes, scores, truth, labels)
    backward.add(boxes[::-1], scores[::-1], truth[::-1], labels[::-1])
    assert 0.0 <= forward.value() <= 1.0
    assert forward.value() == pytest.approx(backward.value())
