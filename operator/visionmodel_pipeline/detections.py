"""Raw outputs of one image to the answer: a fixed number of rows, so that answers batch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionmodel_pipeline.decoders import DECODERS, Arrays, Candidates
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.labels import name_of
from visionmodel_pipeline.settings import DetectionSettings
from visionmodel_pipeline.suppression import kept_indices


@dataclass(frozen=True)
class Detections:
    """One image's answer, best first; rows from `count` on are zeros and empty names.

    Attributes:
        count: rows that hold a detection.
        boxes: [K, 4], x1, y1, x2, y2 in pixels of the source image.
        scores: [K].
        labels: [K], names in UTF-8.
    """

    count: int
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[Any]


def detect(outputs: Arrays, geometry: Geometry, settings: DetectionSettings) -> Detections:
    """Return the detections of one image.

    Args:
        outputs: the network's raw outputs without batch axis, by the names of the decoder.
        geometry: where the source image lies in the network's input.
        settings: decoder, thresholds, labels.
    """
    found = DECODERS[settings.decoder].decode(outputs, settings.score_threshold)
    boxes = geometry.to_source(found.boxes)
    # what lies on the bars or was cut away is no object of the image
    visible = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
    seen = Candidates(boxes[visible], found.scores[visible], found.classes[visible])
    kept = kept_indices(seen, settings.iou_threshold, settings.max_detections)
    rows, count = settings.max_detections, len(kept)
    answer = Detections(
        count, np.zeros((rows, 4), np.float32), np.zeros(rows, np.float32), np.full(rows, b"", dtype=np.object_)
    )
    answer.boxes[:count] = seen.boxes[kept]
    answer.scores[:count] = seen.scores[kept]
    answer.labels[:count] = [name_of(int(number), settings.labels) for number in seen.classes[kept]]
    return answer
