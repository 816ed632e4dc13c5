"""decide(snapshot, now): what is due next. Pure, and the only place where a phase changes.

Intent before effect: a pass either moves the recorded status (and does nothing else), or carries out what the
status already says. Killed between the two, the next pass derives the same effects from the same status.

    Pending ─▶ Converting ─▶ Provisioning ─▶ Progressing ⇄ Held
                   │              │              │
                   ▼              ▼              ├─▶ Promoting ─▶ Draining ─▶ Healthy
               Degraded ◀──── Aborting ◀────────┘
"""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from visionmodel_operator.api.conditions import ACTIVE_PHASES, Outcome, Phase, Reason
from visionmodel_operator.api.status import ConversionStatus, SwapStage, VisionModelStatus
from visionmodel_operator.core import evidence, memory
from visionmodel_operator.core.actions import Action
from visionmodel_operator.core.conversion_report import noted, reported
from visionmodel_operator.core.conversions import (
    Building,
    Failed,
    Ready,
    Reported,
    conversion_of,
    current_job,
    missed_deadline,
    remembered,
)
from visionmodel_operator.core.effects import effects_of, must_forget
from visionmodel_operator.core.judge import Harm
from visionmodel_operator.core.operations import Event
from visionmodel_operator.core.requests import is_promoted, remember
from visionmodel_operator.core.revision import plan_digest, revision_of
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.core.stepping import (
    held,
    is_paused,
    observing,
    pause_message,
    promote,
    promoting,
    routing,
)
from visionmodel_operator.core.timing import wake_after
from visionmodel_operator.core.view import View
from visionmodel_operator.core.weights import WHOLE, plan_from_steps

CORRECTION_INTERVAL = "1m"
"""A foreign edit of the route is put right at most this often, so that two writers do not fight at full speed."""

WARNING_PHASES = frozenset({Phase.ABORTING, Phase.DEGRADED, Phase.HELD})


@dataclass(frozen=True)
class Decision:
    """The outcome of one pass.

    Attributes:
        status: recorded status after the pass, before conditions are projected.
        actions: effects, in order; empty when the status moved.
        events: what to tell people about the move.
        wake_after: seconds until the next look even if nothing happens; None: only when something changes.
    """

    status: VisionModelStatus
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    wake_after: float | None = None


def decide(snapshot: Snapshot, now: datetime) -> Decision:
    """Return the move that is due, or the effects of what was decided before. Pure."""
    if snapshot.spec is None:
        return Decision(snapshot.status)
    target = revision_of(snapshot.spec)
    view = View(snapshot, snapshot.spec, snapshot.status, target, now)
    moved = _move(view)
    if _without_evidence(moved) != _without_evidence(snapshot.status):
        return Decision(moved, events=_announce(view, moved), wake_after=0.0)
    after = view.at(moved)
    return Decision(moved, actions=effects_of(after), wake_after=wake_after(after))


def _without_evidence(status: VisionModelStatus) -> VisionModelStatus:
    """What was counted is no move: no effect depends on it, and it may grow in every pass."""
    return status if status.rollout is None else memory.with_rollout(status, judge={}, drain=None)


def _announce(view: View, moved: VisionModelStatus) -> tuple[Event, ...]:
    before = view.snapshot.status
    events: list[Event] = []
    if (moved.phase, moved.reason) != (before.phase, before.reason) and moved.phase is not None:
        text = f"{moved.phase}: {moved.message}"
        events.append(Event(moved.reason or moved.phase, text, moved.phase in WARNING_PHASES))
    corrected = moved.traffic.corrected_at if moved.traffic else None
    if corrected is not None and (before.traffic is None or corrected != before.traffic.corrected_at):
        route = view.snapshot.route
        writers = ", ".join(route.foreign_managers) if route and route.foreign_managers else "an unnamed writer"
        events.append(Event("RouteCorrected", f"The HTTPRoute was changed by {writers} and is put right.", True))
    return tuple(events)


def _move(view: View) -> VisionModelStatus:
    view = view.at(_bookkeeping(view))
    phase = view.status.phase
    if phase in ACTIVE_PHASES or (phase is Phase.DEGRADED and view.status.rollout is not None):
        return _active(view)
    return _idle(view)


