"""The accelerators that a rollout needs while both revisions run, and those that a cluster has free."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from visionmodel_operator.api.spec import Accelerator, VisionModelSpec
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.plan import plan_of, planned_replicas, sets_scale
from visionmodel_operator.render.pods import GPU_PRODUCT_LABEL
from visionmodel_operator.render.serving import replicas_by_deployment

FINISHED: Final = ("Succeeded", "Failed")


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

    @property
    def missing(self) -> int:
        """Return the devices that are known not to be there."""
        return 0 if self.free is None else max(0, self.canary - self.free)


def full_replicas(spec: VisionModelSpec) -> int:
    """Return the pods of a revision that gets all traffic."""
    return 1 if spec.serving.replicas is None else spec.serving.replicas


def canary_pods(spec: VisionModelSpec, plan: Sequence[PlanStep]) -> tuple[int, ...]:
    """Return the canary's pods in each step; only where the plan sets them has a step fewer than one before it."""
    planned = [planned_replicas(full_replicas(spec), step) for step in plan]
    return tuple(planned if sets_scale(plan) else accumulate(planned, max))


def device_needs(
    spec: VisionModelSpec, nodes: Iterable[Mapping[str, Any]] | None = None, pods: Iterable[Mapping[str, Any]] = ()
) -> tuple[DeviceNeed, ...]:
    """Return the need per accelerator; `nodes` and `pods` are Kubernetes objects, None where no cluster was asked."""
    known, running = None if nodes is None else tuple(nodes), tuple(pods)
    kinds = max(1, len(spec.accelerators))
    share = replicas_by_deployment(full_replicas(spec), kinds)
    largest = max((full_replicas(spec), *canary_pods(spec, plan_of(spec.rollout))))
    return tuple(
        DeviceNeed(
            accelerator.resource_name,
            accelerator.product,
            pods_each * accelerator.count,
            canary_each * accelerator.count,
            None if known is None else _free(accelerator, known, running),
        )
        for accelerator, pods_each, canary_each in zip(
            spec.accelerators, share, replicas_by_deployment(largest, kinds), strict=False
        )
    )


def _free(accelerator: Accelerator, nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]) -> int:
    """Return the devices for whole pods: two free ones on two nodes are none for a pod of two."""
    used: dict[str, int] = {}
    for pod in pods:
        node = pod.get("spec", {}).get("nodeName")
        if node and pod.get("status", {}).get("phase") not in FINISHED:
            used[node] = used.get(node, 0) + _asked(pod["spec"], accelerator.resource_name)
    free = 0
    for node in nodes:
        if _fits(accelerator, node):
            there = int(node.get("status", {}).get("allocatable", {}).get(accelerator.resource_name, 0))
            left = max(0, there - used.get(node["metadata"]["name"], 0))
            free += left // accelerator.count * accelerator.count
    return free


def _fits(accelerator: Accelerator, node: Mapping[str, Any]) -> bool:
    labels = node["metadata"].get("labels") or {}
    wanted = dict(accelerator.node_selector)
    if accelerator.product is not None:
        wanted[GPU_PRODUCT_LABEL] = accelerator.product
    return not node.get("spec", {}).get("unschedulable") and all(labels.get(key) == wanted[key] for key in wanted)


def _asked(spec: Mapping[str, Any], resource: str) -> int:
    """Return what a pod holds: its containers together, or the largest of those that run before them."""

    def asked(container: Mapping[str, Any]) -> int:
        resources = container.get("resources") or {}
        return int((resources.get("limits") or {}).get(resource, (resources.get("requests") or {}).get(resource, 0)))

    before = max((asked(container) for container in spec.get("initContainers") or ()), default=0)
    return max(before, sum(asked(container) for container in spec.get("containers") or ()))
