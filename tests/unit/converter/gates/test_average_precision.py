"""Average precision against values worked out by hand and against properties that hold for all inputs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_converter.gates.average_precision import mean_average_precision
from visionmodel_converter.gates.predictions import Boxes
from visionmodel_converter.gates.samples import TrueBoxes

BoxList = list[list[float]]
PAIR: BoxList = [[0, 0, 10, 10], [20, 20, 30, 30]]
MISS: list[float] = [60, 60, 70, 70]
ALL = 300


def boxes(found: BoxList, scores: list[float], classes: list[int] | None = None) -> Boxes:
    return Boxes(
        np.array(found, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes or [0] * len(found), np.int64),
    )


def truth(found: BoxList, classes: list[int] | None = None, crowd: list[bool] | None = None) -> TrueBoxes:
    return TrueBoxes(
        np.array(found, np.float64).reshape(-1, 4),
        np.array(classes or [0] * len(found), np.int64),
        np.array(crowd or [False] * len(found), np.bool_),
    )


@pytest.mark.parametrize(
    ("found", "scores", "value"),
    [
        (PAIR, [0.9, 0.8], 1.0),
        ([[0, 0, 10, 10]], [0.9], 51 / 101),  # recall 0.5: the points 0.00 to 0.50
        ([[0, 0, 10, 10], MISS, [20, 20, 30, 30]], [0.9, 0.8, 0.7], (51 + 50 * 2 / 3) / 101),
        ([MISS, *PAIR], [0.9, 0.8, 0.7], 2 / 3),  # envelope lifts 1/2 to 2/3
        ([[0, 0, 10, 10], [0, 4, 10, 14]], [0.9, 0.8], 51 / 101),  # overlap 0.43: a miss
        ([[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]], [0.9, 0.8, 0.7], (51 + 50 * 2 / 3) / 101),
        ([MISS], [0.9], 0.0),
        ([], [], 0.0),
    ],
    ids=["perfect", "half-found", "miss-between", "miss-first", "no-overlap", "second-hit", "only-miss", "nothing"],
)
def test_at_50(found: BoxList, scores: list[float], value: float) -> None:
    assert mean_average_precision([boxes(found, scores)], [truth(PAIR)], per_image=ALL).at_50 == pytest.approx(value)


def test_mean_over_thresholds_asks_for_better_boxes() -> None:
    """Overlap 0.72: a hit at 0.50 to 0.70, five of the ten thresholds."""
    found = [boxes([[0, 0, 10, 7.2]], [0.9])]
    precision = mean_average_precision(found, [truth([[0, 0, 10, 10]])], per_image=ALL)
    assert [precision.at_50, precision.at_50_95] == pytest.approx([1.0, 0.5])


def test_class_without_ground_truth_does_not_count() -> None:
    found = [boxes([*PAIR, MISS], [0.9, 0.8, 0.99], [0, 0, 7])]
    assert mean_average_precision(found, [truth(PAIR)], per_image=ALL).at_50 == pytest.approx(1.0)


def test_classes_count_alike() -> None:
    found = [boxes([[0, 0, 10, 10]], [0.9], [0])]
    assert mean_average_precision(found, [truth(PAIR, [0, 4])], per_image=ALL).at_50 == pytest.approx(0.5)


def test_a_detection_in_a_crowd_counts_neither_way() -> None:
    crowded = truth([[0, 0, 10, 10], [50, 50, 90, 90]], crowd=[False, True])
    found = [boxes([MISS, [0, 0, 10, 10]], [0.9, 0.8])]
    assert mean_average_precision(found, [crowded], per_image=ALL).at_50 == pytest.approx(1.0)


@pytest.mark.parametrize("truths", [[truth([])], [truth([MISS], crowd=[True])]], ids=["nothing", "crowd-alone"])
def test_without_an_object_it_is_not_defined(truths: list[TrueBoxes]) -> None:
    precision = mean_average_precision([boxes(PAIR, [0.9, 0.8])], truths, per_image=ALL)
    assert math.isnan(precision.at_50)
    assert math.isnan(precision.at_50_95)


def test_only_the_best_count() -> None:
    found = [boxes([MISS, [0, 0, 10, 10]], [0.9, 0.8])]
    assert mean_average_precision(found, [truth(PAIR)], per_image=1).at_50 == 0.0


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output carries the Job's progress."""
    mean_average_precision([boxes(PAIR, [0.9, 0.8])], [truth(PAIR)], per_image=ALL)
    assert capfd.readouterr() == ("", "")


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 3))
def test_it_is_a_share_and_ignores_the_order_of_images(seed: int, images: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(images):
        corner = generator.uniform(0, 50, (8, 2))
        box = np.concatenate([corner, corner + generator.uniform(3, 30, (8, 2))], axis=1)
        order = np.sort(generator.random(8))[::-1]
        found.append(boxes(box.tolist(), order.tolist(), generator.integers(0, classes, 8).tolist()))
        near = box[:3] + generator.normal(0, 0.5, (3, 4))
        truths.append(truth(near.tolist(), generator.integers(0, classes, 3).tolist()))
    forward = mean_average_precision(found, truths, per_image=ALL)
    backward = mean_average_precision(found[::-1], truths[::-1], per_image=ALL)
    assert 0.0 <= forward.at_50_95 <= forward.at_50 + 1e-9 <= 1.0 + 1e-9
    assert forward.at_50 == pytest.approx(backward.at_50)
    assert forward.at_50_95 == pytest.approx(backward.at_50_95)
