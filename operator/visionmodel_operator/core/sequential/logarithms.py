"""Arithmetic on natural logarithms that every sequential test shares."""

import math
from collections.abc import Iterable
from typing import Final

DECIMALS: Final = 9
"""What a state remembers is rounded to this many decimals at every tick, so that the text in status is the value."""


SHORT_DECIMALS: Final = 6
"""The same for what stands beside the main evidence of a metric, so that five metrics fit into 4 KiB of status."""


def rounded(value: float) -> float:
    """Return the value as a state remembers it."""
    return round(value, DECIMALS)


def shortened(value: float) -> float:
    """Return the value as a state beside another one remembers it: off by at most 0.000001 in two ticks."""
    return round(value, SHORT_DECIMALS)


def log_threshold(alpha: float) -> float:
    """Return ln(1/alpha), which an e-process's logarithm exceeds with probability at most alpha under its null."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha!r}")
    return -math.log(alpha)


def log_sum_exp(values: Iterable[float]) -> float:
    """Return ln(sum(exp(v))) without overflow; at least one value."""
    weights = tuple(values)
    highest = max(weights)
    return highest + math.log(math.fsum(math.exp(weight - highest) for weight in weights))


def log_mean_exp(values: Iterable[float]) -> float:
    """Return ln of the mean of exp(v): the logarithm of an average of e-processes; at least one value."""
    weights = tuple(values)
    return log_sum_exp(weights) - math.log(len(weights))


def refuse_impossible_counts(
    canary_requests: int, canary_errors: int, stable_requests: int, stable_errors: int
) -> None:
    """Raise ValueError on errors outside 0..requests."""
    if not 0 <= canary_errors <= canary_requests or not 0 <= stable_errors <= stable_requests:
        raise ValueError(
            f"impossible counts: canary {canary_errors} of {canary_requests}, "
            f"stable {stable_errors} of {stable_requests}"
        )


def require_positive(name: str, value: float) -> None:
    """Raise ValueError unless the value is a positive finite number; `name` says in the message what it is."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be positive, got {value!r}")
