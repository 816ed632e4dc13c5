"""The tail of the latency: which edges judge, what they say, and intervals for reporting."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.core.sequential.enumeration import hypergeometric
from visionmodel_operator.core.sequential import latency, ratio
from visionmodel_operator.core.sequential.latency import EdgePair, TailEvidence

INF = math.inf
STABLE = ((5.0, 5000), (10.0, 8500), (25.0, 9500), (50.0, 9900), (100.0, 9985), (250.0, 9999), (INF, 10000))


def pairs(*edges: tuple[float, float]) -> tuple[EdgePair, ...]:
    return tuple(EdgePair(stable, canary) for stable, canary in edges)


def test_edges_with_a_usable_tail_are_kept() -> None:
    assert latency.usable_edges(STABLE, 0.99) == pairs((10, 10), (25, 25), (50, 50))


@pytest.mark.parametrize(
    ("quantile", "expected"), [(0.99, ((25, 25), (50, 50))), (0.9, ((10, 10), (25, 25)))], ids=["p99", "p90"]
)
def test_of_many_edges_those_nearest_the_quantile_are_kept(
    quantile: float, expected: tuple[tuple[float, float], ...]
) -> None:
    assert latency.usable_edges(STABLE, quantile, most=2) == pairs(*expected)


def test_a_tolerance_moves_the_canarys_edge_up() -> None:
    assert latency.usable_edges(STABLE, 0.99, 2.0) == pairs((10, 25), (25, 50), (50, 100))
    assert latency.usable_edges(STABLE, 0.99, 1.1) == pairs((10, 25), (25, 50), (50, 100))
    assert latency.usable_edges(STABLE, 0.99, 10.0) == pairs((10, 100), (25, 250)), "no finite edge beyond 500 ms"


@pytest.mark.parametrize(
    "buckets",
    [(), ((5.0, 0), (INF, 0)), ((100.0, 10000), (INF, 10000)), ((1.0, 10), (INF, 10000))],
    ids=["no histogram", "no request", "all below the first edge", "all beyond the last"],
)
def test_a_histogram_that_cannot_judge_has_no_edge(buckets: latency.Buckets) -> None:
    assert latency.usable_edges(buckets, 0.99) == ()


def tick(requests: int, slow: int) -> latency.Buckets:
    return ((10.0, requests - slow), (25.0, requests), (INF, requests))


def test_one_edge_is_the_ratio_test_on_slow_requests() -> None:
    state = latency.update(latency.no_evidence(pairs((10, 10))), tick(150, 3), tick(1350, 7))
    assert state.evidence == (ratio.update(ratio.no_evidence(), 150, 3, 1350, 7),)
    assert round(latency.log_evidence(state), 6) == 0.917151


def test_edges_are_averaged() -> None:
    state = latency.update(latency.no_evidence(pairs((10, 10), (25, 25))), tick(150, 3), tick(1350, 7))
    assert math.exp(latency.log_evidence(state)) == pytest.approx((math.exp(0.917151) + 1) / 2, abs=1e-5)


def test_the_canary_is_counted_above_its_own_edge() -> None:
    state = latency.update(latency.no_evidence(pairs((10, 25))), tick(150, 30), tick(1350, 7))
    assert latency.log_evidence(state) < 0


def test_the_mean_is_at_most_one_when_both_sides_are_equally_slow() -> None:
    for slow in range(13):
        mean = sum(
            chance * math.exp(latency.log_evidence(latency.update(START, tick(4, hit), tick(8, slow - hit))))
            for hit, chance in hypergeometric(slow, 4, 8)
        )
        assert mean <= 1 + 1e-8, slow


START = latency.no_evidence(pairs((10, 10), (10, 25)))


def test_idle_sides_change_nothing() -> None:
    assert latency.update(START, (), tick(100, 10)) == START
    assert latency.update(START, tick(100, 10), ()) == START


def test_an_edge_that_is_gone_is_noticed() -> None:
    other = ((5.0, 90), (INF, 100))
    assert (latency.can_judge(START, tick(10, 1)), latency.can_judge(START, other)) == (True, False)
    with pytest.raises(ValueError, match="no bucket ends at"):
        latency.update(START, tick(10, 1), other)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 80)), max_size=5))
def test_state_survives_json(slow: list[tuple[int, int]]) -> None:
    state = START
    for canary, stable in slow:
        state = latency.update(state, tick(20, canary), tick(80, stable))
    text = json.loads(json.dumps(asdict(state)))
    again = TailEvidence(
        tuple(EdgePair(**pair) for pair in text["edges"]),
        tuple(ratio.RatioEvidence(tuple(one["log_weights"])) for one in text["evidence"]),
    )
    assert again == state


def quantile_shares(requests: int) -> tuple[float, float]:
    """Return the smallest and largest tail shares that an interval of a p99 does not exclude."""
    kept = [
        tail
        for tail in range(requests // 20)
        if latency.quantile_interval(((1.0, requests - tail), (INF, requests)), 0.99, 0.01) == (0.0, INF)
    ]
    return kept[0] / requests, kept[-1] / requests


@pytest.mark.parametrize(
    ("requests", "expected"), [(1000, (0.0, 0.026)), (10_000, (0.0067, 0.0138)), (100_000, (0.0088, 0.0112))]
)
def test_published_intervals_of_a_p99(requests: int, expected: tuple[float, float]) -> None:
    assert quantile_shares(requests) == pytest.approx(expected, abs=1.1 / requests + 5e-5)


def test_a_quantile_lies_between_the_edges_that_exclude_it() -> None:
    assert latency.quantile_interval(STABLE, 0.9, 0.01) == (10.0, 25.0)
    assert latency.quantile_interval((), 0.9, 0.01) == (0.0, INF)


@pytest.mark.parametrize(("alpha", "exact"), [(0.05, 8.1227), (0.01, 9.2835)])
def test_published_constants_of_the_band(alpha: float, exact: float) -> None:
    assert round(latency.dkw_constant(alpha), 4) == pytest.approx(exact, abs=1e-4)
    assert latency.printed_dkw_constant(alpha) == pytest.approx(0.8 * math.log(1612 / alpha))


def test_band_by_hand_and_never_wider_than_everything() -> None:
    expected = 0.85 * math.sqrt((math.log(1 + math.log(1000)) + 8.1227) / 1000)
    assert latency.dkw_radius(1000, 0.05) == pytest.approx(expected, rel=1e-4)
    assert latency.dkw_radius(1, 0.05) == 1.0


def test_sign_betting_per_edge() -> None:
    state = latency.update(latency.no_paired_evidence(pairs((10, 10), (25, 25)), 3), tick(100, 5), tick(100, 3))
    assert math.exp(latency.log_evidence(state)) == pytest.approx((1.51 + 1) / 2)


NONSENSE: dict[str, Callable[[], object]] = {
    "sign betting with a tolerance": lambda: latency.update(
        latency.no_paired_evidence(pairs((10, 10)), 3), tick(9, 1), tick(9, 1), tolerate_ratio=2.0
    ),
    "quantile 1": lambda: latency.usable_edges(STABLE, 1.0),
    "tolerance below 1": lambda: latency.usable_edges(STABLE, 0.9, 0.9),
    "no edge": lambda: latency.no_evidence(()),
    "an edge of 0": lambda: EdgePair(0.0, 1.0),
    "the canary's edge below stable's": lambda: EdgePair(2.0, 1.0),
    "an infinite edge": lambda: EdgePair(2.0, INF),
    "counts that fall": lambda: latency.usable_edges(((1.0, 5), (INF, 4)), 0.9),
    "no infinite edge": lambda: latency.usable_edges(((1.0, 5), (2.0, 6)), 0.9),
    "more first requests than requests": lambda: latency.dkw_radius(3, 0.05, 4),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"need|expected"):
        NONSENSE[case]()
