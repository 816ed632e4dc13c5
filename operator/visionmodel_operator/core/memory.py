"""Moves on the recorded status: begin a rollout, change weights, turn back, finish.

Each returns a new status and touches nothing else; `rollout` decides which one is due, `effects` carries out
what the status then says.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from visionmodel_operator.api.conditions import Outcome, Phase, Reason
from visionmodel_operator.api.spec import MAX_WINDOW_REVISIONS, Analysis, OnNewRevision
from visionmodel_operator.api.status import (
    ConversionStatus,
    DrainStatus,
    HeaderRouteStatus,
    HistoryEntry,
    HoldStatus,
    KnownRevision,
    RevisionStatus,
    RolloutStatus,
    SwapStage,
    TrafficStatus,
    VisionModelStatus,
)
from visionmodel_operator.core.header_route import parked
from visionmodel_operator.core.judge import config_from_analysis, verdict_of
from visionmodel_operator.core.judge_state import JudgeState, initial_state, state_from_dict, state_to_dict
from visionmodel_operator.core.weights import TRACE, WHOLE, slots_with, weight_of, weights_with

HISTORY_LIMIT = 10
KNOWN_LIMIT = 60
"""More than `revisionHistoryLimit` may ask for, less than the CRD's bound of the list."""

BLIND_HOLDS = frozenset({Reason.METRICS_UNAVAILABLE, Reason.UPSTREAM_INCIDENT, Reason.SPLIT_MISMATCH})
"""Holds during which nothing was learned, or the weight was another: their time is no time of the step."""

MESSAGE_LIMIT = 4096
"""Longest message of the CRD: what gateways and servers say is cut, or the whole status would be refused."""


@dataclass(frozen=True)
class Frozen:
    """What a rollout keeps from the spec for its whole life."""

    plan: tuple[Any, ...]
    plan_digest: str
    analysis: dict[str, Any]
    on_new_revision: OnNewRevision
    spec: dict[str, Any]
    jump: bool = False


def evolve(
    status: VisionModelStatus, phase: Phase, reason: Reason | str, message: str, **fields: Any
) -> VisionModelStatus:
    """Return the status in a phase; `fields` are attributes of the status."""
    told = {"phase": phase, "reason": str(reason), "message": message[:MESSAGE_LIMIT]}
    return status.model_copy(update={**told, **fields})


def with_rollout(status: VisionModelStatus, **fields: Any) -> VisionModelStatus:
    """Return the status with fields of its rollout changed."""
    assert status.rollout is not None
    return status.model_copy(update={"rollout": status.rollout.model_copy(update=fields)})


def traffic_of(status: VisionModelStatus) -> TrafficStatus:
    """Return the recorded split; an empty one before the first revision serves."""
    return status.traffic if status.traffic is not None else TrafficStatus()


def share_of(status: VisionModelStatus, revision: str) -> int:
    """Return the recorded share of a revision in parts per million."""
    traffic = traffic_of(status)
    return weight_of(traffic.slots, traffic.weights_ppm, revision)


def begin(status: VisionModelStatus, revision: str, attempt: int, frozen: Frozen, now: datetime) -> VisionModelStatus:
    """Start the rollout of a revision: everything it is judged by is frozen here."""
    rollout = RolloutStatus(
        revision=revision,
        attempt=attempt,
        previous=status.stable.revision if status.stable else None,
        started_at=now,
        phase_started_at=now,
        plan=list(frozen.plan),
        plan_digest=frozen.plan_digest,
        analysis=frozen.analysis,
        on_new_revision=frozen.on_new_revision,
        spec=frozen.spec,
        jump=frozen.jump,
    )
    return evolve(
        status,
        Phase.CONVERTING,
        Reason.NEW_REVISION,
        f"Revision {revision} begins.",
        rollout=rollout,
        target_revision=revision,
        failed_revision=None,
        failed_attempt=None,
        conversion=ConversionStatus(revision=revision, started_at=now),
        revisions=_known(status, revision, now),
    )


