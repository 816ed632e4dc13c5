"""The forecast against the design's published simulation, the planning formula and exact moments."""

import math
from random import Random
from statistics import fmean, pvariance
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_operator.api.spec import Analysis, Pause, Step
from visionmodel_operator.core.forecast import (
    MOST_LOOKS,
    NORMAL_VARIANCE,
    ExpectedTraffic,
    binomial,
    forecast,
    step_times,
)
from visionmodel_operator.core.plan import plan_from_steps
from visionmodel_operator.core.sequential.planning import median_requests

ERRORS = {"metrics": [{"name": "errors", "type": "ErrorRate"}], "warmup": "0s"}


def analysis(**fields: Any) -> Analysis:
    return Analysis.model_validate(ERRORS | fields)


def plan(*steps: tuple[float, str | None]) -> Any:
    """Return the plan of (weight, pause) pairs; a pause of None waits for promotion."""
    return plan_from_steps(
        [part for weight, pause in steps for part in (Step(set_weight=weight), Step(pause=Pause(duration=pause)))]
    )


DESIGN = plan(*((weight, "5m") for weight in (5, 10, 25, 50)))
PUBLISHED = {
    "20/s, 0.5 %, twice": (20, 0.005, 2.0, 0.10, 0.56),
    "20/s, 0.5 %, three times": (20, 0.005, 3.0, 0.47, 0.99),
    "200/s, 0.1 %, twice": (200, 0.001, 2.0, 0.24, 0.92),
    "200/s, 0.1 %, three times": (200, 0.001, 3.0, 0.84, 1.00),
    "200/s, 0.5 %, one and a half": (200, 0.005, 1.5, 0.32, 0.99),
}


@pytest.mark.parametrize(("rate", "errors", "ratio", "early", "late"), PUBLISHED.values(), ids=PUBLISHED.keys())
def test_chances_of_the_design_are_met(rate: float, errors: float, ratio: float, early: float, late: float) -> None:
    """Within three standard errors of 400 runs and the half percent to which the table was rounded."""
    found = forecast(DESIGN, analysis(), ExpectedTraffic(rate, errors), Random(1), (ratio,), runs=400)
    (seen,) = found.ratios
    for expected, chance in ((early, seen.found_by_step[1]), (late, seen.found)):
        assert abs(chance - expected) <= 3 * math.sqrt(max(expected * (1 - expected), 0.005) / 400) + 0.005


@pytest.mark.parametrize("ratio", [2.0, 3.0])
def test_the_median_is_that_of_the_planning_formula(ratio: float) -> None:
    traffic = ExpectedTraffic(100, 0.01)
    (seen,) = forecast(plan((10, "30m")), analysis(), traffic, Random(2), (ratio,), runs=300).ratios
    assert seen.median_seconds is not None
    assert seen.p90_seconds is not None
    assert seen.median_seconds * 10 == pytest.approx(median_requests(0.01, 0.01, ratio), rel=0.25)
    assert 1.3 < seen.p90_seconds / seen.median_seconds < 2.6


def test_a_good_canary_is_rarely_sent_back_and_fails_as_often_as_stable() -> None:
    (seen,) = forecast(DESIGN, analysis(), ExpectedTraffic(20, 0.005), Random(3), (1.0,), runs=300).ratios
    assert seen.found <= 0.02
    assert (seen.median_seconds, seen.p90_seconds) == (None, None)
    assert seen.median_failures == pytest.approx(20 * 300 * 0.9 * 0.005, rel=0.15)


def test_failures_of_the_warm_up_are_users_too() -> None:
    steps, traffic = plan((50, "5m")), ExpectedTraffic(10, 0.1)
    none, long = (
        forecast(steps, analysis(warmup=warmup), traffic, Random(4), (10.0,), runs=50).ratios[0]
        for warmup in ("0s", "60s")
    )
    assert none.median_seconds == 15 + 6
    assert long.median_seconds == 60 + 15 + 6
    assert none.median_failures == 75
    assert long.median_failures == 375


def test_the_same_seed_gives_the_same_answer() -> None:
    traffic = ExpectedTraffic(20, 0.005)
    answers = [forecast(DESIGN, analysis(), traffic, Random(5), (3.0,), runs=20) for _ in range(2)]
    assert answers[0] == answers[1]


def test_a_long_rollout_is_looked_at_now_and_then() -> None:
    """Ten hours are 2400 ticks; harm is found at most one look of 5 min later than by every tick."""
    traffic, settings = ExpectedTraffic(1, 0.01), analysis()
    coarse = forecast(plan((10, "10h")), settings, traffic, Random(6), (10.0,), runs=200).ratios[0]
    exact = forecast(plan((10, "30m")), settings, traffic, Random(6), (10.0,), runs=200).ratios[0]
    look = 36000 / MOST_LOOKS
    assert coarse.median_seconds is not None
    assert (coarse.median_seconds - 6) % look == 0
    assert exact.median_seconds is not None
    assert exact.median_seconds - look / 2 <= coarse.median_seconds <= exact.median_seconds + 1.5 * look


