"""A chain of layers, and the loop that fits its weights with Adam."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from example_models.layers import Array, Layer, Weights

Parameters: TypeAlias = tuple[Weights, ...]
# The indices of the batch's samples and the network's output for them -> loss and gradient of the output.
Loss: TypeAlias = Callable[[NDArray[np.intp], Array], tuple[float, Array]]


@dataclass(frozen=True)
class Network:
    """Layers, one after the other; the weights travel separately."""

    layers: tuple[Layer, ...]

    def initial_parameters(self, rng: np.random.Generator) -> Parameters:
        """Weights to start training from."""
        return tuple(layer.initial_weights(rng) for layer in self.layers)

    def output(self, parameters: Parameters, x: Array) -> Array:
        """The last layer's output."""
        for layer, weights in zip(self.layers, parameters, strict=True):
            x, _ = layer.apply(weights, x)
        return x

    def gradients(
        self, parameters: Parameters, x: Array, loss: Callable[[Array], tuple[float, Array]]
    ) -> tuple[float, Parameters]:
        """The loss at `x` and its gradient for every weight."""
        tape = []
        for layer, weights in zip(self.layers, parameters, strict=True):
            x, backward = layer.apply(weights, x)
            tape.append(backward)
        value, gradient = loss(x)
        found: list[Weights] = []
        for backward in reversed(tape):
            gradient, of_weights = backward(gradient)
            found.append(of_weights)
        return value, tuple(reversed(found))


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; the rate falls to zero along half a cosine."""

    epochs: int
    batch: int = 32
    rate: float = 2e-3

    def rate_at(self, progress: float) -> float:
        """The learning rate after this part (0 to 1) of the training."""
        return float(self.rate * 0.5 * (1.0 + np.cos(np.pi * progress)))


class Adam:
    """Adam with its usual constants; the only object here that remembers anything."""

    def __init__(self, parameters: Parameters) -> None:
        self._mean = [np.zeros_like(w) for group in parameters for w in group]
        self._square = [np.zeros_like(w) for group in parameters for w in group]
        self._step = 0

    def updated(self, parameters: Parameters, gradients: Parameters, rate: float) -> Parameters:
        """The weights after one more step."""
        self._step += 1
        correction = np.sqrt(1 - 0.999**self._step) / (1 - 0.9**self._step)
        slots = iter(zip(self._mean, self._square, strict=True))
        return tuple(
            tuple(
                self._moved(weight, gradient, float(rate * correction), next(slots))
                for weight, gradient in zip(group, group_gradients, strict=True)
            )
            for group, group_gradients in zip(parameters, gradients, strict=True)
        )

    @staticmethod
    def _moved(weight: Array, gradient: Array, rate: float, slot: tuple[Array, Array]) -> Array:
        mean, square = slot
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (gradient * gradient - square)
        return weight - rate * mean / (np.sqrt(square) + 1e-8)


def train(
    network: Network, images: Array, loss: Loss, schedule: Schedule, rng: np.random.Generator
) -> Iterator[tuple[Parameters, float]]:
    """Yield the parameters and the mean loss after every epoch.

    An iterator, so that one run gives both an early model and the final one.
    """
    parameters = network.initial_parameters(rng)
    adam = Adam(parameters)
    count = len(images) // schedule.batch
    for epoch in range(schedule.epochs):
        order = rng.permutation(len(images))
        losses = []
        for step in range(count):
            chosen = order[step * schedule.batch : (step + 1) * schedule.batch]
            value, gradients = network.gradients(parameters, images[chosen], partial(loss, chosen))
            rate = schedule.rate_at((epoch * count + step) / (schedule.epochs * count))
            parameters = adam.updated(parameters, gradients, rate)
            losses.append(value)
        yield parameters, float(np.mean(losses))


def outputs_in_batches(network: Network, parameters: Parameters, images: Array, batch: int = 100) -> Array:
    """The network's output for many images without holding all im2col matrices at once."""
    parts: Sequence[Array] = [
        network.output(parameters, images[start : start + batch]) for start in range(0, len(images), batch)
    ]
    return np.concatenate(parts)
