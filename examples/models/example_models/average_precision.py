"""mAP at an overlap of 0.5, for the accuracy floors of this package's own training.

Average precision is the area under the precision-recall curve made monotone (every point, not
eleven); a class that is absent from the ground truth does not count. The converter has its own
implementation: this one must not depend on the thing it is used to test.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from example_models.grid import Detection, decode_grid, overlaps
from example_models.shapes import CLASS_NAMES

MIN_SCORE = 0.01
MIN_OVERLAP = 0.5


def map50(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    gt_boxes: NDArray[np.float32],
    gt_labels: NDArray[np.int64],
) -> float:
    """mAP50 of raw detector outputs; all arrays have one row per image."""
    found = [decode_grid(b, s, min_score=MIN_SCORE) for b, s in zip(boxes, scores, strict=True)]
    return mean_average_precision(found, gt_boxes, gt_labels)


def mean_average_precision(
    found: Sequence[Sequence[Detection]],
    gt_boxes: NDArray[np.float32],
    gt_labels: NDArray[np.int64],
) -> float:
    """The mean of the average precision of every class that the ground truth holds."""
    present = [label for label in range(len(CLASS_NAMES)) if (gt_labels == label).any()]
    if not present:
        raise ValueError("the ground truth holds no object: mAP is not defined")
    return float(np.mean([_class_precision(found, gt_boxes, gt_labels, c) for c in present]))


def _class_precision(
    found: Sequence[Sequence[Detection]],
    gt_boxes: NDArray[np.float32],
    gt_labels: NDArray[np.int64],
    label: int,
) -> float:
    claims: list[tuple[float, bool]] = []
    for image, detections in enumerate(found):
        truth = gt_boxes[image][gt_labels[image] == label].astype(np.float64)
        claims += _matched([d for d in detections if d.label == label], truth)
    ranked = sorted(claims, key=lambda claim: -claim[0])
    return area_under_curve([hit for _, hit in ranked], int((gt_labels == label).sum()))


def _matched(detections: Sequence[Detection], truth: NDArray[np.float64]) -> list[tuple[float, bool]]:
    """(score, is a hit) per detection; each true box can be hit once, by the best claim."""
    free = np.ones(len(truth), bool)
    claims = []
    for detection in sorted(detections, key=lambda d: -d.score):
        overlap = overlaps(np.array(detection.box), truth) * free
        hit = len(truth) > 0 and float(overlap.max()) >= MIN_OVERLAP
        if hit:
            free[int(overlap.argmax())] = False
        claims.append((detection.score, hit))
    return claims


def area_under_curve(hits: Sequence[bool], positives: int) -> float:
    """Area under the monotone precision-recall curve of claims ranked best first."""
    if not hits:
        return 0.0
    true = np.cumsum(hits)
    precision = true / np.arange(1, len(hits) + 1)
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    return float((monotone * np.asarray(hits)).sum() / positives)
