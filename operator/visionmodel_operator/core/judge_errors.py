"""How an ErrorRate metric is judged: by the method of the analysis, against its SLO, and for its certificate.

Methods, all valid at every look (`sequential`): Counts is the ratio test. Tempered divides its evidence by the
dispersion seen between canary and stable before the tick, and averages it with a test for faults that begin late, which
bets only while the metric is quiet. Groups of stable alone would show the dispersion without the canary's own fault,
but the gateway has one counter for all of stable. Paired is sign betting on equal numbers of requests, the larger side
thinned. Auto would choose by the dispersion of groups of stable; without them it is Paired.
"""

from dataclasses import replace
from typing import Final, assert_never

from visionmodel_operator.api.rollout import Gate, Method
from visionmodel_operator.core.counters import Counts
from visionmodel_operator.core.judge_config import ErrorRate, JudgeConfig, alpha_per_test, planned_ticks
from visionmodel_operator.core.judge_messages import comparison, finding, share
from visionmodel_operator.core.judge_state import JudgeState, MetricState
from visionmodel_operator.core.sequential import certificate, dispersion, late_fault, ratio, sign
from visionmodel_operator.core.sequential.logarithms import log_threshold
from visionmodel_operator.core.sequential.proportion import log_floor_evidence
from visionmodel_operator.core.verdict import CANARY_ERRORS_HIGHER, ERROR_RATE_ABOVE_SLO

AUTO_IS_PAIRED: Final = (
    "Method Auto compares errors by Paired: stable's pods have one counter, so their own noise cannot be measured."
)


def after_errors(
    known: MetricState, metric: ErrorRate, sides: tuple[Counts, Counts], totals: JudgeState, config: JudgeConfig
) -> MetricState:
    """Return the metric's memory after one tick of canary and stable, whose counts `totals` already holds."""
    canary, stable = sides
    counts = (canary.requests, canary.errors, stable.requests, stable.errors)
    match config.method:
        case Method.COUNTS:
            before = known.ratio or ratio.no_evidence()
            known = replace(known, ratio=ratio.update(before, *counts, tolerate_ratio=metric.tolerate_ratio))
        case Method.TEMPERED:
            known = _tempered(known, metric, counts, config)
        case Method.PAIRED | Method.AUTO:
            before_sign = known.sign or sign.no_evidence(sign.seed_from(metric.name, str(totals.started)))
            known = replace(known, sign=sign.update(before_sign, *counts))
        case _:
            assert_never(config.method)
    if config.gate is Gate.CERTIFICATE:
        safety = known.safety or certificate.no_evidence(metric.max_ratio)
        known = replace(known, safety=certificate.update(safety, *counts))
    has_spoken = canary.requests > 0 and (stable.requests > 0 or metric.slo_max is not None)
    return _with_finding(replace(known, judged=known.judged + has_spoken), metric, totals, config)


def log_harm(known: MetricState) -> float:
    """Return the log evidence that the canary fails more often; 0 before the first tick."""
    if known.sign is not None:
        return sign.log_evidence(known.sign)
    plain = known.ratio or ratio.no_evidence()
    return ratio.log_evidence(plain) if known.late is None else late_fault.log_average(plain, known.late)


def ratio_message(state: JudgeState, metric: ErrorRate, known: MetricState, config: JudgeConfig) -> str:
    """Return the comparison with stable in words."""
    tolerated = "" if metric.tolerate_ratio == 1 else f", ratio {metric.tolerate_ratio:g} tolerated"
    alpha = alpha_per_test(config)
    return (
        f"{metric.name}: canary {share(state.canary_errors, state.canary_requests)},"
        f" stable {share(state.stable_errors, state.stable_requests)}{tolerated};"
        f" {comparison(log_harm(known), alpha, config.false_rollback_rate)}"
    )


def slo_message(state: JudgeState, metric: ErrorRate, config: JudgeConfig) -> str:
    """Return the comparison with the metric's sloMax in words."""
    slo_max = metric.slo_max or 0.0
    alpha = alpha_per_test(config)
    return (
        f"{metric.name}: canary {share(state.canary_errors, state.canary_requests)} above the limit of"
        f" {100 * slo_max:g} %, stable {share(state.stable_errors, state.stable_requests)};"
        f" {comparison(_slo_evidence(state, slo_max), alpha, config.false_rollback_rate)}"
    )


def is_above_slo(state: JudgeState, metric: ErrorRate, config: JudgeConfig) -> bool:
    """Return whether the canary is proven above the floor."""
    if metric.slo_max is None:
        return False
    return _slo_evidence(state, metric.slo_max) >= log_threshold(alpha_per_test(config))


def is_stable_above_slo(state: JudgeState, metric: ErrorRate) -> bool:
    """Return whether stable misses the floor over the same ticks: then something upstream is broken.

    Its plain share is compared, not a proof: with both sides above the floor, doubt protects the canary.
    """
    return metric.slo_max is not None and state.stable_errors > metric.slo_max * state.stable_requests


def unproven(known: MetricState, metric: ErrorRate, config: JudgeConfig) -> str | None:
    """Return what the metric's certificate still lacks, None once it is proven or nobody asks for it."""
    if config.gate is not Gate.CERTIFICATE:
        return None
    evidence = certificate.log_evidence(known.safety or certificate.no_evidence(metric.max_ratio))
    threshold = log_threshold(config.false_promotion_rate)
    if evidence >= threshold:
        return None
    return (
        f"{metric.name}: not yet proven to fail less than {metric.max_ratio:g} times as often as stable; evidence"
        f" {max(0.0, evidence):.1f} of {threshold:.1f} ({100 * config.false_promotion_rate:g} % false-promotion rate)"
    )


def _tempered(
    known: MetricState, metric: ErrorRate, counts: tuple[int, int, int, int], config: JudgeConfig
) -> MetricState:
    """Return the memory after a tick that is weighed by the noise of the ticks before it."""
    noise = known.noise or dispersion.Dispersion()
    exponent = 1 / dispersion.estimate(noise)
    late_exponent = exponent if dispersion.is_quiet(noise) else 0.0
    plain = known.ratio or ratio.no_evidence()
    late = known.late or late_fault.no_evidence(planned_ticks(config))
    return replace(
        known,
        ratio=ratio.update(plain, *counts, tolerate_ratio=metric.tolerate_ratio, exponent=exponent),
        late=late_fault.update(late, *counts, tolerate_ratio=metric.tolerate_ratio, exponent=late_exponent),
        noise=dispersion.update(noise, *counts),
    )


def _with_finding(known: MetricState, metric: ErrorRate, totals: JudgeState, config: JudgeConfig) -> MetricState:
    if known.finding is not None or totals.last_used is None:
        return known
    if log_harm(known) >= log_threshold(alpha_per_test(config)):
        message = ratio_message(totals, metric, known, config)
        return replace(known, finding=finding(totals.last_used, CANARY_ERRORS_HIGHER, message))
    if is_above_slo(totals, metric, config) and not is_stable_above_slo(totals, metric):
        message = slo_message(totals, metric, config)
        return replace(known, finding=finding(totals.last_used, ERROR_RATE_ABOVE_SLO, message))
    return known


def _slo_evidence(state: JudgeState, slo_max: float) -> float:
    return log_floor_evidence(state.canary_requests, state.canary_errors, slo_max)
