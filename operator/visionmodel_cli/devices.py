"""The accelerators that a rollout needs while both revisions run, and those that a cluster has free."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from visionmodel_operator.api.capacity import CapacityStatus
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.device_plan import Demand, capacity_for, obstacle_in_spec
from visionmodel_operator.core.devices import Free, device_node, free_devices, pods_by_accelerator
from visionmodel_operator.core.plan import plan_of, planned_replicas, sets_scale


@dataclass(frozen=True)
class DeviceNeed:
    """One kind of device, counted in devices.

    Attributes:
        stable: what the stable revision holds.
        canary: what the canary takes on top at its largest: all its pods, before stable's are stopped.
        free: what schedulable nodes could give to further pods of this kind; None: no cluster was asked.
    """

    resource: str
    product: str | None
    stable: int
    canary: int
    free: int | None = None

    @property
    def largest(self) -> int:
        """Return the devices held at the same time."""
        return self.stable + self.canary


def full_replicas(spec: VisionModelSpec) -> int:
    """Return the pods of a revision that gets all traffic."""
    return 1 if spec.serving.replicas is None else spec.serving.replicas


def canary_pods(spec: VisionModelSpec, plan: Sequence[PlanStep]) -> tuple[int, ...]:
    """Return the canary's pods in each step; only where the plan sets them has a step fewer than one before it."""
    planned = [planned_replicas(full_replicas(spec), step) for step in plan]
    return tuple(planned if sets_scale(plan) else accumulate(planned, max))


def free_by_accelerator(
    spec: VisionModelSpec, nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]
) -> tuple[Free, ...]:
    """Return what the nodes have free for pods of each accelerator; `nodes` and `pods` are Kubernetes objects."""
    by_node: dict[str, list[Mapping[str, Any]]] = {}
    for pod in pods:
        by_node.setdefault(pod["spec"].get("nodeName") or "", []).append(pod)
    known = [device_node(node, by_node.get(node["metadata"]["name"], ())) for node in nodes]
    return tuple(free_devices(accelerator, known) for accelerator in spec.accelerators)


def device_needs(spec: VisionModelSpec, free: Sequence[Free] | None = None) -> tuple[DeviceNeed, ...]:
    """Return the need per accelerator; `free` is None where nobody knows what is free."""
    if not spec.accelerators:
        return ()
    largest = max((full_replicas(spec), *canary_pods(spec, plan_of(spec.rollout))))
    stable, canary = (pods_by_accelerator(pods, len(spec.accelerators)) for pods in (full_replicas(spec), largest))
    return tuple(
        DeviceNeed(
            accelerator.resource_name,
            accelerator.product,
            stable[index] * accelerator.count,
            canary[index] * accelerator.count,
            None if free is None else free[index].devices,
        )
        for index, accelerator in enumerate(spec.accelerators)
    )


def capacity(spec: VisionModelSpec, free: Sequence[Free] | None) -> CapacityStatus | None:
    """Return what a rollout would do with so many free devices; None where it needs none, or nobody knows."""
    if not spec.accelerators or free is None:
        return None
    full, plan = full_replicas(spec), plan_of(spec.rollout)
    first = planned_replicas(full, plan[0]) if plan else full
    return capacity_for(Demand(tuple(spec.accelerators), full, first, plan), free, obstacle_in_spec(spec, full))
