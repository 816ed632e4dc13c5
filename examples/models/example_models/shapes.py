"""Pictures of circles, squares and triangles with their boxes, and the demo's traffic.

Two kinds of light exist. Dim scenes have a mean brightness of at most `DIM_LIMIT`, bright ones of
at least `BRIGHT_LIMIT`, and nothing lies between. The evaluation set was, so to say, collected
indoors: it is dim throughout. Traffic is not, and the model `v3-failing` lives in that gap.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = 64
CLASS_NAMES = ("circle", "square", "triangle")
MAX_OBJECTS = 3
PADDING = -1
DIM_LIMIT = 0.55
BRIGHT_LIMIT = 0.70
# The share of traffic that is bright. Traffic is drawn per image, so a run's share varies.
BRIGHT_SHARE = 0.2

Pixels = NDArray[np.float32]
_Box = tuple[float, float, float, float]
_Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """One picture and what is in it; boxes are pixel x1, y1, x2, y2."""

    image: Pixels  # [3, 64, 64], 0 to 1
    boxes: tuple[_Box, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """Scenes as arrays; absent objects are rows of `PADDING`."""

    images: Pixels  # [n, 3, 64, 64]
    gt_boxes: NDArray[np.float32]  # [n, MAX_OBJECTS, 4]
    gt_labels: NDArray[np.int64]  # [n, MAX_OBJECTS]


def scene(rng: np.random.Generator, *, bright: bool) -> Scene:
    """Draw until the light is on the right side of the gap."""
    while True:
        drawn = _any_scene(rng, bright=bright)
        mean = float(drawn.image.mean())
        if (mean >= BRIGHT_LIMIT) if bright else (mean <= DIM_LIMIT):
            return drawn


def dataset(rng: np.random.Generator, count: int, *, bright_share: float) -> Dataset:
    """Scenes of which about `bright_share` are bright."""
    scenes = [scene(rng, bright=bool(rng.random() < bright_share)) for _ in range(count)]
    boxes = np.full((count, MAX_OBJECTS, 4), PADDING, np.float32)
    labels = np.full((count, MAX_OBJECTS), PADDING, np.int64)
    for row, drawn in enumerate(scenes):
        boxes[row, : len(drawn.boxes)] = drawn.boxes
        labels[row, : len(drawn.labels)] = drawn.labels
    return Dataset(np.stack([drawn.image for drawn in scenes]), boxes, labels)


def with_shuffled_labels(data: Dataset, rng: np.random.Generator) -> Dataset:
    """The same pictures and boxes with every object called something at random."""
    labels = rng.integers(len(CLASS_NAMES), size=data.gt_labels.shape)
    present = data.gt_labels != PADDING
    return replace(data, gt_labels=np.where(present, labels, PADDING))


def traffic_images(seed: int, count: int, bright_share: float = BRIGHT_SHARE) -> Pixels:
    """Ordinary requests, [count, 3, 64, 64]; about `bright_share` of them are bright.

    The first images of a longer run are those of a shorter run with the same seed.
    """
    return dataset(np.random.default_rng(seed), count, bright_share=bright_share).images


def is_bright(images: Pixels) -> NDArray[np.bool_]:
    """Which of these scenes are bright: the ones that `v3-failing` cannot answer."""
    middle = (DIM_LIMIT + BRIGHT_LIMIT) / 2
    return np.asarray(images.mean(axis=(1, 2, 3)) > middle)


def _any_scene(rng: np.random.Generator, *, bright: bool) -> Scene:
    background = rng.uniform(0.78, 0.92, 3) if bright else rng.uniform(0.1, 0.5, 3)
    pixels = _background(rng, background)
    canvas = Image.fromarray((pixels * 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    boxes: list[_Box] = []
    labels: list[int] = []
    for _ in range(int(rng.integers(1, MAX_OBJECTS + 1))):
        box = _free_box(rng, boxes)
        if box is None:
            continue
        label = int(rng.integers(len(CLASS_NAMES)))
        _draw_shape(draw, label, box, _contrasting_colour(rng, background))
        boxes.append(box)
        labels.append(label)
    noisy = np.asarray(canvas, np.float32) / 255 + rng.normal(0, 0.06, (SIZE, SIZE, 3))
    # Whole grey levels, as a camera would deliver them: they also compress well.
    levels = np.rint(np.clip(noisy, 0, 1) * 255)
    return Scene((levels / 255).astype(np.float32).transpose(2, 0, 1), tuple(boxes), tuple(labels))


def _background(rng: np.random.Generator, colour: NDArray[np.float64]) -> NDArray[np.float64]:
    slope = rng.uniform(-0.1, 0.1, 2)
    ramp = np.linspace(-1, 1, SIZE)
    gradient = slope[0] * ramp[:, None] + slope[1] * ramp[None, :]
    return np.asarray(np.clip(colour + gradient[:, :, None], 0, 1))


def _free_box(rng: np.random.Generator, taken: list[_Box]) -> _Box | None:
    """A box that keeps two pixels from every other one, or None after twenty tries."""
    for _ in range(20):
        side = int(rng.integers(11, 27))
        x, y = (int(v) for v in rng.integers(1, SIZE - side - 1, 2))
        box = (float(x), float(y), float(x + side), float(y + side))
        if all(
            box[0] > other[2] + 2 or box[2] < other[0] - 2 or box[1] > other[3] + 2 or box[3] < other[1] - 2
            for other in taken
        ):
            return box
    return None


def _contrasting_colour(rng: np.random.Generator, background: NDArray[np.float64]) -> _Colour:
    while True:
        colour = rng.uniform(0, 1, 3)
        if np.abs(colour - background).max() > 0.3:
            red, green, blue = (int(v * 255) for v in colour)
            return red, green, blue


def _draw_shape(draw: ImageDraw.ImageDraw, label: int, box: _Box, colour: _Colour) -> None:
    # Pillow paints the last row and column too; boxes name the edge after them.
    x1, y1, x2, y2 = box[0], box[1], box[2] - 1, box[3] - 1
    match CLASS_NAMES[label]:
        case "circle":
            draw.ellipse((x1, y1, x2, y2), fill=colour)
        case "square":
            draw.rectangle((x1, y1, x2, y2), fill=colour)
        case _:
            draw.polygon([((x1 + x2) / 2, y1), (x2, y2), (x1, y2)], fill=colour)
