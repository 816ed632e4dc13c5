"""The layers the example networks are made of, forward and backward, in plain numpy.

A layer is a frozen description. Its weights travel beside it, and `apply` returns the output
together with the function that turns the output's gradient into the gradients of input and
weights. Nothing is stored in the layer, so a test can differentiate it without setting it up.

Arrays are NHWC here, because im2col then copies whole runs of channels; `export` writes NCHW.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Weights: TypeAlias = tuple[Array, ...]
Backward: TypeAlias = Callable[[Array], tuple[Array, Weights]]


class Layer(Protocol):
    """What a network needs from a layer."""

    def initial_weights(self, rng: np.random.Generator) -> Weights:
        """Weights to start training from."""

    def apply(self, weights: Weights, x: Array) -> tuple[Array, Backward]:
        """The output, and the function that turns its gradient into those of `x` and weights."""


class _Weightless:
    def initial_weights(self, rng: np.random.Generator) -> Weights:
        """Nothing to learn."""
        return ()


def _he_normal(rng: np.random.Generator, fan_in: int, shape: tuple[int, ...]) -> Array:
    drawn: Array = rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)
    return drawn.astype(np.float32)


@dataclass(frozen=True)
class Conv:
    """A square convolution, padded so that stride 1 keeps the size."""

    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    # Nothing in front of this layer learns, so the gradient of its input is not worth the time.
    is_first: bool = False

    @property
    def padding(self) -> int:
        """Rows and columns of zeros on each side."""
        return self.kernel // 2

    def initial_weights(self, rng: np.random.Generator) -> Weights:
        """He-normal kernel [kernel * kernel * inputs, outputs], zero bias."""
        fan_in = self.kernel * self.kernel * self.inputs
        kernel = _he_normal(rng, fan_in, (fan_in, self.outputs))
        return kernel, np.zeros(self.outputs, np.float32)

    def apply(self, weights: Weights, x: Array) -> tuple[Array, Backward]:
        """The outputs; gradients by the transposed products."""
        kernel, bias = weights
        columns, size = self._columns(x)
        out = (columns @ kernel + bias).reshape(x.shape[0], *size, self.outputs)

        def backward(dy: Array) -> tuple[Array, Weights]:
            flat = dy.reshape(-1, self.outputs)
            gradients = (columns.T @ flat, flat.sum(axis=0))
            if self.is_first:
                return np.zeros(x.shape, x.dtype), gradients
            return self._image(flat @ kernel.T, x.shape, size), gradients

        return out, backward

    def _columns(self, x: Array) -> tuple[Array, tuple[int, int]]:
        """im2col: one row per output pixel, ordered kernel row, kernel column, channel.

        A kernel row is one run of memory in NHWC, so the copy moves `kernel * inputs` numbers at
        a time.
        """
        p = self.padding
        padded = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
        height = (x.shape[1] + 2 * p - self.kernel) // self.stride + 1
        width = (x.shape[2] + 2 * p - self.kernel) // self.stride + 1
        of_image, of_row, of_pixel, of_channel = padded.strides
        windows = np.lib.stride_tricks.as_strided(
            padded,
            (x.shape[0], height, width, self.kernel, self.kernel * self.inputs),
            (of_image, of_row * self.stride, of_pixel * self.stride, of_row, of_channel),
            writeable=False,
        )
        return windows.reshape(-1, self.kernel**2 * self.inputs), (height, width)

    def _image(self, columns: Array, shape: tuple[int, ...], size: tuple[int, int]) -> Array:
        """The adjoint of `_columns`: every row is added back where it was read."""
        height, width = size
        p = self.padding
        parts = columns.reshape(shape[0], height, width, self.kernel, self.kernel, self.inputs)
        padded = np.zeros((shape[0], shape[1] + 2 * p, shape[2] + 2 * p, shape[3]), columns.dtype)
        for i in range(self.kernel):
            for j in range(self.kernel):
                padded[:, self._span(i, height), self._span(j, width)] += parts[:, :, :, i, j]
        return padded[:, p : p + shape[1], p : p + shape[2]]

    def _span(self, offset: int, count: int) -> slice:
        return slice(offset, offset + self.stride * (count - 1) + 1, self.stride)


@dataclass(frozen=True)
class Centre(_Weightless):
    """Pixels in 0 to 1 become numbers around zero; part of the model, so no client can forget it."""

    middle: float = 0.5
    gain: float = 4.0

    def apply(self, weights: Weights, x: Array) -> tuple[Array, Backward]:
        """Shift and stretch."""
        return (x - self.middle) * self.gain, lambda dy: (dy * self.gain, ())


@dataclass(frozen=True)
class Relu(_Weightless):
    """What is above zero."""

    def apply(self, weights: Weights, x: Array) -> tuple[Array, Backward]:
        """Cut at zero."""
        out = np.maximum(x, 0)
        return out, lambda dy: (dy * (out > 0), ())


@dataclass(frozen=True)
class GlobalAverage(_Weightless):
    """Mean over height and width: [N, H, W, C] to [N, C]."""

    def apply(self, weights: Weights, x: Array) -> tuple[Array, Backward]:
        """Average; the gradient is spread evenly."""
        pixels = x.shape[1] * x.shape[2]

        def backward(dy: Array) -> tuple[Array, Weights]:
            spread = np.broadcast_to((dy / pixels)[:, None, None, :], x.shape)
            return spread.astype(x.dtype), ()

        return x.mean(axis=(1, 2)), backward


@dataclass(frozen=True)
class Dense:
    """Each output is a weighted sum of all inputs."""

    inputs: int
    outputs: int

    def initial_weights(self, rng: np.random.Generator) -> Weights:
        """He-normal kernel [inputs, outputs], zero bias."""
        kernel = _he_normal(rng, self.inputs, (self.inputs, self.outputs))
        return kernel, np.zeros(self.outputs, np.float32)

    def apply(self, weights: Weights, x: Array) -> tuple[Array, Backward]:
        """The outputs; gradients by the transposed products."""
        kernel, bias = weights

        def backward(dy: Array) -> tuple[Array, Weights]:
            return dy @ kernel.T, (x.T @ dy, dy.sum(axis=0))

        return x @ kernel + bias, backward


def sigmoid(x: Array) -> Array:
    """The logistic function, safe for large inputs."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))