def _known(status: VisionModelStatus, revision: str, now: datetime) -> list[KnownRevision]:
    """Return what is kept, newest first; of too many the oldest are forgotten, but none that may have traffic."""
    mine = known_revision(status, revision) or KnownRevision(revision=revision)
    lately = (known.revision for known in lately_stable(status)[:MAX_WINDOW_REVISIONS])
    used = {status.stable.revision if status.stable else None, *traffic_of(status).slots, *lately}
    others = [known for known in status.revisions if known.revision != revision]
    idle = [known.revision for known in others if known.revision not in used]
    forgotten = set(idle[KNOWN_LIMIT - 1 - (len(others) - len(idle)) :])
    return [
        mine.model_copy(update={"last_served_at": now}),
        *(known for known in others if known.revision not in forgotten),
    ]


def lately_stable(status: VisionModelStatus) -> list[KnownRevision]:
    """Return the revisions that others took over from, the last one first."""
    replaced = [(known.replaced_at, known) for known in status.revisions if known.replaced_at is not None]
    return [known for _, known in sorted(replaced, key=lambda pair: pair[0], reverse=True)]


def replaced(status: VisionModelStatus, revision: str | None, at: datetime | None) -> VisionModelStatus:
    """Record when another revision took over from this one; None: it is stable, or was found to be bad."""
    revisions = [
        known.model_copy(update={"replaced_at": at}) if known.revision == revision else known
        for known in status.revisions
    ]
    return status.model_copy(update={"revisions": revisions})


def known_revision(status: VisionModelStatus, revision: str) -> KnownRevision | None:
    """Return what is kept of a revision."""
    return next((known for known in status.revisions if known.revision == revision), None)


def known_key(status: VisionModelStatus, revision: str) -> str | None:
    """Return the key of the artifact that a kept revision was made of."""
    known = known_revision(status, revision)
    return None if known is None else known.artifact_key


def converted(status: VisionModelStatus, conversion: ConversionStatus) -> VisionModelStatus:
    """Record what the conversion made, and that the revision keeps its artifact."""
    revisions = [
        known.model_copy(
            update={
                "artifact_key": conversion.key,
                "engine_keys": conversion.engine_keys,
                "verdict": conversion.verdict or known.verdict,
            }
        )
        if known.revision == conversion.revision
        else known
        for known in status.revisions
    ]
    return status.model_copy(update={"conversion": conversion, "revisions": revisions})


def provision(status: VisionModelStatus, message: str, now: datetime) -> VisionModelStatus:
    """Wait for the candidate's pods."""
    fresh = with_rollout(status, phase_started_at=now, hold=None)
    return evolve(fresh, Phase.PROVISIONING, Reason.WAITING_FOR_PODS, message)


def go_on_waiting(status: VisionModelStatus, message: str) -> VisionModelStatus:
    """Wait for the candidate's pods again after a hold that did not stop the deadline."""
    return evolve(with_rollout(status, hold=None), Phase.PROVISIONING, Reason.WAITING_FOR_PODS, message)


def failure_of(status: VisionModelStatus, revision: str) -> HistoryEntry | None:
    """Return how the newest attempt at a revision was turned back or refused, None unless that was for good."""
    newest = next((entry for entry in status.history if entry.revision == revision), None)
    if newest is None or newest.outcome not in (Outcome.ABORTED, Outcome.REJECTED):
        return None
    return None if newest.reason in (Reason.REVERTED, Reason.SUSPENDED) else newest


def next_attempt(status: VisionModelStatus, revision: str) -> int:
    """Return the number of the attempt at a revision that would come next, as far as the history remembers."""
    return max((entry.attempt for entry in status.history if entry.revision == revision), default=0) + 1


