"""Mean average precision as COCO defines it, by faster-coco-eval.

Why this one of three libraries that all give the same numbers: docs/adr/0008. It prints nothing, which matters: the
Job's progress lines are its standard output.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from visionmodel_converter.gates.predictions import Boxes
from visionmodel_converter.gates.samples import TrueBoxes

EVERY_AREA: Final = [[0.0, 1e10]]
"""COCO's own bounds of `all`; its other sizes are not asked for."""


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Means over the classes that have ground truth; NaN where none has.

    Attributes:
        at_50: at an intersection over union of 0.5.
        at_50_95: mean over 0.50, 0.55, ... 0.95.
    """

    at_50: float
    at_50_95: float


def mean_average_precision(found: Sequence[Boxes], truths: Sequence[TrueBoxes], *, per_image: int) -> AveragePrecision:
    """Return the average precision of detections over images.

    Precision made monotone and averaged at 101 recall points; greedy matching by score, each true box once (T.-Y.
    Lin et al., Microsoft COCO, ECCV 2014, and cocodataset.org, detection evaluation).

    Args:
        found: detections of each image.
        truths: its true boxes.
        per_image: most detections of one class and image that count, the best first.
    """
    classes = sorted({int(number) for truth in truths for number in truth.classes[~truth.crowd]})
    if not classes:
        return AveragePrecision(float("nan"), float("nan"))
    truth = COCO(_document(truths, classes))
    detections = truth.loadRes(_results(found, classes))
    evaluation = COCOeval_faster(truth, detections, "bbox")
    evaluation.params.maxDets = [per_image]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = EVERY_AREA, ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, 0]  # [IoU, recall, class]
    return AveragePrecision(float(precision[0].mean()), float(precision.mean()))


def _document(truths: Sequence[TrueBoxes], classes: Sequence[int]) -> dict[str, Any]:
    known = set(classes)
    annotations = [
        {"image_id": image, "category_id": int(number), "bbox": _xywh(box), "area": _area(box), "iscrowd": int(crowd)}
        for image, truth in enumerate(truths)
        for box, number, crowd in zip(truth.boxes, truth.classes, truth.crowd, strict=True)
        if int(number) in known
    ]
    return {
        "images": [{"id": image} for image in range(len(truths))],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, start=1)],
        "categories": [{"id": number, "name": str(number)} for number in classes],
    }


def _results(found: Sequence[Boxes], classes: Sequence[int]) -> list[dict[str, Any]]:
    known = set(classes)
    return [
        {"image_id": image, "category_id": int(number), "bbox": _xywh(box), "score": float(score)}
        for image, boxes in enumerate(found)
        for box, score, number in zip(boxes.boxes, boxes.scores, boxes.classes, strict=True)
        if int(number) in known
    ]


def _xywh(box: Any) -> list[float]:
    x1, y1, x2, y2 = (float(edge) for edge in box)
    return [x1, y1, x2 - x1, y2 - y1]


def _area(box: Any) -> float:
    _, _, width, height = _xywh(box)
    return width * height
