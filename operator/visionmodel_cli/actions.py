"""What promote, abort, retry, pause and resume write: annotations that name revision and attempt, and so act once.

`core/requests.py` reads them. Every function is pure: it takes the VisionModel as the API server has it, and either
returns the annotation to write or raises Refusal, because a request that is never acted on looks like one that is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from visionmodel_cli.failures import Failure, Refusal
from visionmodel_operator.api.conditions import ACTIVE_PHASES, Phase, Reason
from visionmodel_operator.api.spec import RollbackWindow
from visionmodel_operator.api.status import RolloutStatus, VisionModelStatus
from visionmodel_operator.api.v1alpha1 import parse_status
from visionmodel_operator.core import names
from visionmodel_operator.core.requests import MAY_SERVE

PAST_TURNING = frozenset({Phase.ABORTING, Phase.DRAINING})
"""What is on its way out, or has taken over, is not turned any more."""


DECISIONS = frozenset({Reason.PAUSED, Reason.ROLLBACK_UNAVAILABLE})
"""Holds of one jump back that somebody may end."""

BEFORE_STEPS: Mapping[str | None, str] = {
    Reason.AWAITING_APPLY: "may serve: its rollout begins now, step by step",
    Reason.ROLLBACK_UNAVAILABLE: "is rolled out step by step, instead of in one jump",
}
"""Holds before the first step, and what a promotion makes of them."""


@dataclass(frozen=True)
class Request:
    """One annotation to write.

    Attributes:
        value: None takes the annotation away.
        said: what it will do, for the person who asked.
    """

    annotation: str
    value: str | None
    said: str

    def document(self) -> dict[str, Any]:
        """Return the request as JSON."""
        return {"annotation": self.annotation, "value": self.value, "message": self.said}


def status_in(model: Mapping[str, Any]) -> VisionModelStatus:
    """Return the status of a VisionModel. Raises Failure where another release has written it."""
    try:
        return parse_status(model.get("status"))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise Failure(
            f"status.{where} cannot be read ({fault['msg']}); use the plugin of the operator's release"
        ) from error


def window_of(model: Mapping[str, Any]) -> RollbackWindow:
    """Return the rollback window that the spec asks for; nobody is in it where the spec does not say one."""
    try:
        return RollbackWindow.model_validate(model.get("spec", {}).get("rollbackWindow", {}))
    except ValidationError:
        return RollbackWindow(revisions=0)


def promotion(model: Mapping[str, Any], *, full: bool) -> Request:
    """Return the request to go on: past the current step, or with `full` past all that are left. Raises Refusal."""
    name, status = model["metadata"]["name"], status_in(model)
    rollout = _rollout(name, status, "promote")
    mine = f"{rollout.revision}/{rollout.attempt}"
    if status.phase in PAST_TURNING or status.phase is Phase.PROMOTING:
        raise Refusal(f"{_at(name, status)}: nothing is left to promote.")
    reason = rollout.hold.reason if rollout.hold is not None else None
    if rollout.jump and reason not in DECISIONS:
        raise Refusal(f"{_at(name, status)}: it goes back in one jump, without steps to promote.")
    if full:
        # Earlier operators consumed it where it let a conversion serve; they would not act on it again.
        if f"promote={mine}" in status.consumed_actions:
            raise Refusal(
                f"A promotion of attempt {rollout.attempt} at revision {rollout.revision} was acted on before; each"
                " acts once: promote it step by step, without --full."
            )
        said = f"Revision {rollout.revision} takes over without its remaining steps; harm and abort still end it."
        return Request(names.ANNOTATION_PROMOTE, mine, said)
    if reason in BEFORE_STEPS:
        said = f"Revision {rollout.revision} {BEFORE_STEPS[reason]}."
        return Request(names.ANNOTATION_PROMOTE, f"{mine}/{MAY_SERVE}", said)
    if status.phase not in (Phase.PROGRESSING, Phase.HELD):
        raise Refusal(
            f"{_at(name, status)}: there is no step to leave yet; --full lets it take over once there is one."
        )
    if rollout.jump:
        said = f"All requests go back to revision {rollout.revision}, although it is paused."
        return Request(names.ANNOTATION_PROMOTE, f"{mine}/{rollout.step + 1}", said)
    said = f"Step {rollout.step + 1} of {max(1, len(rollout.plan))} of revision {rollout.revision} ends."
    return Request(names.ANNOTATION_PROMOTE, f"{mine}/{rollout.step + 1}", said)


def abortion(model: Mapping[str, Any]) -> Request:
    """Return the request to turn the rollout back. Raises Refusal."""
    name, status = model["metadata"]["name"], status_in(model)
    rollout = _rollout(name, status, "abort")
    if status.phase is Phase.ABORTING:
        raise Refusal(f"{_at(name, status)}: it is being turned back already.")
    if status.phase is Phase.DRAINING:
        raise Refusal(f"{_at(name, status)}: revision {rollout.revision} has taken over; go back by undo.")
    back = f"back to revision {rollout.previous}" if rollout.previous else "and no revision serves before it"
    said = f"Revision {rollout.revision} is turned back, {back}."
    return Request(names.ANNOTATION_ABORT, f"{rollout.revision}/{rollout.attempt}", said)


def another_try(model: Mapping[str, Any]) -> Request:
    """Return the request to try once more what failed. Raises Refusal."""
    name, status = model["metadata"]["name"], status_in(model)
    failed = status.failed_revision
    if status.rollout is not None:
        raise Refusal(f"{_at(name, status)}: a rollout is under way; retry is for one that has failed.")
    if failed is None:
        raise Refusal(f"{_at(name, status)}: no revision of it has failed.")
    if failed != status.target_revision:
        raise Refusal(
            f"The spec of VisionModel {name!r} asks for revision {status.target_revision}, and {failed} is what failed:"
            f" `undo {name} --to {failed}` puts its spec back."
        )
    value = f"{failed}/{status.failed_attempt or 1}"
    return Request(names.ANNOTATION_RETRY, value, f"Revision {failed} is tried again.")


def pause(model: Mapping[str, Any]) -> Request:
    """Return the request to hold where it is. Raises Refusal where that was asked before."""
    name, status = model["metadata"]["name"], status_in(model)
    if _annotations(model).get(names.ANNOTATION_PAUSE) == "true":
        raise Refusal(f"VisionModel {name!r} is paused already; resume lets it go on.")
    what = "The rollout is held at its weights" if status.rollout is not None else "The next rollout is held"
    return Request(names.ANNOTATION_PAUSE, "true", f"{what} until resume; harm still turns it back.")


def resumption(model: Mapping[str, Any]) -> Request:
    """Return the request to go on after a pause. Raises Refusal where something else holds it."""
    name, status = model["metadata"]["name"], status_in(model)
    is_paused_by_spec = model.get("spec", {}).get("rollout", {}).get("paused") is True
    if names.ANNOTATION_PAUSE in _annotations(model):
        said = "It is not paused by annotation any more" if is_paused_by_spec else "The rollout may go on"
        rest = "; spec.rollout.paused still holds it." if is_paused_by_spec else "."
        return Request(names.ANNOTATION_PAUSE, None, said + rest)
    if is_paused_by_spec:
        raise Refusal(f"VisionModel {name!r} is paused by spec.rollout.paused: set that to false.")
    hold = status.rollout.hold if status.rollout else None
    if hold is None:
        raise Refusal(f"{_at(name, status)}: it is not paused.")
    if hold.reason in (Reason.PAUSED, Reason.AWAITING_APPLY, Reason.INCONCLUSIVE):
        raise Refusal(f"{_at(name, status)}: it waits for a decision, promote or abort.")
    raise Refusal(f"{_at(name, status)}: it goes on by itself once the cause is gone: {hold.message}")


def _rollout(name: str, status: VisionModelStatus, verb: str) -> RolloutStatus:
    if status.rollout is None or (status.phase not in ACTIVE_PHASES and status.phase is not Phase.DEGRADED):
        hint = f"; retry tries revision {status.failed_revision} again" if status.failed_revision else ""
        raise Refusal(f"{_at(name, status)}: there is no rollout to {verb}{hint}.")
    return status.rollout


def _annotations(model: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = model["metadata"].get("annotations", {})
    return found


def _at(name: str, status: VisionModelStatus) -> str:
    where = f"{status.phase} ({status.reason})" if status.phase else "not looked at by the operator yet"
    return f"VisionModel {name!r} is {where}"
