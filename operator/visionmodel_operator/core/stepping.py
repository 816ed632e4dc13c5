"""The steps of a canary: bring the weight into force, watch, hold, go on, take over."""

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.api.spec import OnInconclusive, OnMissingMetrics
from visionmodel_operator.api.status import SwapStage, VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.capacity import promoted_pods
from visionmodel_operator.core.counters import JUDGE_LAG
from visionmodel_operator.core.exchange import next_turn
from visionmodel_operator.core.header_route import next_header_route
from visionmodel_operator.core.judge import Inconclusive, NoData, Pass, Verdict, start_step
from visionmodel_operator.core.judge_state import state_to_dict
from visionmodel_operator.core.verdict import UPSTREAM_INCIDENT
from visionmodel_operator.core.view import View
from visionmodel_operator.core.weights import TRACE, WHOLE

CONTESTED = "keeps changing the route"
"""What the message of a hold says of another writer."""

FRESH_TICKS = 2
"""A step may end on evidence that is at most this many ticks older than it could be."""


def routing(view: View) -> VisionModelStatus:
    """Bring the step's weight into force: pods first, then the weight, then the gateway's word for it."""
    status, rollout, step = view.status, view.rollout, view.step
    assert step is not None
    if view.ready(rollout.revision) < view.step_replicas:
        if view.is_past_deadline():
            message = f"Fewer than {view.step_replicas} canary pods were ready in time."
            return memory.turn_back(status, Reason.PROGRESS_DEADLINE, message, view.now)
        return status
    share, header_route = memory.share_of(status, rollout.revision), view.traffic.header_route
    towards = next_header_route(header_route, rollout.revision, view.step_headers)
    is_parked = header_route is not None and header_route.parked is True
    is_arriving = (share == TRACE or is_parked) and not view.is_split_in_force
    if (share != step.weight_ppm or towards != header_route) and not is_arriving:
        if is_paused(view):
            return memory.hold(status, Reason.PAUSED, pause_message(view), view.now)
        # The gateway may learn of a new backend's endpoints a moment after the route: then only a trace would fail.
        first = min(TRACE, step.weight_ppm) if share == 0 else step.weight_ppm
        return memory.set_share(memory.with_header_route(status, towards), rollout.revision, first, view.now)
    if view.is_split_in_force:
        return _start_observing(view)
    if view.waited(view.traffic.changed_at, view.spec.rollout.route_timeout):
        reason = view.snapshot.route.message if view.snapshot.route else "the route does not exist"
        return memory.hold(status, Reason.SPLIT_MISMATCH, f"The gateway has not accepted the split: {reason}", view.now)
    return status


def _start_observing(view: View) -> VisionModelStatus:
    status, step = view.status, view.step
    assert step is not None
    if view.rollout.baseline_at is None and step.weight_ppm > 0:
        baseline = view.traffic.verified_at or view.now
        status = memory.start_judging(status, baseline, duration_seconds(view.analysis.warmup))
    rollout = view.at(status).rollout
    if rollout.judge:
        state = memory.judge_state(rollout)
        assert state is not None
        status = memory.with_rollout(status, judge=state_to_dict(start_step(state, view.now.timestamp())))
    return memory.observe_step(memory.with_rollout(status, step_started_at=view.now), view.now)


def observing(view: View, verdict: Verdict | None) -> VisionModelStatus:
    """Watch one step until it is done, held or out of time; harm was handled before."""
    status, step = view.status, view.step
    assert step is not None
    asked = _asked_to_go_on(view)
    if asked is not None:
        return asked
    if is_paused(view):
        return memory.hold(status, Reason.PAUSED, pause_message(view), view.now)
    if _is_contested(view):
        message = (
            f"{view.other_writers} {CONTESTED}, which is put right once a minute; take the route from that writer."
        )
        return memory.hold(status, Reason.SPLIT_MISMATCH, message, view.now)
    if isinstance(verdict, Inconclusive) and verdict.reason == UPSTREAM_INCIDENT:
        return memory.hold(status, Reason.UPSTREAM_INCIDENT, verdict.message, view.now)
    is_judged = _is_judged(step.weight_ppm)
    if is_judged and _is_blind(view):
        message = f"No metrics for {view.analysis.metrics_grace}: {_silence(view, verdict)}"
        return memory.hold(status, Reason.METRICS_UNAVAILABLE, message, view.now)
    is_long_enough = _observed_seconds(view) >= (step.min_seconds or 0.0)
    if is_long_enough and (not is_judged or (isinstance(verdict, Pass) and _is_fresh(view))):
        return _next_step(view)
    if isinstance(verdict, Inconclusive) and _is_fresh(view) and _is_overdue(view):
        return _undecided(view, verdict)
    return status


