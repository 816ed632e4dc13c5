"""Evidence that the canary fails more often, valid however often one looks; used by the judge only.

An e-process is a non-negative running number that starts at 1 and whose expectation stays at most 1 while
the canary is harmless, at every stopping time. Ville's inequality then bounds the chance that it ever
reaches 1/alpha by alpha: the rollout may be judged at every tick, for as long as it takes, without a
correction. All numbers here are natural logarithms.

Ratio test (canary against stable), per tick with n_c, e_c requests and errors of the canary, n_s, e_s of
stable, psi0 the tolerated RISK ratio and psi a worse one:

    l(psi) = e_c ln(psi / psi0) - (e_c + e_s) ln((psi n_c + n_s) / (psi0 n_c + n_s))

summed over ticks, mixed over 13 log-spaced psi in [1.1, 20] psi0 with equal weights. It is the two-arm case
of Lindon and Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022, arXiv 2011.03567),
with the exposure of each tick in place of a fixed ratio and a one-sided grid in place of a prior.

Why the mean of exp(l) is at most 1: put c = (psi0 n_c + n_s) / (psi n_c + n_s) and r = psi / psi0; for
independent requests with mean risks p_c <= psi0 p_s, since 1 + x <= exp(x),

    E exp(l) <= exp(n_c p_c (r c - 1) + n_s p_s (c - 1)) <= exp(p_s (c (psi n_c + n_s) - psi0 n_c - n_s)) = 1.

Nothing in it asks for a constant base rate or weight, so both may change from tick to tick. With psi0 = 1 it
also holds given the tick's totals (hypergeometric; Hoeffding 1963, section 6).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

GRID_SIZE: Final = 13
GRID: Final[tuple[float, ...]] = tuple(1.1 * (20 / 1.1) ** (index / (GRID_SIZE - 1)) for index in range(GRID_SIZE))
"""The ratios bet on, as multiples of the tolerated ratio."""

DECIMALS: Final = 9
"""Log weights are rounded to this many decimals at every tick, so that the text in status is the value."""


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
    return RatioEvidence((round(-math.log(GRID_SIZE), DECIMALS),) * GRID_SIZE)


def update(
    state: RatioEvidence,
    canary_requests: int,
    canary_errors: int,
    stable_requests: int,
    stable_errors: int,
    tolerate_ratio: float = 1.0,
) -> RatioEvidence:
    """Add one tick's counts; a tick in which either side is idle changes nothing.

    The tolerated ratio must be the same for every tick of a state. Raises ValueError on counts that cannot
    be (errors outside 0..requests) or a ratio that is not positive.
    """
    if not 0 <= canary_errors <= canary_requests or not 0 <= stable_errors <= stable_requests:
        raise ValueError(
            f"impossible counts: canary {canary_errors} of {canary_requests}, "
            f"stable {stable_errors} of {stable_requests}"
        )
    if not (tolerate_ratio > 0 and math.isfinite(tolerate_ratio)):
        raise ValueError(f"the tolerated ratio must be positive, got {tolerate_ratio!r}")
    errors = canary_errors + stable_errors
    if canary_requests == 0 or stable_requests == 0 or errors == 0:
        return state
    expected = tolerate_ratio * canary_requests + stable_requests
    return RatioEvidence(
        tuple(
            round(
                weight
                + canary_errors * math.log(multiple)
                - errors * math.log((multiple * tolerate_ratio * canary_requests + stable_requests) / expected),
                DECIMALS,
            )
            for weight, multiple in zip(state.log_weights, GRID, strict=True)
        )
    )


def log_evidence(state: RatioEvidence) -> float:
    """Return ln M: 0 before the first tick, negative while the data speak for the canary."""
    return _log_sum_exp(state.log_weights)


def log_threshold(alpha: float) -> float:
    """Return ln(1/alpha), which ln M exceeds with probability at most alpha while the canary is harmless."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha!r}")
    return -math.log(alpha)


def log_floor_evidence(requests: int, errors: int, max_rate: float) -> float:
    """Return ln M against "the error rate never exceeds max_rate", from the totals of all ticks so far.

    The likelihood ratio of an error rate uniform on (max_rate, 1] against max_rate itself (one-sided
    beta-binomial mixture): ln B(S+1, F+1) + ln I_a(S+1, F+1) - ln a - S ln a - F ln(1-a) for S successes,
    F errors, a = 1 - max_rate. Valid for a rate that wanders below max_rate. O(sqrt(requests)) steps.
    """
    if not 0 <= errors <= requests:
        raise ValueError(f"impossible counts: {errors} errors of {requests} requests")
    if not 0 < max_rate < 1:
        raise ValueError(f"the error rate's limit must lie between 0 and 1, got {max_rate!r}")
    successes = requests - errors
    log_success, log_error = math.log1p(-max_rate), math.log(max_rate)
    log_beta = math.lgamma(successes + 1) + math.lgamma(errors + 1) - math.lgamma(requests + 2)
    log_share = _log_at_most(errors, requests + 1, max_rate)
    return log_beta + log_share - log_success - successes * log_success - errors * log_error


def _log_at_most(count: int, trials: int, rate: float) -> float:
    """Return ln P(Binomial(trials, rate) <= count), which is ln I_(1-rate)(trials - count, count + 1).

    Sums downwards from the highest term that matters, each term from the one above it.
    """
    mean = trials * rate
    top = min(count, int(mean + 9 * math.sqrt(mean * (1 - rate)) + 40))
    log_top = (
        math.lgamma(trials + 1)
        - math.lgamma(top + 1)
        - math.lgamma(trials - top + 1)
        + top * math.log(rate)
        + (trials - top) * math.log1p(-rate)
    )
    term, total, index = 1.0, 1.0, top
    while index > 0 and (index > mean or term > total * 1e-17):
        term *= index * (1 - rate) / ((trials - index + 1) * rate)
        total += term
        index -= 1
    return min(0.0, log_top + math.log(total))


def _log_sum_exp(values: Iterable[float]) -> float:
    """Return ln(sum(exp(v))) without overflow; at least one value."""
    weights = tuple(values)
    highest = max(weights)
    return highest + math.log(math.fsum(math.exp(weight - highest) for weight in weights))
