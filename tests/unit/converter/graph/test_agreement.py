"""Agreement of two runs against values worked out by hand and against properties that hold for all inputs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from visionmodel_converter.graph.agreement import Agreement, cosine_similarity, relative_difference

FINITE = st.floats(-1e3, 1e3, width=32)
ARRAYS = npst.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=FINITE)


@given(ARRAYS)
def test_an_array_agrees_with_itself(array: np.ndarray) -> None:
    agreement = Agreement()
    agreement.add("y", array, array)
    assert (agreement.max_abs_error(), agreement.max_relative_error()) == (0.0, 0.0)
    assert agreement.cosine() == pytest.approx(1.0)


@given(ARRAYS, st.floats(0.5, 100, width=32))
def test_errors_grow_with_the_difference(array: np.ndarray, shift: float) -> None:
    agreement = Agreement()
    agreement.add("y", array, array + np.float32(shift))
    assert agreement.max_abs_error() == pytest.approx(shift, rel=1e-3)
    assert agreement.max_relative_error() > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_value_is_never_lost(bad: float) -> None:
    agreement = Agreement()
    agreement.add("y", np.zeros((1, 2)), np.array([[bad, 0]]))
    agreement.add("y", np.zeros((1, 2)), np.zeros((1, 2)))
    assert not agreement.max_abs_error() <= 1e9
    assert not agreement.max_relative_error() <= 1e9


def test_nothing_compared_is_no_agreement() -> None:
    agreement = Agreement()
    assert all(
        math.isnan(value) for value in (agreement.max_abs_error(), agreement.max_relative_error(), agreement.cosine())
    )


def test_whole_numbers_are_names() -> None:
    """One tie of 1000 pixels that falls to another of 20 classes is a thousandth, however far apart the numbers are."""
    expected = np.zeros((2, 20, 25), np.int64)
    actual = expected.copy()
    actual[0, 3, 4] = 19
    agreement = Agreement()
    for sample in range(2):
        agreement.add("classes", expected[[sample]], actual[[sample]])
    assert agreement.max_abs_error() == agreement.max_relative_error() == pytest.approx(1 / 1000)
    assert agreement.cosine() == pytest.approx(1 - 1 / 500), "of the worst sample"
    assert relative_difference(expected, actual) == pytest.approx(1 / 1000)


def test_the_worst_output_counts_whatever_its_type() -> None:
    agreement = Agreement()
    agreement.add("scores", np.array([[1.0, 2.0]]), np.array([[1.0, 1.5]]))
    agreement.add("labels", np.array([[1, 2]]), np.array([[1, 2]], np.int32))
    assert agreement.max_relative_error() == pytest.approx(0.25)
    agreement.add("labels", np.array([[1, 2]]), np.array([[2, 1]]))
    assert agreement.max_relative_error() == pytest.approx(0.5)
    assert agreement.cosine() == 0.0


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1.0, 0.0], [2.0, 0.0], 1.0),
        ([1.0, 0.0], [0.0, 3.0], 0.0),
        ([1.0, 0.0], [-1.0, 0.0], -1.0),
        ([0.0, 0.0], [0.0, 0.0], 1.0),
        ([0.0, 0.0], [1.0, 0.0], 0.0),
    ],
    ids=["parallel", "orthogonal", "opposite", "both-zero", "one-zero"],
)
def test_cosine(left: list[float], right: list[float], expected: float) -> None:
    assert cosine_similarity(np.array(left), np.array(right)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("expected", "actual", "difference"),
    [
        ([10.0, -20.0], [10.0, -19.0], 0.05),
        ([0.0], [1e-6], 1.0),
        ([1.0], [1.0, 2.0], math.inf),
        ([], [], 0.0),
    ],
    ids=["relative-to-largest", "scale-floor", "other-shape", "empty"],
)
def test_relative_difference(expected: list[float], actual: list[float], difference: float) -> None:
    assert relative_difference(np.array(expected), np.array(actual)) == pytest.approx(difference)
