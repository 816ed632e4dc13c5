"""Distances between two models on one sample: 0 for the same answer, 1 for nothing in common."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_converter.gates.comparison import Comparison, Worst, class_distance, detection_distance, shares_of
from visionmodel_converter.gates.predictions import Boxes
from visionmodel_converter.gates.samples import Truth

A, B, FAR = [0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]
Row = tuple[list[int], int]


def found(*rows: Row) -> Boxes:
    return Boxes(
        np.array([box for box, _ in rows], np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.5, len(rows)).astype(np.float32),
        np.array([number for _, number in rows], np.int64),
    )


@pytest.mark.parametrize(
    ("source", "artifact", "distance"),
    [
        ([], [], 0.0),
        ([(A, 0)], [(A, 0)], 0.0),
        ([(A, 0)], [(B, 0)], 0.2),
        ([(A, 0)], [(A, 1)], 1.0),
        ([(A, 0)], [(FAR, 0)], 1.0),
        ([(A, 0)], [], 1.0),
        ([(A, 0)], [(A, 0), (A, 0)], 1 / 3),
        ([(A, 0), (FAR, 1)], [(FAR, 1), (A, 0)], 0.0),
    ],
    ids=["empty", "same", "shifted", "other-class", "elsewhere", "lost", "doubled", "other-order"],
)
def test_detections(source: list[Row], artifact: list[Row], distance: float) -> None:
    assert detection_distance(found(*source), found(*artifact)) == pytest.approx(distance)
    assert detection_distance(found(*artifact), found(*source)) == pytest.approx(distance)


def test_shares_do_not_overflow() -> None:
    np.testing.assert_allclose(shares_of(np.array([1000.0, 0.0, -1000.0])), [1, 0, 0])


def test_shares_stay_shares() -> None:
    np.testing.assert_allclose(shares_of(np.array([0.25, 0.75], np.float32)), [0.25, 0.75])


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=6), st.integers(0, 100))
def test_class_distance_is_a_share_and_zero_for_the_same(scores: list[float], seed: int) -> None:
    left = np.array(scores)
    right = np.random.default_rng(seed).permutation(left)
    assert class_distance(left, left) == 0.0
    assert 0.0 <= class_distance(left, right) <= 1.0 + 1e-12
    assert class_distance(left, right) == pytest.approx(class_distance(right, left))


def compared(name: str, distance: float) -> Comparison:
    return Comparison(name, distance, found(), found(), Truth())


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12), st.integers(1, 5))
def test_worst_keeps_the_largest_and_of_equal_ones_the_first(distances: list[float], limit: int) -> None:
    worst = Worst(limit)
    samples = [compared(str(index), distance) for index, distance in enumerate(distances)]
    worst.add(samples[:3])
    worst.add(samples[3:])
    expected = sorted(samples, key=lambda sample: (-sample.distance, int(sample.name)))[:limit]
    assert [sample.name for sample in worst.worst_first()] == [sample.name for sample in expected]
