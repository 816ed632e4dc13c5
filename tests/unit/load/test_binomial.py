"""Bounds for counts under a weight, against exact fractions."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.binomial import binomial_interval


def tails(n: int, p: Fraction, low: int, high: int) -> tuple[Fraction, Fraction]:
    chance = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    return sum(chance[:low], Fraction()), sum(chance[high + 1 :], Fraction())


@given(st.integers(0, 60), st.integers(1, 19), st.sampled_from([0.5, 0.9, 0.99, 0.9999]))
def test_tails_are_as_small_as_stated_and_no_smaller_than_needed(n: int, twentieths: int, confidence: float) -> None:
    p = Fraction(twentieths, 20)
    low, high = binomial_interval(n, float(p), confidence)
    allowed = (1 - confidence) / 2 + 1e-12
    below, above = tails(n, p, low, high)
    assert below <= allowed
    assert above <= allowed
    assert low == n or tails(n, p, low + 1, high)[0] > allowed - 2e-12
    assert high == 0 or tails(n, p, low, high - 1)[1] > allowed - 2e-12


@pytest.mark.parametrize(
    ("n", "p", "confidence", "expected"),
    [
        (10, 0.5, 0.95, (2, 8)),
        (0, 0.3, 0.99, (0, 0)),
        (50, 0.0, 0.99, (0, 0)),
        (50, 1.0, 0.99, (50, 50)),
    ],
    ids=["ten coins", "nothing sent", "weight 0", "weight 100"],
)
def test_interval(n: int, p: float, confidence: float, expected: tuple[int, int]) -> None:
    assert binomial_interval(n, p, confidence) == expected


def test_large_counts_agree_with_the_normal_approximation() -> None:
    low, high = binomial_interval(100_000, 0.1, 0.99)
    sd = math.sqrt(100_000 * 0.1 * 0.9)
    assert low == pytest.approx(10_000 - 2.576 * sd, abs=3)
    assert high == pytest.approx(10_000 + 2.576 * sd, abs=3)


@pytest.mark.parametrize(
    ("n", "p", "confidence"),
    [(-1, 0.5, 0.9), (5, 1.5, 0.9), (5, 0.5, 1.0), (5, 0.5, 0.0)],
    ids=["negative", "no probability", "certain", "no confidence"],
)
def test_nonsense_is_refused(n: int, p: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="need n"):
        binomial_interval(n, p, confidence)