def _is_contested(view: View) -> bool:
    """Return whether another writer has changed the route again before it may be put right again."""
    return view.traffic.verified_at is not None and not view.is_route_as_recorded


def _is_judged(weight_ppm: int) -> bool:
    """Only a real split compares: with a trace on one side, or nothing, a step is a matter of time."""
    return TRACE < weight_ppm < WHOLE - TRACE


def _observed_seconds(view: View) -> float:
    started = view.rollout.step_started_at
    return 0.0 if started is None else (view.now - started).total_seconds()


def _is_overdue(view: View) -> bool:
    """Return whether a verdict is late; its time begins when the step could first have passed.

    That is after the step's own pauses and the warm-up. Missing data is no verdict: `metricsGrace` and
    `metricsDeadline` are for that.
    """
    step, state = view.step, memory.judge_state(view.rollout)
    assert step is not None
    assert state is not None
    waited = min(_observed_seconds(view) - (step.min_seconds or 0.0), view.now.timestamp() - state.started)
    return waited >= duration_seconds(view.analysis.max_step_duration)


def _asked_to_go_on(view: View) -> VisionModelStatus | None:
    requests = view.requests
    if not requests.promote_full and requests.promote_step != view.rollout.step + 1:
        return None
    asked = view.at(view.remembering("promote"))
    if requests.promote_full:
        return promote(asked)
    return _next_step(asked)


def is_paused(view: View) -> bool:
    """Return whether somebody, or the plan, asks to stay where it is."""
    step = view.step
    is_plan_pause = step is not None and step.min_seconds is None and view.rollout.step_started_at is not None
    return view.spec.rollout.paused or view.requests.pause or is_plan_pause


def pause_message(view: View) -> str:
    """Return who asks to wait, and how to go on."""
    if view.spec.rollout.paused:
        return "Paused by spec.rollout.paused."
    if view.requests.pause:
        return "Paused by annotation."
    rollout = view.rollout
    return (
        f"Step {rollout.step + 1} of {len(rollout.plan)} waits for promotion: annotate"
        f" visionmodel.dev/promote={rollout.revision}/{rollout.attempt}/{rollout.step + 1}."
    )


def _evidence_age(view: View) -> float:
    """Return the seconds since the end of the newest tick with data; before the first tick, since judging began."""
    state = memory.judge_state(view.rollout)
    if state is None:
        return 0.0
    return view.now.timestamp() - (state.started if state.last_used is None else state.last_used)


def _soonest(view: View) -> float:
    """Return how old the newest evidence may be although nothing is wrong, in seconds."""
    return FRESH_TICKS * duration_seconds(view.analysis.interval) + JUDGE_LAG


def _is_blind(view: View) -> bool:
    """Return whether the newest evidence is too old; a verdict stays what it was while no ticks come."""
    return _evidence_age(view) >= max(_soonest(view), duration_seconds(view.analysis.metrics_grace))


def _is_fresh(view: View) -> bool:
    """Return whether a verdict is about now: in an outage it repeats what it said, and that must promote nothing."""
    return _evidence_age(view) <= _soonest(view)


def _silence(view: View, verdict: Verdict | None) -> str:
    evidence = view.snapshot.evidence
    if evidence is not None and evidence.error:
        return evidence.error
    return verdict.reason if isinstance(verdict, NoData) else "no new ticks"


def _undecided(view: View, verdict: Inconclusive) -> VisionModelStatus:
    message = f"Undecided after {view.analysis.max_step_duration}: {verdict.message}"
    match view.analysis.on_inconclusive:
        case OnInconclusive.ABORT:
            return memory.turn_back(view.status, Reason.INCONCLUSIVE, message, view.now)
        case OnInconclusive.PROMOTE:
            return _next_step(view)
        case OnInconclusive.HOLD:
            return memory.hold(view.status, Reason.INCONCLUSIVE, message, view.now)


def _next_step(view: View) -> VisionModelStatus:
    following = view.rollout.step + 1
    # Without a gateway no weight could come into force, and no step would ever end.
    if view.has_gateway and following < len(view.rollout.plan):
        return memory.enter_step(view.status, following, view.now)
    return promote(view)


