"""Going back in one jump to a revision that was stable lately: a promotion without steps, and without a judge.

Stable serves until the other one is at full scale. Where that does not come, it goes on serving, and the move is held
with the reason until the pods are ready after all, or somebody decides.
"""

from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.conversion_state import Ready
from visionmodel_operator.core.conversions import remembered
from visionmodel_operator.core.preparing import missing_capacity, not_ready
from visionmodel_operator.core.requests import MAY_SERVE
from visionmodel_operator.core.stepping import is_paused, pause_message, swapping, take_traffic
from visionmodel_operator.core.view import View
from visionmodel_operator.core.window import bring_back, freeze


def rolling_back(view: View) -> VisionModelStatus:
    """Full scale first; the rest is as when a candidate takes over."""
    if view.rollout.swap is not None:
        return swapping(view)
    if _is_lost(view):
        return _unavailable(view, "Neither its pods' template nor its artifact is known any more.")
    if not _is_at_full_scale(view):
        if view.is_past_deadline():
            return _unavailable(view, not_ready(view))
        lack = missing_capacity(view)
        return view.status if lack is None else memory.hold(view.status, Reason.NO_CAPACITY, lack, view.now)
    if is_paused(view) and memory.share_of(view.status, view.rollout.revision) == 0:
        return memory.hold(view.status, Reason.PAUSED, pause_message(view), view.now)
    return take_traffic(view)


def held_back(view: View) -> VisionModelStatus:
    """Wait for the cause to go, or for a person; stable serves meanwhile."""
    hold = view.rollout.hold
    assert hold is not None
    match hold.reason:
        case Reason.PAUSED:
            return _paused(view)
        case Reason.NO_CAPACITY:
            return _without_capacity(view)
        case _:
            return _waiting_for_a_decision(view)


def _paused(view: View) -> VisionModelStatus:
    is_asked = view.requests.promote_full or view.requests.promote_step == view.rollout.step + 1
    if is_asked and _is_at_full_scale(view):
        return take_traffic(view.at(bring_back(view.remembering("promote"))))
    if not is_paused(view):
        return _again(view)
    return _held_because(view, Reason.PAUSED, pause_message(view))


def _without_capacity(view: View) -> VisionModelStatus:
    if _is_at_full_scale(view):
        return bring_back(view.status)
    if view.is_past_deadline():
        return _unavailable(view, not_ready(view))
    lack = missing_capacity(view)
    if lack is None:
        return bring_back(view.status)
    return _held_because(view, Reason.NO_CAPACITY, lack)


def _held_because(view: View, reason: Reason, message: str) -> VisionModelStatus:
    """Stay held, and say why in the newest words."""
    hold = view.rollout.hold
    assert hold is not None
    return view.status if message == hold.message else memory.hold(view.status, reason, message, view.now)


def _waiting_for_a_decision(view: View) -> VisionModelStatus:
    if _is_at_full_scale(view):
        return _again(view)
    # In full it is not consumed: it is of the steps that follow, too.
    if view.requests.promote_step == MAY_SERVE:
        return _step_by_step(view.at(view.remembering("promote")))
    return _step_by_step(view) if view.requests.promote_full else view.status


def _again(view: View) -> VisionModelStatus:
    """Go on, with the time for the pods anew."""
    return bring_back(memory.with_rollout(view.status, phase_started_at=view.now))


def _step_by_step(view: View) -> VisionModelStatus:
    """Go on as a rollout like any other, which makes again what is missing, and judges."""
    frozen = freeze(view)
    fields = {"plan": list(frozen.plan), "plan_digest": frozen.plan_digest, "analysis": frozen.analysis}
    status = memory.with_rollout(view.status, jump=False, **fields)
    return memory.provision(status, "Not gone back to in one jump; waiting for its pods.", view.now)


def _unavailable(view: View, why: str) -> VisionModelStatus:
    revision, stable = view.rollout.revision, view.rollout.previous
    message = f"Revision {stable} goes on serving, since {revision} cannot be gone back to. {why}"
    return memory.hold(view.status, Reason.ROLLBACK_UNAVAILABLE, message, view.now)


def _is_at_full_scale(view: View) -> bool:
    return view.ready(view.rollout.revision) >= view.full_replicas


def _is_lost(view: View) -> bool:
    revision = view.rollout.revision
    return not view.is_stored(revision) and not isinstance(remembered(view.snapshot, revision), Ready)
