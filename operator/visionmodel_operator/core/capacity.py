"""Where a canary's devices come from: free ones, stable's, or nowhere yet. Pure; chosen before the first pod.

    Surge        the canary's pods fit beside all of stable's
    ShrinkByOne  stable gives one pod, the canary takes its device; the plan's weights stay within what it can carry
    Wait         Held(NoCapacity) with the numbers; the pods are there and pending, so that the scheduler gives them the
                 first free device and a cluster autoscaler sees them
    Uncounted    nothing may be counted: as Surge, and the scheduler's words tell when there is none

No two rollouts can wait for each other. Devices are never reserved: of two that count on the last one, the scheduler
serves one and the other is held. What stable gave is free before the canary asks for it, also for others. And every
wait ends by `progressDeadlineSeconds`, which turns the canary back and makes stable whole again.
"""

import json
from typing import Final

from visionmodel_operator.api.capacity import CapacityChoice, CapacityStatus
from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.api.spec import Accelerator
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.device_plan import (
    MESSAGE_LIMIT,
    Demand,
    capacity_for,
    given_pods,
    most_pods,
    obstacle_in_spec,
    within,
)
from visionmodel_operator.core.devices import free_devices, pods_by_accelerator
from visionmodel_operator.core.names import SPEC_FILE
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.core.view import View

SHRUNK_PHASES: Final = frozenset({Phase.PROVISIONING, Phase.PROGRESSING, Phase.HELD, Phase.PROMOTING})
"""Phases in which stable does without what it gave; any other, above all Aborting, makes it whole."""


def resources_to_count(snapshot: Snapshot) -> frozenset[str]:
    """Return the resources whose free devices this pass must know; empty in most passes."""
    spec, status = snapshot.spec, snapshot.status
    rollout = status.rollout
    if spec is None or rollout is None or status.stable is None:
        return frozenset()
    is_new = status.phase is Phase.PROVISIONING and rollout.capacity is None
    is_waiting = status.phase is Phase.HELD and _is_waiting(rollout.capacity)
    return frozenset(one.resource_name for one in spec.accelerators) if is_new or is_waiting else frozenset()


def _is_waiting(capacity: CapacityStatus | None) -> bool:
    return capacity is not None and capacity.choice is CapacityChoice.WAIT


def awaits_choice(view: View) -> bool:
    """Return whether the canary must not have pods yet, because it is not chosen where their devices come from.

    A rollout of an older operator, which chose nothing, goes on as it began.
    """
    rollout = view.rollout
    if view.stable is None or not view.spec.accelerators or rollout.capacity is not None:
        return False
    workload = view.snapshot.workloads.get(rollout.revision)
    return view.status.phase is Phase.PROVISIONING and (workload is None or workload.replicas == 0)


def choose(view: View) -> VisionModelStatus:
    """Record where the devices come from; the status as it is while they are not counted yet."""
    chosen = choice_of(view)
    return view.status if chosen is None else _begun(view, chosen)


def choose_again(view: View) -> VisionModelStatus | None:
    """Return the status with what became possible, or with the newest numbers; None where nothing is waited for.

    The scheduler knows best: pods that are ready have their devices, whatever was counted.
    """
    chosen = choice_of(view) if _is_waiting(view.rollout.capacity) else None
    if chosen is None:
        return None
    if chosen.choice is CapacityChoice.WAIT and view.ready(view.rollout.revision) >= view.step_replicas:
        chosen = CapacityStatus(choice=CapacityChoice.SURGE, message="The scheduler found devices beside stable.")
    if chosen.choice is CapacityChoice.UNCOUNTED:
        return None
    return view.status if chosen == view.rollout.capacity else _begun(view, chosen)


def _begun(view: View, chosen: CapacityStatus) -> VisionModelStatus:
    status = memory.with_rollout(view.status, capacity=chosen)
    if chosen.choice is CapacityChoice.WAIT:
        return memory.hold(status, Reason.NO_CAPACITY, chosen.message, view.now)
    if chosen.choice is CapacityChoice.SHRINK_BY_ONE:
        assert chosen.pods is not None
        plan = [within(step, chosen.pods, view.full_replicas) for step in view.rollout.plan]
        status = memory.with_rollout(status, plan=plan)
    return memory.go_on_waiting(status, f"Waiting for its pods. {chosen.message}")


