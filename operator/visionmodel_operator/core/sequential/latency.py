"""Is the canary's latency tail heavier? Judged on histogram buckets, edge by edge; quantiles are for reporting only.

Every bucket edge b is a yes/no question, "slower than b?", so the test of `ratio` (or of `sign`, where latencies come
in bursts) runs per usable edge with slow requests in the place of errors, and the edges' e-processes are averaged. Null
hypothesis: at each of these edges the canary's share of slow requests is no larger than stable's; the question of
Lindon, Sanden and Shirikian, "Rapid regression detection in software deployments through sequential testing" (KDD 2022,
arXiv 2205.14762), which sees raw values where buckets lose resolution.

An edge is usable while between 0.2 % and 20 % of stable's requests lie above it. "10 % slower is fine" compares the
canary's count above the first edge at or beyond 1.1 b with stable's count above b. Choose the edges before the first
tick and keep them (`TailEvidence.edges`): none usable means that this histogram cannot judge latency, which is to be
said and never to be passed.

    edges = latency.usable_edges(buckets_of_stable, quantile, tolerate_ratio)   # () : not judgeable
    state = latency.no_evidence(edges)
    state = latency.update(state, canary_buckets, stable_buckets)               # every tick

Buckets are (upper edge, requests at or below it), cumulative, the last edge infinite, as `counters.Counts.buckets`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from visionmodel_operator.core.sequential import ratio, sign
from visionmodel_operator.core.sequential.logarithms import log_mean_exp, log_threshold

Buckets = Sequence[tuple[float, int]]

SMALLEST_TAIL: Final = 0.002
LARGEST_TAIL: Final = 0.2
MOST_EDGES: Final = 4
"""Edges judged at once; each costs numbers in status."""

DKW_SCALE: Final = 0.85
TUNED_FOR: Final = 10_000
"""Requests after which a quantile's interval is tightest."""


@dataclass(frozen=True)
class EdgePair:
    """Upper edges compared: slower than `stable` for stable, slower than `canary` (not below it) for the canary."""

    stable: float
    canary: float

    def __post_init__(self) -> None:
        """Refuse edges that compare nothing: ValueError."""
        if not 0 < self.stable <= self.canary < math.inf:
            raise ValueError(f"need 0 < stable's edge <= the canary's < infinity, got {self!r}")


@dataclass(frozen=True)
class TailEvidence:
    """One test per pair of edges, in the same order, all of one kind; at least one."""

    edges: tuple[EdgePair, ...]
    evidence: tuple[ratio.RatioEvidence, ...] | tuple[sign.SignEvidence, ...]

    def __post_init__(self) -> None:
        """Refuse tests without an edge and edges without a test: ValueError."""
        if not self.edges or len(self.edges) != len(self.evidence):
            raise ValueError(f"expected one state per edge, got {len(self.evidence)} for {len(self.edges)}")


def usable_edges(
    stable: Buckets, quantile: float, tolerate_ratio: float = 1.0, most: int = MOST_EDGES
) -> tuple[EdgePair, ...]:
    """Return the pairs of edges that can judge, ascending; empty when stable's histogram cannot.

    Of more than `most` usable edges those are kept whose tail shares are nearest to 1 - quantile, by ratio.
    Raises ValueError for a quantile outside (0, 1), a tolerated ratio below 1, or buckets that do not accumulate.
    """
    if not 0 < quantile < 1 or not 1 <= tolerate_ratio < math.inf:
        raise ValueError(f"need a quantile in (0, 1) and a ratio of at least 1, got {quantile!r}, {tolerate_ratio!r}")
    requests = _requests(stable)
    if requests == 0:
        return ()
    found = []
    for edge, below in stable:
        tail = 1 - below / requests
        beyond = _edge_at(stable, edge * tolerate_ratio)
        if SMALLEST_TAIL <= tail <= LARGEST_TAIL and beyond < math.inf:
            found.append((abs(math.log(tail / (1 - quantile))), EdgePair(edge, beyond)))
    nearest = sorted(found, key=lambda pair: pair[0])[:most]
    return tuple(sorted((pair for _, pair in nearest), key=lambda pair: pair.stable))


