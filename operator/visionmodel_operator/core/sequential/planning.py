"""How many requests a judgement takes, to be said before the rollout begins.

The median of the harm test follows from its growth per canary request at base rate p and true ratio psi,
p (psi ln psi - psi + 1), and a constant for the mixture over the grid that was fitted to simulations; within 20 % of
them for canary shares up to 10 %. A share of 50 % needs 2.1 times the canary requests that 1 % needs. The certificate
grows by p (max - 1 - ln max) per canary request when both versions are equal, fitted in the same way.
"""

import math
from typing import Final

from visionmodel_operator.core.sequential.logarithms import log_threshold

MIXTURE_COST: Final = 2.6
CERTIFICATE_COST: Final = 0.6
NINE_OF_TEN: Final = 2.1
"""The 90th percentile of the requests until harm is found, in medians."""


def median_requests(alpha: float, base_rate: float, ratio: float) -> float:
    """Return the canary requests after which half of the canaries `ratio` times worse are found.

    (ln(1/alpha) + 2.6) / (p (psi ln psi - psi + 1)). `alpha` is what the metric's test may spend (`budget`),
    `base_rate` stable's error rate in (0, 1), `ratio` above 1 for the risk ratio over the tolerated one. Raises
    ValueError outside.
    """
    _require(base_rate, ratio)
    return (log_threshold(alpha) + MIXTURE_COST) / (base_rate * (ratio * math.log(ratio) - ratio + 1))


def high_requests(alpha: float, base_rate: float, ratio: float) -> float:
    """Return the canary requests after which nine of ten such canaries are found."""
    return NINE_OF_TEN * median_requests(alpha, base_rate, ratio)


def certificate_requests(beta: float, base_rate: float, max_ratio: float) -> float:
    """Return the median canary requests after which an equal canary is proven better than `max_ratio` times stable."""
    _require(base_rate, max_ratio)
    return (log_threshold(beta) + CERTIFICATE_COST) / (base_rate * (max_ratio - 1 - math.log(max_ratio)))


def min_samples(alpha: float, base_rate: float, detect_ratio: float, steps: int = 1) -> int:
    """Return the canary requests each of `steps` steps needs so that nine of ten such canaries never pass them all.

    Evidence is kept from step to step, so the steps share what `high_requests` asks for.
    """
    if steps < 1:
        raise ValueError(f"the number of steps must be positive, got {steps}")
    return math.ceil(high_requests(alpha, base_rate, detect_ratio) / steps)


def _require(base_rate: float, ratio: float) -> None:
    if not 0 < base_rate < 1:
        raise ValueError(f"the base rate must lie between 0 and 1, got {base_rate!r}")
    if not (ratio > 1 and math.isfinite(ratio)):
        raise ValueError(f"the ratio must be above 1, got {ratio!r}")
