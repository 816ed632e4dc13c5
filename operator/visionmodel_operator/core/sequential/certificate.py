"""Proof that the canary is safe: its risk is less than `max_ratio` times stable's.

The test of `ratio` turned round: null hypothesis "risk ratio >= max_ratio", bets on the ratios below it of which one
is near the truth when the canary is fine. `log_evidence` at or above `log_threshold(beta)` proves safety; a canary that
is really as bad as `max_ratio` gets that proof with probability at most beta (the false-promotion rate), however long
one waits for it. Requests it takes: `planning.certificate_requests`.
"""

import math
from dataclasses import dataclass
from typing import Final

from visionmodel_operator.core.sequential import ratio
from visionmodel_operator.core.sequential.logarithms import log_mean_exp, shortened

SAFE_RATIOS: Final = (0.5, 0.7, 0.85, 1.0, 1.15)
"""Risk ratios bet on; those below `max_ratio` take part."""


@dataclass(frozen=True)
class SafetyEvidence:
    """The sum of l(psi) for each ratio bet on.

    Attributes:
        max_ratio: the risk ratio to be excluded, above 1: an equal canary can prove nothing smaller.
        log_factors: one finite number per safe ratio below it, all 0 before the first tick.
    """

    max_ratio: float
    log_factors: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a ratio that cannot be proven and sums that do not fit it: ValueError."""
        if not (self.max_ratio > 1 and math.isfinite(self.max_ratio)):
            raise ValueError(f"the largest ratio must be above 1, got {self.max_ratio!r}")
        expected = len(bets(self.max_ratio))
        if len(self.log_factors) != expected or not all(map(math.isfinite, self.log_factors)):
            raise ValueError(f"expected {expected} finite log factors, got {self.log_factors!r}")


def bets(max_ratio: float) -> tuple[float, ...]:
    """Return the safe ratios below `max_ratio`."""
    return tuple(safe for safe in SAFE_RATIOS if safe < max_ratio)


def no_evidence(max_ratio: float) -> SafetyEvidence:
    """Return the state before the first tick: log evidence 0."""
    return SafetyEvidence(max_ratio, (0.0,) * len(bets(max_ratio)))


def update(
    state: SafetyEvidence, canary_requests: int, canary_errors: int, stable_requests: int, stable_errors: int
) -> SafetyEvidence:
    """Add one tick's counts; ValueError on counts that cannot be. Errors on both sides are what it learns from."""
    multiples = tuple(safe / state.max_ratio for safe in bets(state.max_ratio))
    counts = (canary_requests, canary_errors, stable_requests, stable_errors)
    factors = ratio.log_factors(multiples, state.max_ratio, *counts)
    return SafetyEvidence(
        state.max_ratio,
        tuple(shortened(before + factor) for before, factor in zip(state.log_factors, factors, strict=True)),
    )


def log_evidence(state: SafetyEvidence) -> float:
    """Return ln M against "the risk ratio is max_ratio or worse"."""
    return log_mean_exp(state.log_factors)
