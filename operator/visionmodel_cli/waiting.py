"""The next thing that a VisionModel waits for, in words. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from visionmodel_operator.api.capacity import CapacityChoice
from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.api.spec import Analysis
from visionmodel_operator.api.status import HoldStatus, RolloutStatus, SwapStage, VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.judge import Inconclusive, NoData, config_from_analysis, verdict_of
from visionmodel_operator.core.stepping import CONTESTED
from visionmodel_operator.core.verdict import METRIC_SILENT, TOO_FEW_REQUESTS


def waits_for(model: Mapping[str, Any], status: VisionModelStatus, now: datetime) -> str | None:
    """Return what must happen next; None where nothing is under way."""
    if status.observed_generation != model["metadata"].get("generation") and status.rollout is None:
        return "the operator to look at the newest spec"
    rollout, name = status.rollout, model["metadata"]["name"]
    if rollout is None:
        return _at_rest(name, status)
    match status.phase:
        case Phase.CONVERTING:
            return f"the conversion of revision {rollout.revision}{_stage(status)}"
        case Phase.PROVISIONING | Phase.DEGRADED:
            return f"ready pods of revision {rollout.revision}"
        case Phase.PROGRESSING:
            return _step(rollout, status, now)
        case Phase.HELD if rollout.hold is not None:
            return _hold(name, rollout, rollout.hold)
        case Phase.PROMOTING:
            return _promotion(rollout)
        case Phase.ROLLING_BACK:
            return _jump(rollout, status)
        case Phase.DRAINING:
            return f"revision {rollout.previous} to be idle"
        case Phase.ABORTING:
            is_idle_next = rollout.swap is SwapStage.ZERO
            return f"revision {rollout.revision} to be idle" if is_idle_next else "the gateway to take its weight away"
        case _:
            return status.message


def _at_rest(name: str, status: VisionModelStatus) -> str | None:
    match status.phase:
        case Phase.HEALTHY:
            return None
        case Phase.SUSPENDED:
            return "spec.suspend: false"
        case Phase.DEGRADED if status.failed_revision is not None and status.failed_revision == status.target_revision:
            return f"a new spec, `kubectl visionmodel undo {name}`, or `kubectl visionmodel retry {name}`"
        case Phase.DEGRADED if status.reason == Reason.STABLE_UNAVAILABLE:
            return "ready pods of the stable revision"
        case None:
            return "the operator's first look"
        case _:
            return status.message


def _stage(status: VisionModelStatus) -> str:
    conversion = status.conversion
    if conversion is None or not conversion.stage:
        return ""
    percent = "" if conversion.progress is None else f", {conversion.progress} %"
    return f" ({conversion.stage}{percent})"


def _step(rollout: RolloutStatus, status: VisionModelStatus, now: datetime) -> str:
    """Return what keeps a step from ending: pods and gateway, then its time and the judge."""
    if rollout.step_started_at is None:
        return "ready canary pods, and the gateway to accept the weights"
    step = rollout.plan[rollout.step]
    left = (step.min_seconds or 0.0) - (now - rollout.step_started_at).total_seconds()
    parts = [f"{left:.0f} s more at this weight"] if left >= 1 else []
    parts += _evidence(rollout)
    return " and ".join(parts) or "the operator's next look"


def _evidence(rollout: RolloutStatus) -> list[str]:
    state = memory.judge_state(rollout)
    if state is None:
        return []
    verdict = verdict_of(state, config_from_analysis(Analysis.model_validate(rollout.analysis)))
    match verdict:
        case NoData():
            return [f"metrics ({verdict.reason})"]
        case Inconclusive(reason=reason) if reason == TOO_FEW_REQUESTS:
            return [f"{verdict.totals.needed_requests - verdict.totals.step_requests} more canary requests"]
        case Inconclusive(reason=reason) if reason == METRIC_SILENT:
            return [verdict.message]
        case Inconclusive():
            return [f"evidence: {verdict.message}"]
        case _:
            return []


def _promotion(rollout: RolloutStatus) -> str:
    if rollout.swap is not None:
        return "the gateway to accept the new weights"
    if rollout.capacity is not None and rollout.capacity.choice is CapacityChoice.SHRINK_BY_ONE:
        return f"stable's pods to become revision {rollout.revision}'s, one by one"
    return f"revision {rollout.revision} at full scale"


def _jump(rollout: RolloutStatus, status: VisionModelStatus) -> str:
    if rollout.swap is None and memory.share_of(status, rollout.revision) == 0:
        return f"revision {rollout.revision} at full scale"
    return "the gateway to accept the new weights"


def _hold(name: str, rollout: RolloutStatus, hold: HoldStatus) -> str:
    match hold.reason:
        case Reason.PAUSED if "annotation" in hold.message:
            return f"`kubectl visionmodel resume {name}`"
        case Reason.PAUSED if "spec.rollout.paused" in hold.message:
            return "spec.rollout.paused: false"
        case Reason.PAUSED | Reason.AWAITING_APPLY:
            return f"`kubectl visionmodel promote {name}`, or abort"
        case Reason.INCONCLUSIVE:
            return f"a decision: `kubectl visionmodel promote {name}` or abort"
        case Reason.METRICS_UNAVAILABLE:
            return "metrics to be back"
        case Reason.SPLIT_MISMATCH if CONTESTED in hold.message:
            return "the other writer to leave the HTTPRoute alone"
        case Reason.SPLIT_MISMATCH:
            return "the gateway to accept the weights"
        case Reason.NO_CAPACITY:
            return "free devices for the canary's pods"
        case Reason.ROLLBACK_UNAVAILABLE:
            return f"ready pods of revision {rollout.revision}, or `kubectl visionmodel promote {name}`, or abort"
        case Reason.UPSTREAM_INCIDENT:
            return "stable to meet the limit again"
        case _:
            return hold.message
