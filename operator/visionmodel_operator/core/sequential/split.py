"""Does the gateway divide requests as the route says? The check for a sample-ratio mismatch, at 0.1 % by default.

Two-category Dirichlet-multinomial mixture of Lindon and Malek (NeurIPS 2022, arXiv 2011.03567): prior weights
alpha0 = 100 x (share, 1 - share), so that large deviations are seen early and small ones late,

    ln M = ln G(100) - ln G(100 + N) + sum over both sides of (ln G(a_i + n_i) - ln G(a_i) - n_i ln theta_i)

with G the gamma function, a_i = 100 theta_i and theta = (share, 1 - share). It sees a weight that does nothing, one
that was written back, and a route matched elsewhere. Counts are those since the share was last written; evidence of
several shares may be added.
"""

import math
from typing import Final

PRIOR_WEIGHT: Final = 100.0
DEFAULT_ALPHA: Final = 0.001


def log_evidence(canary_requests: int, stable_requests: int, share: float) -> float:
    """Return ln M against "each request goes to the canary with probability `share`".

    Raises ValueError on negative counts or a share outside (0, 1): with weight 0 one request is proof, no test needed.
    """
    if canary_requests < 0 or stable_requests < 0:
        raise ValueError(f"impossible counts: canary {canary_requests}, stable {stable_requests}")
    if not 0 < share < 1:
        raise ValueError(f"the share must lie between 0 and 1, got {share!r}")
    sides = ((canary_requests, share), (stable_requests, 1 - share))
    return (
        math.lgamma(PRIOR_WEIGHT)
        - math.lgamma(PRIOR_WEIGHT + canary_requests + stable_requests)
        + math.fsum(
            math.lgamma(PRIOR_WEIGHT * expected + count)
            - math.lgamma(PRIOR_WEIGHT * expected)
            - count * math.log(expected)
            for count, expected in sides
        )
    )
