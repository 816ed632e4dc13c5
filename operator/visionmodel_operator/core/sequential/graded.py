"""Mean of scores in [0, 1] that arrive one by one, such as F1 of a canary's boxes against stable's.

Empirical-Bernstein betting: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting"
(JRSS-B 2024, arXiv 2010.09686, the predictable plug-in empirical Bernstein confidence sequence). With m_i and s2_i the
running mean and variance (one pseudo-observation of 1/2 and 1/4),

    lambda_t = min(1/2, sqrt(2 ln(2/alpha) / (s2_(t-1) t ln(1+t)))),  v_t = 4 (x_t - m_(t-1))^2
    psi(l)   = (-ln(1-l) - l) / 4
    mean in    sum(lambda x) / sum(lambda)  +-  (ln(2/alpha) + sum(v psi(lambda))) / sum(lambda)

for all t together with probability 1 - alpha, if every score has the same conditional mean. `interval` is that;
`log_evidence_above` and `log_evidence_below` are the two e-processes it is made of, for a test against one limit.
"""

import math
from dataclasses import dataclass
from typing import Final

from visionmodel_operator.core.sequential.logarithms import log_threshold, rounded

MAX_STAKE: Final = 0.5


@dataclass(frozen=True)
class GradedScores:
    """Running sums; `alpha` tunes the stakes and is the error rate of `interval`, fixed before the first score.

    Attributes:
        count: scores seen.
        total: their sum.
        squares: sum of (x_i - m_i)^2.
        stakes: sum of lambda.
        staked: sum of lambda x.
        cost: sum of v psi(lambda).
    """

    alpha: float
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    stakes: float = 0.0
    staked: float = 0.0
    cost: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an alpha that bounds nothing and sums that are no numbers: ValueError."""
        log_threshold(self.alpha)
        sums = (self.total, self.squares, self.stakes, self.staked, self.cost)
        if self.count < 0 or not all(value >= 0 and math.isfinite(value) for value in sums):
            raise ValueError(f"impossible sums: {self!r}")


def no_scores(alpha: float) -> GradedScores:
    """Return the state before the first score."""
    return GradedScores(alpha)


def update(state: GradedScores, score: float) -> GradedScores:
    """Add one score; ValueError outside [0, 1]."""
    if not 0 <= score <= 1:
        raise ValueError(f"a score must lie in [0, 1], got {score!r}")
    count = state.count + 1
    mean = (0.5 + state.total) / count
    variance = (0.25 + state.squares) / count
    stake = min(MAX_STAKE, math.sqrt(2 * log_threshold(state.alpha / 2) / (variance * count * math.log1p(count))))
    penalty = (-math.log1p(-stake) - stake) / 4
    new_mean = (0.5 + state.total + score) / (count + 1)
    return GradedScores(
        state.alpha,
        count,
        rounded(state.total + score),
        rounded(state.squares + (score - new_mean) ** 2),
        rounded(state.stakes + stake),
        rounded(state.staked + stake * score),
        rounded(state.cost + 4 * (score - mean) ** 2 * penalty),
    )


def interval(state: GradedScores) -> tuple[float, float]:
    """Return the bounds of the mean that hold at all times together with probability 1 - alpha; (0, 1) at first."""
    if state.count == 0:
        return 0.0, 1.0
    centre = state.staked / state.stakes
    radius = (log_threshold(state.alpha / 2) + state.cost) / state.stakes
    return max(0.0, centre - radius), min(1.0, centre + radius)


def log_evidence_above(state: GradedScores, limit: float) -> float:
    """Return ln M against "the mean never exceeds the limit"."""
    return state.staked - limit * state.stakes - state.cost


def log_evidence_below(state: GradedScores, limit: float) -> float:
    """Return ln M against "the mean is never below the limit"."""
    return limit * state.stakes - state.staked - state.cost