def _bookkeeping(view: View) -> VisionModelStatus:
    """Record that the split was accepted, or that a foreign edit of it is to be put right."""
    traffic = view.traffic
    if not view.has_gateway or not traffic.slots:
        return view.status
    is_edited = view.status.observed_generation != view.snapshot.generation
    # At rest the gateway has its time anew; a step of a rollout counts its own.
    again: dict[str, datetime | None] = {"changed_at": view.now} if view.status.rollout is None else {}
    update: dict[str, datetime | None] = {}
    if view.is_route_accepted:
        update = {"verified_at": view.now} if traffic.verified_at is None else {}
    elif traffic.verified_at is None:
        update = again if is_edited and not view.is_route_as_recorded else {}
    elif view.snapshot.route is None or (is_edited and not view.is_route_as_recorded):
        update = {"verified_at": None, **again}
    elif not view.is_route_as_recorded:
        is_due = traffic.corrected_at is None or view.waited(traffic.corrected_at, CORRECTION_INTERVAL)
        update = {"verified_at": None, "corrected_at": view.now} if is_due else {}
    return view.status.model_copy(update={"traffic": traffic.model_copy(update=update)}) if update else view.status


def _idle(view: View) -> VisionModelStatus:
    """Nothing is on its way: start what is new, otherwise say how stable is doing."""
    status = view.status
    if view.spec.suspend:
        return memory.evolve(status, Phase.SUSPENDED, Reason.SUSPENDED, "Suspended by spec.suspend.")
    failure = memory.failure_of(status, view.target)
    if failure is not None and view.target not in (view.stable, status.failed_revision):
        known = {"failed_revision": view.target, "failed_attempt": failure.attempt}
        return _idle(view.at(status.model_copy(update=known)))
    if status.failed_revision == view.target and view.requests.retry:
        if must_forget(view):
            return status
        consumed = remember(status.consumed_actions, view.requests, "retry")
        return _begin(view.at(status.model_copy(update={"consumed_actions": consumed})))
    if view.target not in (view.stable, status.failed_revision):
        return _begin(view)
    return _resting(view)


def _begin(view: View) -> VisionModelStatus:
    rollout = view.spec.rollout
    frozen = memory.Frozen(plan_from_steps(rollout.steps), plan_digest(rollout), rollout.analysis.to_wire())
    earlier = [entry.attempt for entry in view.status.history if entry.revision == view.target]
    return memory.begin(view.status, view.target, max(earlier, default=0) + 1, frozen, view.now)


def _resting(view: View) -> VisionModelStatus:
    status, stable = view.status, view.stable
    if view.target == status.failed_revision:
        return _still_failed(view)
    assert stable is not None, "before the first revision serves, whatever the spec names is begun"
    if view.ready(stable) == 0 and view.full_replicas > 0:
        was_resumed = (status.phase, status.reason) == (Phase.PENDING, Reason.WAITING_FOR_PODS)
        if status.phase is Phase.SUSPENDED or was_resumed:
            message = f"Resumed; waiting for pods of the stable revision {stable}."
            return memory.evolve(status, Phase.PENDING, Reason.WAITING_FOR_PODS, message)
        return memory.evolve(
            status, Phase.DEGRADED, Reason.STABLE_UNAVAILABLE, f"No pod of the stable revision {stable} is ready."
        )
    # Who is served by an older state of the route is not interrupted by a new one.
    if not view.is_reachable or not (status.phase is Phase.HEALTHY or view.is_split_in_force):
        return _unrouted(view)
    if status.phase is Phase.HEALTHY:
        return status
    return memory.evolve(status, Phase.HEALTHY, Reason.SERVING, f"Revision {stable} serves all requests.")


def _unrouted(view: View) -> VisionModelStatus:
    """The pods of stable are up, and no gateway hands them requests (yet)."""
    status, route = view.status, view.snapshot.route
    why = "the HTTPRoute does not exist" if route is None else route.message or "the split is about to take effect"
    if not view.is_reachable and view.waited(view.traffic.changed_at, f"{view.spec.progress_deadline_seconds}s"):
        message = f"The gateway does not accept the route: {why}"
        return memory.evolve(status, Phase.DEGRADED, Reason.ROUTE_REJECTED, message)
    message = f"Waiting for the gateway to accept the route: {why}"
    return memory.evolve(status, Phase.PENDING, Reason.ROUTING, message)


