"""The fewest requests any test could do with: Wald's bound for two arms."""

import math


def canary_requests(alpha: float, base: float, ratio: float, share: float) -> float:
    """Return the bound on the mean number of canary requests until harm is found.

    A test that fires with probability at most alpha under the null and surely under the alternative needs at least
    ln(1/alpha) / KL requests on average (Wald, "Sequential tests of statistical hypotheses", 1945, with power 1), KL
    the information of a request against the null that is hardest to exclude. With both risks unknown that null is a
    common risk equal to the pooled one; `share` of the requests goes to the canary, whose risk is ratio x base.
    """
    worse = ratio * base
    pooled = share * worse + (1 - share) * base
    information = share * _divergence(worse, pooled) + (1 - share) * _divergence(base, pooled)
    return share * math.log(1 / alpha) / information


def _divergence(first: float, second: float) -> float:
    """Return the Kullback-Leibler divergence of two Bernoulli risks in (0, 1), in nats."""
    return first * math.log(first / second) + (1 - first) * math.log((1 - first) / (1 - second))
