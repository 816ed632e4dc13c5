"""The judge: from ticks to a verdict; a pure fold, so the same range of samples always gives the same verdict.

Each tick is used once, in time order, keyed by its end, and the verdict is a function of the state alone. So
it does not matter whether ticks arrive one by one, all at once after a restart, or twice. The judge has no
clock: whoever calls it compares `totals.last_used` with the time to know how old the evidence is.

ErrorRate and LatencyTail carry a guarantee: while the canary is no worse than tolerated, the chance that their tests
ever fire is at most the false-rollback rate, however long the rollout is watched. That rate is split equally over the
tests that make the claim (one per gating metric of these, one more per sloMax). LatencyRatio and Threshold
compare numbers tick by tick, claim nothing and take no share.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from visionmodel_operator.core.counters import Counts, Tick
from visionmodel_operator.core.judge_config import (
    ErrorRate,
    JudgeConfig,
    LatencyRatio,
    LatencyTail,
    Metric,
    Threshold,
    alpha_per_test,
    config_from_analysis,
    min_samples,
)
from visionmodel_operator.core.judge_errors import (
    after_errors,
    is_above_slo,
    is_stable_above_slo,
    log_harm,
    ratio_message,
    slo_message,
    unproven,
)
from visionmodel_operator.core.judge_messages import finding
from visionmodel_operator.core.judge_state import (
    MAX_TEXT,
    JudgeState,
    MetricState,
    counted_skip,
    initial_state,
    start_step,
    state_from_dict,
    state_to_dict,
)
from visionmodel_operator.core.judge_tail import after_tail, blindness
from visionmodel_operator.core.sequential import latency
from visionmodel_operator.core.sequential.logarithms import log_threshold
from visionmodel_operator.core.verdict import (
    CANARY_SLOWER,
    METRIC_SILENT,
    NO_TICKS,
    NOT_PROVEN_SAFE,
    OUT_OF_RANGE,
    TOO_FEW_REQUESTS,
    UNKNOWN,
    UPSTREAM_INCIDENT,
    Harm,
    Inconclusive,
    MetricReport,
    NoData,
    Pass,
    Totals,
    Verdict,
)

__all__ = [
    "ErrorRate",
    "Harm",
    "Inconclusive",
    "JudgeConfig",
    "JudgeState",
    "LatencyRatio",
    "LatencyTail",
    "MetricReport",
    "NoData",
    "Pass",
    "Threshold",
    "Totals",
    "Verdict",
    "alpha_per_test",
    "config_from_analysis",
    "initial_state",
    "judge",
    "log_evidence_of",
    "min_samples",
    "quantile_ms",
    "start_step",
    "state_from_dict",
    "state_to_dict",
    "verdict_of",
]

Values = Mapping[float, Mapping[str, float | None]]


def judge(
    state: JudgeState, ticks: Iterable[Tick], config: JudgeConfig, values: Values | None = None
) -> tuple[JudgeState, Verdict]:
    """Return the state after the ticks that are new to it, and the verdict.

    `values` holds what the queries of Threshold metrics gave, by tick end and metric name; None, NaN and
    infinity are no data. Ticks at or before the last one seen are dropped and counted in the totals.
    """
    dropped = 0
    for tick in sorted(ticks, key=lambda tick: tick.end):
        if state.last_tick is not None and tick.end <= state.last_tick:
            dropped += 1
        else:
            state = _after_tick(state, tick, config, (values or {}).get(tick.end, {}))
    return state, verdict_of(state, config, dropped)


def verdict_of(state: JudgeState, config: JudgeConfig, dropped: int = 0) -> Verdict:
    """Return what the state means; harm outranks missing data, which outranks everything else."""
    states = _metric_states(state, config)
    totals = _totals(state, states, config, dropped)
    gating = [(metric, known) for metric, known in zip(config.metrics, states, strict=True) if metric.gating]
    found = [(known.finding, metric) for metric, known in gating if known.finding is not None]
    if found:
        first, metric = min(found, key=lambda pair: pair[0].tick)
        return Harm(metric.name, first.reason, first.message, first.tick, totals)
    if state.last_tick is None:
        return NoData(NO_TICKS, state.started, totals)
    if state.last_used != state.last_tick:
        since = state.started if state.last_used is None else state.last_used
        return NoData(state.last_reason, since, totals)
    for metric, _ in gating:
        if isinstance(metric, ErrorRate) and is_above_slo(state, metric, config) and is_stable_above_slo(state, metric):
            return Inconclusive(UPSTREAM_INCIDENT, slo_message(state, metric, config), totals)
    if state.step_requests < min_samples(config):
        message = f"{state.step_requests} of {min_samples(config)} canary requests in this step"
        return Inconclusive(TOO_FEW_REQUESTS, message, totals)
    silent = [metric.name for metric, known in gating if known.judged == 0]
    if silent:
        return Inconclusive(METRIC_SILENT, f"nothing to judge yet in this step: {', '.join(silent)}", totals)
    doubts = [
        doubt
        for metric, known in gating
        if isinstance(metric, ErrorRate) and (doubt := unproven(known, metric, config)) is not None
    ]
    if doubts:
        return Inconclusive(NOT_PROVEN_SAFE, "; ".join(doubts), totals)
    return Pass(
        f"no harm in {state.step_requests} canary requests of this step"
        f" (evidence {totals.evidence:.1f} of {totals.threshold:.1f})",
        totals,
    )


def log_evidence_of(metric: Metric, known: MetricState) -> float | None:
    """Return the evidence of a metric whose test claims a rate, None for the others and before its first tick."""
    if isinstance(metric, ErrorRate):
        return log_harm(known) if known.ratio is not None or known.sign is not None else None
    tail = known.tail
    return latency.log_evidence(tail.evidence) if tail is not None and tail.evidence is not None else None


def quantile_ms(buckets: Sequence[tuple[float, int]], quantile: float) -> float | None:
    """Return a quantile from cumulative counts by upper edge in ms, None without requests.

    Linear within the bucket, from 0 in the first one; above the last finite edge that edge is returned, so
    the value is then a lower bound.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = quantile * buckets[-1][1]
    lower, below = 0.0, 0
    for upper, count in buckets:
        if count >= rank and count > below:
            return lower if math.isinf(upper) else lower + (upper - lower) * (rank - below) / (count - below)
        lower, below = (lower, below) if math.isinf(upper) else (upper, count)
    return lower


