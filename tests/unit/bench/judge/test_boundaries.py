"""The boundary of a test on totals is where the product's evidence crosses, count by count."""

from collections.abc import Callable

import numpy as np
import pytest
from bench.judge.boundaries import first_outside, first_true, smallest_hits, two_sided
from bench.judge.totals import QUESTIONS, SCORES, answered, scored

from visionmodel_operator.core.sequential import paired, proportion, split

EVIDENCE: dict[str, Callable[[int, int], float]] = {
    "disagreement": lambda trials, hits: proportion.log_disagreement(trials, trials - hits, 0.98),
    "agreement": lambda trials, hits: proportion.log_agreement(trials, hits, 0.6),
    "paired": lambda trials, hits: paired.log_evidence(hits, trials - hits),
}


@pytest.mark.parametrize("name", EVIDENCE)
def test_smallest_hits_is_what_trying_every_count_finds(name: str) -> None:
    evidence = EVIDENCE[name]
    found = smallest_hits(evidence, 3, 20, 3.0)
    for trials, hits in zip(range(3, 61, 3), found.tolist(), strict=True):
        fires = [evidence(trials, count) >= 3.0 for count in range(trials + 1)]
        assert hits == (fires.index(True) if any(fires) else trials + 1), trials


def test_two_sided_is_what_trying_every_count_finds() -> None:
    low, high = two_sided(lambda trials, hits: split.log_evidence(hits, trials - hits, 0.3), 10, 15, 0.3, 3.0)
    for check, trials in enumerate(range(10, 151, 10)):
        quiet = [hits for hits in range(trials + 1) if split.log_evidence(hits, trials - hits, 0.3) < 3.0]
        assert (low[check], high[check]) == (quiet[0] - 1, quiet[-1] + 1), trials


def test_first_outside_counts_checks_from_one() -> None:
    hits = np.array([[0, 1, 5], [9, 0, 0], [1, 1, 1]])
    assert first_outside(hits, None, np.array([5, 5, 6])).tolist() == [3, 1, 0]
    assert first_outside(hits, np.array([0, 0, 0]), np.array([5, 5, 6])).tolist() == [1, 1, 0]


def test_first_true_is_zero_where_nothing_is() -> None:
    assert first_true(np.array([[False, True, True], [False, False, False]])).tolist() == [2, 0]


def test_certain_outcomes_need_no_simulation() -> None:
    """A mirror that does nothing is seen after 200 requests, and full agreement is proven after 230 pairs, always."""
    known = {(question.method, question.name): question for question in QUESTIONS}
    split_off = answered(known["split", "0 % in the place of 10 %"])
    all_agree = answered(known["agreement above 98 %", "all agree"])
    assert set(split_off.requests.tolist()) == {200}
    assert set(all_agree.requests.tolist()) == {230}


def test_scores_far_below_the_limit_are_found() -> None:
    fired = scored(next(known for known in SCORES if known.name == "mean 0.8, harm"))
    assert fired.count == fired.runs
