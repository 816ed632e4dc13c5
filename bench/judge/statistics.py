"""What may be said about a rate that was seen in so many runs."""

import math
from typing import Final

CONFIDENCE: Final = 0.999


def upper_limit(events: int, runs: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper-Pearson limit: the largest rate under which so few events are not a surprise.

    It solves P(Binomial(runs, rate) <= events) = 1 - confidence by bisection (Clopper and Pearson, Biometrika 1934).
    """
    if not 0 <= events <= runs or runs == 0:
        raise ValueError(f"impossible counts: {events} of {runs}")
    if events == runs:
        return 1.0
    low, high = events / runs, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if at_most(events, runs, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def at_most(events: int, runs: int, rate: float) -> float:
    """Return P(Binomial(runs, rate) <= events) for a rate in (0, 1)."""
    if rate >= 1:
        return 0.0
    return min(1.0, math.fsum(math.exp(_log_mass(count, runs, rate)) for count in range(events + 1)))


def deviation(events: int, runs: int, published: float, published_runs: int, rounding: float) -> float:
    """Return how many standard errors lie between a rate and a published one, what rounding explains taken off.

    Both are simulated, so the error is that of their difference under the pooled rate.
    """
    pooled = (events + published * published_runs) / (runs + published_runs)
    error = math.sqrt(max(pooled * (1 - pooled), 1 / published_runs) * (1 / runs + 1 / published_runs))
    gap = events / runs - published
    return math.copysign(max(0.0, abs(gap) - rounding) / error, gap)


def _log_mass(count: int, runs: int, rate: float) -> float:
    chosen = math.lgamma(runs + 1) - math.lgamma(count + 1) - math.lgamma(runs - count + 1)
    return chosen + count * math.log(rate) + (runs - count) * math.log1p(-rate)