def _after_tick(state: JudgeState, tick: Tick, config: JudgeConfig, values: Mapping[str, float | None]) -> JudgeState:
    """Return the state after one new tick."""
    canary, stable = tick.canary, tick.stable
    states = _metric_states(state, config)
    is_of_step = state.step_started is None or tick.end - config.interval >= state.step_started
    if canary is None or stable is None:
        reason = (tick.reason or UNKNOWN)[:MAX_TEXT]
        state = replace(state, last_reason=reason, skipped=counted_skip(state.skipped, reason))
    else:
        state = replace(
            state,
            last_used=tick.end,
            last_reason="",
            used_ticks=state.used_ticks + 1,
            step_requests=state.step_requests + (canary.requests if is_of_step else 0),
            canary_requests=state.canary_requests + canary.requests,
            canary_errors=state.canary_errors + canary.errors,
            stable_requests=state.stable_requests + stable.requests,
            stable_errors=state.stable_errors + stable.errors,
        )
    judged = []
    for metric, known in zip(config.metrics, states, strict=True):
        before = known.judged
        match metric:
            case Threshold():
                known = _after_value(known, metric, values.get(metric.name), tick.end)
            case ErrorRate():
                if canary is not None and stable is not None:
                    known = after_errors(known, metric, (canary, stable), state, config)
            case LatencyTail():
                if canary is not None and stable is not None:
                    known = after_tail(known, metric, (canary, stable), state, config)
            case LatencyRatio():
                if canary is not None and stable is not None:
                    known = _after_latency(known, metric, (canary, stable), tick.end)
            case _:
                assert_never(metric)
        judged.append(known if is_of_step else replace(known, judged=before))
    return replace(state, last_tick=tick.end, metrics=tuple(judged))


