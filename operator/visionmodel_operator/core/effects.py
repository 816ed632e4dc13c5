"""What the recorded status asks of the cluster: the full list of effects, in an order that is always safe.

Derived from status alone, so the same status gives the same effects after any interruption; effects that
are already there cost no write (the adapter compares first).
"""

from collections.abc import Iterator
from dataclasses import replace

from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.api.status import SwapStage
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import (
    Action,
    CreateRevision,
    DeleteJob,
    DeleteRevision,
    DeleteRoute,
    EnsureDisruptionBudget,
    EnsureFront,
    EnsureRoute,
    ForgetFailure,
    RecordArtifact,
    ScaleRevision,
    StartBuild,
    StartConversion,
)
from visionmodel_operator.core.capacity import awaits_choice, is_shrinking, promoted_pods, stable_pods
from visionmodel_operator.core.conversion_jobs import job_names
from visionmodel_operator.core.conversion_request import conversion_request
from visionmodel_operator.core.conversion_state import Building, Conversion, Missing, Moved, Outdated, Ready, Reported
from visionmodel_operator.core.conversions import conversion_of, passed_gate_keys, remembered, remembered_failure
from visionmodel_operator.core.plan import sets_scale
from visionmodel_operator.core.snapshot import JobState
from visionmodel_operator.core.view import View
from visionmodel_operator.core.window import revisions_in_window


def effects_of(view: View) -> tuple[Action, ...]:
    """Return everything that the status asks for: new capacity before traffic, traffic before removal."""
    return (*_conversion(view), *_capacity(view), *_routes(view), *_removals(view))


def must_forget(view: View) -> bool:
    """Whether a retry waits until the remembered failure of its conversion is gone."""
    is_retry = view.status.rollout is None and view.status.failed_revision == view.target and view.requests.retry
    return is_retry and remembered_failure(view.snapshot, view.target) is not None


def is_recording(view: View) -> bool:
    """Whether the record of a finished Job is being written, of which nobody tells us."""
    return isinstance(_state(view), Reported | Outdated)


def _state(view: View) -> Conversion:
    return conversion_of(view.snapshot, view.rollout.revision, view.rollout.attempt)


def _conversion(view: View) -> tuple[Action, ...]:
    if must_forget(view) and (record := remembered_failure(view.snapshot, view.target)) is not None:
        return (ForgetFailure(*record),)
    if view.status.rollout is None or view.status.phase is not Phase.CONVERTING:
        return ()
    conversion = _state(view)
    if isinstance(conversion, Missing):
        return (_prepare(view),)
    if isinstance(conversion, Moved):
        return () if conversion.job is not None else (_prepare_again(view, conversion),)
    if isinstance(conversion, Building):
        return tuple(_builds(view, conversion))
    if isinstance(conversion, Reported):
        return (RecordArtifact(conversion.key, conversion.summary, conversion.gate_key),)
    if isinstance(conversion, Outdated):
        return (DeleteJob(conversion.job.name),)
    return ()


def _prepare(view: View) -> StartConversion:
    ref, rollout = view.snapshot.ref, view.rollout
    request = conversion_request(
        view.spec,
        namespace=ref.namespace,
        name=ref.name,
        revision=rollout.revision,
        platform=view.snapshot.platform,
        passed_gate_keys=passed_gate_keys(view.snapshot),
    )
    return StartConversion(names.prepare_job(ref.name, rollout.revision, rollout.attempt), request, view.spec)


def _prepare_again(view: View, moved: Moved) -> StartConversion:
    """Return the Job in the present store; of a source without a digest, of nothing but what it was made of before."""
    first, ref, rollout = _prepare(view), view.snapshot.ref, view.rollout
    digest = first.request.source.digest or moved.source_digest
    source = first.request.source.model_copy(update={"digest": digest})
    return replace(
        first,
        job=names.prepare_again_job(ref.name, rollout.revision, rollout.attempt),
        request=first.request.model_copy(update={"source": source}),
    )


def _builds(view: View, conversion: Building) -> Iterator[StartBuild]:
    """Yield what is not at work yet: devices are waited for side by side."""
    ref, rollout = view.snapshot.ref, view.rollout
    for build, step in conversion.builds:
        if isinstance(step, Missing):
            job = names.build_job(ref.name, rollout.revision, build.index, rollout.attempt)
            yield StartBuild(job, build.request, view.spec, build.accelerator)


def serving_revisions(view: View) -> dict[str, int]:
    """Return how many pods each revision must have; a revision that is not named has none."""
    status = view.status
    wanted: dict[str, int] = {}
    if view.stable is not None:
        wanted[view.stable] = 0 if status.phase is Phase.SUSPENDED else sum(stable_pods(view))
    if status.rollout is None:
        return wanted
    rollout = status.rollout
    if rollout.previous is not None and rollout.previous != view.stable:
        wanted[rollout.previous] = _as_it_is(view, rollout.previous)
    candidate = _candidate_replicas(view)
    if rollout.revision != view.stable and candidate is not None:
        wanted[rollout.revision] = candidate
    return wanted


