"""The ratio test against its published vectors and against exact enumeration of the null."""

import math
from collections.abc import Callable
from itertools import pairwise, permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.core.sequential.enumeration import binomial, hypergeometric
from visionmodel_operator.core.sequential.ratio import (
    GRID,
    RatioEvidence,
    log_evidence,
    log_factors,
    no_evidence,
    update,
)

TICKS = ((150, 3, 1350, 7), (150, 5, 1350, 6), (375, 9, 1125, 5))


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    canary, stable = draw(st.integers(0, 500)), draw(st.integers(0, 5000))
    return canary, draw(st.integers(0, canary)), stable, draw(st.integers(0, stable))


def evidence_of(ticks: tuple[tuple[int, int, int, int], ...], ratio: float = 1.0) -> RatioEvidence:
    state = no_evidence()
    for tick in ticks:
        state = update(state, *tick, tolerate_ratio=ratio)
    return state


def test_design_vectors() -> None:
    found = [round(log_evidence(evidence_of(TICKS[: count + 1])), 6) for count in range(3)]
    assert found == [0.917151, 4.821242, 9.356823]


def test_grid_spans_the_ratios_worth_finding() -> None:
    steps = {round(high / low, 9) for low, high in pairwise(GRID)}
    assert (len(GRID), GRID[0], round(GRID[-1], 9), len(steps)) == (13, 1.1, 20.0, 1)


def test_no_evidence_before_the_first_tick() -> None:
    assert log_evidence(no_evidence()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("tick", [(0, 0, 900, 40), (90, 40, 0, 0), (90, 0, 900, 0), (0, 0, 0, 0)])
def test_a_tick_that_compares_nothing_changes_nothing(tick: tuple[int, int, int, int]) -> None:
    state = evidence_of(TICKS)
    assert update(state, *tick) == state


@pytest.mark.parametrize("canary", [1, 2, 5, 9])
@pytest.mark.parametrize("stable", [1, 3, 8, 20])
def test_mean_is_at_most_one_given_the_totals(canary: int, stable: int) -> None:
    for errors in range(canary + stable + 1):
        mean = sum(
            chance * math.exp(log_evidence(update(no_evidence(), canary, hit, stable, errors - hit)))
            for hit, chance in hypergeometric(errors, canary, stable)
        )
        assert mean <= 1 + 1e-8, (errors, mean)


@pytest.mark.parametrize("ratio", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.33])
@pytest.mark.parametrize(("canary", "stable"), [(1, 9), (4, 6), (8, 2)])
def test_mean_is_at_most_one_at_the_tolerated_risk_ratio(ratio: float, rate: float, canary: int, stable: int) -> None:
    mean = sum(
        chance * other * math.exp(log_evidence(update(no_evidence(), canary, hit, stable, miss, tolerate_ratio=ratio)))
        for hit, chance in binomial(canary, min(1, ratio * rate))
        for miss, other in binomial(stable, rate)
    )
    assert mean <= 1 + 1e-8


def test_mean_stays_at_most_one_over_two_ticks_with_different_rates_and_weights() -> None:
    first, second = (3, 7, 0.3), (6, 4, 0.05)
    mean = 0.0
    for (a, pa), (b, pb), (c, pc), (d, pd) in product(
        binomial(first[0], first[2]), binomial(first[1], first[2]),
        binomial(second[0], second[2]), binomial(second[1], second[2]),
    ):  # fmt: skip
        state = evidence_of(((first[0], a, first[1], b), (second[0], c, second[1], d)))
        mean += pa * pb * pc * pd * math.exp(log_evidence(state))
    assert mean <= 1 + 1e-8


@given(st.lists(counts(), min_size=1, max_size=4))
def test_the_order_of_ticks_is_irrelevant(ticks: list[tuple[int, int, int, int]]) -> None:
    found = {round(log_evidence(evidence_of(tuple(order))), 5) for order in permutations(ticks)}
    assert max(found) - min(found) <= 2e-5


@given(counts())
def test_one_more_canary_error_never_lowers_the_evidence(tick: tuple[int, int, int, int]) -> None:
    canary, hit, stable, miss = tick
    if hit < canary and miss > 0:
        moved = log_evidence(update(no_evidence(), canary, hit + 1, stable, miss - 1))
        assert moved >= log_evidence(update(no_evidence(), *tick)) - 1e-8


@given(counts(), st.floats(1, 5))
def test_tolerance_never_raises_the_evidence(tick: tuple[int, int, int, int], ratio: float) -> None:
    canary, hit, stable, miss = tick
    strict = log_evidence(update(no_evidence(), *tick))
    assert log_evidence(update(no_evidence(), canary, hit, stable, miss, tolerate_ratio=ratio)) <= strict + 1e-8


@pytest.mark.parametrize("exponent", [0.1, 0.5, 0.9])
def test_a_tempered_mean_is_at_most_one(exponent: float) -> None:
    for errors in range(13):
        mean = sum(
            chance * math.exp(log_evidence(update(no_evidence(), 4, hit, 8, errors - hit, exponent=exponent)))
            for hit, chance in hypergeometric(errors, 4, 8)
        )
        assert mean <= 1 + 1e-8, errors


def test_the_exponent_multiplies_each_ratios_evidence() -> None:
    first = no_evidence().log_weights[0]
    plain, half = update(no_evidence(), *TICKS[0]), update(no_evidence(), *TICKS[0], exponent=0.5)
    assert [round(weight - first, 8) for weight in half.log_weights] == [
        round((weight - first) / 2, 8) for weight in plain.log_weights
    ]


def test_factors_of_a_tick_without_errors_are_zero() -> None:
    assert log_factors((0.5, 2.0), 1.0, 10, 0, 90, 0) == (0.0, 0.0)


NONSENSE: dict[str, Callable[[], object]] = {
    "more canary errors than requests": lambda: update(no_evidence(), 10, 11, 10, 0),
    "negative errors": lambda: update(no_evidence(), 10, -1, 10, 0),
    "more stable errors than requests": lambda: update(no_evidence(), 10, 0, 10, 12),
    "ratio zero": lambda: update(no_evidence(), 10, 1, 10, 0, tolerate_ratio=0.0),
    "ratio infinite": lambda: update(no_evidence(), 10, 1, 10, 0, tolerate_ratio=math.inf),
    "exponent zero": lambda: update(no_evidence(), 10, 1, 10, 0, exponent=0.0),
    "exponent above 1": lambda: update(no_evidence(), 10, 1, 10, 0, exponent=1.1),
    "twelve weights": lambda: RatioEvidence((0.0,) * 12),
    "weights that are no numbers": lambda: RatioEvidence((math.nan,) * 13),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"impossible|must|finite"):
        NONSENSE[case]()
