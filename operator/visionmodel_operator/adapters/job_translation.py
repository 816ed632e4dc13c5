"""Jobs and their pods as the core sees them; pure.

A Job's result travels in the termination message of its container; the pod may be gone before the Job is, and a
crashed container leaves the tail of its log there instead of a report.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from visionmodel_contract.report import ReportSummary
from visionmodel_operator.adapters.reading import Raw, condition_of, field_of, is_true, label_of, name_of
from visionmodel_operator.core.names import LABEL_REVISION
from visionmodel_operator.core.snapshot import SUSPENDED_JOB, JobState

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
MESSAGE_LIMIT = 1024


def job_states(jobs: Iterable[Raw], pods: Iterable[Raw], progress: Mapping[str, str]) -> dict[str, JobState]:
    """Return the Jobs by name.

    Args:
        jobs: the Jobs of one VisionModel.
        pods: pods that may be theirs, found by the Job controller's label.
        progress: last line of the log, by Job.
    """
    by_job: dict[str, list[Raw]] = {}
    for pod in pods:
        by_job.setdefault(label_of(pod, JOB_NAME_LABEL) or "", []).append(pod)
    return {name_of(job): _job_state(job, by_job.get(name_of(job), []), progress.get(name_of(job))) for job in jobs}


def _job_state(job: Raw, pods: list[Raw], log_line: str | None) -> JobState:
    conditions = field_of(job, "status", "conditions", default=[])
    ended = _newest_termination(pods)
    text = field_of(ended, "message", default="").strip()
    summary = _summary_from(text)
    finished = True if is_true(conditions, "Complete") else False if is_true(conditions, "Failed") else None
    stage, percent = (None, None) if finished is not None else _progress_from(log_line)
    message = "" if summary is not None else text[-MESSAGE_LIMIT:]
    failed: Raw = condition_of(conditions, "Failed") if finished is False else {}
    waiting = _waiting_of_job(job, pods) if finished is None else NOT_WAITING
    return JobState(
        name=name_of(job),
        revision=label_of(job, LABEL_REVISION) or "",
        finished=finished,
        summary=summary,
        exit_code=field_of(ended, "exitCode"),
        message=message or ("" if summary is not None else str(failed.get("message") or "")[:MESSAGE_LIMIT]),
        failure=str(failed.get("reason") or ""),
        evicted=_eviction_of(pods),
        progress_stage=stage,
        progress_percent=percent,
        waiting=waiting.reason,
        waiting_message=waiting.message,
    )


def _eviction_of(pods: list[Raw]) -> str:
    """Return why the kubelet threw a pod out, the newest such pod's; its container was killed and could not say."""
    evicted = [pod for pod in pods if field_of(pod, "status", "reason") == "Evicted"]
    newest = max(evicted, key=lambda pod: str(field_of(pod, "metadata", "creationTimestamp", default="")), default={})
    return str(field_of(newest, "status", "message", default="")).strip()[:MESSAGE_LIMIT]


def _newest_termination(pods: list[Raw]) -> Raw:
    terminated = [
        state
        for pod in pods
        for container in field_of(pod, "status", "containerStatuses", default=[])
        for state in (field_of(container, "state", "terminated"), field_of(container, "lastState", "terminated"))
        if state is not None
    ]
    return max(terminated, key=lambda state: str(state.get("finishedAt") or ""), default={})


def _summary_from(text: str) -> ReportSummary | None:
    if not text.startswith("{"):
        return None
    try:
        return ReportSummary.model_validate_json(text)
    except ValidationError:
        return None


def _progress_from(line: str | None) -> tuple[str | None, int | None]:
    try:
        document = json.loads(line or "null")
    except ValueError:
        return None, None
    stage, percent = field_of(document, "stage"), field_of(document, "progress")
    return (
        stage[:64] if isinstance(stage, str) else None,
        max(0, min(100, percent)) if isinstance(percent, int) else None,
    )


@dataclass(frozen=True)
class Wait:
    """Why something does not run: a reason, empty when it does, and the words of the scheduler or the kubelet."""

    reason: str = ""
    message: str = ""


NOT_WAITING = Wait()


def _waiting_of_job(job: Raw, pods: list[Raw]) -> Wait:
    if field_of(job, "spec", "suspend", default=False):
        return Wait(SUSPENDED_JOB)
    return next((wait for wait in map(wait_of, pods) if wait.reason), NOT_WAITING)


def wait_of(pod: Raw) -> Wait:
    """Return why a pod's containers do not run, such as Unschedulable or ImagePullBackOff."""
    status: Mapping[str, Any] = field_of(pod, "status", default={})
    scheduled = condition_of(status.get("conditions") or [], "PodScheduled")
    if scheduled.get("status") == "False":
        return _wait(scheduled, "Unschedulable")
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    waits = (_wait(field_of(container, "state", "waiting", default={}), "") for container in containers)
    return next((wait for wait in waits if wait.reason and wait.reason not in _ORDINARY_WAITS), NOT_WAITING)


def _wait(told: Mapping[str, Any], default: str) -> Wait:
    return Wait(str(told.get("reason") or default), str(told.get("message") or "").strip()[:MESSAGE_LIMIT])


_ORDINARY_WAITS = frozenset({"ContainerCreating", "PodInitializing"})