def _still_failed(view: View) -> VisionModelStatus:
    """The spec asks for what was turned back: it is not tried again unless somebody says so."""
    status = view.status
    newest = next((entry for entry in status.history if entry.revision == view.target), None)
    reason = newest.reason if newest else Reason.HARM_DETECTED
    return memory.evolve(status, Phase.DEGRADED, reason, newest.message if newest else "")


def _active(view: View) -> VisionModelStatus:
    """A rollout is under way: what ends it comes first, then what its phase waits for."""
    phase = view.status.phase
    if phase is Phase.ABORTING:
        return _aborting(view)
    if phase is Phase.DRAINING:
        return _draining(view)
    view, verdict = evidence.judged(view)
    end = _end_of(view)
    if end is not None:
        consumed = remember(view.status.consumed_actions, view.requests, "abort")
        known = {"consumed_actions": consumed} if end[0] is Reason.USER else {}
        return memory.turn_back(view.status.model_copy(update=known), *end, view.now)
    if isinstance(verdict, Harm):
        return memory.turn_back(view.status, Reason.HARM_DETECTED, verdict.message, view.now)
    match phase:
        case Phase.CONVERTING:
            return _converting(view)
        case Phase.PROVISIONING | Phase.DEGRADED:
            return _provisioning(view)
        case Phase.PROGRESSING:
            return routing(view) if view.rollout.step_started_at is None else observing(view, verdict)
        case Phase.HELD:
            return held(view, verdict)
        case Phase.PROMOTING:
            return promoting(view)
        case Phase.PENDING | Phase.HEALTHY | Phase.SUSPENDED | None:
            raise AssertionError(f"{phase} is not an active phase")
        case _:
            assert_never(phase)


def _end_of(view: View) -> tuple[Reason, str] | None:
    """Return why the rollout must be turned back, apart from what the judge says."""
    rollout = view.rollout
    if view.spec.suspend:
        return Reason.SUSPENDED, "spec.suspend was set during the rollout."
    if view.requests.abort:
        return Reason.USER, "Aborted by annotation."
    if view.target == view.stable:
        return Reason.REVERTED, f"The spec returned to the stable revision {view.stable}."
    if view.target != rollout.revision:
        return Reason.SUPERSEDED, f"Revision {view.target} replaces {rollout.revision}."
    restarts = max((pod.restarts for pod in view.pods(rollout.revision) if not pod.terminating), default=0)
    if restarts > view.analysis.max_restarts and view.status.phase is not Phase.CONVERTING:
        return Reason.CANARY_UNHEALTHY, f"A pod of revision {rollout.revision} restarted {restarts} times."
    return None


def _converting(view: View) -> VisionModelStatus:
    status, now = view.status, view.now
    conversion = conversion_of(view.snapshot, view.rollout.revision, view.rollout.attempt)
    recorded = status.conversion
    assert recorded is not None
    match conversion:
        case Ready():
            done = memory.converted(status, reported(recorded, conversion))
            if not (view.spec.conversion.auto_apply or _was_applied(view)):
                message = "Converted; conversion.autoApply is false. Promote it to serve it."
                return memory.hold(done, Reason.AWAITING_APPLY, message, now)
            return memory.provision(done, "Converted; waiting for its pods.", now)
        case Failed():
            return _not_converted(view, conversion)
        case Reported():
            return status.model_copy(update={"conversion": noted(recorded, conversion)})
        case Building() if (kept := noted(recorded, conversion)) != recorded:
            return status.model_copy(update={"conversion": kept})
    if view.waited(recorded.started_at, view.spec.conversion.deadline):
        job = current_job(view.snapshot, view.rollout.revision, view.rollout.attempt)
        return _not_converted(view, missed_deadline(view.snapshot, job))
    return status


def _was_applied(view: View) -> bool:
    """Whether somebody promoted this very attempt, whose artifact was lost or replaced on the way to its pods."""
    return is_promoted(view.status.consumed_actions, view.rollout.revision, view.rollout.attempt)


def _not_converted(view: View, failed: Failed) -> VisionModelStatus:
    recorded = view.status.conversion
    assert recorded is not None
    told = recorded.model_copy(update={"message": failed.message[:4096], "exit_code": failed.exit_code})
    status = view.status.model_copy(update={"conversion": told})
    is_late = failed.reason == Reason.CONVERSION_DEADLINE
    reason = Reason.CONVERSION_DEADLINE if is_late else Reason.CONVERSION_FAILED
    message = failed.message if is_late else f"{failed.reason}: {failed.message}"
    return memory.fail(status, Outcome.CONVERSION_FAILED, reason, message, view.now)


