"""The digits classifier: four convolutions, a global average, one dense layer."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from example_models.detector import channels_last
from example_models.digits import CLASSES, DigitSet
from example_models.layers import Array, Centre, Conv, Dense, GlobalAverage, Relu
from example_models.network import (
    Loss,
    Network,
    Parameters,
    Schedule,
    outputs_in_batches,
    train,
)
from example_models.shapes import Pixels

NETWORK = Network(
    (
        Centre(),
        Conv(1, 16, stride=2, is_first=True),
        Relu(),
        Conv(16, 32, stride=2),
        Relu(),
        Conv(32, 64),
        Relu(),
        Conv(64, 64, stride=2),
        Relu(),
        GlobalAverage(),
        Dense(64, CLASSES),
    )
)


def cross_entropy(labels: NDArray[np.int64]) -> Loss:
    """Mean cross-entropy of the softmax of the logits."""

    def loss(chosen: NDArray[np.intp], out: Array) -> tuple[float, Array]:
        rows, wanted = np.arange(len(chosen)), labels[chosen]
        shifted = out - out.max(axis=1, keepdims=True)
        log_share = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        gradient = np.exp(log_share)
        gradient[rows, wanted] -= 1
        return -float(log_share[rows, wanted].mean()), gradient / len(chosen)

    return loss


def trained(data: DigitSet, schedule: Schedule, rng: np.random.Generator) -> Iterator[tuple[Parameters, float]]:
    """State and mean loss after every epoch."""
    return train(NETWORK, channels_last(data.images), cross_entropy(data.labels), schedule, rng)


def predict(parameters: Parameters, images: Pixels) -> Array:
    """`logits` [n, 10], as the exported model gives them."""
    return outputs_in_batches(NETWORK, parameters, channels_last(images))


def top1(logits: Array, labels: NDArray[np.int64]) -> float:
    """Share of images whose largest logit is that of their label."""
    return float((logits.argmax(axis=1) == labels).mean())
