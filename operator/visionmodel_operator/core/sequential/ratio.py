"""Evidence that the canary fails more often than stable: the two-arm ratio test on plain counts.

Per tick with n_c, e_c requests and errors of the canary, n_s, e_s of stable, psi0 the tolerated RISK ratio and psi a
worse one:

    l(psi) = e_c ln(psi / psi0) - (e_c + e_s) ln((psi n_c + n_s) / (psi0 n_c + n_s))

summed over ticks, mixed over 13 log-spaced psi in [1.1, 20] psi0 with equal weights. It is the two-arm case
of Lindon and Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022, arXiv 2011.03567),
with the exposure of each tick in place of a fixed ratio and a one-sided grid in place of a prior.

Why the mean of exp(l) is at most 1: put c = (psi0 n_c + n_s) / (psi n_c + n_s) and r = psi / psi0; for
independent requests with mean risks p_c <= psi0 p_s, since 1 + x <= exp(x),

    E exp(l) <= exp(n_c p_c (r c - 1) + n_s p_s (c - 1)) <= exp(p_s (c (psi n_c + n_s) - psi0 n_c - n_s)) = 1.

Nothing in it asks for a constant base rate or weight, so both may change from tick to tick. With psi0 = 1 it
also holds given the tick's totals (hypergeometric; Hoeffding 1963, section 6).

It does ask that a group's requests fail independently within the tick. Where bursts hit one group at a time, the
tempered form multiplies l by an `exponent` = 1 / phi <= 1 that was known before the tick (`dispersion.estimate`): still
an e-process under the null above (Jensen), and against bursts an approximation that helps and does not cure. The cure
is `sign`.

Used by the judge for errors, and by `latency` per bucket edge, where an error is a slow request.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from visionmodel_operator.core.sequential.logarithms import (
    log_sum_exp,
    refuse_impossible_counts,
    require_positive,
    rounded,
)

GRID_SIZE: Final = 13
GRID: Final[tuple[float, ...]] = tuple(1.1 * (20 / 1.1) ** (index / (GRID_SIZE - 1)) for index in range(GRID_SIZE))
"""The ratios bet on, as multiples of the tolerated ratio."""


@dataclass(frozen=True)
class RatioEvidence:
    """The running log weight of each ratio of the grid: ln(1/13) plus the sum of its l(psi)."""

    log_weights: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse anything but one finite weight per ratio of the grid: ValueError."""
        if len(self.log_weights) != GRID_SIZE or not all(map(math.isfinite, self.log_weights)):
            raise ValueError(f"expected {GRID_SIZE} finite log weights, got {self.log_weights!r}")


def no_evidence() -> RatioEvidence:
    """Return the state before the first tick: log evidence 0."""
    return RatioEvidence((rounded(-math.log(GRID_SIZE)),) * GRID_SIZE)


def update(
    state: RatioEvidence,
    canary_requests: int,
    canary_errors: int,
    stable_requests: int,
    stable_errors: int,
    *,
    tolerate_ratio: float = 1.0,
    exponent: float = 1.0,
) -> RatioEvidence:
    """Add one tick's counts; a tick in which either side is idle, or nothing failed, changes nothing.

    The tolerated ratio must be the same for every tick of a state. `exponent` in (0, 1] may differ, but must not
    depend on the tick's own counts. Raises ValueError on counts that cannot be (errors outside 0..requests), a
    ratio that is not positive or an exponent outside its range.
    """
    if not 0 < exponent <= 1:
        raise ValueError(f"the exponent must lie in (0, 1], got {exponent!r}")
    counts = (canary_requests, canary_errors, stable_requests, stable_errors)
    factors = log_factors(GRID, tolerate_ratio, *counts)
    if not any(factors):
        return state
    return RatioEvidence(
        tuple(rounded(weight + exponent * factor) for weight, factor in zip(state.log_weights, factors, strict=True))
    )


def log_evidence(state: RatioEvidence) -> float:
    """Return ln M: 0 before the first tick, negative while the data speak for the canary."""
    return log_sum_exp(state.log_weights)


def log_factors(
    multiples: Sequence[float],
    null_ratio: float,
    canary_requests: int,
    canary_errors: int,
    stable_requests: int,
    stable_errors: int,
) -> tuple[float, ...]:
    """Return one tick's l(psi) for each psi = multiple x null_ratio; zeros where the tick compares nothing.

    For multiples above 1 the null is "risk ratio <= null_ratio", below 1 it is ">= null_ratio"; the derivation is the
    same with the signs of r c - 1 and c - 1 exchanged. Raises ValueError as `update` does.
    """
    refuse_impossible_counts(canary_requests, canary_errors, stable_requests, stable_errors)
    require_positive("the tolerated ratio", null_ratio)
    errors = canary_errors + stable_errors
    if canary_requests == 0 or stable_requests == 0 or errors == 0:
        return (0.0,) * len(multiples)
    expected = null_ratio * canary_requests + stable_requests
    return tuple(
        canary_errors * math.log(multiple)
        - errors * math.log((multiple * null_ratio * canary_requests + stable_requests) / expected)
        for multiple in multiples
    )