def _provisioning(view: View) -> VisionModelStatus:
    status, rollout, now = view.status, view.rollout, view.now
    if not view.is_stored(rollout.revision):
        if not isinstance(remembered(view.snapshot, rollout.revision), Ready):
            return _convert_again(view)
    elif view.ready(rollout.revision) >= view.step_replicas:
        return _provisioned(view)
    if view.is_past_deadline() and status.phase is Phase.PROVISIONING:
        waiting = "; ".join(sorted({pod.waiting for pod in view.pods(rollout.revision) if pod.waiting}))
        message = f"Not ready within {view.spec.progress_deadline_seconds} s. {waiting}".strip()
        if view.stable is None:
            return memory.evolve(status, Phase.DEGRADED, Reason.PROGRESS_DEADLINE, message)
        return memory.turn_back(status, Reason.PROGRESS_DEADLINE, message, now)
    return status


def _convert_again(view: View) -> VisionModelStatus:
    """The artifact, or its verdict, was lost or replaced before the first pod was made of it."""
    status, now = view.status, view.now
    conversion = ConversionStatus(revision=view.rollout.revision, started_at=now)
    fresh = memory.with_rollout(status.model_copy(update={"conversion": conversion}), phase_started_at=now)
    message = f"The artifact of revision {view.rollout.revision} is not known any more."
    return memory.evolve(fresh, Phase.CONVERTING, Reason.NEW_REVISION, message)


def _provisioned(view: View) -> VisionModelStatus:
    status, rollout, now = view.status, view.rollout, view.now
    if view.stable is None:
        served = memory.set_share(memory.make_stable(status, now), rollout.revision, WHOLE, now)
        message = f"Revision {rollout.revision} is the first one: nothing was judged."
        return _resting(view.at(memory.finish(served, Outcome.PROMOTED, Reason.PROMOTED, message, now)))
    if view.has_gateway and rollout.plan:
        return memory.enter_step(status, 0, now)
    if is_paused(view):
        return memory.hold(status, Reason.PAUSED, pause_message(view), now)
    return promote(view, "" if view.has_gateway else "Nothing splits the traffic: not judged.")


def _draining(view: View) -> VisionModelStatus:
    previous = view.rollout.previous
    if previous is not None:
        drain, is_idle = view.drained(previous)
        if not is_idle or not view.is_split_in_force:
            return memory.with_rollout(view.status, drain=drain)
    message = f"Revision {view.rollout.revision} serves all requests."
    ended = memory.finish(view.status, Outcome.PROMOTED, Reason.PROMOTED, message, view.now)
    return memory.evolve(ended, Phase.HEALTHY, Reason.PROMOTED, message)


def _aborting(view: View) -> VisionModelStatus:
    status, rollout, now = view.status, view.rollout, view.now
    match rollout.swap:
        case SwapStage.LEAVING if view.is_split_in_force:
            return memory.zero_share(status, rollout.revision, now)
        case SwapStage.ZERO if view.is_split_in_force:
            drain, is_idle = view.drained(rollout.revision)
            return memory.with_rollout(status, drain=drain, **({"swap": SwapStage.DRAINED} if is_idle else {}))
        case SwapStage.DRAINED | None:
            return _aborted(view)
        case _:
            return status


def _aborted(view: View) -> VisionModelStatus:
    status, rollout, now = view.status, view.rollout, view.now
    reason, message = rollout.ended or Reason.USER, rollout.ended_message or ""
    if reason == Reason.SUPERSEDED:
        ended = memory.finish(status, Outcome.SUPERSEDED, reason, message, now)
        return _idle(view.at(ended))
    if reason in (Reason.REVERTED, Reason.SUSPENDED):
        ended = memory.finish(status, Outcome.ABORTED, reason, message, now)
        resting = memory.evolve(ended, Phase.HEALTHY if view.stable else Phase.PENDING, Reason.SERVING, message)
        return _idle(view.at(resting))
    return memory.fail(status, Outcome.ABORTED, reason, message, now)
