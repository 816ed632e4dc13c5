"""Before a candidate has traffic: its artifact, then its pods."""

import re
from collections.abc import Set

from visionmodel_operator.api.conditions import Outcome, Phase, Reason
from visionmodel_operator.api.status import ConversionStatus, VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.capacity import awaits_choice, choose, choose_again, is_room_being_made
from visionmodel_operator.core.conversion_jobs import current_job
from visionmodel_operator.core.conversion_report import noted, prepared_again_in_words, reported
from visionmodel_operator.core.conversion_state import Building, Failed, Moved, Ready, Reported
from visionmodel_operator.core.conversions import conversion_of, missed_deadline, remembered
from visionmodel_operator.core.detection import forecasted
from visionmodel_operator.core.requests import MAY_SERVE, may_serve
from visionmodel_operator.core.resting import resting
from visionmodel_operator.core.stepping import is_paused, pause_message, promote
from visionmodel_operator.core.view import View
from visionmodel_operator.core.weights import WHOLE

UNSCHEDULABLE = "Unschedulable"
"""Reason of a pod's condition PodScheduled when no node takes it."""


def converting(view: View) -> VisionModelStatus:
    """Wait for the artifact and the verdict of its gates."""
    status, now = view.status, view.now
    conversion = conversion_of(view.snapshot, view.rollout.revision, view.rollout.attempt)
    recorded = status.conversion
    assert recorded is not None
    match conversion:
        case Ready():
            done = memory.converted(status, reported(recorded, conversion))
            if not _may_serve(view):
                message = "Converted; conversion.autoApply is false. Promote it to serve it."
                return memory.hold(done, Reason.AWAITING_APPLY, message, now)
            return _let_serve(view.at(done), "Converted; waiting for its pods.")
        case Failed():
            return _not_converted(view, conversion)
        case Reported():
            return status.model_copy(update={"conversion": noted(recorded, conversion)})
        case Moved() if (kept := noted(recorded, conversion)) != recorded:
            told = status.model_copy(update={"conversion": kept})
            return memory.evolve(told, Phase.CONVERTING, Reason.STORE_LEFT, prepared_again_in_words(kept))
        case Building() if (kept := noted(recorded, conversion)) != recorded:
            return status.model_copy(update={"conversion": kept})
    if view.waited(recorded.started_at, view.spec.conversion.deadline):
        job = current_job(view.snapshot, view.rollout.revision, view.rollout.attempt)
        return _not_converted(view, missed_deadline(view.snapshot, job))
    return status


def awaiting_apply(view: View) -> VisionModelStatus:
    """Hold until somebody lets what was converted serve."""
    return _let_serve(view, "Waiting for its pods.") if _may_serve(view) else view.status


def _may_serve(view: View) -> bool:
    """Return whether the spec lets it serve, or somebody promoted this very attempt, also before it was lost again."""
    revision, attempt = view.rollout.revision, view.rollout.attempt
    return view.spec.conversion.auto_apply or may_serve(view.status.consumed_actions, view.requests, revision, attempt)


def _let_serve(view: View, message: str) -> VisionModelStatus:
    """Go on to its pods; a promotion in full is not consumed by that, since it is of the steps that follow, too."""
    status = view.remembering("promote") if view.requests.promote_step == MAY_SERVE else view.status
    return memory.provision(status, message, view.now)


def _not_converted(view: View, failed: Failed) -> VisionModelStatus:
    recorded = view.status.conversion
    assert recorded is not None
    told = recorded.model_copy(update={"message": failed.message[:4096], "exit_code": failed.exit_code})
    status = view.status.model_copy(update={"conversion": told})
    is_late = failed.reason == Reason.CONVERSION_DEADLINE
    reason = Reason.CONVERSION_DEADLINE if is_late else Reason.CONVERSION_FAILED
    message = failed.message if is_late else f"{failed.reason}: {failed.message}"
    return memory.fail(status, Outcome.CONVERSION_FAILED, reason, message, view.now)


def provisioning(view: View) -> VisionModelStatus:
    """Wait for the candidate's pods; what they lack of the artifact is converted again."""
    status, rollout, now = view.status, view.rollout, view.now
    if not view.is_stored(rollout.revision):
        if not isinstance(remembered(view.snapshot, rollout.revision), Ready):
            return _convert_again(view)
    elif view.ready(rollout.revision) >= view.step_replicas:
        return _provisioned(view)
    forecast = forecasted(view)
    if forecast is not None:
        return forecast
    if awaits_choice(view):
        return choose(view)
    if view.is_past_deadline() and status.phase is Phase.PROVISIONING:
        message = not_ready(view)
        if view.stable is None:
            return memory.evolve(status, Phase.DEGRADED, Reason.PROGRESS_DEADLINE, message)
        return memory.turn_back(status, Reason.PROGRESS_DEADLINE, message, now)
    lack = missing_capacity(view) if view.stable is not None else None
    return status if lack is None else memory.hold(status, Reason.NO_CAPACITY, lack, now)


def without_capacity(view: View) -> VisionModelStatus:
    """Hold until the candidate's pods have devices; the deadline goes on, so that nothing waits for ever."""
    status, hold = view.status, view.rollout.hold
    assert hold is not None
    if view.is_past_deadline():
        return memory.turn_back(status, Reason.PROGRESS_DEADLINE, not_ready(view, hold.message), view.now)
    chosen = choose_again(view)
    if chosen is not None:
        return chosen
    lack = missing_capacity(view)
    if lack is None or view.ready(view.rollout.revision) >= view.step_replicas:
        return memory.go_on_waiting(status, "Waiting for its pods.")
    return status if lack == hold.message else memory.hold(status, Reason.NO_CAPACITY, lack, view.now)


def not_ready(view: View, held: str = "") -> str:
    """Return how long the pods were waited for, what they were held for, and what each waits for."""
    waiting = {pod.waiting_message or pod.waiting for pod in view.pods(view.rollout.revision) if pod.waiting}
    said = "; ".join(text for text in sorted(waiting) if text not in held)
    return " ".join(f"Not ready within {view.spec.progress_deadline_seconds} s. {held} {said}".split())


def missing_capacity(view: View) -> str | None:
    """Return how many of the candidate's pods find no free device, in numbers; None when that keeps none waiting."""
    pods = [pod for pod in view.pods(view.rollout.revision) if not pod.terminating]
    resources = {accelerator.resource_name for accelerator in view.spec.accelerators}
    lacking = [pod for pod in pods if pod.waiting == UNSCHEDULABLE and _names_one(resources, pod.waiting_message)]
    if not lacking or is_room_being_made(view):
        return None
    said = min(pod.waiting_message for pod in lacking)
    return f"{len(lacking)} of {len(pods)} canary pods find no free {' or '.join(sorted(resources))}: {said}"


def _names_one(resources: Set[str], message: str) -> bool:
    """Whether the scheduler says "Insufficient <resource>", as its NodeResourcesFit plugin words it."""
    return any(re.search(rf"Insufficient {re.escape(resource)}(?![\w/-]|\.\w)", message) for resource in resources)


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
        return resting(view.at(memory.finish(served, Outcome.PROMOTED, Reason.PROMOTED, message, now)))
    # A step without a share, such as a preview, needs nothing that splits the traffic.
    if rollout.plan and (view.has_gateway or rollout.plan[0].weight_ppm == 0):
        return memory.enter_step(status, 0, now)
    if is_paused(view):
        return memory.hold(status, Reason.PAUSED, pause_message(view), now)
    return promote(view)
