"""The shapes detector: six convolutions, an 8 x 8 grid, one box and three scores per cell.

The cell that holds an object's centre answers for it. A cell's seven numbers are centre x, y
inside the cell, width, height (all through a sigmoid) and one logit per class.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from example_models.layers import Array, Centre, Conv, Relu, sigmoid
from example_models.network import (
    Loss,
    Network,
    Parameters,
    Schedule,
    outputs_in_batches,
    train,
)
from example_models.shapes import CLASS_NAMES, PADDING, SIZE, Dataset, Pixels

GRID = 8
CELL = SIZE // GRID
CHANNELS = 4 + len(CLASS_NAMES)
BOX_WEIGHT = 3.0
CLASS_WEIGHT = 8.0

NETWORK = Network(
    (
        Centre(),
        Conv(3, 16, stride=2, is_first=True),
        Relu(),
        Conv(16, 32, stride=2),
        Relu(),
        Conv(32, 32),
        Relu(),
        Conv(32, 64, stride=2),
        Relu(),
        Conv(64, 64),
        Relu(),
        Conv(64, CHANNELS, kernel=1),
    )
)


def cell_origins() -> NDArray[np.float32]:
    """Column and row of each of the 64 cells, in the order of the model's outputs."""
    rows, columns = np.divmod(np.arange(GRID * GRID), GRID)
    return np.stack([columns, rows], axis=1).astype(np.float32)


def targets(data: Dataset) -> tuple[Array, NDArray[np.bool_]]:
    """What the network should say, [n, 8, 8, 7], and which cells hold a centre."""
    wanted: Array = np.zeros((len(data.images), GRID, GRID, CHANNELS), np.float32)
    image, slot = np.nonzero(data.gt_labels != PADDING)
    box = data.gt_boxes[image, slot]
    centre = (box[:, :2] + box[:, 2:]) / 2 / CELL
    column, row = np.minimum(centre.astype(np.int64), GRID - 1).T
    wanted[image, row, column, 0:2] = centre - np.stack([column, row], axis=1)
    wanted[image, row, column, 2:4] = (box[:, 2:] - box[:, :2]) / SIZE
    wanted[image, row, column, 4 + data.gt_labels[image, slot]] = 1.0
    return wanted, np.asarray(wanted[..., 4:].max(axis=-1) > 0)


def detection_loss(data: Dataset) -> Loss:
    """Cross-entropy for the scores of every cell, squared error for boxes that exist.

    Width and height are fractions of the picture, centres fractions of a cell; eight times the
    former puts both errors on the scale of one cell.
    """
    wanted, has_object = targets(data)
    scale = np.array([1, 1, GRID, GRID], np.float32)

    def loss(chosen: NDArray[np.intp], out: Array) -> tuple[float, Array]:
        aim, mask = wanted[chosen], has_object[chosen][..., None]
        guess = sigmoid(out)
        count = max(1, int(mask.sum()))
        weight = np.where(mask, CLASS_WEIGHT, 1.0)
        gap = (guess[..., :4] - aim[..., :4]) * scale * mask
        entropy = np.logaddexp(0, out[..., 4:]) - aim[..., 4:] * out[..., 4:]
        value = (float((gap**2).sum()) * BOX_WEIGHT + float((weight * entropy).sum())) / count
        slope = guess[..., :4] * (1 - guess[..., :4])
        of_boxes = 2 * BOX_WEIGHT * gap * scale * slope
        of_scores = weight * (guess[..., 4:] - aim[..., 4:])
        gradient = np.concatenate([of_boxes, of_scores], axis=-1)
        return value, (gradient / count).astype(out.dtype)

    return loss


def trained(data: Dataset, schedule: Schedule, rng: np.random.Generator) -> Iterator[tuple[Parameters, float]]:
    """State and mean loss after every epoch."""
    return train(NETWORK, channels_last(data.images), detection_loss(data), schedule, rng)


def predict(parameters: Parameters, images: Pixels) -> tuple[Array, Array]:
    """`boxes` [n, 64, 4] and `scores` [n, 64, 3], as the exported model gives them."""
    out = outputs_in_batches(NETWORK, parameters, channels_last(images))
    guess = sigmoid(out.reshape(len(images), GRID * GRID, CHANNELS))
    centre = (guess[..., 0:2] + cell_origins()) * CELL
    half = guess[..., 2:4] * (SIZE / 2)
    return np.concatenate([centre - half, centre + half], axis=-1), guess[..., 4:]


def channels_last(images: Array) -> Array:
    """NCHW, as the world has it, to NHWC, as the layers want it."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))
