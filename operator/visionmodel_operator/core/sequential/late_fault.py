"""Evidence for a fault that begins in the middle of a rollout (a leak), mixed over the tick at which it began.

Evidence for health that `ratio` gathered before the fault delays its alarm. Here every tick up to a planned number T
starts a bet of its own: per ratio psi of the grid, with the tick's factor l of `ratio`,

    R(psi) <- (R(psi) + 1) exp(l(psi))        for ticks 1..T; without the + 1 afterwards
    M_mix  =  (sum w_k R(psi_k) + max(T - t, 0)) / T

so M_mix is the average over T starting times of tests that hold 1 until they start (the idea of Shin, Ramdas and
Rinaldo, "E-detectors", New England Journal of Statistics in Data Science 2023). The judge acts on the average of both,
`log_average`: (M + M_mix) / 2. Only for quiet metrics: it follows short bursts, so with noise that hits one group it
rings falsely far above alpha.

    late = late_fault.no_evidence(planned_ticks)
    late = late_fault.update(late, canary_requests, canary_errors, stable_requests, stable_errors)
    late_fault.log_average(plain, late)       # plain: the RatioEvidence of the same ticks
"""

import math
from dataclasses import dataclass

from visionmodel_operator.core.sequential import ratio
from visionmodel_operator.core.sequential.logarithms import log_mean_exp, log_sum_exp, shortened


@dataclass(frozen=True)
class LateFaultEvidence:
    """What the starting times so far gathered together.

    Attributes:
        planned_ticks: T, fixed before the first tick; later ticks start no bet.
        ticks: t, ticks seen, those without an error included.
        log_sums: ln R(psi) per ratio of the grid; empty before the first tick, when R is 0.
    """

    planned_ticks: int
    ticks: int = 0
    log_sums: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a plan of no tick, and sums that do not fit the grid: ValueError."""
        if self.planned_ticks < 1:
            raise ValueError(f"the planned ticks must be positive, got {self.planned_ticks}")
        expected = ratio.GRID_SIZE if self.ticks > 0 else 0
        if len(self.log_sums) != expected or not all(map(math.isfinite, self.log_sums)):
            raise ValueError(f"expected {expected} finite log sums after {self.ticks} ticks, got {self.log_sums!r}")


def no_evidence(planned_ticks: int) -> LateFaultEvidence:
    """Return the state before the first tick of a rollout planned to take that many."""
    return LateFaultEvidence(planned_ticks)


def update(
    state: LateFaultEvidence,
    canary_requests: int,
    canary_errors: int,
    stable_requests: int,
    stable_errors: int,
    *,
    tolerate_ratio: float = 1.0,
    exponent: float = 1.0,
) -> LateFaultEvidence:
    """Add one tick's counts, one in which nothing failed too; arguments and errors as in `ratio.update`.

    An exponent of 0 bets nothing on this tick, for a metric that was not quiet before it.
    """
    if not 0 <= exponent <= 1:
        raise ValueError(f"the exponent must lie in [0, 1], got {exponent!r}")
    counts = (canary_requests, canary_errors, stable_requests, stable_errors)
    factors = ratio.log_factors(ratio.GRID, tolerate_ratio, *counts)
    starts = state.ticks < state.planned_ticks
    sums = state.log_sums or (None,) * ratio.GRID_SIZE
    return LateFaultEvidence(
        state.planned_ticks,
        state.ticks + 1,
        tuple(
            shortened(_log_running(before, starts) + exponent * factor)
            for before, factor in zip(sums, factors, strict=True)
        ),
    )


def log_evidence(state: LateFaultEvidence) -> float:
    """Return ln M_mix: 0 before the first tick."""
    waiting = max(state.planned_ticks - state.ticks, 0)
    terms = [log_mean_exp(state.log_sums)] if state.log_sums else []
    terms += [math.log(waiting)] if waiting else []
    return log_sum_exp(terms) - math.log(state.planned_ticks)


def log_average(plain: ratio.RatioEvidence, state: LateFaultEvidence) -> float:
    """Return ln((M + M_mix) / 2) of two states of the same ticks."""
    return log_mean_exp((ratio.log_evidence(plain), log_evidence(state)))


def _log_running(before: float | None, starts: bool) -> float:
    """Return ln(R + 1) in a tick that starts a bet, else ln R; None is R = 0, which a planned tick always ends."""
    if before is None:
        return 0.0
    return log_sum_exp((before, 0.0)) if starts else before
