"""Is a rate above a limit? One-sided beta-binomial mixture on totals; no memory but the two counts.

The likelihood ratio of a rate uniform on (limit, 1] against the limit itself. For H hits of N trials, limit a:

    ln M = ln B(N-H+1, H+1) + ln I_{1-a}(N-H+1, H+1) - ln(1-a) - (N-H) ln(1-a) - H ln a

with B the beta function and I the regularised incomplete beta function (Howard, Ramdas, McAuliffe, Sekhon,
"Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 2021, on mixtures). It stays
valid for a rate that wanders as long as it never exceeds the limit. Three uses: errors above the SLO
(`log_floor_evidence`), answers that differ from stable's too often (`log_disagreement`), and the proof that they agree
often enough (`log_agreement`).
"""

import math


def log_evidence_above(trials: int, hits: int, limit: float) -> float:
    """Return ln M against "the rate of hits never exceeds the limit". O(sqrt(trials)) steps.

    Raises ValueError for hits outside 0..trials or a limit outside (0, 1).
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"impossible counts: {hits} of {trials}")
    if not 0 < limit < 1:
        raise ValueError(f"the limit must lie between 0 and 1, got {limit!r}")
    misses = trials - hits
    log_miss, log_hit = math.log1p(-limit), math.log(limit)
    log_beta = math.lgamma(misses + 1) + math.lgamma(hits + 1) - math.lgamma(trials + 2)
    log_share = _log_at_most(hits, trials + 1, limit)
    return log_beta + log_share - log_miss - misses * log_miss - hits * log_hit


def log_floor_evidence(requests: int, errors: int, max_rate: float) -> float:
    """Return ln M against "the error rate never exceeds max_rate", from the totals of all ticks so far."""
    return log_evidence_above(requests, errors, max_rate)


def log_disagreement(pairs: int, agreements: int, min_agreement: float) -> float:
    """Return ln M against "canary and stable agree in at least min_agreement (a0) of the pairs": harm."""
    return log_evidence_above(pairs, pairs - agreements, 1 - min_agreement)


def log_agreement(pairs: int, agreements: int, max_agreement: float) -> float:
    """Return ln M against "they agree in at most max_agreement (a1) of the pairs": the certificate."""
    return log_evidence_above(pairs, agreements, max_agreement)


def _log_at_most(count: int, trials: int, rate: float) -> float:
    """Return ln P(Binomial(trials, rate) <= count), which is ln I_(1-rate)(trials - count, count + 1).

    Sums downwards from the highest term that matters, each term from the one above it.
    """
    mean = trials * rate
    top = min(count, int(mean + 9 * math.sqrt(mean * (1 - rate)) + 40))
    log_top = (
        math.lgamma(trials + 1)
        - math.lgamma(top + 1)
        - math.lgamma(trials - top + 1)
        + top * math.log(rate)
        + (trials - top) * math.log1p(-rate)
    )
    term, total, index = 1.0, 1.0, top
    while index > 0 and (index > mean or term > total * 1e-17):
        term *= index * (1 - rate) / ((trials - index + 1) * rate)
        total += term
        index -= 1
    return min(0.0, log_top + math.log(total))
