"""Sign betting: does the canary have more errors than an equal share of stable, whatever the noise within a tick?

Per tick with as many requests in both groups, d = canary's errors - stable's. Five gamblers stake the shares

    w = min(1, |d| / (2 m)),  m = mean of |d| over the ticks before (1 before the first)

times lambda in {.1, .25, .5, .75, .95} of their money on d > 0, and M is the mean of prod(1 + lambda sgn(d) w). While
the two groups are exchangeable within the tick given the past, d and -d are equally likely for every |d|, so each
factor has mean 1: bursts, retries and shared incidents of any size only lose power. It also holds that way if the
canary fails less often (d stochastically smaller).

If every earlier |d| was 0, m is 0 and the weight is its limit: 1 when d differs from 0. Both are known before the sign
of d is, which is all the proof asks.

Groups of unequal size: the larger one is thinned, that is, the errors among as many of its requests as the smaller
one has, drawn without replacement. The draw is a hypergeometric number made of a seed in the state and the number of
the tick (blake2b, as counter-based generator), so a replay draws the same; both stay exchangeable, and thinning costs
power, never validity. Choose the seed before the first tick, from names that do not depend on traffic.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from visionmodel_operator.core.sequential.logarithms import log_mean_exp, refuse_impossible_counts, rounded

STAKES: Final = (0.1, 0.25, 0.5, 0.75, 0.95)
FIRST_MEAN: Final = 1.0
"""The mean of |d| before there is any."""

SEED_BITS: Final = 53
"""A seed is an exact number in JSON."""


@dataclass(frozen=True)
class SignEvidence:
    """What the gamblers remember.

    Attributes:
        seed: of the thinning, in 0 .. 2^53 - 1.
        ticks: ticks in which both sides had requests.
        differences: sum of |d| over them.
        log_wealth: per stake, 0 before the first tick.
    """

    seed: int
    ticks: int = 0
    differences: int = 0
    log_wealth: tuple[float, ...] = (0.0,) * len(STAKES)

    def __post_init__(self) -> None:
        """Refuse a seed that JSON rounds, and sums that cannot be: ValueError."""
        if not 0 <= self.seed < 2**SEED_BITS:
            raise ValueError(f"the seed must lie in 0 .. 2^{SEED_BITS} - 1, got {self.seed}")
        if self.ticks < 0 or self.differences < 0 or len(self.log_wealth) != len(STAKES):
            raise ValueError(f"impossible sums: {self!r}")
        if not all(map(math.isfinite, self.log_wealth)):
            raise ValueError(f"the wealth must be finite, got {self.log_wealth!r}")


def no_evidence(seed: int) -> SignEvidence:
    """Return the state before the first tick: log evidence 0."""
    return SignEvidence(seed)


def seed_from(*names: str) -> int:
    """Return a seed that these names give and no traffic changes, for example revision, attempt and metric."""
    return int.from_bytes(_digest("seed", *names)) >> (64 - SEED_BITS)


def update(
    state: SignEvidence, canary_requests: int, canary_errors: int, stable_requests: int, stable_errors: int
) -> SignEvidence:
    """Add one tick's counts; the larger side is thinned to the smaller. A tick with one side idle changes nothing.

    Raises ValueError on counts that cannot be.
    """
    refuse_impossible_counts(canary_requests, canary_errors, stable_requests, stable_errors)
    size = min(canary_requests, stable_requests)
    if size == 0:
        return state
    chance = _uniform(state.seed, state.ticks)
    canary = thinned(canary_requests, canary_errors, size, chance)
    stable = thinned(stable_requests, stable_errors, size, chance)
    return bet(state, canary - stable)


def bet(state: SignEvidence, difference: int) -> SignEvidence:
    """Add one tick in which the canary had `difference` more errors than as many requests of stable."""
    weight = _weight(state, difference)
    side = (difference > 0) - (difference < 0)
    return SignEvidence(
        state.seed,
        state.ticks + 1,
        state.differences + abs(difference),
        tuple(
            rounded(wealth + math.log1p(stake * side * weight))
            for wealth, stake in zip(state.log_wealth, STAKES, strict=True)
        ),
    )


def log_evidence(state: SignEvidence) -> float:
    """Return ln M: 0 before the first tick."""
    return log_mean_exp(state.log_wealth)


def thinned(requests: int, errors: int, size: int, chance: float) -> int:
    """Return the errors among `size` of the requests drawn without replacement; `chance` is uniform on (0, 1).

    Walks the hypergeometric distribution outwards from its mode until the chance is used up: O(its spread) steps.
    All requests are kept where size >= requests.
    """
    if size >= requests or errors == 0:
        return errors
    if errors == requests:
        return size
    total = 0.0
    mode = (size + 1) * (errors + 1) // (requests + 2)
    for count, mass in _outwards(requests, errors, size, mode):
        total += mass
        if chance < total:
            return count
    return mode


def _weight(state: SignEvidence, difference: int) -> float:
    if difference == 0:
        return 0.0
    mean = state.differences / state.ticks if state.ticks else FIRST_MEAN
    return 1.0 if mean == 0 else min(1.0, abs(difference) / (2 * mean))


def _outwards(requests: int, errors: int, size: int, mode: int) -> Iterator[tuple[int, float]]:
    """Yield (errors drawn, probability) from the mode to both sides in turn."""
    lowest, highest = max(0, size - (requests - errors)), min(errors, size)
    low = high = mode
    low_mass = high_mass = math.exp(
        _log_choose(errors, mode) + _log_choose(requests - errors, size - mode) - _log_choose(requests, size)
    )
    yield mode, low_mass
    while low > lowest or high < highest:
        if high < highest:
            high_mass *= (errors - high) * (size - high) / ((high + 1) * (requests - errors - size + high + 1))
            high += 1
            yield high, high_mass
        if low > lowest:
            low_mass *= low * (requests - errors - size + low) / ((errors - low + 1) * (size - low + 1))
            low -= 1
            yield low, low_mass


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)


def _uniform(seed: int, tick: int) -> float:
    return (int.from_bytes(_digest("tick", str(seed), str(tick))) + 0.5) / 2**64


def _digest(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode(), digest_size=8).digest()
