"""From a network's raw outputs to what it says of each sample, by serving's own decoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.tasks import DetectionPlan, SegmentationPlan
from visionmodel_pipeline.detections import detect
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.segmentation import NO_CLASS, segment, source_pixels

Outputs = Mapping[str, NDArray[Any]]

EVALUATION_SCORE: Final = 0.05
"""Average precision ranks by score, so it needs the detections below serving's threshold too."""
EVALUATION_DETECTIONS: Final = 300
"""Of one image, at least; serving's number where that is larger."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Detections of one sample, best first: boxes [n, 4] in pixels of the source, scores [n], class numbers [n]."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def first(self, count: int) -> "Boxes":
        """Return the best ones."""
        return Boxes(self.boxes[:count], self.scores[:count], self.classes[:count])


def detections_of(outputs: Outputs, geometries: Sequence[Geometry], plan: DetectionPlan) -> list[Boxes]:
    """Return the detections of a batch, down to EVALUATION_SCORE."""
    # without names a class is called by its number
    settings = replace(
        plan.settings,
        score_threshold=min(EVALUATION_SCORE, plan.settings.score_threshold),
        max_detections=most_detections(plan),
        labels=(),
    )
    return [_boxes(plan.decoded(outputs, row), geometry, settings) for row, geometry in enumerate(geometries)]


def most_detections(plan: DetectionPlan) -> int:
    """Return how many detections of one image count."""
    return max(EVALUATION_DETECTIONS, plan.settings.max_detections)


def _boxes(arrays: Outputs, geometry: Geometry, settings: Any) -> Boxes:
    found = detect(arrays, geometry, settings)
    kept = slice(found.count)
    return Boxes(
        found.boxes[kept], found.scores[kept], np.array([int(label) for label in found.labels[kept]], np.int64)
    )


def served(boxes: Boxes, plan: DetectionPlan) -> Boxes:
    """Return the detections that serving would answer with.

    Suppression is greedy by score, so the best detections above a threshold do not depend on what lies below it.
    """
    above = int(np.count_nonzero(boxes.scores >= plan.settings.score_threshold))
    return boxes.first(min(above, plan.settings.max_detections))


def seen_of(geometry: Geometry, plan: SegmentationPlan) -> NDArray[np.bool_]:
    """Return the pixels of the source that lie in the network's input [height, width], whatever it says of them."""
    everywhere = np.zeros((1, 1), np.uint8)
    return np.asarray(source_pixels(everywhere, geometry, plan.settings) != NO_CLASS)


def mask_of(outputs: Outputs, row: int, geometry: Geometry, plan: SegmentationPlan) -> NDArray[np.uint8]:
    """Return serving's mask of one sample, in pixels of the source. Raises BadRequest: too many classes."""
    try:
        return segment(plan.decoded(outputs, row), geometry, plan.settings).pixels
    except ValueError as error:
        raise ConversionFailure(Reason.BAD_REQUEST, f"task.output.decoder {plan.settings.decoder}: {error}") from error