def hold(status: VisionModelStatus, reason: Reason, message: str, now: datetime) -> VisionModelStatus:
    """Stop where it is: weights stay, the judge keeps running."""
    held = with_rollout(status, hold=HoldStatus(reason=reason, message=message[:1024], since=now))
    return evolve(held, Phase.HELD, reason, message)


def resume(status: VisionModelStatus, now: datetime) -> VisionModelStatus:
    """Go on after a hold."""
    rollout = status.rollout
    assert rollout is not None
    started = rollout.step_started_at
    if rollout.hold is not None and rollout.hold.reason in BLIND_HOLDS and started is not None:
        started += now - rollout.hold.since
    return observe_step(with_rollout(status, hold=None, step_started_at=started), now)


def observe_step(status: VisionModelStatus, now: datetime) -> VisionModelStatus:
    """Return to the step at hand: routing until its weight is in force, observing afterwards."""
    rollout = status.rollout
    assert rollout is not None
    reason = Reason.ROUTING if rollout.step_started_at is None else Reason.OBSERVING
    fields = {} if status.phase is Phase.PROGRESSING else {"phase_started_at": now}
    return evolve(
        with_rollout(status, **fields), Phase.PROGRESSING, reason, f"Step {rollout.step + 1} of {len(rollout.plan)}."
    )


def enter_step(status: VisionModelStatus, step: int, now: datetime) -> VisionModelStatus:
    """Begin a step: its weight is written once the canary has the pods for it."""
    fresh = with_rollout(status, step=step, step_started_at=None, hold=None, phase_started_at=now)
    return evolve(
        fresh,
        Phase.PROGRESSING,
        Reason.ROUTING,
        f"Step {step + 1} of {len(fresh.rollout.plan) if fresh.rollout else 0}.",
    )


def set_share(status: VisionModelStatus, revision: str, weight_ppm: int, now: datetime) -> VisionModelStatus:
    """Record the split to be written: this share for the revision, the rest for the other slot."""
    traffic = traffic_of(status)
    other = status.stable.revision if status.stable else None
    slots = slots_with(traffic.slots, other, revision)
    weights = weights_with(slots, revision, weight_ppm)
    changed = traffic.model_copy(
        update={"slots": list(slots), "weights_ppm": list(weights), "changed_at": now, "verified_at": None}
    )
    return status.model_copy(update={"traffic": changed})


def with_header_route(status: VisionModelStatus, header_route: HeaderRouteStatus | None) -> VisionModelStatus:
    """Return the status with other requests that reach the canary by a header; `set_share` then has it written."""
    return status.model_copy(update={"traffic": traffic_of(status).model_copy(update={"header_route": header_route})})


def judge_state(rollout: RolloutStatus) -> JudgeState | None:
    """Return the judge's memory, None before the canary had traffic."""
    return state_from_dict(rollout.judge) if rollout.judge else None


def start_judging(status: VisionModelStatus, baseline_at: datetime, warmup: float) -> VisionModelStatus:
    """Record where evidence begins: when the canary's weight left 0; its warm-up is never judged."""
    state = initial_state(baseline_at.timestamp() + warmup)
    return with_rollout(status, baseline_at=baseline_at, judge=state_to_dict(state))


def start_swap(status: VisionModelStatus, leaving: str, now: datetime) -> VisionModelStatus:
    """Reduce a leaving revision to a trace, where it has more; no header leads anywhere any longer."""
    traffic = traffic_of(status)
    staying = next((r for r in traffic.slots if r != leaving), leaving)
    rest = WHOLE - min(TRACE, share_of(status, leaving))
    swapped = set_share(with_header_route(status, parked(traffic.header_route)), staying, rest, now)
    return with_rollout(swapped, swap=SwapStage.LEAVING, phase_started_at=now)


