"""Does a split send what it says: exact bounds for how many of n requests a weight may reach."""

import math


def binomial_interval(n: int, p: float, confidence: float) -> tuple[int, int]:
    """Return the central interval (low, high) of a Binomial(n, p) count, both ends included.

    Exact tail sums, no normal approximation: P(count < low) and P(count > high) are each at most
    (1 - confidence) / 2, and neither end can be moved inwards. A correct split of independent requests thus
    falls outside with probability at most 1 - confidence. Raises ValueError on impossible arguments.
    """
    if n < 0 or not 0 <= p <= 1 or not 0 < confidence < 1:
        raise ValueError(f"need n >= 0, p in [0, 1], confidence in (0, 1), got {n}, {p}, {confidence}")
    if p in (0, 1):
        return int(n * p), int(n * p)
    tail = (1 - confidence) / 2
    return _smallest(n, p, tail), n - _smallest(n, 1 - p, tail)


def _smallest(n: int, p: float, tail: float) -> int:
    """Return the least count whose lower tail, the count itself included, exceeds `tail`."""
    below = 0.0
    for count in range(n):
        below += math.exp(
            math.lgamma(n + 1)
            - math.lgamma(count + 1)
            - math.lgamma(n - count + 1)
            + count * math.log(p)
            + (n - count) * math.log1p(-p)
        )
        if below > tail:
            return count
    return n