def test_only_gating_metrics_send_back() -> None:
    watched = analysis(metrics=[{"name": "errors", "type": "ErrorRate", "gating": False}])
    (seen,) = forecast(DESIGN, watched, ExpectedTraffic(20, 0.05), Random(7), (10.0,), runs=10).ratios
    assert seen.found == 0


def test_the_smallest_ratio_that_a_step_detects() -> None:
    found = forecast(DESIGN, analysis(), ExpectedTraffic(200, 0.005), Random(8), (1.0, 2.0, 5.0), runs=100)
    assert [found.detected(step) for step in range(4)] == [5.0, 2.0, 2.0, 2.0]
    assert forecast(DESIGN, analysis(), ExpectedTraffic(1, 0.005), Random(8), (2.0,), runs=20).detected(0) is None


TIMES: dict[str, tuple[Any, dict[str, Any], float, list[tuple[float, float, bool, bool]]]] = {
    "pauses": (plan((5, "5m"), (50, "5m")), {}, 100, [(0, 300, False, False), (300, 600, False, False)]),
    # 100 samples at 1 a second: 7 ticks of 15 s, and the lag
    "until there are enough samples": (plan((10, "1m")), {}, 10, [(0, 7 * 15 + 6, False, False)]),
    "samples of the warm-up do not count": (plan((10, "1m")), {"warmup": "30s"}, 10, [(0, 30 + 111, False, False)]),
    "held for want of samples": (plan((1, "1m"), (50, "1m")), {}, 1, [(0, 60 + 1800, False, True)]),
    "goes on for want of samples": (
        plan((1, "1m"), (50, "1m")),
        {"onInconclusive": "Promote"},
        1,
        [(0, 1860, False, True), (1860, 1860 + 14 * 15 + 6, False, False)],
    ),
    "until promoted": (plan((10, None)), {}, 1000, [(0, 21, True, False)]),
    "nothing is judged without a split": (
        plan((0, "2m"), (100, "1m")),
        {},
        1,
        [(0, 120, False, False), (120, 180, False, False)],
    ),
}


@pytest.mark.parametrize(("steps", "fields", "rate", "expected"), TIMES.values(), ids=TIMES.keys())
def test_step_times(steps: Any, fields: dict[str, Any], rate: float, expected: list[Any]) -> None:
    found = step_times(steps, analysis(**fields), ExpectedTraffic(rate, 0.01))
    assert [(step.start, step.end, step.is_open, step.is_undecided) for step in found] == expected


def test_a_leading_wait_without_traffic_takes_no_part() -> None:
    late = forecast(plan((0, "10m"), (50, "5m")), analysis(), ExpectedTraffic(10, 0.1), Random(9), (10.0,), runs=20)
    assert late.ratios[0].median_seconds == 21
    assert late.ratios[0].found_by_step == (0.0, 1.0)


def test_no_traffic_at_all_finds_nothing() -> None:
    found = forecast(plan((0, "10m")), analysis(), ExpectedTraffic(10, 0.1), Random(9), (10.0,), runs=5)
    assert (found.ratios[0].found, found.ratios[0].median_failures) == (0.0, 0)


@pytest.mark.parametrize("values", [(0, 0.1), (math.inf, 0.1), (math.nan, 0.1), (1, 0), (1, 1), (1, -0.1)])
def test_impossible_traffic_is_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        ExpectedTraffic(*values)


@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(0, 2**32))
def test_binomial_stays_within_its_trials(trials: int, chance: float, seed: int) -> None:
    drawn = binomial(trials, chance, Random(seed))
    assert 0 <= drawn <= trials
    assert chance not in (0, 1) or drawn == trials * chance


@pytest.mark.parametrize(
    ("trials", "chance"),
    [(150, 0.01), (150, 0.99), (20_000, 0.003), (20_000, 0.4)],
    ids=["few", "most", "many", "normal"],
)
def test_binomial_has_its_mean_and_variance(trials: int, chance: float) -> None:
    random = Random(10)
    drawn = [binomial(trials, chance, random) for _ in range(4000)]
    mean, variance = trials * chance, trials * chance * (1 - chance)
    assert (variance > NORMAL_VARIANCE) == (chance == 0.4)
    assert abs(fmean(drawn) - mean) < 4 * math.sqrt(variance / 4000)
    assert pvariance(drawn) == pytest.approx(variance, rel=0.12)
