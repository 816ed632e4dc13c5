"""Task metrics against values worked out by hand: what was predicted, what was true, what counts."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.goals import Measured
from visionmodel_converter.gates.metrics import Classification, Detection, Segmentation
from visionmodel_converter.gates.samples import IGNORED, NO_IMAGE, Batch, TrueBoxes, Truth
from visionmodel_converter.gates.tasks import Plan
from visionmodel_pipeline.geometry import geometry_of
from visionmodel_pipeline.segmentation import MAX_CLASSES
from visionmodel_pipeline.settings import ClassificationSettings, DetectionSettings, SegmentationSettings

SIX = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
"""Scores whose best class is 5 and whose worst is 0."""


def batch(truths: list[Truth], geometry: object = NO_IMAGE) -> Batch:
    names = tuple(f"s{index}" for index in range(len(truths)))
    return Batch({}, names, tuple(truths), (geometry,) * len(truths))  # type: ignore[arg-type]


CLASSES = Plan({"scores": "y"}, ClassificationSettings("Softmax"))


def segmentation(height: int, width: int) -> Segmentation:
    return Segmentation(Plan({"scores": "m"}, SegmentationSettings("ClassScores", height, width)), 3)


def classified(source: list[list[float]], artifact: list[list[float]], labels: list[int | None]) -> dict[str, Measured]:
    family = Classification(CLASSES)
    found = batch([Truth(label) for label in labels])
    family.add(found, {"y": np.array(source, np.float32)}, {"y": np.array(artifact, np.float32)})
    return family.measured()


def test_accuracy_and_agreement() -> None:
    worse = [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    measured = classified([SIX, SIX, SIX], [SIX, SIX, worse], [5, 0, 5])
    assert measured == {
        "top1": Measured(1 / 3, 2 / 3, 3),
        "top5": Measured(1 / 3, 2 / 3, 3),
        "top1Agreement": Measured(2 / 3, 1.0, 3),
        "top5Agreement": Measured(2 / 3, 1.0, 3),
    }


def test_samples_without_label_count_for_agreement_alone() -> None:
    measured = classified([SIX, SIX], [SIX, SIX], [5, None])
    assert measured["top1"] == Measured(1.0, 1.0, 1)
    assert measured["top1Agreement"].samples == 2


def test_without_labels_there_is_no_accuracy() -> None:
    assert classified([SIX], [SIX], [None]).keys() == {"top1Agreement", "top5Agreement"}


def test_of_equal_scores_the_lower_class_is_best() -> None:
    assert classified([[1.0, 1.0]], [[1.0, 1.0]], [0])["top1"].value == 1.0


def test_fewer_than_five_classes_are_all_among_the_best_five() -> None:
    assert classified([[1.0, 0.0]], [[0.0, 1.0]], [0])["top5"] == Measured(1.0, 1.0, 1)


PLAN = Plan({"boxes": "b", "scores": "s"}, DetectionSettings("Grid", score_threshold=0.3))
TRUE = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float64)


def objects(boxes: NDArray[np.float64], classes: list[int]) -> Truth:
    return Truth(objects=TrueBoxes(boxes, np.array(classes, np.int64), np.zeros(len(classes), np.bool_)))


def raw(scores: list[list[float]], boxes: NDArray[np.float64] = TRUE) -> dict[str, NDArray[np.float32]]:
    return {"b": boxes[None].astype(np.float32), "s": np.array([scores], np.float32)}


def test_detections_against_labels_and_source() -> None:
    family = Detection(PLAN)
    family.add(batch([objects(TRUE, [0, 1])]), raw([[0.9, 0], [0, 0.8]]), raw([[0.9, 0], [0, 0.01]]))
    measured = family.measured()
    for name in ("map50", "map50_95", "mapAgreement"):
        assert [measured[name].value, measured[name].source_value] == pytest.approx([0.5, 1.0])
        assert measured[name].samples == 1


def test_agreement_asks_for_what_serving_answers() -> None:
    """What the source finds below serving's threshold reaches no client, so the artifact may miss it."""
    family = Detection(PLAN)
    family.add(batch([Truth()]), raw([[0.9, 0], [0, 0.2]]), raw([[0.9, 0], [0, 0.0]]))
    measured = family.measured()
    assert measured.keys() == {"mapAgreement"}
    assert measured["mapAgreement"].value == pytest.approx(1.0)


