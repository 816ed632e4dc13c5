"""The proof of safety: its mean under the null, and the requests that the design states."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.core.sequential.enumeration import binomial
from visionmodel_operator.core.sequential import certificate
from visionmodel_operator.core.sequential.certificate import SafetyEvidence, bets, log_evidence, no_evidence, update
from visionmodel_operator.core.sequential.logarithms import log_threshold


@pytest.mark.parametrize(("max_ratio", "expected"), [(2.0, (0.5, 0.7, 0.85, 1.0, 1.15)), (1.15, (0.5, 0.7, 0.85, 1.0))])
def test_bets_lie_below_the_ratio(max_ratio: float, expected: tuple[float, ...]) -> None:
    assert bets(max_ratio) == expected
    assert log_evidence(no_evidence(max_ratio)) == 0


@pytest.mark.parametrize("max_ratio", [1.1, 1.5, 2.0])
@pytest.mark.parametrize("true_ratio", [1.0, 1.3])
@pytest.mark.parametrize(("canary", "stable"), [(1, 9), (5, 5), (9, 3)])
def test_mean_is_at_most_one_when_the_canary_is_that_bad_or_worse(
    max_ratio: float, true_ratio: float, canary: int, stable: int
) -> None:
    rate = 0.2
    mean = sum(
        chance * other * math.exp(log_evidence(update(no_evidence(max_ratio), canary, hit, stable, miss)))
        for hit, chance in binomial(canary, rate * max_ratio * true_ratio)
        for miss, other in binomial(stable, rate)
    )
    assert mean <= 1 + 1e-8


@pytest.mark.parametrize(("max_ratio", "published"), [(2.0, (1000, 1200)), (1.5, (3200, 3900))])
def test_an_equal_canary_is_proven_within_the_published_requests(max_ratio: float, published: tuple[int, int]) -> None:
    state, requests = no_evidence(max_ratio), 0
    while log_evidence(state) < log_threshold(0.05):
        requests += 100
        state = update(state, 100, 1, 900, 9)
    low, high = published
    assert 0.8 * low <= requests <= 1.2 * high


def test_a_bad_canary_proves_nothing() -> None:
    state = no_evidence(2.0)
    for _ in range(200):
        state = update(state, 100, 4, 900, 9)
    assert log_evidence(state) < -10


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30)), max_size=6))
def test_state_survives_json(errors: list[tuple[int, int]]) -> None:
    state = no_evidence(1.5)
    for canary, stable in errors:
        state = update(state, 20, canary, 30, stable)
    text = json.loads(json.dumps(asdict(state)))
    assert SafetyEvidence(**text | {"log_factors": tuple(text["log_factors"])}) == state


NONSENSE: dict[str, Callable[[], object]] = {
    "ratio 1": lambda: certificate.no_evidence(1.0),
    "ratio infinite": lambda: certificate.no_evidence(math.inf),
    "too few sums": lambda: SafetyEvidence(2.0, (0.0,)),
    "sums that are no numbers": lambda: SafetyEvidence(2.0, (math.nan,) * 5),
    "more errors than requests": lambda: update(no_evidence(2.0), 1, 2, 1, 0),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"above 1|expected|impossible"):
        NONSENSE[case]()
