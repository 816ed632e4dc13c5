"""Thresholds and sums on the log scale."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_operator.core.sequential.budget import alpha_per_test
from visionmodel_operator.core.sequential.logarithms import log_mean_exp, log_sum_exp, log_threshold


@pytest.mark.parametrize(("alpha", "expected"), [(0.01, 4.605), (0.05, 2.996), (0.001, 6.908)])
def test_threshold(alpha: float, expected: float) -> None:
    assert round(log_threshold(alpha), 3) == expected


@pytest.mark.parametrize("alpha", [0, 1, -0.1, math.nan])
def test_an_alpha_that_bounds_nothing_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        log_threshold(alpha)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=13))
def test_sum_and_mean_are_those_of_the_exponentials(values: list[float]) -> None:
    total = sum(map(math.exp, values))
    assert log_sum_exp(values) == pytest.approx(math.log(total))
    assert log_mean_exp(values) == pytest.approx(math.log(total / len(values)), abs=1e-9)


def test_sums_do_not_overflow() -> None:
    assert log_sum_exp((5000.0, 5000.0)) == pytest.approx(5000 + math.log(2))


@pytest.mark.parametrize(("tests", "expected"), [(0, 0.01), (1, 0.01), (4, 0.0025)])
def test_alpha_is_split_equally(tests: int, expected: float) -> None:
    assert alpha_per_test(0.01, tests) == expected


def test_a_negative_number_of_tests_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        alpha_per_test(0.01, -1)
