"""How a LatencyTail metric is judged: by sign betting on slow requests, at bucket edges frozen before it begins.

Latencies come in bursts (batches, queues), so the test is the one that stays valid whatever the noise, under every
method. First stable's histogram is gathered until it shows a tail; the edges it then has in reach are judged from the
next tick on and never change, so that the choice knows nothing of what it judges. Without a usable edge the metric is
silent, and a silent gating metric never lets a step pass.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from visionmodel_operator.core.counters import Counts
from visionmodel_operator.core.judge_config import JudgeConfig, LatencyTail, Metric, alpha_per_test
from visionmodel_operator.core.judge_messages import comparison, finding
from visionmodel_operator.core.judge_state import MAX_TEXT, JudgeState, MetricState, TailMemory
from visionmodel_operator.core.sequential import latency, sign
from visionmodel_operator.core.sequential.logarithms import log_threshold
from visionmodel_operator.core.verdict import CANARY_SLOWER

ENOUGH_REQUESTS: Final = 1000
"""Requests of stable before its edges are chosen: the rarest usable tail then has two."""

MOST_EDGES: Final = 3
"""Edges judged, so that five metrics fit into status."""


def after_tail(
    known: MetricState, metric: LatencyTail, sides: tuple[Counts, Counts], totals: JudgeState, config: JudgeConfig
) -> MetricState:
    """Return the metric's memory after one tick of canary and stable, whose counts `totals` already holds."""
    canary, stable = sides
    tail = known.tail or TailMemory()
    if tail.evidence is None:
        return _while_choosing(known, tail, metric, stable.buckets, totals.started)
    if not canary.buckets or not stable.buckets:
        return known
    if not (latency.can_judge(tail.evidence, canary.buckets) and latency.can_judge(tail.evidence, stable.buckets)):
        return replace(known, note=f"{metric.name}: the gateway's buckets are no longer those that were chosen")
    evidence = latency.update(tail.evidence, canary.buckets, stable.buckets)
    has_spoken = canary.requests > 0 and stable.requests > 0
    message = _message(metric, evidence, config)[:MAX_TEXT]
    known = replace(
        known,
        tail=TailMemory(evidence=evidence),
        judged=known.judged + has_spoken,
        note="" if known.finding else message,
    )
    is_harm = latency.log_evidence(evidence) >= log_threshold(alpha_per_test(config))
    if is_harm and known.finding is None and totals.last_used is not None:
        return replace(known, note="", finding=finding(totals.last_used, CANARY_SLOWER, message))
    return known


def blindness(known: MetricState, metric: LatencyTail) -> str | None:
    """Return why this metric cannot judge yet, None once its edges are chosen."""
    tail = known.tail or TailMemory()
    if tail.evidence is not None:
        return None
    seen = _requests_seen(tail)
    if seen < ENOUGH_REQUESTS:
        return f"{metric.name}: {seen} of {ENOUGH_REQUESTS} requests of stable seen to choose bucket edges from"
    edges = ", ".join(f"{edge:g}" for edge, _ in tail.seen if edge < math.inf)
    return (
        f"{metric.name}: no edge of the gateway's histogram ({edges} ms) has"
        f" {100 * latency.SMALLEST_TAIL:g} to {100 * latency.LARGEST_TAIL:g} % of stable's {seen} requests beyond it"
    )


def blind_tails(state: JudgeState, metrics: Sequence[Metric]) -> tuple[list[str], list[str]]:
    """Return why LatencyTail metrics cannot judge: those without a usable edge, and those that still choose."""
    blind: list[str] = []
    waiting: list[str] = []
    known = {metric.name: metric for metric in state.metrics}
    for metric in metrics:
        if isinstance(metric, LatencyTail):
            memory = known.get(metric.name, MetricState(metric.name))
            reason = blindness(memory, metric)
            if reason is not None:
                is_late = _requests_seen(memory.tail or TailMemory()) >= ENOUGH_REQUESTS
                (blind if is_late else waiting).append(reason)
    return blind, waiting


def _requests_seen(tail: TailMemory) -> int:
    return tail.seen[-1][1] if tail.seen else 0


def _while_choosing(
    known: MetricState, tail: TailMemory, metric: LatencyTail, stable: Sequence[tuple[float, int]], started: float
) -> MetricState:
    """Return the memory with stable's buckets added, or with the edges that they show in reach."""
    if not stable:
        return known
    if [edge for edge, _ in tail.seen] == [edge for edge, _ in stable]:
        seen = tuple((edge, old + new) for (edge, old), (_, new) in zip(tail.seen, stable, strict=True))
    else:
        seen = tuple(stable)
    if seen[-1][1] >= ENOUGH_REQUESTS:
        edges = latency.usable_edges(seen, metric.quantile, metric.tolerate_ratio, MOST_EDGES)
        if edges:
            seed = sign.seed_from(metric.name, str(started))
            return replace(known, tail=TailMemory(evidence=latency.no_paired_evidence(edges, seed)))
    return replace(known, tail=TailMemory(seen=seen))


def _message(metric: LatencyTail, evidence: latency.TailEvidence, config: JudgeConfig) -> str:
    edges = ", ".join(f"{pair.stable:g}" for pair in evidence.edges)
    tolerated = "" if metric.tolerate_ratio == 1 else f" ({metric.tolerate_ratio:g} times slower tolerated)"
    found = comparison(latency.log_evidence(evidence), alpha_per_test(config), config.false_rollback_rate)
    return f"{metric.name}: requests slower than {edges} ms, canary against stable{tolerated}; {found}"
