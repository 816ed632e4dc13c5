"""Distributions by exact enumeration, for the mean of an e-value under its null hypothesis."""

import math


def hypergeometric(errors: int, canary: int, stable: int) -> list[tuple[int, float]]:
    """Return (canary errors, probability) when `errors` fall on canary + stable requests without regard."""
    total = math.comb(canary + stable, errors)
    return [
        (hit, math.comb(canary, hit) * math.comb(stable, errors - hit) / total)
        for hit in range(max(0, errors - stable), min(errors, canary) + 1)
    ]


def binomial(trials: int, rate: float) -> list[tuple[int, float]]:
    """Return (hits, probability) of that many trials."""
    return [(k, math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k)) for k in range(trials + 1)]
