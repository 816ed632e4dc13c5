"""Raw outputs of one image to candidate boxes, by the name of the layout that the network has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Candidates:
    """Boxes [n, 4] (x1, y1, x2, y2 in pixels of the network's input), scores [n], classes [n]; in no order."""

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Decoder:
    """A decoder: the outputs that it reads, by the names used here, and how."""

    outputs: tuple[str, ...]
    decode: Callable[[Arrays, float], Candidates]


def _grid(arrays: Arrays, threshold: float) -> Candidates:
    """`boxes` [K, 4] and `scores` [K, C]: every class of a box whose score suffices is a candidate of its own."""
    boxes, scores = arrays["boxes"], arrays["scores"]
    rows, classes = np.nonzero(scores >= threshold)
    return _candidates(boxes[rows], scores[rows, classes], classes)


def _triple(arrays: Arrays, threshold: float) -> Candidates:
    """`boxes` [K, 4], `scores` [K] and `labels` [K], class numbers."""
    kept = np.nonzero(arrays["scores"] >= threshold)[0]
    return _candidates(arrays["boxes"][kept], arrays["scores"][kept], arrays["labels"][kept])


def _yolov8(arrays: Arrays, threshold: float) -> Candidates:
    """`predictions` [4 + C, anchors]: centre, width and height, then a score per class; the best class counts."""
    rows = arrays["predictions"].T
    classes = rows[:, 4:].argmax(axis=1)
    scores = rows[np.arange(len(rows)), 4 + classes]
    kept = np.nonzero(scores >= threshold)[0]
    centre, half = rows[kept, :2].astype(np.float64), rows[kept, 2:4].astype(np.float64) / 2
    return _candidates(np.concatenate([centre - half, centre + half], axis=1), scores[kept], classes[kept])


def _candidates(boxes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any]) -> Candidates:
    """A box that is not finite is none; a NaN score met no threshold."""
    wide = boxes.astype(np.float64)
    sound = np.isfinite(wide).all(axis=1)
    return Candidates(wide[sound], scores.astype(np.float64)[sound], classes.astype(np.int64)[sound])


DECODERS: Final[Mapping[str, Decoder]] = {
    "Grid": Decoder(("boxes", "scores"), _grid),
    "Triple": Decoder(("boxes", "scores", "labels"), _triple),
    "YOLOv8": Decoder(("predictions",), _yolov8),
}
