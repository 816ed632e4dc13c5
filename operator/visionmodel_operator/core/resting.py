"""Nothing is on its way: start what is new, otherwise say how the stable revision is doing."""

from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.effects import must_forget
from visionmodel_operator.core.view import View
from visionmodel_operator.core.window import begin


def idle(view: View) -> VisionModelStatus:
    """Start what is new, otherwise say how stable is doing."""
    status = view.status
    if view.spec.suspend:
        return memory.evolve(status, Phase.SUSPENDED, Reason.SUSPENDED, "Suspended by spec.suspend.")
    failure = memory.failure_of(status, view.target)
    if failure is not None and view.target not in (view.stable, status.failed_revision):
        known = {"failed_revision": view.target, "failed_attempt": failure.attempt}
        return idle(view.at(status.model_copy(update=known)))
    if status.failed_revision == view.target and view.requests.retry:
        if must_forget(view):
            return status
        return begin(view.at(view.remembering("retry")))
    if view.target not in (view.stable, status.failed_revision):
        return begin(view)
    return resting(view)


def resting(view: View) -> VisionModelStatus:
    """Say how the stable revision is doing, or why what the spec names does not serve."""
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
    why = "the route does not exist" if route is None else route.message or "the split is about to take effect"
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
