"""The judge's sequential tests for many rollouts at once: numpy twins of `visionmodel_operator.core.sequential`.

One rollout of 120 ticks takes the product milliseconds, a table of 20,000 rollouts half an hour. A twin does the same
arithmetic on arrays; tests/unit/bench holds each to its original on random ticks, and every measured cell replays some
of its rollouts through the product (`product.py`). Constants are the product's own. Every function returns ln M,
[runs, ticks].
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from bench.judge.traffic import Arms, Counts, Flags, Floats, Traffic
from visionmodel_operator.core.sequential import certificate as safety
from visionmodel_operator.core.sequential import dispersion
from visionmodel_operator.core.sequential.graded import MAX_STAKE
from visionmodel_operator.core.sequential.logarithms import DECIMALS, SHORT_DECIMALS, log_threshold
from visionmodel_operator.core.sequential.ratio import GRID, GRID_SIZE
from visionmodel_operator.core.sequential.sign import FIRST_MEAN, STAKES

START: Final = round(float(-np.log(GRID_SIZE)), DECIMALS)


def plain(arms: Arms, exponents: Floats | None = None) -> Floats:
    """Return what `ratio` gathers; `exponents`, [runs, ticks], temper it."""
    runs, ticks = arms[0].shape
    weights = np.full((runs, GRID_SIZE), START)
    evidence = np.empty((runs, ticks))
    for tick, factors in enumerate(_factors(arms, GRID, 1.0)):
        if exponents is not None:
            factors = factors * exponents[:, tick, None]
        weights = np.round(weights + factors, DECIMALS)
        evidence[:, tick] = log_sum_exp(weights)
    return evidence


def with_late_faults(arms: Arms, planned_ticks: int) -> Floats:
    """Return the average of `ratio` and `late_fault` for a rollout planned to take that many ticks."""
    runs, ticks = arms[0].shape
    sums = np.full((runs, GRID_SIZE), -np.inf)
    evidence = np.empty((runs, ticks))
    for tick, factors in enumerate(_factors(arms, GRID, 1.0)):
        running = np.logaddexp(sums, 0.0) if tick < planned_ticks else sums
        sums = np.round(running + factors, SHORT_DECIMALS)
        started = log_sum_exp(sums) - np.log(GRID_SIZE)
        waiting = planned_ticks - tick - 1
        mixed = np.logaddexp(started, np.log(waiting)) if waiting > 0 else started
        evidence[:, tick] = mixed - np.log(planned_ticks)
    return np.asarray(np.logaddexp(plain(arms), evidence) - np.log(2))


def tempered(traffic: Traffic) -> Floats:
    """Return what `ratio` gathers under the exponent 1/phi, phi measured between baseline and the rest of stable."""
    return plain(traffic.against_stable, 1 / dispersions(traffic.stable_groups))


def dispersions(arms: Arms) -> Floats:
    """Return phi before each tick, [runs, ticks], of two groups of one version."""
    requests, errors, other_requests, other_errors = arms
    together = errors + other_errors
    speaks = (requests > 0) & (other_requests > 0) & (together > 0)
    share = requests / np.maximum(requests + other_requests, 1)
    variance = np.where(speaks, together * share * (1 - share), 1.0)
    squares = np.where(speaks, (errors - together * share) ** 2 / variance, 0.0)
    before = np.cumsum(squares, axis=1) - squares
    seen: Counts = np.cumsum(speaks, axis=1) - speaks
    prior = dispersion.PRIOR * dispersion.PRIOR_TICKS
    return np.asarray(np.maximum(1.0, (prior + before) / (dispersion.PRIOR_TICKS + seen)))


def differences(traffic: Traffic, random: np.random.Generator) -> tuple[Counts, Flags]:
    """Return the canary's errors minus the baseline's in groups of equal size, and whether the tick counts.

    The larger group of a tick is thinned: the errors among as many of its requests as the smaller one has, drawn
    without replacement. The product draws the same hypergeometric number from a hash of its seed;
    `product.sign_itself` is that.
    """
    requests, errors, other_requests, other_errors = traffic.against_baseline
    size = np.minimum(requests, other_requests)
    ours = random.hypergeometric(errors, requests - errors, size)
    theirs = random.hypergeometric(other_errors, other_requests - other_errors, size)
    return np.asarray(ours - theirs, dtype=np.int64), size > 0


def sign_of(differences: Counts, counted: Flags) -> Floats:
    """Return what the gamblers of `sign` gather of d per tick; a tick that is not counted changes nothing."""
    runs, ticks = differences.shape
    stakes = np.array(STAKES)
    wealth = np.zeros((runs, stakes.size))
    evidence = np.empty((runs, ticks))
    total, seen = np.zeros(runs), np.zeros(runs)
    for tick in range(ticks):
        size = np.abs(differences[:, tick])
        mean = np.where(seen > 0, total / np.maximum(seen, 1), FIRST_MEAN)
        share = np.divide(size, 2 * mean, out=np.ones(runs), where=mean > 0)
        bet = np.where(counted[:, tick], np.sign(differences[:, tick]) * np.minimum(1.0, share), 0.0)
        wealth = np.round(wealth + np.log1p(stakes * bet[:, None]), DECIMALS)
        total, seen = total + np.where(counted[:, tick], size, 0), seen + counted[:, tick]
        evidence[:, tick] = log_sum_exp(wealth) - np.log(stakes.size)
    return evidence


def certificate(arms: Arms, max_ratio: float) -> Floats:
    """Return what `certificate` gathers against "max_ratio times as bad or worse"."""
    runs, ticks = arms[0].shape
    multiples = [safe / max_ratio for safe in safety.bets(max_ratio)]
    sums = np.zeros((runs, len(multiples)))
    evidence = np.empty((runs, ticks))
    for tick, factors in enumerate(_factors(arms, multiples, max_ratio)):
        sums = np.round(sums + factors, SHORT_DECIMALS)
        evidence[:, tick] = log_sum_exp(sums) - np.log(len(multiples))
    return evidence


def graded(scores: Floats, alpha: float, limit: float) -> tuple[Floats, Floats]:
    """Return ln M of `graded` for a mean above and for one below the limit, from scores of shape [runs, pairs]."""
    runs, count = scores.shape
    total, squares, stakes, staked, cost = np.zeros((5, runs))
    above, below = np.empty((runs, count)), np.empty((runs, count))
    for index in range(count):
        score, seen = scores[:, index], index + 1
        mean, variance = (0.5 + total) / seen, (0.25 + squares) / seen
        stake = np.sqrt(2 * log_threshold(alpha / 2) / (variance * seen * np.log1p(seen)))
        stake = np.minimum(MAX_STAKE, stake)
        total = np.round(total + score, DECIMALS)
        squares = np.round(squares + (score - (0.5 + total) / (seen + 1)) ** 2, DECIMALS)
        stakes = np.round(stakes + stake, DECIMALS)
        staked = np.round(staked + stake * score, DECIMALS)
        cost = np.round(cost + (score - mean) ** 2 * (-np.log1p(-stake) - stake), DECIMALS)
        above[:, index], below[:, index] = staked - limit * stakes - cost, limit * stakes - staked - cost
    return above, below


def log_sum_exp(values: Floats) -> Floats:
    """Return ln(sum(exp(v))) over the last axis."""
    highest = values.max(axis=-1)
    return np.asarray(highest + np.log(np.exp(values - highest[..., None]).sum(axis=-1)))


def _factors(arms: Arms, multiples: Sequence[float], null_ratio: float) -> Iterator[Floats]:
    """Yield l(psi) of each tick, [runs, multiples]; zeros where the tick compares nothing."""
    ratios = np.array(multiples)
    logs = np.log(ratios)
    for tick in range(arms[0].shape[1]):
        canary, hit, stable, miss = (arm[:, tick, None].astype(float) for arm in arms)
        compares = (canary > 0) & (stable > 0)
        expected = np.where(compares, null_ratio * canary + stable, 1.0)
        tilted = np.where(compares, ratios * null_ratio * canary + stable, 1.0)
        yield np.where(compares, hit * logs - (hit + miss) * np.log(tilted / expected), 0.0)


def latency(edges: Sequence[Arms]) -> Floats:
    """Return what `latency` gathers: the average over the edges, slow requests in the place of errors."""
    return np.asarray(log_sum_exp(np.stack([plain(arms) for arms in edges], axis=-1)) - np.log(len(edges)))
