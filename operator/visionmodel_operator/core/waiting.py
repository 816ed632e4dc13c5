"""What `rollout.onNewRevision` makes of a revision that the spec names while another one is rolled out.

Under Restart the newer revision supersedes, which is no matter of this module. Under Queue and Reject the rollout goes
on by the spec that it began with, of which `status.rollout` keeps what names the revision; all else is the live spec's.
One that goes back in one jump is brought to its end first under Restart too, unless it is held.
"""

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from visionmodel_operator.api.conditions import Outcome, Phase, Reason
from visionmodel_operator.api.spec import OnNewRevision, Rollout, VisionModelSpec
from visionmodel_operator.api.status import HistoryEntry, RolloutStatus, VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.revision import is_plan_of, revision_of

LEAVING_PHASES = frozenset({Phase.ABORTING, Phase.DRAINING})
"""Nothing is made of a spec any more."""

KEPT_SECTIONS = frozenset({"model", "task", "conversion", "accelerators", "serving"})


def spec_to_keep(spec: VisionModelSpec) -> dict[str, Any]:
    """Return what a rollout must remember of the spec to go on after the spec named another revision."""
    return spec.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True, include=set(KEPT_SECTIONS)
    )


def spec_on_trial(spec: VisionModelSpec, status: VisionModelStatus) -> VisionModelSpec:
    """Return the spec to act on: the live one, or the rollout's while a newer revision waits or is refused."""
    rollout = status.rollout
    if rollout is None or rollout.newer is None or status.phase in LEAVING_PHASES:
        return spec
    return _kept(spec, rollout) or spec


def _kept(spec: VisionModelSpec, rollout: RolloutStatus) -> VisionModelSpec | None:
    """Return the spec that the rollout began with, brought up to date in all that names no revision.

    None where this operator does not read it as the same revision: an older one wrote it.
    """
    try:
        began = VisionModelSpec.model_validate(rollout.spec)
    except ValidationError:
        return None
    if revision_of(began) != rollout.revision:
        return None
    serving = began.serving.model_copy(update={"replicas": spec.serving.replicas})
    sections = {section: getattr(began, section) for section in KEPT_SECTIONS}
    return spec.model_copy(update={**sections, "serving": serving})


def noticed(spec: VisionModelSpec, named: str, status: VisionModelStatus, now: datetime) -> VisionModelStatus:
    """Record whether `named`, the spec's revision, waits or is refused; forget a refusal that it replaces."""
    status = _without_stale_rejection(status, named)
    rollout = status.rollout
    if rollout is None:
        return status
    newer = named if not _may_supersede(status, rollout) and _must_wait(spec, named, status, rollout) else None
    if newer == rollout.newer:
        return status
    status = memory.with_rollout(status, newer=newer)
    if newer is not None and rollout.on_new_revision is OnNewRevision.REJECT:
        return _rejected(status, rollout, newer, now)
    return status


def newer_in_words(rollout: RolloutStatus, newer: str) -> tuple[Reason, str]:
    """Return what happens to the newer revision of the spec, as a reason and in words."""
    if rollout.on_new_revision is OnNewRevision.REJECT:
        text = f"Revision {newer} is refused while {rollout.revision} is rolled out (onNewRevision: Reject)."
        return Reason.REJECTED, text
    return Reason.QUEUED, f"Revision {newer} waits until the rollout of {rollout.revision} is over."


def _may_supersede(status: VisionModelStatus, rollout: RolloutStatus) -> bool:
    is_moving_back = rollout.jump and status.phase is not Phase.HELD
    return rollout.on_new_revision is OnNewRevision.RESTART and not is_moving_back


def is_plan_edited(began: RolloutStatus, now: Rollout) -> bool:
    """Return whether what a rollout has frozen of `spec.rollout` differs from what stands there now."""
    return began.on_new_revision is not now.on_new_revision or not is_plan_of(now, began.plan_digest)


def _must_wait(spec: VisionModelSpec, named: str, status: VisionModelStatus, rollout: RolloutStatus) -> bool:
    """Nobody is served while the first revision is brought up: whatever replaces it may do so at once."""
    stable = status.stable.revision if status.stable else None
    if stable is None or named in (rollout.revision, stable):
        return False
    return status.phase in LEAVING_PHASES or _kept(spec, rollout) is not None


def _rejected(status: VisionModelStatus, rollout: RolloutStatus, revision: str, now: datetime) -> VisionModelStatus:
    attempt = memory.next_attempt(status, revision)
    message = (
        f"Revision {revision} is refused: the rollout of {rollout.revision} was under way (onNewRevision: Reject)."
        f" After it, annotate visionmodel.dev/retry={revision}/{attempt}."
    )
    entry = HistoryEntry(
        revision=revision,
        attempt=attempt,
        outcome=Outcome.REJECTED,
        reason=Reason.REJECTED,
        message=message,
        started_at=now,
        finished_at=now,
    )
    return status.model_copy(update={"history": [entry, *status.history][: memory.HISTORY_LIMIT]})


def _without_stale_rejection(status: VisionModelStatus, named: str) -> VisionModelStatus:
    """A refusal is of one edit: once the spec names something else, the revision may be named anew."""
    stale = {entry.revision for entry in status.history if _is_rejection(entry) and entry.revision != named}
    if not stale:
        return status
    history = [entry for entry in status.history if not (_is_rejection(entry) and entry.revision in stale)]
    failed = memory.failure_of(status, status.failed_revision) if status.failed_revision else None
    if failed is None or failed.revision == named or not _is_rejection(failed):
        return status.model_copy(update={"history": history})
    return status.model_copy(update={"history": history, "failed_revision": None, "failed_attempt": None})


def _is_rejection(entry: HistoryEntry) -> bool:
    return entry.outcome is Outcome.REJECTED
