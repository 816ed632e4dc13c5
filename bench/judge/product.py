"""The same tests by the product's own functions, one rollout after the other: what the twins are held to."""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

import numpy as np

from bench.judge.traffic import Arms, Floats, Traffic
from visionmodel_operator.core.sequential import certificate as safety
from visionmodel_operator.core.sequential import dispersion, late_fault, ratio
from visionmodel_operator.core.sequential import graded as mean
from visionmodel_operator.core.sequential import latency as tail
from visionmodel_operator.core.sequential import sign as signs

SEED_NAMES: Final = ("bench", "judge")


def plain(arms: Arms, run: int) -> list[float]:
    """Return ln M of `ratio` after each tick."""
    state = ratio.no_evidence()
    return [ratio.log_evidence(state := ratio.update(state, *tick)) for tick in ticks_of(arms, run)]


def with_late_faults(arms: Arms, run: int, planned_ticks: int) -> list[float]:
    """Return ln of the average of `ratio` and `late_fault` after each tick."""
    state, late, found = ratio.no_evidence(), late_fault.no_evidence(planned_ticks), []
    for tick in ticks_of(arms, run):
        state, late = ratio.update(state, *tick), late_fault.update(late, *tick)
        found.append(late_fault.log_average(state, late))
    return found


def tempered(arms: Arms, stable_groups: Arms, run: int) -> list[float]:
    """Return ln M of `ratio` under the exponent that `dispersion` gave before each tick."""
    state, noise, found = ratio.no_evidence(), dispersion.Dispersion(), []
    for tick, groups in zip(ticks_of(arms, run), ticks_of(stable_groups, run), strict=True):
        state = ratio.update(state, *tick, exponent=1 / dispersion.estimate(noise))
        noise = dispersion.update(noise, *groups)
        found.append(ratio.log_evidence(state))
    return found


def certificate(arms: Arms, run: int, max_ratio: float) -> list[float]:
    """Return ln M of `certificate` after each tick."""
    states = accumulate(
        ticks_of(arms, run), lambda state, tick: safety.update(state, *tick), initial=safety.no_evidence(max_ratio)
    )
    return [safety.log_evidence(state) for state in states][1:]


def sign_of(differences: list[int], counted: list[bool]) -> list[float]:
    """Return ln M of `sign` after each tick, from the differences of groups that were thinned before."""
    state, found = signs.no_evidence(0), []
    for difference, counts in zip(differences, counted, strict=True):
        state = signs.bet(state, difference) if counts else state
        found.append(signs.log_evidence(state))
    return found


def sign_itself(traffic: Traffic, first_run: int) -> Floats:
    """Return ln M of `sign` with its own thinning, [runs, ticks]; no twin, so slow.

    Each run has a seed of its own; `first_run` is the number of the first one.
    """
    runs, ticks = traffic.canary_requests.shape
    evidence = np.empty((runs, ticks))
    for run in range(runs):
        state = signs.no_evidence(signs.seed_from(*SEED_NAMES, str(first_run + run)))
        for index, tick in enumerate(ticks_of(traffic.against_baseline, run)):
            state = signs.update(state, *tick)
            evidence[run, index] = signs.log_evidence(state)
    return evidence


def ticks_of(arms: Arms, run: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield one run's ticks as the product takes them."""
    for tick in zip(*(arm[run].tolist() for arm in arms), strict=True):
        first, second, third, fourth = tick
        yield first, second, third, fourth


def latency(edges: Sequence[Arms], run: int) -> list[float]:
    """Return ln M of `latency` after each tick; the edges' places in milliseconds do not matter."""
    places = [float(10 * (index + 1)) for index in range(len(edges))]
    state, found = tail.no_evidence([tail.EdgePair(place, place) for place in places]), []
    for at_edges in zip(*(ticks_of(arms, run) for arms in edges), strict=True):
        sides = []
        for requests, slow in ((0, 1), (2, 3)):
            below = [(place, tick[requests] - tick[slow]) for place, tick in zip(places, at_edges, strict=True)]
            sides.append([*below, (math.inf, at_edges[0][requests])])
        state = tail.update(state, sides[0], sides[1])
        found.append(tail.log_evidence(state))
    return found


def graded(scores: list[float], alpha: float, limit: float) -> tuple[list[float], list[float]]:
    """Return ln M of `graded` above and below the limit after each score."""
    states = list(accumulate(scores, mean.update, initial=mean.no_scores(alpha)))[1:]
    above = [mean.log_evidence_above(state, limit) for state in states]
    return above, [mean.log_evidence_below(state, limit) for state in states]
