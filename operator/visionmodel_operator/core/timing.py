"""When to look again although nothing was announced; what is watched needs no look."""

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.conditions import Phase
from visionmodel_operator.core.counters import JUDGE_LAG
from visionmodel_operator.core.effects import is_recording, must_forget
from visionmodel_operator.core.memory import judge_state
from visionmodel_operator.core.view import ROUTE_SETTLE, View

WATCHED = 10.0
"""Deployments, Jobs and routes wake us; this is only for deadlines and progress, in seconds."""
SHORTLY = 1.0
SOON = 0.2


def wake_after(view: View) -> float | None:
    """Return the seconds until the next look, None when only a change can matter."""
    status = view.status
    if view.is_settling:
        return ROUTE_SETTLE.total_seconds()
    if status.rollout is None:
        if must_forget(view):
            return SHORTLY
        return None if view.is_split_in_force and view.is_reachable else WATCHED
    match status.phase:
        case Phase.CONVERTING if is_recording(view):
            return SHORTLY
        case Phase.PROGRESSING | Phase.HELD:
            return min(WATCHED, _next_tick(view))
        case Phase.DRAINING | Phase.ABORTING if status.rollout.drain is not None:
            return SHORTLY
        case Phase.PROMOTING:
            return min(WATCHED, _next_tick(view))
        case _:
            return WATCHED


def _next_tick(view: View) -> float:
    rollout = view.rollout
    state = judge_state(rollout)
    step = view.step
    waits = [WATCHED]
    if state is not None and rollout.swap is None:
        interval = duration_seconds(view.analysis.interval)
        last = state.started if state.last_tick is None else state.last_tick
        due = last + interval + JUDGE_LAG - view.now.timestamp()
        # Overdue: this pass has just asked in vain, and Prometheus is not asked again at once.
        waits.append(due if due > 0 else interval)
    if rollout.step_started_at is not None and step is not None and step.min_seconds:
        left = step.min_seconds - (view.now - rollout.step_started_at).total_seconds()
        if left > 0:
            waits.append(left)
    return max(SOON, min(waits))
