"""Whether latencies can be judged with what the gateway's histograms show; for the condition LatencyJudgeable."""

from collections.abc import Sequence

from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.status import ConditionStatus
from visionmodel_operator.core.judge_config import LatencyRatio, LatencyTail, Metric
from visionmodel_operator.core.judge_state import JudgeState
from visionmodel_operator.core.judge_tail import blind_tails


def latency_judgeable(state: JudgeState, metrics: Sequence[Metric]) -> tuple[ConditionStatus, Reason, str]:
    """Return status, reason and message of the condition for these metrics, whose memory is in `state`."""
    blind, waiting = blind_tails(state, metrics)
    if blind:
        return ConditionStatus.FALSE, Reason.NO_USABLE_BUCKETS, "; ".join(blind)
    if waiting:
        return ConditionStatus.UNKNOWN, Reason.OBSERVING, "; ".join(waiting)
    asked = [m for m in metrics if isinstance(m, LatencyRatio | LatencyTail)]
    if not asked:
        return ConditionStatus.UNKNOWN, Reason.NOT_APPLICABLE, "No metric compares latencies."
    compared = {known.name for known in state.metrics if known.judged}
    silent = [metric for metric in asked if metric.name not in compared]
    if not silent:
        return ConditionStatus.TRUE, Reason.AVAILABLE, "Canary and stable have latency histograms."
    if state.step_requests == 0:
        return ConditionStatus.UNKNOWN, Reason.NOT_APPLICABLE, "No request was counted in this step yet."
    who = ", ".join(metric.name for metric in silent)
    least = max((metric.min_tick_requests for metric in silent if isinstance(metric, LatencyRatio)), default=1)
    message = f"{who}: no tick of this step had {least} requests and a whole histogram on both sides."
    return ConditionStatus.FALSE, Reason.METRIC_SILENT, message