def no_evidence(edges: Sequence[EdgePair]) -> TailEvidence:
    """Return the state of ratio tests before the first tick; ValueError without an edge."""
    return TailEvidence(tuple(edges), (ratio.no_evidence(),) * len(edges))


def no_paired_evidence(edges: Sequence[EdgePair], seed: int) -> TailEvidence:
    """Return the state of sign betting per edge, for latencies that come in bursts; `seed` as in `sign`."""
    return TailEvidence(tuple(edges), (sign.no_evidence(seed),) * len(edges))


def can_judge(state: TailEvidence, buckets: Buckets) -> bool:
    """Return whether buckets still have every edge that the state compares."""
    known = {edge for edge, _ in buckets}
    return all(pair.stable in known and pair.canary in known for pair in state.edges)


def update(
    state: TailEvidence, canary: Buckets, stable: Buckets, *, tolerate_ratio: float = 1.0, exponent: float = 1.0
) -> TailEvidence:
    """Add one tick's buckets of both sides.

    `tolerate_ratio` here is a ratio of tail shares and with `exponent` belongs to ratio tests (`ratio.update`); the
    tolerance for latency is in the edges. Raises ValueError for sign betting with either of them, where an edge is
    missing (ask `can_judge` first) or where buckets do not accumulate.
    """
    counts = [(*_slow(canary, pair.canary), *_slow(stable, pair.stable)) for pair in state.edges]
    ratios = tuple(known for known in state.evidence if isinstance(known, ratio.RatioEvidence))
    signs = tuple(known for known in state.evidence if isinstance(known, sign.SignEvidence))
    if ratios:
        ratios = tuple(
            ratio.update(known, *tick, tolerate_ratio=tolerate_ratio, exponent=exponent)
            for known, tick in zip(ratios, counts, strict=True)
        )
        return TailEvidence(state.edges, ratios)
    if (tolerate_ratio, exponent) != (1.0, 1.0):
        raise ValueError("sign betting needs a tolerated ratio and an exponent of 1")
    return TailEvidence(
        state.edges, tuple(sign.update(known, *tick) for known, tick in zip(signs, counts, strict=True))
    )


def log_evidence(state: TailEvidence) -> float:
    """Return ln of the average of the edges' e-processes."""
    return log_mean_exp(
        ratio.log_evidence(known) if isinstance(known, ratio.RatioEvidence) else sign.log_evidence(known)
        for known in state.evidence
    )


def quantile_interval(
    buckets: Buckets, quantile: float, alpha: float, tuned_for: int = TUNED_FOR
) -> tuple[float, float]:
    """Return edges between which the quantile lies, at all times together with probability 1 - alpha.

    (0, infinity) while nothing can be said. An edge b is excluded on either side by a beta-binomial mixture against
    "the share at or below b is `quantile`" with prior mean `quantile` (Howard et al. 2021, two-sided, g = p,
    h = 1 - p); by monotonicity one test covers every edge. A p99 on less than about 1 000 requests says little.
    """
    requests, limit = _requests(buckets), log_threshold(alpha)
    low, high = 0.0, math.inf
    for edge, below in buckets:
        if _log_mixture(requests, below, quantile, alpha, tuned_for) < limit:
            continue
        if below < quantile * requests:
            low = max(low, edge)
        else:
            high = min(high, edge)
    return low, high