def choice_of(view: View) -> CapacityStatus | None:
    """Return what the count allows; None without a count."""
    count, ref = view.snapshot.devices, view.snapshot.ref
    if count is None:
        return None
    if count.error:
        message = f"Free devices are not counted ({count.error}); the rollout holds if its pods find none."
        return CapacityStatus(choice=CapacityChoice.UNCOUNTED, message=message[:MESSAGE_LIMIT])
    accelerators, owner = tuple(view.spec.accelerators), (ref.namespace, ref.name, view.rollout.revision)
    free = [free_devices(accelerator, count.nodes, owner) for accelerator in accelerators]
    demand = Demand(accelerators, view.full_replicas, view.step_replicas, tuple(view.rollout.plan))
    return capacity_for(demand, free, _obstacle_to_shrinking(view))


def _obstacle_to_shrinking(view: View) -> str | None:
    """Return why stable may give no pod; None where it may."""
    stable, full = view.stable, view.full_replicas
    assert stable is not None
    obstacle = obstacle_in_spec(view.spec, full)
    if obstacle is not None:
        return obstacle
    if not view.has_gateway:
        return "Stable gives no pod, because the cluster serves no Gateway API."
    if _accelerators_of(view.snapshot, stable) != view.spec.accelerators:
        return f"Stable gives no pod: revision {stable} runs on other devices."
    if view.ready(stable) < full:
        return f"Stable gives no pod while {view.ready(stable)} of its {full} are ready."
    return None


def _accelerators_of(snapshot: Snapshot, revision: str) -> list[Accelerator] | None:
    """Return the devices that a stored revision was made for; None where it was stored without its spec."""
    workload = snapshot.workloads.get(revision)
    text = None if workload is None else workload.config.get(SPEC_FILE)
    return None if text is None else [Accelerator.model_validate(one) for one in json.loads(text)["accelerators"]]


def is_shrinking(view: View) -> bool:
    """Return whether stable does without pods for the canary's sake in this phase."""
    rollout = view.status.rollout
    if rollout is None or rollout.capacity is None or rollout.capacity.choice is not CapacityChoice.SHRINK_BY_ONE:
        return False
    return view.status.phase in SHRUNK_PHASES and view.stable != rollout.revision


def stable_pods(view: View) -> tuple[int, ...]:
    """Return stable's pods by Deployment while it gives some; all of them in one number otherwise."""
    full, capacity = view.full_replicas, view.status.rollout and view.status.rollout.capacity
    if not is_shrinking(view) or not capacity:
        return (full,)
    whole = pods_by_accelerator(full, len(capacity.beside))
    given = given_pods(min(_canary_pods(view), most_pods(full, capacity.beside)), capacity.beside)
    return tuple(max(0, pods - less) for pods, less in zip(whole, given, strict=True))


def _canary_pods(view: View) -> int:
    """Return the canary's pods that stable makes room for by now, in a step no more than the step needs."""
    room, workload = promoted_pods(view), view.snapshot.workloads.get(view.rollout.revision)
    if view.status.phase is Phase.PROMOTING:
        return room
    return min(room, max(view.step_replicas, 0 if workload is None else workload.replicas))


def promoted_pods(view: View) -> int:
    """Return the pods that a canary on its way to all traffic has by now."""
    if not is_shrinking(view):
        return view.full_replicas
    capacity = view.rollout.capacity
    assert capacity is not None
    assert capacity.pods is not None
    return min(capacity.pods, view.full_replicas)


def is_room_being_made(view: View) -> bool:
    """Return whether pods that stable gives are still on their way out, with the devices that the canary waits for."""
    return is_shrinking(view) and len(view.pods(view.stable or "")) > sum(stable_pods(view))


def shrunk_in_words(view: View) -> str:
    """Return what stable does without, for a sentence about its pods."""
    less = view.full_replicas - sum(stable_pods(view))
    return f"; {less} of {view.full_replicas} given to the canary" if less > 0 else ""