def test_a_source_that_finds_nothing_gives_no_agreement() -> None:
    family = Detection(PLAN)
    family.add(batch([Truth()]), raw([[0.1, 0], [0, 0]]), raw([[0.9, 0], [0, 0]]))
    assert family.measured() == {}


def test_known_empty_images_can_only_cost() -> None:
    empty = objects(np.empty((0, 4)), [])
    family = Detection(PLAN)
    full = raw([[0.9, 0], [0, 0.8]])
    family.add(batch([objects(TRUE, [0, 1])]), full, full)
    family.add(batch([empty]), raw([[0.0, 0], [0, 0]]), raw([[0.95, 0], [0, 0.85]]))
    measured = family.measured()["map50"]
    assert measured.source_value == pytest.approx(1.0)
    assert measured.value == pytest.approx(0.5)


def test_boxes_are_compared_in_pixels_of_the_source() -> None:
    """The network sees a 40 x 20 picture as 20 x 10: its boxes are half as large as the true ones."""
    family = Detection(PLAN)
    half = raw([[0.9, 0], [0, 0.8]], TRUE / 2)
    geometry = geometry_of("Stretch", (40, 40), (20, 20))
    family.add(batch([objects(TRUE, [0, 1])], geometry), half, half)
    assert family.measured()["map50_95"].value == pytest.approx(1.0)


def test_crowds_alone_give_no_precision() -> None:
    family = Detection(PLAN)
    crowd = Truth(objects=TrueBoxes(TRUE, np.array([0, 1]), np.ones(2, np.bool_)))
    full = raw([[0.9, 0], [0, 0.8]])
    family.add(batch([crowd]), full, full)
    assert family.measured().keys() == {"mapAgreement"}


def test_worst_images_are_told() -> None:
    family = Detection(PLAN)
    same = raw([[0.9, 0], [0, 0.8]])
    (comparison,) = family.add(batch([Truth()]), same, raw([[0.9, 0], [0, 0.1]]))
    assert comparison.distance == pytest.approx(1 / 3)
    assert (len(comparison.source), len(comparison.artifact)) == (2, 1)  # type: ignore[arg-type]


def scores_of(classes: list[list[int]], count: int = 3) -> NDArray[np.float32]:
    picked: NDArray[np.float32] = np.eye(count, dtype=np.float32)[np.array(classes)]
    return picked.transpose(2, 0, 1)[None]


def test_mask_iou() -> None:
    family = segmentation(2, 2)
    truth = Truth(mask=np.array([[0, 0], [1, IGNORED]], np.uint8))
    geometry = geometry_of("Stretch", (2, 2), (2, 2))
    family.add(batch([truth], geometry), {"m": scores_of([[0, 0], [1, 2]])}, {"m": scores_of([[0, 1], [1, 2]])})
    measured = family.measured()["maskIou"]
    assert (measured.source_value, measured.samples) == (1.0, 1)
    assert measured.value == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_masks_follow_the_letterbox() -> None:
    """A 4 x 2 picture in a 4 x 4 input has bars of one row above and below, which no pixel of the mask asks for."""
    family = segmentation(4, 4)
    truth = Truth(mask=np.array([[1, 1, 1, 1], [0, 0, 0, 0]], np.uint8))
    output = {"m": scores_of([[2] * 4, [1] * 4, [0] * 4, [2] * 4])}
    family.add(batch([truth], geometry_of("Letterbox", (4, 2), (4, 4))), output, output)
    assert family.measured()["maskIou"].value == 1.0


