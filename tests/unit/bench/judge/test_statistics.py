"""Limits and bounds of the benchmark against closed forms."""

import math

import pytest
from bench.judge import wald
from bench.judge.statistics import at_most, deviation, upper_limit


def test_limit_without_events_is_the_closed_form() -> None:
    assert upper_limit(0, 20_000) == pytest.approx(1 - 0.001 ** (1 / 20_000), rel=1e-9)


def test_limit_where_every_run_fired() -> None:
    assert upper_limit(7, 7) == 1.0


@pytest.mark.parametrize(("events", "runs"), [(1, 10), (3, 50), (160, 20_000), (2_000, 20_000)])
def test_limit_leaves_one_in_a_thousand(events: int, runs: int) -> None:
    limit = upper_limit(events, runs)
    assert limit > events / runs
    assert at_most(events, runs, limit) == pytest.approx(0.001, rel=1e-6)


@pytest.mark.parametrize(("events", "runs"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(events: int, runs: int) -> None:
    with pytest.raises(ValueError, match="impossible counts"):
        upper_limit(events, runs)


def test_at_most_sums_the_binomial() -> None:
    assert at_most(2, 4, 0.5) == pytest.approx(11 / 16)
    assert at_most(4, 4, 1.0) == 0.0


def test_deviation_counts_standard_errors_of_the_difference() -> None:
    error = math.sqrt(0.025 * 0.975 * 2 / 20_000)
    assert deviation(600, 20_000, 0.02, 20_000, 0.0) == pytest.approx(0.01 / error)
    assert deviation(400, 20_000, 0.03, 20_000, 0.0) == pytest.approx(-0.01 / error)


def test_deviation_forgives_rounding_and_survives_no_event() -> None:
    assert deviation(409, 20_000, 0.02, 20_000, 0.0005) == 0
    assert deviation(0, 20_000, 0.0, 20_000, 0.0) == 0


@pytest.mark.parametrize(("base", "ratio"), [(0.0001, 2.0), (0.0005, 3.0)])
def test_bound_of_a_small_share_is_the_growth_of_the_planning_formula(base: float, ratio: float) -> None:
    """With stable known for sure, KL per canary request is p (psi ln psi - psi + 1) for rare errors."""
    expected = math.log(100) / (base * (ratio * math.log(ratio) - ratio + 1))
    assert wald.canary_requests(0.01, base, ratio, 1e-4) == pytest.approx(expected, rel=0.01)


def test_bound_grows_with_the_share_and_falls_with_alpha() -> None:
    assert wald.canary_requests(0.01, 0.01, 2, 0.5) > 2 * wald.canary_requests(0.01, 0.01, 2, 0.01)
    assert wald.canary_requests(0.0025, 0.01, 2, 0.1) > wald.canary_requests(0.01, 0.01, 2, 0.1)
