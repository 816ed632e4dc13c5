"""Every gradient against the difference quotient: a wrong one trains, only worse."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from example_models import detector
from example_models.classifier import cross_entropy
from example_models.layers import Array, Centre, Conv, Dense, GlobalAverage, Layer, Relu
from example_models.network import Adam, Network
from example_models.shapes import Dataset

STEP = 1e-5


def _numeric_gradient(value: Callable[[], float], at: Array) -> Array:
    gradient = np.zeros_like(at)
    for index in np.ndindex(*at.shape):
        kept = at[index]
        at[index] = kept + STEP
        above = value()
        at[index] = kept - STEP
        gradient[index] = (above - value()) / (2 * STEP)
        at[index] = kept
    return gradient


LAYERS = [
    pytest.param(Conv(2, 3), (2, 5, 4, 2), id="conv"),
    pytest.param(Conv(2, 3, stride=2), (2, 6, 4, 2), id="conv-stride-2"),
    pytest.param(Conv(1, 2, stride=2), (1, 5, 5, 1), id="conv-stride-2-odd-size"),
    pytest.param(Conv(3, 2, kernel=1), (2, 3, 3, 3), id="conv-1x1"),
    pytest.param(Dense(4, 3), (2, 4), id="dense"),
    pytest.param(Relu(), (3, 4), id="relu"),
    pytest.param(GlobalAverage(), (2, 3, 4, 2), id="global-average"),
    pytest.param(Centre(), (2, 3), id="centre"),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
def test_gradients_agree_with_difference_quotient(layer: Layer, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    weights = tuple(rng.standard_normal(w.shape) for w in layer.initial_weights(rng))
    out, backward = layer.apply(weights, x)
    direction = rng.standard_normal(out.shape)
    of_x, of_weights = backward(direction)

    def value() -> float:
        return float((layer.apply(weights, x)[0] * direction).sum())

    np.testing.assert_allclose(of_x, _numeric_gradient(value, x), atol=1e-6)
    for weight, gradient in zip(weights, of_weights, strict=True):
        np.testing.assert_allclose(gradient, _numeric_gradient(value, weight), atol=1e-6)


def test_first_conv_skips_only_the_gradient_of_its_input() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 6, 6, 2))
    weights = Conv(2, 3).initial_weights(rng)
    direction = rng.standard_normal((2, 6, 6, 3))
    _, expected = Conv(2, 3).apply(weights, x)[1](direction)
    of_x, of_weights = Conv(2, 3, is_first=True).apply(weights, x)[1](direction)
    assert not of_x.any()
    for got, want in zip(of_weights, expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_classification_loss_gradient() -> None:
    rng = np.random.default_rng(2)
    out = rng.standard_normal((3, 4))
    loss = partial(cross_entropy(np.array([1, 0, 3, 2])), np.array([3, 0, 1]))
    _, gradient = loss(out)
    np.testing.assert_allclose(gradient, _numeric_gradient(lambda: loss(out)[0], out), atol=1e-6)


def test_detection_loss_gradient() -> None:
    data = Dataset(
        np.zeros((2, 3, 64, 64), np.float32),
        np.array([[[4, 4, 20, 24], [-1] * 4], [[30, 30, 50, 50], [1, 40, 17, 60]]], np.float32),
        np.array([[1, -1], [0, 2]]),
    )
    loss = partial(detector.detection_loss(data), np.array([1, 0]))
    out = np.random.default_rng(3).standard_normal((2, 8, 8, detector.CHANNELS))
    _, gradient = loss(out)
    numeric = _numeric_gradient(lambda: loss(out)[0], out)
    np.testing.assert_allclose(gradient, numeric, atol=1e-5, rtol=1e-5)


def test_targets_name_the_cell_of_the_centre() -> None:
    data = Dataset(
        np.zeros((1, 3, 64, 64), np.float32),
        np.array([[[10, 18, 26, 34], [-1, -1, -1, -1]]], np.float32),
        np.array([[2, -1]]),
    )
    wanted, has_object = detector.targets(data)
    assert np.argwhere(has_object).tolist() == [[0, 3, 2]]
    np.testing.assert_allclose(wanted[0, 3, 2], [0.25, 0.25, 0.25, 0.25, 0, 0, 1])


def test_adam_finds_the_bottom_of_a_bowl() -> None:
    network = Network((Dense(2, 1),))
    rng = np.random.default_rng(4)
    x = rng.standard_normal((32, 2))
    wanted = x @ np.array([[2.0], [-1.0]]) + 0.5
    parameters = network.initial_parameters(rng)
    adam = Adam(parameters)
    for _ in range(400):
        _, gradients = network.gradients(
            parameters, x, lambda out: (float(((out - wanted) ** 2).mean()), 2 * (out - wanted) / len(x))
        )
        parameters = adam.updated(parameters, gradients, 0.05)
    np.testing.assert_allclose(parameters[0][0].ravel(), [2, -1], atol=0.05)
    np.testing.assert_allclose(parameters[0][1], [0.5], atol=0.05)