def test_pixels_that_the_network_never_saw_do_not_count() -> None:
    """A centre crop takes the middle two of four columns; the outer ones would be wrong in any class."""
    family = segmentation(2, 2)
    truth = Truth(mask=np.array([[2, 0, 1, 2], [2, 0, 1, 2]], np.uint8))
    output = {"m": scores_of([[0, 1], [0, 1]])}
    family.add(batch([truth], geometry_of("CenterCrop", (4, 2), (2, 2))), output, output)
    assert family.measured()["maskIou"].value == 1.0


@pytest.mark.parametrize(
    ("mask", "words"),
    [(np.zeros((3, 2), np.uint8), "its image is not"), (np.full((2, 2), 7, np.uint8), "names class 7 of 3")],
    ids=["size", "class"],
)
def test_impossible_masks(mask: NDArray[np.uint8], words: str) -> None:
    family = segmentation(2, 2)
    output = {"m": scores_of([[0, 0], [1, 2]])}
    with pytest.raises(ConversionFailure, match=words) as caught:
        family.add(batch([Truth(mask=mask)], geometry_of("Stretch", (2, 2), (2, 2))), output, output)
    assert caught.value.reason is Reason.DATASET_INVALID


def test_a_map_of_numbers_that_names_other_classes_is_wrong_there_alone() -> None:
    """A ClassMap tells no number of classes: any byte may come, and must not be taken for a pair of others."""
    family = Segmentation(Plan({"classes": "m"}, SegmentationSettings("ClassMap", 2, 2)), MAX_CLASSES)
    truth = Truth(mask=np.array([[0, 1], [2, 2]], np.uint8))
    source, artifact = np.array([[[0, 1], [2, 2]]], np.int64), np.array([[[0, 254], [2, -1]]], np.int64)
    family.add(batch([truth], geometry_of("Stretch", (2, 2), (2, 2))), {"m": source}, {"m": artifact})
    measured = family.measured()["maskIou"]
    assert measured.source_value == 1.0
    assert measured.value == pytest.approx((1 + 0 + 1 / 2 + 0) / 4)  # 0, 1, 2 and 254


def test_no_class_is_a_miss_of_the_true_one() -> None:
    """The source takes one pixel of four for another class, the artifact for none: a miss, but no false find."""
    family = Segmentation(Plan({"classes": "m"}, SegmentationSettings("ClassMap", 2, 2)), MAX_CLASSES)
    truth = Truth(mask=np.array([[0, 0], [1, 1]], np.uint8))
    source, artifact = np.array([[[0, 0], [1, 0]]], np.int64), np.array([[[0, 0], [1, -1]]], np.int64)
    family.add(batch([truth], geometry_of("Stretch", (2, 2), (2, 2))), {"m": source}, {"m": artifact})
    measured = family.measured()["maskIou"]
    assert measured.source_value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert measured.value == pytest.approx((1 + 1 / 2) / 2)


def test_an_artifact_that_finds_no_class_anywhere_is_worth_nothing() -> None:
    family = Segmentation(Plan({"classes": "m"}, SegmentationSettings("ClassMap", 2, 2)), MAX_CLASSES)
    truth = Truth(mask=np.array([[0, 0], [1, 1]], np.uint8))
    source, artifact = np.array([[[0, 0], [1, 1]]], np.int64), np.full((1, 2, 2), -1, np.int64)
    family.add(batch([truth], geometry_of("Stretch", (2, 2), (2, 2))), {"m": source}, {"m": artifact})
    assert family.measured()["maskIou"] == Measured(0.0, 1.0, 1)


def test_masks_that_ask_for_nothing_give_no_value() -> None:
    family = segmentation(2, 2)
    output = {"m": scores_of([[0, 0], [1, 2]])}
    mask = np.full((2, 2), IGNORED, np.uint8)
    family.add(batch([Truth(mask=mask)], geometry_of("Stretch", (2, 2), (2, 2))), output, output)
    assert family.measured() == {}


def test_nan_is_never_repaired() -> None:
    assert math.isnan(Classification(CLASSES).of_source[0].value())
