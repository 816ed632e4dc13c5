"""The labelled numbers of the gates, in plain numpy: top-1 and mAP at IoU 0.5.

Everything is accumulated batch by batch, because raw detector outputs of a whole dataset do not fit into memory.
NaN is never repaired: it travels into the value, and a NaN value meets no goal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SCORE_THRESHOLD: Final = 0.05
IOU_THRESHOLD: Final = 0.5
CANDIDATES_PER_CLASS: Final = 1000
"""Most boxes of one class and image that enter suppression, best scores first: bounds its memory at 8 MB."""
RECALL_POINTS: Final = np.linspace(0.0, 1.0, 101)


@dataclass
class Top1:
    """Running share of samples whose largest logit is the label's."""

    samples: int = 0
    correct: int = 0
    finite: bool = True

    def add(self, logits: NDArray[Any], labels: NDArray[np.int64]) -> None:
        """Take logits [n, classes] and labels [n]."""
        self.samples += len(labels)
        self.finite = self.finite and bool(np.isfinite(logits).all())
        self.correct += int(np.sum(np.argmax(logits, axis=1) == labels))

    def value(self) -> float:
        """Return the share in 0..1; NaN without samples or with a NaN or infinite logit."""
        return self.correct / self.samples if self.samples and self.finite else float("nan")


@dataclass(frozen=True, slots=True)
class Found:
    """What is left of one image after suppression, best score first within a class."""

    boxes: FloatArray
    scores: FloatArray
    labels: NDArray[np.int64]


@dataclass
class Map50:
    """Running detections and ground truth of a dataset; the value is computed at the end."""

    found: list[Found] = field(default_factory=list)
    gt_boxes: list[FloatArray] = field(default_factory=list)
    gt_labels: list[NDArray[np.int64]] = field(default_factory=list)
    finite: bool = True

    @property
    def samples(self) -> int:
        """Images seen so far."""
        return len(self.found)

    def add(
        self,
        boxes: NDArray[Any],
        scores: NDArray[Any],
        gt_boxes: NDArray[Any],
        gt_labels: NDArray[np.int64],
    ) -> None:
        """Take a batch: boxes [n,K,4] and scores [n,K,C] of the model, gt_boxes [n,M,4], gt_labels [n,M] (-1 pads)."""
        self.finite = self.finite and bool(np.isfinite(boxes).all() and np.isfinite(scores).all())
        for index in range(len(boxes)):
            real = gt_labels[index] >= 0
            self.found.append(suppressed(boxes[index].astype(np.float64), scores[index].astype(np.float64)))
            self.gt_boxes.append(gt_boxes[index][real].astype(np.float64))
            self.gt_labels.append(gt_labels[index][real])

    def value(self) -> float:
        """Return the mean over classes that have ground truth; NaN without any or with a non-finite output."""
        classes = np.unique(np.concatenate(self.gt_labels)) if self.gt_labels else np.empty(0)
        if not self.finite or classes.size == 0:
            return float("nan")
        return float(np.mean([average_precision(self.found, self.gt_boxes, self.gt_labels, int(c)) for c in classes]))


def iou_matrix(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return the intersection over union of every pair of xyxy boxes: [a,4] x [b,4] -> [a,b]; 0 for empty boxes."""
    top_left = np.maximum(left[:, None, :2], right[None, :, :2])
    bottom_right = np.minimum(left[:, None, 2:], right[None, :, 2:])
    intersection = np.prod(np.clip(bottom_right - top_left, 0.0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None), axis=1) for boxes in (left, right)]
    union = areas[0][:, None] + areas[1][None, :] - intersection
    return np.asarray(np.divide(intersection, union, out=np.zeros_like(union), where=union > 0.0))


def suppressed(boxes: FloatArray, scores: FloatArray) -> Found:
    """Class-wise greedy non-maximum suppression of one image: boxes [K,4], scores [K,C]."""
    kept_boxes, kept_scores, kept_labels = [], [], []
    for label in range(scores.shape[1]):
        column = scores[:, label]
        order = np.argsort(-column, kind="stable")[:CANDIDATES_PER_CLASS]
        order = order[column[order] >= SCORE_THRESHOLD]
        kept = order[_keep_mask(boxes[order])]
        kept_boxes.append(boxes[kept])
        kept_scores.append(column[kept])
        kept_labels.append(np.full(len(kept), label, np.int64))
    if not kept_labels:
        return Found(np.empty((0, 4)), np.empty(0), np.empty(0, np.int64))
    return Found(np.concatenate(kept_boxes), np.concatenate(kept_scores), np.concatenate(kept_labels))


def _keep_mask(boxes: FloatArray) -> NDArray[np.bool_]:
    keep = np.ones(len(boxes), np.bool_)
    overlaps = iou_matrix(boxes, boxes) > IOU_THRESHOLD
    for index in range(len(boxes)):
        if keep[index]:
            keep[index + 1 :] &= ~overlaps[index, index + 1 :]
    return keep


def average_precision(
    found: Sequence[Found],
    gt_boxes: Sequence[FloatArray],
    gt_labels: Sequence[NDArray[np.int64]],
    label: int,
) -> float:
    """Return the average precision of one class at IoU 0.5.

    COCO's definition: precision made monotone and averaged at 101 recall points (T.-Y. Lin et al., Microsoft
    COCO, ECCV 2014, and cocodataset.org, detection evaluation); greedy matching by score, each ground-truth box
    once, a second hit is a false positive.
    """
    scores, hits, total = [], [], 0
    for image, boxes, labels in zip(found, gt_boxes, gt_labels, strict=True):
        mine, truth = image.labels == label, boxes[labels == label]
        total += len(truth)
        scores.append(image.scores[mine])
        hits.append(matched(image.boxes[mine], image.scores[mine], truth))
    if total == 0:
        return float("nan")
    order = np.argsort(-np.concatenate(scores), kind="stable")
    true_positives = np.cumsum(np.concatenate(hits)[order])
    if true_positives.size == 0:
        return 0.0
    recall = true_positives / total
    precision = true_positives / np.arange(1, len(true_positives) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALL_POINTS - 1e-12, side="left")
    return float(np.mean(np.append(envelope, 0.0)[np.minimum(at, len(envelope))]))


def matched(boxes: FloatArray, scores: FloatArray, truth: FloatArray) -> NDArray[np.bool_]:
    """Return for each box of one class and image whether it takes a ground-truth box that no better one took."""
    hits = np.zeros(len(boxes), np.bool_)
    free = np.ones(len(truth), np.bool_)
    if not len(truth):
        return hits
    overlaps = iou_matrix(boxes, truth)
    for index in np.argsort(-scores, kind="stable"):
        candidates = np.where(free, overlaps[index], -1.0)
        best = int(np.argmax(candidates))
        if candidates[best] >= IOU_THRESHOLD:
            hits[index], free[best] = True, False
    return hits
