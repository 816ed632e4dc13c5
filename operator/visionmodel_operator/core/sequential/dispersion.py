"""How much noisier two equal groups are than independent requests would be: the factor phi.

Per tick, with E errors in both groups together and pi the first group's share of the requests, the first group's
errors have mean E pi and, were requests independent, variance about E pi (1 - pi). phi is the mean over past ticks of

    (e_1 - E pi)^2 / (E pi (1 - pi))

with a prior value of 2 that weighs as much as 5 ticks, and at least 1. Both groups must run the same version: part of
stable's pods against the rest. `1 / estimate(state)` is the `exponent` of `ratio.update`; take it before this tick is
added, because an exponent must not know its own tick. A metric is quiet (`is_quiet`) at or below 1.2: then
plain counts with `late_fault` may be used.
"""

import math
from dataclasses import dataclass
from typing import Final

from visionmodel_operator.core.sequential.logarithms import refuse_impossible_counts, rounded

PRIOR: Final = 2.0
PRIOR_TICKS: Final = 5
QUIET: Final = 1.2
"""phi up to which requests of one group count as independent."""

ENOUGH_TICKS: Final = 20
"""Ticks with errors below which phi is not known well enough to call a metric quiet."""


@dataclass(frozen=True)
class Dispersion:
    """Ticks that said something, and the sum of their squared standard deviations."""

    ticks: int = 0
    total: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sums that cannot be: ValueError."""
        if self.ticks < 0 or not (self.total >= 0 and math.isfinite(self.total)):
            raise ValueError(f"impossible sums: {self!r}")


def update(state: Dispersion, requests: int, errors: int, other_requests: int, other_errors: int) -> Dispersion:
    """Add one tick of two groups of one version; a tick without errors, or with one side idle, says nothing."""
    refuse_impossible_counts(requests, errors, other_requests, other_errors)
    together = errors + other_errors
    if requests == 0 or other_requests == 0 or together == 0:
        return state
    share = requests / (requests + other_requests)
    square = (errors - together * share) ** 2 / (together * share * (1 - share))
    return Dispersion(state.ticks + 1, rounded(state.total + square))


def estimate(state: Dispersion) -> float:
    """Return phi: 2 before the first tick, never below 1."""
    return max(1.0, (PRIOR * PRIOR_TICKS + state.total) / (PRIOR_TICKS + state.ticks))


def is_quiet(state: Dispersion) -> bool:
    """Return whether plain counts may be trusted: phi is small, and seen in enough ticks."""
    return state.ticks >= ENOUGH_TICKS and estimate(state) <= QUIET