def _metric_states(state: JudgeState, config: JudgeConfig) -> tuple[MetricState, ...]:
    """Return the memory of each metric of the config, in its order."""
    known = {metric.name: metric for metric in state.metrics}
    return tuple(known.get(metric.name, MetricState(metric.name)) for metric in config.metrics)


def _after_latency(known: MetricState, metric: LatencyRatio, sides: tuple[Counts, Counts], end: float) -> MetricState:
    if any(not side.buckets or side.buckets[-1][1] < metric.min_tick_requests for side in sides):
        return known
    canary, stable = (quantile_ms(side.buckets, metric.quantile) for side in sides)
    if canary is None or stable is None:
        return known
    is_bad = canary > metric.max_ratio * stable and canary > metric.floor_ms
    message = (
        f"{metric.name}: p{100 * metric.quantile:g} canary {canary:.3g} ms, stable {stable:.3g} ms;"
        f" limit {metric.max_ratio:g} times stable's and above {metric.floor_ms:g} ms"
    )
    return _after_comparison(known, is_bad, metric.failure_limit, (end, CANARY_SLOWER, message))


def _after_value(known: MetricState, metric: Threshold, value: float | None, end: float) -> MetricState:
    if value is None or not math.isfinite(value):
        return known
    low, high = metric.minimum, metric.maximum
    is_bad = (low is not None and value < low) or (high is not None and value > high)
    limits = [f"{name} {limit:g}" for name, limit in (("min", low), ("max", high)) if limit is not None]
    message = f"{metric.name}: {value:.4g} ({', '.join(limits) or 'no limit'})"
    return _after_comparison(known, is_bad, metric.failure_limit, (end, OUT_OF_RANGE, message))


def _after_comparison(known: MetricState, is_bad: bool, limit: int, found: tuple[float, str, str]) -> MetricState:
    """Count a good or bad tick; harm after `limit` bad ones in a row, silent ticks in between or not."""
    end, reason, message = found
    streak = known.streak + 1 if is_bad else 0
    known = replace(known, streak=streak, judged=known.judged + 1, note=message[:MAX_TEXT])
    if known.finding is None and streak >= limit:
        return replace(known, finding=finding(end, reason, f"{message}; {streak} ticks in a row"))
    return known


def _totals(state: JudgeState, states: Sequence[MetricState], config: JudgeConfig, dropped: int) -> Totals:
    evidence = [
        known_evidence
        for metric, known in zip(config.metrics, states, strict=True)
        if metric.gating and (known_evidence := log_evidence_of(metric, known)) is not None
    ]
    return Totals(
        canary_requests=state.canary_requests,
        canary_errors=state.canary_errors,
        stable_requests=state.stable_requests,
        stable_errors=state.stable_errors,
        step_requests=state.step_requests,
        needed_requests=min_samples(config),
        evidence=round(max(evidence, default=0.0), 6),
        threshold=round(log_threshold(alpha_per_test(config)), 6),
        used_ticks=state.used_ticks,
        skipped=state.skipped,
        dropped=dropped,
        last_used=state.last_used,
        metrics=tuple(
            _report(state, metric, known, config) for metric, known in zip(config.metrics, states, strict=True)
        ),
    )


def _report(state: JudgeState, metric: Metric, known: MetricState, config: JudgeConfig) -> MetricReport:
    if known.finding is not None:
        message = known.finding.message
    elif isinstance(metric, ErrorRate):
        message = ratio_message(state, metric, known, config)
    elif isinstance(metric, LatencyTail) and (blind := blindness(known, metric)) is not None:
        message = blind
    else:
        message = known.note or f"{metric.name}: nothing to judge yet"
    return MetricReport(metric.name, metric.gating, known.finding is not None, message)
