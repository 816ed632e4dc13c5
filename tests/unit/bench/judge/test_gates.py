"""The gates of others against counts that can be worked out by hand."""

import math

import numpy as np
import pytest
from bench.judge.gates import failed_checks, z_test
from bench.judge.traffic import Counts, Scenario, Traffic, simulated


def column(*values: int) -> Counts:
    return np.array([values])


def test_z_is_pooled_over_all_requests_so_far() -> None:
    none = column(0, 0)
    found = z_test(Traffic(column(100, 100), column(2, 8), none, none, column(900, 900), column(8, 12)))
    pooled = 30 / 2000
    second = (10 / 200 - 20 / 1800) / math.sqrt(pooled * (1 - pooled) * (1 / 200 + 1 / 1800))
    assert found[0, 1] == pytest.approx(second)


@pytest.mark.parametrize(
    ("canary", "errors", "stable", "other"),
    [(0, 0, 900, 9), (90, 9, 0, 0), (90, 2, 900, 2), (9, 9, 9, 9)],
    ids=["no canary", "no stable", "too few errors", "nothing but errors"],
)
def test_z_is_silent_where_it_means_nothing(canary: int, errors: int, stable: int, other: int) -> None:
    none = column(0)
    traffic = Traffic(column(canary), column(errors), none, none, column(stable), column(other))
    assert z_test(traffic)[0, 0] == -np.inf


def test_one_look_at_z_errs_as_often_as_it_says() -> None:
    traffic = simulated(Scenario(20_000, (0.5,), 0.05), 20_000, np.random.default_rng(1))
    assert (z_test(traffic) > 1.645).mean() == pytest.approx(0.05, abs=0.006)


def test_checks_fail_as_often_as_their_counts_say() -> None:
    """60 requests on average: one error fails the check, unless there were 100 requests or more."""
    failed = failed_checks(10, (0.1,) * 5, 0.005, 20_000, np.random.default_rng(2))
    assert failed.mean() == pytest.approx(5 * (1 - math.exp(-0.3)), rel=0.03)


def test_perfect_and_broken_canaries() -> None:
    random = np.random.default_rng(3)
    assert failed_checks(50, (0.5,) * 4, 0.0, 100, random).max() == 0
    assert failed_checks(50, (0.5,) * 4, 1.0, 100, random).min() == 4


def test_a_check_without_requests_fails() -> None:
    assert failed_checks(0, (0.5,) * 4, 0.0, 10, np.random.default_rng(4)).min() == 4
