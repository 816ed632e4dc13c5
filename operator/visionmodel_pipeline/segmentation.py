"""Raw outputs of one image to a mask of the source image: the class of every pixel, where the network saw it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, log
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_pipeline.decoders import Arrays
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.labels import name_of
from visionmodel_pipeline.settings import SegmentationSettings

NO_CLASS: Final = 255
"""Of a pixel that a centre crop cut away, or that the network itself gives none of the classes."""
MAX_CLASSES: Final = NO_CLASS

Cells = NDArray[np.uint8]
"""Class numbers [h, w] at the output's own stride."""


@dataclass(frozen=True)
class Mask:
    """One image's answer.

    Attributes:
        pixels: [height, width] of the source image, class numbers; NO_CLASS where there is none.
        labels: [classes], names in UTF-8 by number.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[Any]


@dataclass(frozen=True)
class Segmenter:
    """A decoder: the output that it reads, how, and the number of classes (None: the output does not tell)."""

    output: str
    cells: Callable[[NDArray[Any], float], Cells]
    classes: Callable[[NDArray[Any]], int | None]


def _best(scores: NDArray[Any], _: float) -> Cells:
    """`scores` [classes, h, w]: the class with the highest score; of equal ones the lower number."""
    if len(scores) > MAX_CLASSES:
        raise ValueError(f"the model has {len(scores)} classes; at most {MAX_CLASSES} fit into a mask of bytes")
    return np.asarray(scores.argmax(axis=0), np.uint8)


def _numbers(classes: NDArray[Any], _: float) -> Cells:
    """`classes` [h, w], numbers of any type; what is no class number, such as -1 or NaN, is none."""
    known = (classes >= 0) & (classes < MAX_CLASSES)
    return np.where(known, classes, NO_CLASS).astype(np.uint8)


def _over_threshold(scores: NDArray[Any], threshold: float) -> Cells:
    """`scores` [1, h, w]: class 1 where sigmoid(s) >= threshold, which is s >= log(threshold / (1 - threshold))."""
    limit = -inf if threshold <= 0 else inf if threshold >= 1 else log(threshold / (1 - threshold))
    return np.asarray(scores[0] >= limit, np.uint8)


SEGMENTERS: Final[Mapping[str, Segmenter]] = {
    "ClassScores": Segmenter("scores", _best, len),
    "ClassMap": Segmenter("classes", _numbers, lambda _: None),
    "Sigmoid": Segmenter("scores", _over_threshold, lambda _: 2),
}


def segment(outputs: Arrays, geometry: Geometry, settings: SegmentationSettings) -> Mask:
    """Return the mask of one image.

    Args:
        outputs: the network's raw output without batch axis, under the decoder's name for it.
        geometry: where the source image lies in the network's input.
        settings: decoder, the input's size, threshold, labels.

    Raises:
        ValueError: more classes than a byte can number.
    """
    decoder = SEGMENTERS[settings.decoder]
    raw = outputs[decoder.output]
    pixels = source_pixels(decoder.cells(raw, settings.score_threshold), geometry, settings)
    count = decoder.classes(raw)
    if count is None:
        count = max(len(settings.labels), int(pixels.max(initial=0, where=pixels != NO_CLASS)) + 1)
    names = [name_of(number, settings.labels) for number in range(count)]
    return Mask(pixels, np.array(names, dtype=np.object_))


def source_pixels(cells: Cells, geometry: Geometry, settings: SegmentationSettings) -> NDArray[np.uint8]:
    """Return the class of every pixel of the source image: that of the cell in which the pixel's centre lies.

    Classes have no value between two of them, so the nearest cell is taken and nothing is interpolated.
    """
    rows = _places(geometry.source_height, geometry.scale_y, geometry.offset_y, settings.height, cells.shape[0])
    columns = _places(geometry.source_width, geometry.scale_x, geometry.offset_x, settings.width, cells.shape[1])
    # one more row and column of NO_CLASS, which -1 leads to
    framed = np.pad(cells, ((0, 1), (0, 1)), constant_values=NO_CLASS)
    return np.asarray(framed[rows[:, None], columns[None, :]])


def _places(source: int, scale: float, offset: float, side: int, cells: int) -> NDArray[np.intp]:
    """Return the cell of each source pixel's centre along one axis, -1 outside of the network's input."""
    places = ((np.arange(source) + 0.5) * scale + offset) / side * cells
    return np.where((places >= 0) & (places < cells), np.floor(places), -1).astype(np.intp)
