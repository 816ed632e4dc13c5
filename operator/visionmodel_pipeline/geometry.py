"""Where the source image lies in the network's input, as a value that is carried along and inverted for boxes."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

FIELDS = 6
"""Numbers of a Geometry as an array."""


@dataclass(frozen=True)
class Geometry:
    """input = source * scale + offset, in pixels, for both axes; and the size of the source.

    Letterbox has offsets of 0 or more (bars), CenterCrop of 0 or less (cut off).
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    source_width: int
    source_height: int

    def to_array(self) -> NDArray[np.float64]:
        """Return the six numbers, as they travel from step to step."""
        return np.array(
            [self.scale_x, self.scale_y, self.offset_x, self.offset_y, self.source_width, self.source_height],
            dtype=np.float64,
        )

    @classmethod
    def from_array(cls, values: NDArray[np.float64]) -> Self:
        """Read what `to_array` wrote."""
        scale_x, scale_y, offset_x, offset_y, width, height = (float(value) for value in values)
        return cls(scale_x, scale_y, offset_x, offset_y, int(width), int(height))

    def to_input(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Map boxes [n, 4] (x1, y1, x2, y2) from the source image into the network's input."""
        return np.asarray(boxes, dtype=np.float64) * self._scales() + self._offsets()

    def to_source(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Map boxes [n, 4] back into the source image, cut off at its edges."""
        mapped = (np.asarray(boxes, dtype=np.float64) - self._offsets()) / self._scales()
        edges = np.array([self.source_width, self.source_height] * 2, dtype=np.float64)
        return np.clip(mapped, 0.0, edges)

    def _scales(self) -> NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y] * 2)

    def _offsets(self) -> NDArray[np.float64]:
        return np.array([self.offset_x, self.offset_y] * 2)


def geometry_of(resize: str, source: tuple[int, int], target: tuple[int, int]) -> Geometry:
    """Return how a source of (width, height) lies in a target of (width, height).

    Letterbox keeps the aspect and centres the image between bars; CenterCrop keeps the aspect and cuts the longer
    side; Stretch does neither. The scaled size is rounded to whole pixels, at least one, and the scales are those
    that were really applied. Raises ValueError for any other word.
    """
    (source_width, source_height), (width, height) = source, target
    if resize == "Stretch":
        scaled = (width, height)
    elif resize in ("Letterbox", "CenterCrop"):
        choose = min if resize == "Letterbox" else max
        ratio = choose(width / source_width, height / source_height)
        scaled = (max(1, round(source_width * ratio)), max(1, round(source_height * ratio)))
    else:
        raise ValueError(f"resize is {resize!r}, not Letterbox, Stretch or CenterCrop")
    return Geometry(
        scale_x=scaled[0] / source_width,
        scale_y=scaled[1] / source_height,
        offset_x=float((width - scaled[0]) // 2),
        offset_y=float((height - scaled[1]) // 2),
        source_width=source_width,
        source_height=source_height,
    )
