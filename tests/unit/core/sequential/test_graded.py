"""Empirical-Bernstein betting on scores in [0, 1]."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_operator.core.sequential.graded import (
    GradedScores,
    interval,
    log_evidence_above,
    log_evidence_below,
    no_scores,
    update,
)
from visionmodel_operator.core.sequential.logarithms import log_threshold


def scores_of(scores: tuple[float, ...], alpha: float = 0.05) -> GradedScores:
    state = no_scores(alpha)
    for score in scores:
        state = update(state, score)
    return state


def test_the_first_score_by_hand() -> None:
    stake, penalty = 0.5, (math.log(2) - 0.5) / 4
    state = scores_of((0.9,))
    assert (state.stakes, state.staked) == (stake, stake * 0.9)
    assert state.cost == pytest.approx(4 * 0.4**2 * penalty, abs=1e-9)
    assert state.squares == pytest.approx((0.9 - 0.7) ** 2)


@pytest.mark.parametrize("mean", [0.25, 0.5])
@pytest.mark.parametrize("log_evidence", [log_evidence_above, log_evidence_below])
def test_the_mean_is_at_most_one_at_the_limit(
    mean: float, log_evidence: Callable[[GradedScores, float], float]
) -> None:
    total = 0.0
    for hits in product((0, 1), repeat=8):
        chance = math.prod(mean if hit else 1 - mean for hit in hits)
        total += chance * math.exp(log_evidence(scores_of(tuple(map(float, hits))), mean))
    assert total <= 1 + 1e-7


def test_the_interval_ends_where_a_test_against_its_end_would_fire() -> None:
    state = scores_of((0.8, 0.9, 0.95, 0.7, 1.0) * 40)
    low, high = interval(state)
    assert 0 < low < 0.87 < high < 1
    assert log_evidence_above(state, low) == pytest.approx(log_threshold(0.025))
    assert log_evidence_below(state, high) == pytest.approx(log_threshold(0.025))


def test_steady_scores_narrow_the_interval() -> None:
    widths = [high - low for low, high in (interval(scores_of((0.9,) * count)) for count in (10, 100, 1000))]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.03


def test_before_the_first_score_everything_is_possible() -> None:
    assert (interval(no_scores(0.05)), log_evidence_above(no_scores(0.05), 0.5)) == ((0.0, 1.0), 0)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_state_survives_json(scores: list[float]) -> None:
    state = scores_of(tuple(scores))
    assert GradedScores(**json.loads(json.dumps(asdict(state)))) == state


NONSENSE: dict[str, Callable[[], object]] = {
    "score above 1": lambda: update(no_scores(0.05), 1.01),
    "score that is no number": lambda: update(no_scores(0.05), math.nan),
    "alpha 0": lambda: no_scores(0.0),
    "negative sums": lambda: GradedScores(0.05, 1, -1.0),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"score|alpha|impossible"):
        NONSENSE[case]()
