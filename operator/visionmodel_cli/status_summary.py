"""What `status` says of a VisionModel and its pods, as values: printed as JSON, or drawn by `status_view`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, assert_never

from pydantic.alias_generators import to_camel

from visionmodel_cli.actions import status_in
from visionmodel_cli.waiting import waits_for
from visionmodel_operator.api.conditions import ConditionType, Phase
from visionmodel_operator.api.spec import Analysis
from visionmodel_operator.api.status import RolloutStatus, VisionModelStatus
from visionmodel_operator.core import memory, names
from visionmodel_operator.core.header_route import in_words
from visionmodel_operator.core.judge import (
    ErrorRate,
    JudgeConfig,
    LatencyRatio,
    LatencyTail,
    Threshold,
    alpha_per_test,
    config_from_analysis,
    log_evidence_of,
    verdict_of,
)
from visionmodel_operator.core.judge_config import Metric
from visionmodel_operator.core.judge_state import MetricState
from visionmodel_operator.core.plan import headers_at
from visionmodel_operator.core.requests import requests_for
from visionmodel_operator.core.sequential.logarithms import log_threshold
from visionmodel_operator.core.weights import WHOLE


class End(IntEnum):
    """Exit codes of `status --watch`."""

    HEALTHY = 0
    DEGRADED = 3
    SUSPENDED = 4
    TIMEOUT = 5


class StepState(StrEnum):
    """Where a step of the plan is."""

    DONE = "done"
    CURRENT = "current"
    AHEAD = "ahead"


EVIDENCE = "evidence"
"""Unit of a metric that has a test: its log evidence of harm."""


@dataclass(frozen=True)
class Step:
    """One step of the frozen plan.

    Attributes:
        weight: percent of the requests.
        at_least: shortest seconds; None: until promoted.
        by_header: headers that lead to the canary besides, as `name=value`; None: none do.
    """

    number: int
    weight: float
    at_least: float | None
    state: StepState
    by_header: str | None = None


@dataclass(frozen=True)
class MetricLine:
    """How far a metric is from finding harm.

    Attributes:
        value: log evidence of an error rate, bad ticks in a row of the others.
        limit: at which it finds harm.
        unit: what both count.
    """

    name: str
    gating: bool
    harmful: bool
    value: float
    limit: float
    unit: str
    message: str


@dataclass(frozen=True)
class Pod:
    """One serving pod; `waiting` says why it does not run."""

    name: str
    ready: bool
    restarts: int
    waiting: str


@dataclass(frozen=True)
class Revision:
    """One revision that has pods or traffic; `pods` is None where they may not be listed."""

    revision: str
    role: str
    weight: float
    artifact: str | None
    pods: tuple[Pod, ...] | None


@dataclass(frozen=True)
class Summary:
    """Everything that the view shows.

    Attributes:
        devices: where the canary's come from and why; None where it needs none or nothing is under way.
        waits_for: the next thing that must happen; None where nothing is under way.
        end: exit code of a watch that ends here, None while it goes on.
    """

    name: str
    namespace: str
    phase: str
    reason: str
    message: str
    attempt: int | None
    steps: tuple[Step, ...]
    metrics: tuple[MetricLine, ...]
    revisions: tuple[Revision, ...]
    devices: str | None
    waits_for: str | None
    end: End | None

    def document(self) -> dict[str, Any]:
        """Return the summary as JSON values, under camelCase keys; what is not known is left out."""
        document: dict[str, Any] = _camel(asdict(self))
        return document


def summary_of(model: Mapping[str, Any], pods: Sequence[Mapping[str, Any]] | None, now: datetime) -> Summary:
    """Return what a VisionModel says of itself.

    Args:
        model: as the API server has it.
        pods: of all its revisions, None where they may not be listed.
        now: to say how long a step still takes.

    Raises:
        Failure: the status was written by another release.
    """
    status, metadata = status_in(model), model["metadata"]
    is_seen = status.observed_generation == metadata.get("generation") and not _is_retried(model, status)
    stalled = next((c for c in status.conditions if c.type is ConditionType.STALLED and c.status == "True"), None)
    message = status.message or ""
    if stalled is not None and stalled.message and stalled.message != message:
        message = f"{stalled.reason}: {stalled.message}"
    return Summary(
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        phase=str(status.phase or "Unknown"),
        reason=status.reason or "",
        message=message,
        attempt=status.rollout.attempt if status.rollout else None,
        steps=_steps(status),
        metrics=_metrics(status.rollout),
        revisions=_revisions(status, pods),
        devices=_devices(status.rollout),
        waits_for=waits_for(model, status, now),
        end=_end(status, is_stalled=stalled is not None) if is_seen else None,
    )


def _devices(rollout: RolloutStatus | None) -> str | None:
    capacity = None if rollout is None else rollout.capacity
    return None if capacity is None else f"{capacity.choice}: {capacity.message}"


def _is_retried(model: Mapping[str, Any], status: VisionModelStatus) -> bool:
    """Return whether a retry was asked for that the operator has not begun; an annotation moves no generation."""
    if status.failed_revision is None:
        return False
    annotations = model["metadata"].get("annotations", {})
    asked = requests_for(annotations, status.failed_revision, status.failed_attempt or 1, status.consumed_actions)
    return asked.retry


def _end(status: VisionModelStatus, *, is_stalled: bool) -> End | None:
    """Return how a watch ends here: nothing is under way, and nothing goes on by itself."""
    if status.rollout is not None:
        return None
    if is_stalled or status.phase is Phase.DEGRADED:
        return End.DEGRADED
    if status.phase is Phase.SUSPENDED:
        return End.SUSPENDED
    is_serving = status.stable is not None and status.stable.revision == status.target_revision
    return End.HEALTHY if status.phase is Phase.HEALTHY and is_serving else None


def _steps(status: VisionModelStatus) -> tuple[Step, ...]:
    rollout = status.rollout
    if rollout is None:
        return ()
    return tuple(
        Step(
            number=index + 1,
            weight=round(step.weight_ppm * 100 / WHOLE, 4),
            at_least=step.min_seconds,
            state=_state(status.phase, index, rollout.step),
            by_header=in_words(headers_at(rollout.plan, index)) or None,
        )
        for index, step in enumerate(rollout.plan)
    )


def _state(phase: Phase | None, index: int, current: int) -> StepState:
    """Return where a step is: before there are pods none has begun, and once it is promoted none is left."""
    if phase in (Phase.CONVERTING, Phase.PROVISIONING):
        return StepState.AHEAD
    if phase in (Phase.PROMOTING, Phase.DRAINING) or index < current:
        return StepState.DONE
    return StepState.CURRENT if index == current else StepState.AHEAD


def _metrics(rollout: RolloutStatus | None) -> tuple[MetricLine, ...]:
    """Return the metrics in the order of the plan; none before the judge has begun."""
    state = memory.judge_state(rollout) if rollout is not None else None
    if rollout is None or state is None:
        return ()
    config = config_from_analysis(Analysis.model_validate(rollout.analysis))
    reports = {report.name: report for report in verdict_of(state, config).totals.metrics}
    known = {metric.name: metric for metric in state.metrics}
    lines = []
    for metric in config.metrics:
        report = reports[metric.name]
        value, limit, unit = _distance(metric, known.get(metric.name, MetricState(metric.name)), config)
        lines.append(
            MetricLine(
                name=metric.name,
                gating=metric.gating,
                harmful=report.harmful,
                value=round(max(0.0, value), 3),
                limit=round(limit, 3),
                unit=unit,
                message=report.message,
            )
        )
    return tuple(lines)


def _distance(metric: Metric, known: MetricState, config: JudgeConfig) -> tuple[float, float, str]:
    match metric:
        case ErrorRate() | LatencyTail():
            return log_evidence_of(metric, known) or 0.0, log_threshold(alpha_per_test(config)), EVIDENCE
        case LatencyRatio() | Threshold():
            return float(known.streak), float(metric.failure_limit), "bad ticks"
        case _:
            assert_never(metric)


def _revisions(status: VisionModelStatus, pods: Sequence[Mapping[str, Any]] | None) -> tuple[Revision, ...]:
    """Return stable, the one on trial, and what else still has pods or traffic."""
    roles: dict[str, str] = {}
    if status.stable is not None:
        roles[status.stable.revision] = "stable"
    if status.rollout is not None:
        trial = "returning" if status.rollout.jump else "canary"
        roles.setdefault(status.rollout.revision, trial if status.stable else "first")
        if status.rollout.previous is not None:
            roles.setdefault(status.rollout.previous, "leaving")
    for pod in pods or ():
        roles.setdefault(_revision_of(pod), "old")
    artifacts = {one.revision: one.artifact for one in (status.stable, status.canary) if one is not None}
    return tuple(
        Revision(
            revision=revision,
            role=role,
            weight=_percent(status, revision),
            artifact=artifacts.get(revision),
            pods=None if pods is None else tuple(_pod(pod) for pod in pods if _revision_of(pod) == revision),
        )
        for revision, role in roles.items()
    )


def _percent(status: VisionModelStatus, revision: str) -> float:
    """Return the recorded share; without a split stable has everything."""
    traffic = memory.traffic_of(status)
    if not traffic.slots:
        return 100.0 if status.stable is not None and status.stable.revision == revision else 0.0
    return memory.share_of(status, revision) * 100 / WHOLE


def _revision_of(pod: Mapping[str, Any]) -> str:
    revision: str = pod["metadata"]["labels"][names.LABEL_REVISION]
    return revision


def _pod(pod: Mapping[str, Any]) -> Pod:
    status = pod.get("status", {})
    containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    waits: dict[str, Any] = next((c["state"]["waiting"] for c in containers if "waiting" in c.get("state", {})), {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    unscheduled = conditions.get("PodScheduled", {}) if status.get("phase") == "Pending" else {}
    why = "Terminating" if "deletionTimestamp" in pod["metadata"] else waits.get("reason", "")
    if not why and unscheduled.get("status") == "False":
        why = f"{unscheduled.get('reason', '')}: {unscheduled.get('message', '')}"
    return Pod(
        name=pod["metadata"]["name"],
        ready=conditions.get("Ready", {}).get("status") == "True",
        restarts=sum(container.get("restartCount", 0) for container in containers),
        waiting=why,
    )


def _camel(value: Any) -> Any:
    match value:
        case dict():
            return {to_camel(key): _camel(item) for key, item in value.items() if item is not None}
        case list() | tuple():
            return [_camel(item) for item in value]
        case End():
            return value.name.capitalize()
        case StrEnum():
            return value.value
        case _:
            return value
