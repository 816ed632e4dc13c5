"""Decoding, suppression and mAP on cases small enough to check by hand."""

import numpy as np
import pytest

from example_models.average_precision import area_under_curve, map50, mean_average_precision
from example_models.grid import Detection, decode_grid, draw_boxes, image_from_pixels, overlaps

A = (10.0, 10.0, 20.0, 20.0)
NEAR_A = (11.0, 10.0, 21.0, 20.0)  # overlap 9 / 11
HALF_A = (10.0, 10.0, 15.0, 20.0)  # overlap 0.5
FAR = (40.0, 40.0, 50.0, 50.0)

DECODED = [
    pytest.param([A], [[0.9, 0.1, 0.2]], [(0, 0.9, A)], id="one-object"),
    pytest.param([A], [[0.4, 0.1, 0.2]], [], id="below-threshold"),
    pytest.param([A], [[0.5, 0.1, 0.2]], [(0, 0.5, A)], id="at-threshold"),
    pytest.param([A, NEAR_A], [[0.8, 0, 0], [0.9, 0, 0]], [(0, 0.9, NEAR_A)], id="same-class-suppressed"),
    pytest.param([A, HALF_A], [[0.9, 0, 0], [0.8, 0, 0]], [(0, 0.9, A), (0, 0.8, HALF_A)], id="overlap-at-limit-stays"),
    pytest.param([A, NEAR_A], [[0.8, 0, 0], [0, 0.9, 0]], [(1, 0.9, NEAR_A), (0, 0.8, A)], id="other-class-stays"),
    pytest.param([A, FAR], [[0, 0, 0.6], [0, 0, 0.7]], [(2, 0.7, FAR), (2, 0.6, A)], id="apart-best-first"),
    pytest.param([(-5.0, 60.0, 4.0, 70.0)], [[0.9, 0, 0]], [(0, 0.9, (0.0, 60.0, 4.0, 64.0))], id="clipped-to-picture"),
]


@pytest.mark.parametrize(("boxes", "scores", "expected"), DECODED)
def test_decode_grid(
    boxes: list[tuple[float, ...]],
    scores: list[list[float]],
    expected: list[tuple[int, float, tuple[float, float, float, float]]],
) -> None:
    found = decode_grid(np.array(boxes, np.float32), np.array(scores, np.float32))
    assert [(d.label, round(d.score, 4), d.box) for d in found] == expected


OVERLAPS = [
    pytest.param(A, A, 1.0, id="equal"),
    pytest.param(A, FAR, 0.0, id="apart"),
    pytest.param(A, HALF_A, 0.5, id="half"),
    pytest.param(A, (20.0, 10.0, 30.0, 20.0), 0.0, id="touching"),
    pytest.param((5.0, 5.0, 5.0, 5.0), (5.0, 5.0, 5.0, 5.0), 0.0, id="empty-boxes"),
]


@pytest.mark.parametrize(("one", "other", "expected"), OVERLAPS)
def test_overlaps(one: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    assert overlaps(np.array(one), np.array([other])).tolist() == [expected]


AREAS = [
    pytest.param([], 2, 0.0, id="nothing-claimed"),
    pytest.param([True, True], 2, 1.0, id="perfect"),
    pytest.param([True, True], 4, 0.5, id="half-missed"),
    pytest.param([False, True], 1, 0.5, id="false-claim-first"),
    pytest.param([True, False], 1, 1.0, id="false-claim-last-is-free"),
    pytest.param([False, True, True], 2, 2 / 3, id="curve-made-monotone"),
]


@pytest.mark.parametrize(("hits", "positives", "expected"), AREAS)
def test_area_under_curve(hits: list[bool], positives: int, expected: float) -> None:
    assert area_under_curve(hits, positives) == pytest.approx(expected)


MAPS = [
    pytest.param([Detection(0, 0.9, A)], 0.5, id="one-class-found-other-missed"),
    pytest.param([Detection(0, 0.9, A), Detection(1, 0.9, FAR)], 1.0, id="all-found"),
    pytest.param([Detection(1, 0.9, A), Detection(0, 0.9, FAR)], 0.0, id="names-swapped"),
    pytest.param([Detection(0, 0.9, A), Detection(0, 0.8, NEAR_A), Detection(1, 0.9, FAR)], 1.0, id="second-claim"),
    pytest.param([Detection(0, 0.8, A), Detection(0, 0.9, FAR), Detection(1, 0.9, FAR)], 0.75, id="false-claim"),
    pytest.param([Detection(2, 0.9, A), Detection(0, 0.9, A), Detection(1, 0.9, FAR)], 1.0, id="absent-class-is-free"),
    pytest.param([], 0.0, id="nothing"),
]


@pytest.mark.parametrize(("found", "expected"), MAPS)
def test_mean_average_precision(found: list[Detection], expected: float) -> None:
    gt_boxes = np.array([[A, FAR, (-1, -1, -1, -1)]], np.float32)
    assert mean_average_precision([found], gt_boxes, np.array([[0, 1, -1]])) == pytest.approx(expected)


def test_map_without_any_object_is_an_error() -> None:
    with pytest.raises(ValueError, match="no object"):
        map50(
            np.zeros((1, 64, 4), np.float32),
            np.zeros((1, 64, 3), np.float32),
            np.full((1, 3, 4), -1, np.float32),
            np.full((1, 3), -1),
        )


def test_draw_boxes_leaves_the_original_alone() -> None:
    pixels = np.full((3, 64, 64), 0.5, np.float32)
    original = image_from_pixels(pixels)
    drawn = draw_boxes(original, [Detection(1, 0.75, A)], scale=4)
    assert drawn.size == (256, 256)
    assert drawn.getpixel((40, 60)) == (0x29, 0xB6, 0xF6)
    assert original.getpixel((10, 15)) == (128, 128, 128)
    assert list(draw_boxes(pixels, [Detection(1, 0.75, A)]).tobytes()) == list(drawn.tobytes())
