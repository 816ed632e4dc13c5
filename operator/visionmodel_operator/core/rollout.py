"""decide(snapshot, now): what is due next. Pure, and the only place where a phase changes.

Intent before effect: a pass either moves the recorded status (and does nothing else), or carries out what the
status already says. Killed between the two, the next pass derives the same effects from the same status.

    Pending ─▶ Converting ─▶ Provisioning ─▶ Progressing ⇄ Held
                   │              │              │
                   ▼              ▼              ├─▶ Promoting ─▶ Draining ─▶ Healthy
               Degraded ◀──── Aborting ◀────────┘                    ▲
                                 ▲                                   │
                                 └── RollingBack (rollback window) ──┘
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from visionmodel_operator.api.conditions import ACTIVE_PHASES, Outcome, Phase, Reason
from visionmodel_operator.api.status import SwapStage, VisionModelStatus
from visionmodel_operator.core import evidence, memory
from visionmodel_operator.core.actions import Action
from visionmodel_operator.core.effects import effects_of
from visionmodel_operator.core.judge import Harm, Verdict
from visionmodel_operator.core.operations import Event
from visionmodel_operator.core.preparing import awaiting_apply, converting, provisioning, without_capacity
from visionmodel_operator.core.resting import idle
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.rolling_back import held_back, rolling_back
from visionmodel_operator.core.rollout_news import rollout_news
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.core.stepping import held, observing, promoting, routing
from visionmodel_operator.core.timing import wake_after
from visionmodel_operator.core.view import View
from visionmodel_operator.core.waiting import newer_in_words, noticed, spec_on_trial

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
    named = revision_of(snapshot.spec)
    status = noticed(snapshot.spec, named, snapshot.status, now)
    spec = spec_on_trial(snapshot.spec, status)
    target = named if spec is snapshot.spec else revision_of(spec)
    view = View(replace(snapshot, spec=spec), spec, status, target, now)
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
    after, known = moved.rollout, before.rollout
    if after is not None and after.newer is not None and (known is None or after.newer != known.newer):
        reason, text = newer_in_words(after, after.newer)
        events.append(Event(reason, text, reason is Reason.REJECTED))
    events += rollout_news(known, after)
    corrected = moved.traffic.corrected_at if moved.traffic else None
    if corrected is not None and (before.traffic is None or corrected != before.traffic.corrected_at):
        text = f"The route was changed by {view.other_writers} and is put right."
        events.append(Event("RouteCorrected", text, True))
    return tuple(events)


def _move(view: View) -> VisionModelStatus:
    view = view.at(_bookkeeping(view))
    phase = view.status.phase
    if phase in ACTIVE_PHASES or (phase is Phase.DEGRADED and view.status.rollout is not None):
        return _active(view)
    return idle(view)


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
        status = view.remembering("abort") if end[0] is Reason.USER else view.status
        return memory.turn_back(status, *end, view.now)
    if isinstance(verdict, Harm):
        return memory.turn_back(view.status, Reason.HARM_DETECTED, verdict.message, view.now)
    match phase:
        case Phase.CONVERTING:
            return converting(view)
        case Phase.PROVISIONING | Phase.DEGRADED:
            return provisioning(view)
        case Phase.PROGRESSING:
            return routing(view) if view.rollout.step_started_at is None else observing(view, verdict)
        case Phase.HELD:
            return _on_hold(view, verdict)
        case Phase.PROMOTING:
            return promoting(view)
        case Phase.ROLLING_BACK:
            return rolling_back(view)
        case Phase.PENDING | Phase.HEALTHY | Phase.SUSPENDED | None:
            raise AssertionError(f"{phase} is not an active phase")
        case _:
            assert_never(phase)


def _on_hold(view: View, verdict: Verdict | None) -> VisionModelStatus:
    match view.status.reason:
        case _ if view.rollout.jump:
            return held_back(view)
        case Reason.NO_CAPACITY:
            return without_capacity(view)
        case Reason.AWAITING_APPLY:
            return awaiting_apply(view)
        case _:
            return held(view, verdict)


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


def _draining(view: View) -> VisionModelStatus:
    previous = view.rollout.previous
    if previous is not None:
        drain, is_idle = view.drained(previous)
        if not is_idle or not view.is_split_in_force:
            return memory.with_rollout(view.status, drain=drain)
    message = f"Revision {view.rollout.revision} serves all requests."
    outcome, reason = Outcome.PROMOTED, Reason.PROMOTED
    if view.rollout.jump:
        message = f"Revision {view.rollout.revision} serves all requests again; {previous} was left in one jump."
        outcome, reason = Outcome.ROLLED_BACK, Reason.ROLLED_BACK
    ended = memory.finish(view.status, outcome, reason, message, view.now)
    return memory.evolve(ended, Phase.HEALTHY, reason, message)


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
        return idle(view.at(ended))
    if reason in (Reason.REVERTED, Reason.SUSPENDED):
        ended = memory.finish(status, Outcome.ABORTED, reason, message, now)
        resting = memory.evolve(ended, Phase.HEALTHY if view.stable else Phase.PENDING, Reason.SERVING, message)
        return idle(view.at(resting))
    return memory.fail(status, Outcome.ABORTED, reason, message, now)
