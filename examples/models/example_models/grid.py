"""The client's side of the detector: from the tensors `boxes` and `scores` to objects, to a picture.

Needs numpy and Pillow only; the demo's client imports it while the server speaks plain tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from example_models.shapes import CLASS_NAMES, SIZE, Pixels

COLOURS = ("#e4572e", "#29b6f6", "#9ccc65")


@dataclass(frozen=True)
class Detection:
    """One object found in one image."""

    label: int
    score: float
    box: tuple[float, float, float, float]  # pixel x1, y1, x2, y2

    @property
    def name(self) -> str:
        """The class in words."""
        return CLASS_NAMES[self.label]


def decode_grid(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    *,
    min_score: float = 0.5,
    max_overlap: float = 0.5,
) -> tuple[Detection, ...]:
    """One image's `boxes` [cells, 4] and `scores` [cells, classes] as objects, best first.

    Non-maximum suppression works per class: a box gives way to a better one of its own class when
    they overlap by more than `max_overlap` (intersection over union).
    """
    clipped = np.clip(boxes.astype(np.float64), 0, SIZE)
    found = [
        Detection(label, float(scores[cell, label]), _box_from_row(clipped[cell]))
        for label in range(scores.shape[1])
        for cell in kept_cells(clipped, scores[:, label], min_score, max_overlap)
    ]
    return tuple(sorted(found, key=lambda detection: -detection.score))


def kept_cells(
    boxes: NDArray[np.float64], scores: NDArray[np.float32], min_score: float, max_overlap: float
) -> list[int]:
    """Greedy non-maximum suppression within one class: indices of the boxes that stay."""
    order = np.argsort(-scores, kind="stable")
    waiting = order[scores[order] >= min_score]
    kept: list[int] = []
    while len(waiting):
        best, rest = waiting[0], waiting[1:]
        kept.append(int(best))
        waiting = rest[overlaps(boxes[best], boxes[rest]) <= max_overlap]
    return kept


def overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of one box [4] with each of the others [n, 4]."""
    corner = np.maximum(box[:2], others[:, :2])
    opposite = np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(opposite - corner, 0, None), axis=1)
    area = np.prod(np.clip(box[2:] - box[:2], 0, None))
    areas = np.prod(np.clip(others[:, 2:] - others[:, :2], 0, None), axis=1)
    union = area + areas - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(union), where=union > 0))


def draw_boxes(image: Image.Image | Pixels, detections: Sequence[Detection], *, scale: int = 4) -> Image.Image:
    """A copy of the image, enlarged so that names can be read, with a box around each object."""
    picture = image if isinstance(image, Image.Image) else image_from_pixels(image)
    size = (picture.width * scale, picture.height * scale)
    enlarged = picture.convert("RGB").resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(enlarged)
    for detection in detections:
        colour = COLOURS[detection.label % len(COLOURS)]
        x1, y1, x2, y2 = (value * scale for value in detection.box)
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=max(1, scale // 2))
        caption, corner = f"{detection.name} {detection.score:.2f}", (x1, max(0, y1 - 12))
        draw.rectangle(draw.textbbox(corner, caption), fill="#202020")
        draw.text(corner, caption, fill=colour)
    return enlarged


def image_from_pixels(pixels: Pixels) -> Image.Image:
    """[3, height, width] in 0 to 1 as a picture."""
    levels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))


def _box_from_row(row: NDArray[np.float64]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in row)
    return x1, y1, x2, y2