def _as_it_is(view: View, revision: str) -> int:
    workload = view.snapshot.workloads.get(revision)
    return workload.replicas if workload is not None else 0


def _candidate_replicas(view: View) -> int | None:
    """Return the candidate's pods; None while it must not have any workload yet.

    It has fewer than before only where the plan says so, and only once the traffic that they are for is in force.
    """
    rollout = view.rollout
    match view.status.phase:
        case Phase.CONVERTING:
            return None
        case Phase.HELD if rollout.hold is not None and rollout.hold.reason == Reason.AWAITING_APPLY:
            return None
        case Phase.PROVISIONING if awaits_choice(view):
            return None
        case Phase.PROMOTING if is_shrinking(view):
            return max(promoted_pods(view), _as_it_is(view, rollout.revision))
        case Phase.PROMOTING | Phase.ROLLING_BACK:
            return view.full_replicas
        case Phase.ABORTING:
            return None if rollout.swap is SwapStage.DRAINED else _as_it_is(view, rollout.revision)
        case _ if sets_scale(rollout.plan) and rollout.step_started_at is not None:
            return view.step_replicas
        case _:
            return max(view.step_replicas, _as_it_is(view, rollout.revision))


def _capacity(view: View) -> tuple[Action, ...]:
    actions: list[Action] = []
    for revision, replicas in serving_revisions(view).items():
        workload = view.snapshot.workloads.get(revision)
        if workload is not None and workload.stored:
            is_uneven = revision == view.stable and is_shrinking(view)
            actions.append(ScaleRevision(revision, replicas, stable_pods(view) if is_uneven else ()))
        else:
            actions.extend(_create(view, revision, replicas))
        actions.append(EnsureDisruptionBudget(revision))
    return tuple(actions)


def _create(view: View, revision: str, replicas: int) -> tuple[Action, ...]:
    """Render a revision for the first and only time; only the spec that names it can, and only once converted."""
    conversion = remembered(view.snapshot, revision) if revision == view.target else None
    if not isinstance(conversion, Ready):
        return ()
    engines = tuple(engine.artifact for engine in conversion.engines)
    return (CreateRevision(revision, view.spec, conversion.artifact, replicas, engines),)


def _routes(view: View) -> tuple[Action, ...]:
    if view.snapshot.route is not None and not view.spec.traffic.gateway_refs:
        return (*_front(view), DeleteRoute())
    front = _front(view)
    traffic = view.traffic
    if not view.has_gateway or not traffic.slots or traffic.verified_at is not None:
        return front
    return (*front, EnsureRoute(tuple(traffic.slots), tuple(traffic.weights_ppm), view.spec, traffic.header_route))


def _front(view: View) -> tuple[Action, ...]:
    return () if view.stable is None else (EnsureFront(view.stable),)


def _removals(view: View) -> tuple[Action, ...]:
    """Scale down what has no traffic, forget what is too old.

    The route was verified before status said so; but a Service may stand in it until its slot's next revision does.
    """
    actions: list[Action] = []
    wanted = serving_revisions(view)
    kept = kept_revisions(view)
    for revision, workload in view.snapshot.workloads.items():
        if revision in wanted:
            continue
        if revision not in kept and view.is_split_in_force:
            actions.append(DeleteRevision(revision))
        elif workload.stored:
            actions.append(ScaleRevision(revision, 0))
    actions.extend(DeleteJob(job.name) for job in view.snapshot.jobs.values() if not _is_job_needed(view, job))
    return tuple(actions)


def _is_job_needed(view: View, job: JobState) -> bool:
    """A Job stays while it is at work, until its report is recorded, or while its failure is the latest news."""
    if job.revision == view.status.failed_revision:
        return job.finished is not None
    rollout = view.status.rollout
    if rollout is None or view.status.phase is not Phase.CONVERTING:
        return False
    return job.name in job_names(view.snapshot, rollout.revision, rollout.attempt)


def kept_revisions(view: View) -> frozenset[str]:
    """Return the revisions whose objects stay: in use, holding a slot, stable lately, or young enough to go back to."""
    status = view.status
    used = {view.stable, *view.traffic.slots, status.failed_revision}
    if status.rollout is not None:
        used |= {status.rollout.revision, status.rollout.previous}
    others = [known.revision for known in status.revisions if known.revision not in used]
    limit = view.spec.revision_history_limit
    lately = revisions_in_window(status, view.spec.rollback_window, view.now)
    return frozenset(revision for revision in (*used, *others[:limit], *lately) if revision)
