"""Pictures of digits, drawn with the font inside Pillow and bent a little.

No download, no extra dependency, no font of the machine: the same pictures everywhere with the
same Pillow.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from example_models.shapes import Pixels

SIZE = 32
CLASSES = 10
_CANVAS = 96
_STROKES = 3


@dataclass(frozen=True)
class DigitSet:
    """Pictures and what they show."""

    images: Pixels  # [n, 1, 32, 32], 0 to 1
    labels: NDArray[np.int64]  # [n]


def dataset(rng: np.random.Generator, count: int) -> DigitSet:
    """Every class is equally likely."""
    labels = rng.integers(CLASSES, size=count)
    images = np.stack([_picture(rng, int(label)) for label in labels])
    return DigitSet(images[:, None], labels.astype(np.int64))


def _picture(rng: np.random.Generator, digit: int) -> NDArray[np.float32]:
    bent = _glyph(digit, int(rng.integers(_STROKES))).transform(
        (SIZE, SIZE), Image.Transform.AFFINE, _affine(rng), Image.Resampling.BILINEAR
    )
    blurred = bent.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
    ink = np.asarray(blurred, np.float32) / 255
    paper, pen = rng.uniform(0, 0.3), rng.uniform(0.7, 1.0)
    if rng.random() < 0.3:
        paper, pen = pen, paper
    noisy = paper + ink * (pen - paper) + rng.normal(0, 0.05, ink.shape)
    return (np.rint(np.clip(noisy, 0, 1) * 255) / 255).astype(np.float32)


@cache
def _glyph(digit: int, stroke: int) -> Image.Image:
    """A large upright digit in the middle of a square; cached because drawing text is slow."""
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    ImageDraw.Draw(canvas).text(
        (_CANVAS / 2, _CANVAS / 2),
        str(digit),
        fill=255,
        font=ImageFont.load_default(72),
        anchor="mm",
        stroke_width=stroke * 2,
    )
    return canvas


def _affine(rng: np.random.Generator) -> tuple[float, ...]:
    """Output pixel to canvas pixel: rotate, shear, scale and shift about the middle."""
    angle, shear = rng.uniform(-0.25, 0.25), rng.uniform(-0.2, 0.2)
    zoom = _CANVAS / SIZE / rng.uniform(0.8, 1.15, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(zoom)
    middle = np.array([SIZE / 2, SIZE / 2]) + rng.uniform(-3, 3, 2)
    offset = np.array([_CANVAS / 2, _CANVAS / 2]) - matrix @ middle
    rows = np.column_stack([matrix, offset])
    return tuple(float(value) for value in rows.ravel())
