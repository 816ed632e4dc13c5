"""Tests that remember totals only (`proportion`, `paired`, `split`): their boundary, from the product's functions.

For a number of trials such a test fires from some count of hits on, so the product is asked for that count once per
number of trials, and any number of runs is then compared with it: no twin is needed.
"""

from collections.abc import Callable

import numpy as np

from bench.judge.traffic import Counts, Flags

Evidence = Callable[[int, int], float]
"""ln M after (trials, hits)."""


def smallest_hits(evidence: Evidence, every: int, checks: int, threshold: float) -> Counts:
    """Return, for trials = every, 2 every, ..., the fewest hits at which evidence that grows with hits fires.

    One more than the trials where nothing does.
    """
    found, hits = [], 0
    for trials in range(every, every * checks + 1, every):
        while hits > 0 and evidence(trials, hits - 1) >= threshold:
            hits -= 1
        while hits <= trials and evidence(trials, hits) < threshold:
            hits += 1
        found.append(hits)
    return np.array(found)


def two_sided(evidence: Evidence, every: int, checks: int, share: float, threshold: float) -> tuple[Counts, Counts]:
    """Return the most hits below, and the fewest above, the expected share at which the evidence fires.

    -1 and one more than the trials where nothing does.
    """
    low, high = [], []
    for trials in range(every, every * checks + 1, every):

        def fires(hits: int, trials: int = trials) -> bool:
            return evidence(trials, hits) >= threshold

        def fires_on_misses(misses: int, trials: int = trials) -> bool:
            return evidence(trials, trials - misses) >= threshold

        expected = round(trials * share)
        low.append(_largest(fires, expected))
        high.append(trials - _largest(fires_on_misses, trials - expected))
    return np.array(low), np.array(high)


def first_outside(hits: Counts, low: Counts | None, high: Counts) -> Counts:
    """Return the number (from 1) of the first check, [runs], at which the running hits leave the bounds; 0 if none.

    `hits` are the hits between two checks, [runs, checks].
    """
    totals = np.cumsum(hits, axis=1)
    outside = totals >= high if low is None else (totals >= high) | (totals <= low)
    return first_true(outside)


def first_true(fired: Flags) -> Counts:
    """Return the number (from 1) of the first true column of each row; 0 if none."""
    return np.where(fired.any(axis=1), fired.argmax(axis=1) + 1, 0)


def _largest(holds: Callable[[int], bool], top: int) -> int:
    """Return the largest number in 0..top for which it holds, where it holds up to some number only; -1 if none."""
    low, high = -1, top + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