def dkw_radius(requests: int, alpha: float, first: int = 1) -> float:
    """Return the half width of a band around the whole distribution function that holds for all t >= `first`.

    0.85 sqrt((ln(1 + ln(t / m)) + C) / t) for t requests, m = `first`: the time-uniform Dvoretzky-Kiefer-Wolfowitz
    inequality of Howard and Ramdas, "Sequential estimation of quantiles" (Bernoulli 2022, Corollary 2). Never above 1.
    """
    if not 1 <= first <= requests:
        raise ValueError(f"need 1 <= first <= requests, got {first} and {requests}")
    return min(1.0, DKW_SCALE * math.sqrt((math.log1p(math.log(requests / first)) + dkw_constant(alpha)) / requests))


def printed_dkw_constant(alpha: float) -> float:
    """Return the closed form of the paper, 0.8 ln(1612 / alpha): never below the exact constant."""
    return 0.8 * math.log(1612) + 0.8 * log_threshold(alpha)


@lru_cache
def dkw_constant(alpha: float) -> float:
    """Return the smallest C for which the band fails with probability at most alpha (their Theorem 2), to 1e-6.

    8.1227 at 5 %, 9.2835 at 1 %. Found by bisection below the closed form.
    """
    low, high = 0.0, printed_dkw_constant(alpha)
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if _dkw_failure(middle) <= alpha else (middle, high)
    return high


def _dkw_failure(constant: float) -> float:
    """Return inf over eta in (1, 2 A^2) of 4 exp(-g^2 C) (1 + 1 / ((g^2 - 1) ln eta)).

    g = sqrt(2 / eta) (A - sqrt(2 (eta - 1) / C)), only where g > 1; A = 0.85.
    """
    steps = 2000
    span = 2 * DKW_SCALE**2 - 1
    best = 1.0
    for index in range(1, steps):
        eta = 1 + span * index / steps
        growth = math.sqrt(2 / eta) * (DKW_SCALE - math.sqrt(2 * (eta - 1) / max(constant, 1e-9)))
        if growth > 1:
            square = growth**2
            best = min(best, 4 * math.exp(-square * constant) * (1 + 1 / ((square - 1) * math.log(eta))))
    return best


def _log_mixture(requests: int, hits: int, rate: float, alpha: float, tuned_for: int) -> float:
    """Return ln of the two-sided beta-binomial mixture against "each hit has probability `rate`".

    The prior is Beta(c p, c (1-p)); c makes the boundary tightest after `tuned_for` requests (Howard et al. 2021,
    section 3.5, in the form of the authors' confseq).
    """
    doubt = 2 * log_threshold(alpha)
    weight = max(1.0, tuned_for / (doubt + math.log1p(doubt)) - 1)
    hit, miss = weight * rate, weight * (1 - rate)
    return (
        _log_beta(hit + hits, miss + requests - hits)
        - _log_beta(hit, miss)
        - hits * math.log(rate)
        - (requests - hits) * math.log1p(-rate)
    )


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)


def _requests(buckets: Buckets) -> int:
    """Return all requests of a histogram, 0 without buckets; ValueError when it is not cumulative up to infinity."""
    if not buckets:
        return 0
    rises = all(low[0] < high[0] and low[1] <= high[1] for low, high in pairwise(buckets))
    if not rises or buckets[-1][0] != math.inf or buckets[0][1] < 0:
        raise ValueError(f"expected cumulative counts up to infinity, got {buckets!r}")
    return buckets[-1][1]


def _slow(buckets: Buckets, edge: float) -> tuple[int, int]:
    """Return (requests, those slower than the edge)."""
    requests = _requests(buckets)
    return requests, requests - _below(buckets, edge)


def _below(buckets: Buckets, edge: float) -> int:
    for upper, count in buckets:
        if upper == edge:
            return count
    if not buckets:
        return 0
    raise ValueError(f"no bucket ends at {edge:g}")


def _edge_at(buckets: Buckets, value: float) -> float:
    """Return the first edge at or beyond a value, infinity if there is none."""
    return min((upper for upper, _ in buckets if upper >= value * (1 - 1e-9)), default=math.inf)
