"""project_status: what people and machines read, computed once per pass from the recorded status and the snapshot.

Nothing here is read back by a decision; conditions follow kstatus (Reconciling and Stalled are abnormal-true).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from visionmodel_operator.api.conditions import ACTIVE_PHASES, ConditionType, Phase, Reason
from visionmodel_operator.api.spec import Method
from visionmodel_operator.api.status import (
    CanaryStatus,
    Condition,
    ConditionStatus,
    ConversionStatus,
    RevisionStatus,
    VisionModelStatus,
)
from visionmodel_operator.core import memory, names
from visionmodel_operator.core.capacity import shrunk_in_words, stable_pods
from visionmodel_operator.core.conversion_jobs import current_job
from visionmodel_operator.core.conversion_report import goals_in_words
from visionmodel_operator.core.conversions import STARTING
from visionmodel_operator.core.judge import config_from_analysis
from visionmodel_operator.core.judge_errors import AUTO_IS_PAIRED
from visionmodel_operator.core.judgeable import latency_judgeable
from visionmodel_operator.core.progress import progress_message
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.routes import absent_kinds
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.core.view import View
from visionmodel_operator.core.waiting import is_plan_edited, newer_in_words, spec_on_trial
from visionmodel_operator.core.weights import WHOLE

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


@dataclass(frozen=True)
class Trouble:
    """Why this pass could not do what was decided.

    Attributes:
        reason: CamelCase constant.
        message: what the server or the check said, and what to do.
    """

    reason: str
    message: str


@dataclass(frozen=True)
class _Said:
    status: ConditionStatus
    reason: str
    message: str = ""


def project_status(
    snapshot: Snapshot,
    recorded: VisionModelStatus,
    target: str | None,
    now: datetime,
    trouble: Trouble | None = None,
    *,
    retry: str = "",
) -> VisionModelStatus:
    """Return the status to write: the recorded memory with conditions, counts and the numbers people read.

    Args:
        snapshot: what the pass saw.
        recorded: the status as this pass moved it.
        target: revision of the spec.
        now: of the pass.
        trouble: what only a person can mend.
        retry: why the pass must be repeated; its generation then is not the observed one yet.
    """
    if snapshot.spec is None:
        trouble = Trouble(Reason.INVALID_SPEC, snapshot.spec_error)
        return _with_conditions(snapshot, recorded, _trouble_only(recorded, trouble), now)
    spec = spec_on_trial(snapshot.spec, recorded)
    on_trial = target if spec is snapshot.spec else revision_of(spec)
    view = View(replace(snapshot, spec=spec), spec, recorded, on_trial or "", now)
    status = recorded.model_copy(
        update={
            "target_revision": target,
            "stable": _stable(view),
            "canary": _canary(view),
            "conversion": _conversion(view),
            "message": progress_message(view),
            "replicas": _live_replicas(view),
            "selector": _selector(view),
            "url": _url(view),
            "simulated_accelerators": True if snapshot.platform.simulated_accelerators else None,
        }
    )
    said = _conditions(view.at(status), trouble, retry)
    return _with_conditions(snapshot, status, said, now, is_judged=not retry)


def _stable(view: View) -> RevisionStatus | None:
    if view.status.stable is None:
        return None
    return view.status.stable.model_copy(update=_numbers(view, view.status.stable.revision))


def _numbers(view: View, revision: str) -> dict[str, object]:
    weight = memory.share_of(view.status, revision) * 100 / WHOLE
    if not view.has_gateway:
        weight = 100.0 if revision == view.stable else 0.0
    return {
        "ready_replicas": view.ready(revision),
        "weight": round(weight, 4),
        "artifact": _artifact_of(view, revision),
    }


def _artifact_of(view: View, revision: str) -> str | None:
    conversion = view.status.conversion
    known = view.snapshot.artifacts.get(conversion.key) if conversion and conversion.key else None
    if conversion is not None and conversion.revision == revision and known and known.summary.artifact:
        return known.summary.artifact.digest
    for recorded in (view.snapshot.status.stable, view.snapshot.status.canary):
        if recorded is not None and recorded.revision == revision:
            return recorded.artifact
    return None


def _canary(view: View) -> CanaryStatus | None:
    rollout = view.status.rollout
    if rollout is None or rollout.revision == view.stable:
        return None
    return CanaryStatus.model_validate(
        {
            "revision": rollout.revision,
            "since": rollout.started_at,
            "step": rollout.step + 1 if rollout.plan else 0,
            "steps": len(rollout.plan),
            "step_started_at": rollout.step_started_at,
            **_numbers(view, rollout.revision),
        }
    )


def _conversion(view: View) -> ConversionStatus | None:
    conversion = view.status.conversion
    if conversion is None or view.status.phase is not Phase.CONVERTING:
        return conversion
    job = current_job(view.snapshot, view.rollout.revision, view.rollout.attempt)
    if job is None:
        return conversion
    stage = job.progress_stage or (job.waiting or STARTING if job.finished is None else "Recording")
    return conversion.model_copy(update={"job": job.name, "stage": stage, "progress": job.progress_percent})


def _live_replicas(view: View) -> int | None:
    workload = view.snapshot.workloads.get(view.stable) if view.stable else None
    return workload.replicas if workload is not None else None


def _selector(view: View) -> str | None:
    if view.stable is None:
        return None
    selector = names.revision_selector(view.snapshot.ref.name, view.stable)
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def _url(view: View) -> str | None:
    name, namespace = view.snapshot.ref.name, view.snapshot.ref.namespace
    if view.stable is None:
        return None
    hosts = [host for ref in view.spec.traffic.gateway_refs for host in ref.hostnames]
    authority = hosts[0] if hosts and view.has_gateway else f"{name}.{namespace}.svc:{names.HTTP_PORT}"
    return f"http://{authority}/v2/models/{name}"


def _trouble_only(recorded: VisionModelStatus, trouble: Trouble) -> Mapping[ConditionType, _Said]:
    known = {c.type: _Said(c.status, c.reason, c.message) for c in recorded.conditions}
    return {**known, ConditionType.STALLED: _Said(TRUE, trouble.reason, trouble.message)}


def _conditions(view: View, trouble: Trouble | None, retry: str) -> Mapping[ConditionType, _Said]:
    return {
        ConditionType.READY: _ready(view),
        ConditionType.RECONCILING: _reconciling(view, trouble, retry),
        ConditionType.STALLED: _stalled(view, trouble),
        ConditionType.CONVERTED: _converted(view),
        ConditionType.PARITY_PASSED: _parity(view),
        ConditionType.WORKLOAD_AVAILABLE: _workload(view),
        ConditionType.ROUTE_ACCEPTED: _route(view),
        ConditionType.SPLIT_VERIFIED: _split(view),
        ConditionType.METRICS_AVAILABLE: _metrics(view),
        ConditionType.LATENCY_JUDGEABLE: _latency(view),
        ConditionType.CANARY_HEALTHY: _canary_healthy(view),
        ConditionType.PLAN_CHANGE_PENDING: _plan_change(view),
    }


def _ready(view: View) -> _Said:
    if view.status.phase is Phase.SUSPENDED:
        return _Said(FALSE, Reason.SUSPENDED, "Suspended by spec.suspend.")
    if view.stable is None:
        return _Said(FALSE, view.status.reason or Reason.UNKNOWN, "No revision serves yet.")
    ready = view.ready(view.stable)
    if ready == 0:
        return _Said(FALSE, Reason.STABLE_UNAVAILABLE, f"No pod of the stable revision {view.stable} is ready.")
    if view.status.phase is Phase.PENDING:
        return _Said(FALSE, view.status.reason or Reason.UNKNOWN, view.status.message or "")
    if not view.is_reachable:
        message = f"No gateway hands requests to revision {view.stable}: {_route(view).message}"
        return _Said(FALSE, Reason.ROUTE_REJECTED, message)
    return _Said(TRUE, Reason.SERVING, f"Revision {view.stable} serves with {ready} ready pods.")


def _reconciling(view: View, trouble: Trouble | None, retry: str) -> _Said:
    status = view.status
    if trouble is not None:
        return _Said(FALSE, trouble.reason, trouble.message)
    if _stalled(view, trouble).status is TRUE:
        return _Said(FALSE, status.reason or Reason.UNKNOWN, "Nothing is under way.")
    if retry:
        return _Said(TRUE, Reason.RETRYING, _first_told(view, retry))
    if status.phase in (*ACTIVE_PHASES, Phase.PENDING):
        return _Said(TRUE, status.reason or Reason.UNKNOWN, status.message or "")
    if not view.is_split_in_force:
        return _Said(TRUE, Reason.ROUTING, "The gateway has yet to take over the split that was decided.")
    return _Said(FALSE, status.reason or Reason.UNKNOWN, "Nothing is under way.")


def _first_told(view: View, retry: str) -> str:
    """Return the text of the first of several retries: one that names, say, a port would be written, and wake us."""
    before = view.snapshot.status.conditions
    known = (c.message for c in before if c.type is ConditionType.RECONCILING and c.reason == Reason.RETRYING)
    return next(known, retry)


def _stalled(view: View, trouble: Trouble | None) -> _Said:
    status = view.status
    if trouble is not None:
        return _Said(TRUE, trouble.reason, trouble.message)
    if status.phase is Phase.DEGRADED:
        return _Said(TRUE, status.reason or Reason.UNKNOWN, status.message or "")
    return _Said(FALSE, status.reason or Reason.SERVING, "")


def _converted(view: View) -> _Said:
    conversion = view.status.conversion
    if conversion is None:
        return _Said(UNKNOWN, Reason.UNKNOWN, "Nothing was converted yet.")
    if conversion.report is not None:
        return _Said(TRUE, Reason.ARTIFACT_VERIFIED, f"Artifact {conversion.key} for revision {conversion.revision}.")
    if conversion.message is not None:
        return _Said(FALSE, Reason.CONVERSION_FAILED, conversion.message)
    stage = f" ({conversion.stage})" if conversion.stage else ""
    return _Said(FALSE, Reason.CONVERTING, f"Revision {conversion.revision} is being converted{stage}.")


def _parity(view: View) -> _Said:
    conversion = view.status.conversion
    if conversion is None or conversion.report is None:
        failed = conversion is not None and conversion.message is not None
        message = conversion.message if conversion is not None and conversion.message else ""
        return _Said(FALSE if failed else UNKNOWN, Reason.CONVERSION_FAILED if failed else Reason.UNKNOWN, message)
    return _Said(TRUE, Reason.VERIFIED, goals_in_words(conversion.report.parity))


def _workload(view: View) -> _Said:
    if view.stable is None:
        return _Said(FALSE, Reason.WAITING_FOR_PODS, "No revision serves yet.")
    ready, wanted = view.ready(view.stable), sum(stable_pods(view))
    message = f"{ready} of {wanted} pods of {view.stable} are ready{shrunk_in_words(view)}."
    return _Said(FALSE, Reason.WAITING_FOR_PODS, message) if ready < wanted else _Said(TRUE, Reason.AVAILABLE, message)


def _route(view: View) -> _Said:
    if not view.spec.traffic.gateway_refs:
        return _Said(UNKNOWN, Reason.NOT_APPLICABLE, "No gateway is asked for.")
    if absent := absent_kinds(view.spec.traffic, view.snapshot.platform):
        message = f"The cluster serves no {' and no '.join(absent)}: install the Gateway API."
        return _Said(FALSE, Reason.GATEWAY_API_MISSING, message)
    route = view.snapshot.route
    if route is None:
        return _Said(UNKNOWN, Reason.ROUTING, "No route yet.")
    if not route.accepted:
        return _Said(FALSE, route.reason or Reason.ROUTE_REJECTED, route.message)
    return _Said(TRUE, Reason.ACCEPTED, "The gateway accepted the route.")


def _split(view: View) -> _Said:
    if not view.has_gateway or not view.traffic.slots:
        return _Said(UNKNOWN, Reason.NOT_APPLICABLE, "Nothing is split.")
    if not view.is_route_as_recorded:
        return _Said(FALSE, Reason.SPLIT_MISMATCH, "The route does not say what was decided.")
    if view.traffic.verified_at is None:
        return _Said(UNKNOWN, Reason.ROUTING, "The gateway has not accepted the split yet.")
    return _Said(TRUE, Reason.VERIFIED, "The split that was decided is accepted.")


def _metrics(view: View) -> _Said:
    rollout, found = view.status.rollout, view.snapshot.evidence
    state = memory.judge_state(rollout) if rollout else None
    if found is not None and found.error:
        return _Said(FALSE, Reason.METRICS_UNAVAILABLE, found.error)
    if state is None or state.last_tick is None:
        return _Said(UNKNOWN, Reason.NOT_APPLICABLE, "Nothing is judged.")
    if state.last_used != state.last_tick:
        return _Said(FALSE, Reason.METRICS_UNAVAILABLE, f"The newest tick has no data: {state.last_reason}.")
    note = f" {AUTO_IS_PAIRED}" if view.analysis.method is Method.AUTO else ""
    return _Said(TRUE, Reason.AVAILABLE, f"The newest tick has data.{note}")


def _latency(view: View) -> _Said:
    rollout = view.status.rollout
    state = memory.judge_state(rollout) if rollout else None
    if state is None:
        return _Said(UNKNOWN, Reason.NOT_APPLICABLE, "Nothing is judged.")
    return _Said(*latency_judgeable(state, config_from_analysis(view.analysis).metrics))


def _canary_healthy(view: View) -> _Said:
    status, rollout = view.status, view.status.rollout
    if rollout is not None and rollout.ended is not None:
        return _Said(FALSE, rollout.ended, rollout.ended_message or "")
    if status.failed_revision is not None and status.failed_revision == view.target:
        return _Said(FALSE, status.reason or Reason.UNKNOWN, status.message or "")
    if rollout is None or view.stable is None or rollout.revision == view.stable:
        return _Said(UNKNOWN, Reason.NOT_APPLICABLE, "No canary.")
    return _Said(TRUE, status.reason or Reason.UNKNOWN, "No harm seen.")


def _plan_change(view: View) -> _Said:
    rollout = view.status.rollout
    if rollout is not None and rollout.newer is not None:
        return _Said(TRUE, *newer_in_words(rollout, rollout.newer))
    if rollout is not None and is_plan_edited(rollout, view.spec.rollout):
        return _Said(TRUE, Reason.NEW_REVISION, "The edited plan applies to the next rollout.")
    return _Said(FALSE, Reason.NOT_APPLICABLE, "")


def _with_conditions(
    snapshot: Snapshot,
    status: VisionModelStatus,
    said: Mapping[ConditionType, _Said],
    now: datetime,
    *,
    is_judged: bool = True,
) -> VisionModelStatus:
    before = {condition.type: condition for condition in snapshot.status.conditions}
    generation = snapshot.generation if is_judged else snapshot.status.observed_generation
    conditions = [
        _condition(before.get(kind), kind, what, generation or 0, now)
        for kind, what in sorted(said.items(), key=lambda item: list(ConditionType).index(item[0]))
    ]
    return status.model_copy(update={"conditions": conditions, "observed_generation": generation})


def _condition(before: Condition | None, kind: ConditionType, said: _Said, generation: int, now: datetime) -> Condition:
    is_same = before is not None and before.status is said.status
    return Condition(
        type=kind,
        status=said.status,
        reason=str(said.reason),
        message=said.message[:4096],
        observed_generation=generation,
        last_transition_time=before.last_transition_time if is_same and before is not None else now,
    )