def zero_share(status: VisionModelStatus, leaving: str, now: datetime) -> VisionModelStatus:
    """Take the trace away."""
    traffic = traffic_of(status)
    staying = next((r for r in traffic.slots if r != leaving), leaving)
    swapped = set_share(with_header_route(status, None), staying, WHOLE, now)
    return with_rollout(swapped, swap=SwapStage.ZERO, phase_started_at=now)


def turn_back(status: VisionModelStatus, reason: Reason, message: str, now: datetime) -> VisionModelStatus:
    """Begin to abort: all traffic to stable first, then an idle canary, then its pods."""
    rollout = status.rollout
    assert rollout is not None
    ended = with_rollout(
        status, ended=str(reason), ended_message=message[:4096], hold=None, drain=None, phase_started_at=now
    )
    if share_of(status, rollout.revision) > 0 or traffic_of(status).header_route is not None:
        ended = start_swap(ended, rollout.revision, now)
    else:
        ended = with_rollout(ended, swap=SwapStage.DRAINED)
    return evolve(ended, Phase.ABORTING, reason, message)


def start_drain(status: VisionModelStatus, now: datetime) -> VisionModelStatus:
    """Record when waiting for an idle revision began."""
    return with_rollout(status, drain=DrainStatus(started_at=now), phase_started_at=now)


def make_stable(status: VisionModelStatus, now: datetime) -> VisionModelStatus:
    """Move the pointer: the revision on trial is the stable one from here on."""
    rollout = status.rollout
    assert rollout is not None
    # Whoever goes back had a reason against what they leave: that is to be proven again, step by step.
    left = replaced(status, status.stable.revision if status.stable else None, None if rollout.jump else now)
    moved = replaced(left, rollout.revision, None)
    return moved.model_copy(update={"stable": RevisionStatus(revision=rollout.revision, since=now)})


def finish(
    status: VisionModelStatus, outcome: Outcome, reason: Reason | str, message: str, now: datetime
) -> VisionModelStatus:
    """End the rollout and write it into the history."""
    rollout = status.rollout
    assert rollout is not None
    judged = judge_state(rollout)
    entry = HistoryEntry(
        revision=rollout.revision,
        attempt=rollout.attempt,
        outcome=outcome,
        reason=str(reason),
        message=message[:2048],
        started_at=rollout.started_at,
        finished_at=now,
        requests=judged.canary_requests if judged else 0,
        evidence=round(_evidence_of(rollout, judged), 3) if judged else 0.0,
        previous=rollout.previous,
        **_judged_range(status, rollout, judged),
    )
    return status.model_copy(
        update={"rollout": None, "canary": None, "history": [entry, *status.history][:HISTORY_LIMIT]}
    )


def _judged_range(status: VisionModelStatus, rollout: RolloutStatus, judged: JudgeState | None) -> dict[str, Any]:
    """Return what it takes to judge the rollout again from the same samples; nothing where nothing was judged."""
    slots = traffic_of(status).slots
    if judged is None or judged.last_tick is None or rollout.revision not in slots:
        return {}
    return {
        "slot": slots.index(rollout.revision),
        "baseline_at": rollout.baseline_at,
        "judged_to": datetime.fromtimestamp(judged.last_tick, rollout.started_at.tzinfo),
        "plan_digest": rollout.plan_digest or None,
    }


def _evidence_of(rollout: RolloutStatus, judged: JudgeState) -> float:
    config = config_from_analysis(Analysis.model_validate(rollout.analysis))
    return verdict_of(judged, config).totals.evidence


def fail(
    status: VisionModelStatus, outcome: Outcome, reason: Reason | str, message: str, now: datetime
) -> VisionModelStatus:
    """End the rollout as failed: this attempt at this revision is not tried again unless asked."""
    rollout = status.rollout
    assert rollout is not None
    ended = replaced(finish(status, outcome, reason, message, now), rollout.revision, None)
    return evolve(
        ended,
        Phase.DEGRADED,
        reason,
        message,
        failed_revision=rollout.revision,
        failed_attempt=rollout.attempt,
    )
