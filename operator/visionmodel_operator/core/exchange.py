"""A promotion without free devices: stable's pods become the canary's one by one, and the traffic follows them.

One turn: the canary's pods are ready, its weight is raised to what they carry, stable gives one more, the canary takes
its device. Stable has the traffic that its pods carry but for one of them, as has the canary. At the end stable has
one pod left and hands over as in any promotion; the last devices are free when it is gone.
"""

from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.capacity import is_shrinking, stable_pods
from visionmodel_operator.core.device_plan import carried_ppm, most_pods
from visionmodel_operator.core.view import View
from visionmodel_operator.core.weights import TRACE, WHOLE


def next_turn(view: View) -> VisionModelStatus | None:
    """Return the status after what is due of the exchange, once the canary has all the pods that there is room for.

    None where none is under way, where it has come to its end, and before the canary has any traffic.
    """
    if not is_shrinking(view):
        return None
    status, rollout, full = view.status, view.rollout, view.full_replicas
    capacity = rollout.capacity
    assert capacity is not None
    assert capacity.pods is not None
    if not view.has_gateway:
        return None if capacity.pods >= full - 1 else _stopped(view)
    share = memory.share_of(status, rollout.revision)
    if share == 0:
        return None
    if not view.is_split_in_force:
        return status
    carried = min(carried_ppm(capacity.pods, full), WHOLE - TRACE)
    if share < carried:
        return memory.set_share(status, rollout.revision, carried, view.now)
    if capacity.pods >= most_pods(full, capacity.beside):
        return None
    if view.ready(view.stable or "") < sum(stable_pods(view)):
        return _stopped(view)
    more = capacity.model_copy(update={"pods": capacity.pods + 1})
    message = f"Stable gives its pods one by one: {more.pods} of {full} are revision {rollout.revision}'s."
    fresh = memory.with_rollout(status, capacity=more, phase_started_at=view.now)
    return memory.evolve(fresh, Phase.PROMOTING, Reason.SCALING, message)


def _stopped(view: View) -> VisionModelStatus:
    """Stable cannot give another pod as things are; its last ones would not carry the traffic that is theirs."""
    if not view.is_past_deadline():
        return view.status
    why = "stable's own are not ready" if view.has_gateway else "nothing splits the traffic any more"
    message = f"Stable gave no further pod in time, because {why}."
    return memory.turn_back(view.status, Reason.PROGRESS_DEADLINE, message, view.now)
