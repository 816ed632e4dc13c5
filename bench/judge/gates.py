"""What others do, in its shape: a z-test looked at every tick, and error rates compared with a limit per check."""

from typing import Final

import numpy as np

from bench.judge.traffic import Counts, Floats, Traffic

Z_5_PERCENT: Final = 1.6448536269514722
FEWEST_ERRORS: Final = 5
"""The z-test is not looked at before: its normal approximation has no meaning there."""

MAX_ERROR_RATE: Final = 0.01
"""The gate: at least 99 % of the requests answered well."""


def z_test(traffic: Traffic) -> Floats:
    """Return the pooled two-proportion z, canary above stable, of all requests so far; -inf with too few errors."""
    canary, hit, stable, miss = (np.cumsum(group, axis=1) for group in traffic.against_stable)
    usable = (canary > 0) & (stable > 0) & (hit + miss >= FEWEST_ERRORS) & (hit + miss < canary + stable)
    rate = np.where(usable, (hit + miss) / np.maximum(canary + stable, 1), 0.5)
    error = np.sqrt(rate * (1 - rate) * (1 / np.maximum(canary, 1) + 1 / np.maximum(stable, 1)))
    gap = hit / np.maximum(canary, 1) - miss / np.maximum(stable, 1)
    return np.where(usable, gap / error, -np.inf)


def failed_checks(
    requests_per_second: float, weights: tuple[float, ...], error_rate: float, runs: int, random: np.random.Generator
) -> Counts:
    """Return how many one-minute checks of the canary fail in each run; one without requests does, as in Flagger."""
    requests = random.poisson(60 * requests_per_second * np.array(weights), (runs, len(weights)))
    errors = random.binomial(requests, error_rate)
    return np.asarray(((requests == 0) | (errors > MAX_ERROR_RATE * requests)).sum(axis=1))
