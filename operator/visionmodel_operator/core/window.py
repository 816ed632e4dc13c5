"""The rollback window: revisions that were stable lately, to which the spec may return in one jump.

What was stable was judged when it came, and served; only whether its pods come up again is to be seen. So it needs no
steps. A revision that was turned back since, or that somebody went back from, is not trusted like that (ADR 0023).
"""

from dataclasses import replace
from datetime import datetime

from visionmodel_operator.api.base import duration_delta
from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.api.spec import OnNewRevision, RollbackWindow
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.conversion_report import reported
from visionmodel_operator.core.conversion_state import Ready
from visionmodel_operator.core.conversions import remembered
from visionmodel_operator.core.plan import plan_of
from visionmodel_operator.core.revision import plan_digest
from visionmodel_operator.core.view import View
from visionmodel_operator.core.waiting import spec_to_keep


def revisions_in_window(status: VisionModelStatus, window: RollbackWindow, now: datetime) -> tuple[str, ...]:
    """Return the revisions that are gone back to in one jump, the one that was stable last first."""
    since = now - duration_delta(window.duration)
    return tuple(
        known.revision
        for known in memory.lately_stable(status)[: window.revisions]
        if known.replaced_at is not None and known.replaced_at >= since
    )


def freeze(view: View) -> memory.Frozen:
    """Return what a rollout step by step keeps of the spec."""
    rollout = view.spec.rollout
    return memory.Frozen(
        plan=plan_of(rollout),
        plan_digest=plan_digest(rollout),
        analysis=rollout.analysis.to_wire(),
        on_new_revision=rollout.on_new_revision,
        spec={} if rollout.on_new_revision is OnNewRevision.RESTART else spec_to_keep(view.spec),
    )


def begin(view: View) -> VisionModelStatus:
    """Start the rollout of the spec's revision: in one jump where the window has it, else from its conversion on."""
    status, revision, now = view.status, view.target, view.now
    attempt, frozen = memory.next_attempt(status, revision), freeze(view)
    made = _kept(view)
    if made is None:
        return memory.begin(status, revision, attempt, frozen, now)
    # It has no steps, and is brought to its end although the spec names another revision meanwhile.
    back = replace(frozen, plan=(), spec=spec_to_keep(view.spec), jump=True)
    begun = memory.begin(status, revision, attempt, back, now)
    assert begun.conversion is not None
    done = memory.converted(begun, reported(begun.conversion, made))
    return bring_back(done)


def bring_back(status: VisionModelStatus) -> VisionModelStatus:
    """Wait for full scale of the revision that all requests go back to."""
    rollout = status.rollout
    assert rollout is not None
    message = f"Revision {rollout.revision} was stable lately; it is brought to full scale, to go back in one jump."
    return memory.evolve(memory.with_rollout(status, hold=None), Phase.ROLLING_BACK, Reason.SCALING, message)


def _kept(view: View) -> Ready | None:
    """Return what the spec's revision was made of, where it may be gone back to as it was."""
    window = view.spec.rollback_window
    if view.target not in revisions_in_window(view.status, window, view.now) or not view.is_stored(view.target):
        return None
    made = remembered(view.snapshot, view.target)
    return made if isinstance(made, Ready) else None
