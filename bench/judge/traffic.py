"""Simulated traffic: what the judge reads of two groups of pods, tick by tick, for many rollouts at once.

Requests arrive as a Poisson stream that is split by weight, so the counts of a tick are independent Poisson
numbers; every request fails by itself with its group's risk of that tick. Three groups serve: the canary, the
baseline (a part of stable, as large as the canary where stable allows it) and the rest of stable.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

TICK_SECONDS: Final = 15
MINUTE: Final = 60 // TICK_SECONDS
SWING_TICKS: Final = 10 * MINUTE

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Arms = tuple[Counts, Counts, Counts, Counts]
"""Requests and errors of one group, then of the other, [runs, ticks] each."""


@dataclass(frozen=True)
class Noise:
    """How the risk of an error moves besides the version's own doing; all zero is a quiet metric.

    Attributes:
        swing: amplitude of a sine with a period of ten minutes, shared by all groups, as a share of the base.
        shared_sd: standard deviation of a log-normal factor of mean 1 per tick, shared by all groups.
        own_cv: coefficient of variation of a gamma factor of mean 1 per tick and group.
        own_memory: chance that a group's own factor stays as it is in the next tick; 0 draws a new one every tick.
    """

    swing: float = 0.0
    shared_sd: float = 0.0
    own_cv: float = 0.0
    own_memory: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """One rollout's traffic.

    Attributes:
        requests: requests per tick over both versions, mean.
        weights: the canary's share in each tick.
        base: the risk of an error on stable.
        ratio: the canary's risk as a multiple of stable's, from tick `onset` (counted from 0) on; 1 before.
    """

    requests: float
    weights: tuple[float, ...]
    base: float
    ratio: float = 1.0
    onset: int = 0
    noise: Noise = Noise()


@dataclass(frozen=True)
class Traffic:
    """Counts of shape [runs, ticks] for each group; stable is baseline and rest together."""

    canary_requests: Counts
    canary_errors: Counts
    baseline_requests: Counts
    baseline_errors: Counts
    rest_requests: Counts
    rest_errors: Counts

    @property
    def stable_requests(self) -> Counts:
        """Return the requests of baseline and rest."""
        return self.baseline_requests + self.rest_requests

    @property
    def stable_errors(self) -> Counts:
        """Return the errors of baseline and rest."""
        return self.baseline_errors + self.rest_errors

    @property
    def stable_groups(self) -> Arms:
        """Return the baseline against the rest of stable."""
        return self.baseline_requests, self.baseline_errors, self.rest_requests, self.rest_errors

    @property
    def against_stable(self) -> Arms:
        """Return the canary against all of stable."""
        return self.canary_requests, self.canary_errors, self.stable_requests, self.stable_errors

    @property
    def against_baseline(self) -> Arms:
        """Return the canary against the baseline."""
        return self.canary_requests, self.canary_errors, self.baseline_requests, self.baseline_errors


def steps(*weights: float, ticks: int) -> tuple[float, ...]:
    """Return the canary's share in each tick of a ladder with `ticks` ticks per step."""
    return tuple(weight for weight in weights for _ in range(ticks))


def simulated(scenario: Scenario, runs: int, random: np.random.Generator) -> Traffic:
    """Draw the counts of that many rollouts."""
    weights = np.array(scenario.weights)
    baseline = np.minimum(weights, 1 - weights)
    exposures = (weights, baseline, 1 - weights - baseline)
    counts = [random.poisson(scenario.requests * share, (runs, weights.size)) for share in exposures]
    ratio = np.where(np.arange(weights.size) < scenario.onset, 1.0, scenario.ratio)
    level = scenario.base * _shared(scenario.noise, runs, weights.size, random)
    risks = [
        np.minimum(1.0, level * worse * _own(scenario.noise, runs, weights.size, random)) for worse in (ratio, 1.0, 1.0)
    ]
    errors = [random.binomial(count, risk) for count, risk in zip(counts, risks, strict=True)]
    return Traffic(counts[0], errors[0], counts[1], errors[1], counts[2], errors[2])


def _shared(noise: Noise, runs: int, ticks: int, random: np.random.Generator) -> Floats:
    """Return the factor of all groups, [runs, ticks], of mean 1 over a period."""
    wave = 1 + noise.swing * np.sin(2 * np.pi * np.arange(ticks) / SWING_TICKS)
    if not noise.shared_sd:
        return np.broadcast_to(wave, (runs, ticks))
    return np.asarray(wave * random.lognormal(-(noise.shared_sd**2) / 2, noise.shared_sd, (runs, ticks)))


def _own(noise: Noise, runs: int, ticks: int, random: np.random.Generator) -> Floats:
    """Return the factor of one group, [runs, ticks], of mean 1: a gamma number, which memory keeps for a while."""
    if not noise.own_cv:
        return np.ones((1, 1))
    shape = noise.own_cv**-2
    fresh = random.gamma(shape, 1 / shape, (runs, ticks))
    if not noise.own_memory:
        return fresh
    is_new = random.random((runs, ticks)) >= noise.own_memory
    is_new[:, 0] = True
    latest = np.maximum.accumulate(np.where(is_new, np.arange(ticks), 0), axis=1)
    return np.take_along_axis(fresh, latest, axis=1)