def promote(view: View) -> VisionModelStatus:
    """Begin to make the revision on trial the stable one."""
    fresh = memory.with_rollout(view.status, swap=None, hold=None, phase_started_at=view.now)
    is_unjudged = not (view.has_gateway or view.rollout.judge)
    note = " Nothing splits the traffic: not judged." if is_unjudged else ""
    message = f"Revision {view.rollout.revision} is brought to full scale.{note}"
    return memory.evolve(fresh, Phase.PROMOTING, Reason.SCALING, message)


def held(view: View, verdict: Verdict | None) -> VisionModelStatus:
    """Wait for the cause to go, or for a person; weights stay, and harm was handled before."""
    hold = view.rollout.hold
    assert hold is not None
    asked = _asked_to_go_on(view)
    if asked is not None:
        return asked
    match hold.reason:
        case Reason.PAUSED:
            is_over = not is_paused(view)
            if not is_over and hold.message != pause_message(view):
                return memory.hold(view.status, Reason.PAUSED, pause_message(view), view.now)
        case Reason.METRICS_UNAVAILABLE:
            is_over = not _is_blind(view)
            if not is_over and _metrics_overdue(view):
                return memory.turn_back(view.status, Reason.METRICS_DEADLINE, hold.message, view.now)
        case Reason.SPLIT_MISMATCH:
            is_over = view.is_split_in_force
        case Reason.UPSTREAM_INCIDENT:
            is_over = not (isinstance(verdict, Inconclusive) and verdict.reason == UPSTREAM_INCIDENT)
        case _:
            is_over = False
    return _resume(view) if is_over else view.status


def _resume(view: View) -> VisionModelStatus:
    if view.step is None or not view.has_gateway:
        return memory.provision(view.status, "Waiting for its pods.", view.now)
    return memory.resume(view.status, view.now)


def _metrics_overdue(view: View) -> bool:
    hold = view.rollout.hold
    assert hold is not None
    is_abort = view.analysis.on_missing_metrics is OnMissingMetrics.ABORT
    return is_abort and view.waited(hold.since, view.analysis.metrics_deadline)


def promoting(view: View) -> VisionModelStatus:
    """Full scale first, then the weight in two writes, then the pointer moves; no pod is restarted."""
    if view.rollout.swap is not None:
        return swapping(view)
    if view.ready(view.rollout.revision) >= promoted_pods(view):
        turn = next_turn(view)
        return take_traffic(view) if turn is None else turn
    if view.is_past_deadline():
        message = f"Fewer than {promoted_pods(view)} pods were ready in time."
        return memory.turn_back(view.status, Reason.PROGRESS_DEADLINE, message, view.now)
    return view.status


def swapping(view: View) -> VisionModelStatus:
    """Take the previous revision out of traffic: a trace, then 0, each in force before what follows it."""
    status, rollout, now = view.status, view.rollout, view.now
    if not view.is_split_in_force:
        return status
    assert rollout.previous is not None
    if rollout.swap is SwapStage.LEAVING:
        return memory.zero_share(status, rollout.previous, now)
    return _take_over(view)


def take_traffic(view: View) -> VisionModelStatus:
    """Give a revision at full scale what the previous one has; it has a share in force before the other loses its own.

    In the phase at hand, Promoting or RollingBack.
    """
    status, rollout, now = view.status, view.rollout, view.now
    assert rollout.previous is not None
    assert status.phase is not None
    if not view.has_gateway:
        return _take_over(view)
    if memory.share_of(status, rollout.revision) == 0:
        return memory.set_share(status, rollout.revision, TRACE, now)
    if not view.is_split_in_force:
        return status
    message = f"Revision {rollout.previous} is taken out of traffic."
    return memory.evolve(memory.start_swap(status, rollout.previous, now), status.phase, Reason.SWAPPING, message)


def _take_over(view: View) -> VisionModelStatus:
    moved = memory.make_stable(view.status, view.now)
    if not view.has_gateway:
        moved = memory.set_share(memory.with_header_route(moved, None), view.rollout.revision, WHOLE, view.now)
    drained = memory.start_drain(memory.with_rollout(moved, swap=None), view.now)
    message = f"Revision {view.rollout.revision} is stable; waiting for {view.rollout.previous} to be idle."
    return memory.evolve(drained, Phase.DRAINING, Reason.DRAINING, message)
