"""Tests on totals and on scores: agreement, McNemar, floor, split, graded scores."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.judge import product, twins
from bench.judge.boundaries import Evidence, first_outside, first_true, smallest_hits, two_sided
from bench.judge.measure import AGREED, CHUNK, Fired, TwinDiffers, seeded
from visionmodel_operator.core.sequential import paired, proportion, split
from visionmodel_operator.core.sequential.logarithms import log_threshold


@dataclass(frozen=True)
class Question:
    """One simulated question.

    Attributes:
        method: the row's method.
        name: what is true.
        evidence: ln M after (trials, hits).
        rate: the true chance of a hit.
        every: trials between two looks.
        checks: looks.
        alpha: what the test may spend.
        published: what the design's table says; None where it is silent.
        share: the share that the split check expects; None for the one-sided tests.
        is_null: whether the null hypothesis holds, at its boundary.
    """

    method: str
    name: str
    evidence: Evidence
    rate: float
    every: int
    checks: int
    alpha: float
    published: str | None = None
    share: float | None = None
    is_null: bool = False
    runs: int = 5_000


def _disagreement(trials: int, hits: int) -> float:
    return proportion.log_disagreement(trials, trials - hits, 0.98)


def _agreement(trials: int, hits: int) -> float:
    return proportion.log_agreement(trials, hits, 0.98)


def _floor(trials: int, hits: int) -> float:
    return proportion.log_floor_evidence(trials, hits, 0.01)


def _paired(trials: int, hits: int) -> float:
    return paired.log_evidence(hits, trials - hits)


def _split(trials: int, hits: int) -> float:
    return split.log_evidence(hits, trials - hits, 0.1)


_HARM, _PROOF, _PAIRS, _SPLIT = "agreement below 98 %", "agreement above 98 %", "McNemar", "split"
QUESTIONS: Final = (
    Question(_HARM, "98 % of 20,000 pairs agree", _disagreement, 0.02, 10, 2000, 0.01, is_null=True, runs=20_000),
    Question(_PROOF, "98 % of 20,000 pairs agree", _agreement, 0.98, 10, 2000, 0.05, is_null=True, runs=20_000),
    Question("floor 1 %", "1 % of 18,000 requests fail", _floor, 0.01, 150, 120, 0.01, is_null=True, runs=20_000),
    Question(_PAIRS, "half of 1,000 discordant pairs", _paired, 0.5, 1, 1000, 0.01, is_null=True, runs=200_000),
    Question(_SPLIT, "10 % of 20,000 requests, as written", _split, 0.1, 50, 400, 0.001, None, 0.1, True, 100_000),
    Question(_HARM, "97 % agree", _disagreement, 0.03, 10, 3000, 0.01, "4,000"),
    Question(_HARM, "96 % agree", _disagreement, 0.04, 10, 1000, 0.01, "1,100"),
    Question(_HARM, "93 % agree", _disagreement, 0.07, 10, 300, 0.01, "200"),
    Question(_PROOF, "99 % agree", _agreement, 0.99, 10, 1000, 0.05, "1,000"),
    Question(_PROOF, "all agree", _agreement, 1.0, 10, 100, 0.05, "250"),
    Question(_PAIRS, "80 % the canary's fault", _paired, 0.8, 1, 300, 0.01, "24"),
    Question(_PAIRS, "70 % the canary's fault", _paired, 0.7, 1, 800, 0.01, "61"),
    Question(_PAIRS, "60 % the canary's fault", _paired, 0.6, 1, 3000, 0.01, "265"),
    Question(_SPLIT, "0 % in the place of 10 %", _split, 0.0, 50, 40, 0.001, "200", 0.1),
    Question(_SPLIT, "5 % in the place of 10 %", _split, 0.05, 50, 100, 0.001, "550", 0.1),
    Question(_SPLIT, "12 % in the place of 10 %", _split, 0.12, 50, 500, 0.001, "3,950", 0.1),
    Question(_SPLIT, "11 % in the place of 10 %", _split, 0.11, 50, 1600, 0.001, "16,000", 0.1),
)


def answered(question: Question) -> Fired:
    """Return when the test fired in each run; requests are trials."""
    threshold = log_threshold(question.alpha)
    if question.share is None:
        low, high = None, smallest_hits(question.evidence, question.every, question.checks, threshold)
    else:
        low, high = two_sided(question.evidence, question.every, question.checks, question.share, threshold)
    parts = []
    for chunk, begun in enumerate(range(0, question.runs, CHUNK)):
        random = seeded(f"{question.method}: {question.name}", chunk)
        size = (min(CHUNK, question.runs - begun), question.checks)
        parts.append(first_outside(random.binomial(question.every, question.rate, size), low, high))
    tick = np.concatenate(parts)
    return Fired(tick, np.where(tick > 0, tick, question.checks) * question.every)


@dataclass(frozen=True)
class Scores:
    """Graded agreement with limit 0.9: 1 - `spread` of the scores are 1, the others uniform below."""

    name: str
    spread: float
    alpha: float
    is_below: bool
    is_null: bool = False
    runs: int = 20_000
    pairs: int = 2_000


LIMIT: Final = 0.9
SCORES: Final = (
    Scores("mean 0.9 over 2,000 pairs, harm", 0.2, 0.01, True, True),
    Scores("mean 0.9 over 2,000 pairs, proof", 0.2, 0.05, False, True),
    Scores("mean 0.85, harm", 0.3, 0.01, True, runs=1_000),
    Scores("mean 0.8, harm", 0.4, 0.01, True, runs=1_000),
    Scores("mean 0.95, proof", 0.1, 0.05, False, runs=1_000),
)


def scored(question: Scores) -> Fired:
    """Return when the test of the mean fired in each run, by pairs."""
    parts = []
    for chunk, begun in enumerate(range(0, question.runs, CHUNK)):
        random = seeded(f"graded: {question.name}", chunk)
        size = (min(CHUNK, question.runs - begun), question.pairs)
        scores = np.where(random.random(size) < question.spread, random.random(size), 1.0)
        evidence = twins.graded(scores, question.alpha, LIMIT)[question.is_below]
        own = product.graded(scores[0].tolist(), question.alpha, LIMIT)[question.is_below]
        if np.abs(evidence[0] - own).max() >= AGREED:
            raise TwinDiffers("graded: the twin's ln M is not the product's")
        parts.append(first_true(evidence >= log_threshold(question.alpha)))
    tick = np.concatenate(parts)
    return Fired(tick, np.where(tick > 0, tick, question.pairs))
