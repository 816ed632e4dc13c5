"""Devices (GPUs, or any extended resource) that a cluster could give to further pods, counted as the scheduler does.

Free are the devices of the nodes that a pod fits on, less what the pods that are bound to those nodes ask for. It is
the resource's name that is counted, so slices of a GPU (MIG) and shared ones count like whole ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from visionmodel_operator.api.spec import Accelerator, Toleration
from visionmodel_operator.core import names
from visionmodel_operator.core.quantity import amount

PRODUCT_LABEL: Final = "nvidia.com/gpu.product"
"""Node label by which GPU feature discovery names the product."""
ALWAYS_TOLERATED: Final = Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")
"""The taint that keeps other pods off nodes with GPUs."""
FINISHED: Final = ("Succeeded", "Failed")
PREFERENCE: Final = "PreferNoSchedule"

Raw = Mapping[str, Any]
"""A Kubernetes object as the API server sends it."""

Owner = tuple[str, str, str]
"""Namespace, name and revision of the VisionModel whose pod holds devices."""


@dataclass(frozen=True)
class Held:
    """What one pod on a node asks for, by resource, and whose pod it is; None: not a serving pod of ours."""

    asked: Mapping[str, int]
    owner: Owner | None = None


@dataclass(frozen=True)
class DeviceNode:
    """One node.

    Attributes:
        is_open: ready, and takes new pods.
        taints: those that keep pods away, as in a node's spec.
        allocatable: devices by resource.
        held: by pods that are bound to it and not over.
    """

    name: str
    labels: Mapping[str, str]
    is_open: bool
    taints: tuple[Raw, ...]
    allocatable: Mapping[str, int]
    held: tuple[Held, ...] = ()


@dataclass(frozen=True)
class DeviceCount:
    """What was counted, a few seconds ago at most; `error` says why nothing could be."""

    nodes: tuple[DeviceNode, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Free:
    """Room for pods of one accelerator.

    Attributes:
        devices: that whole pods could take: two free ones on two nodes are none for a pod of two.
        total: devices of the nodes that it fits on; None: not known.
    """

    devices: int
    total: int | None = None


def device_node(node: Raw, pods: Iterable[Raw]) -> DeviceNode:
    """Return a node with those of its pods that are not over."""
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    conditions = status.get("conditions") or []
    ready = next((condition["status"] for condition in conditions if condition["type"] == "Ready"), "Unknown")
    return DeviceNode(
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        is_open=ready == "True" and not spec.get("unschedulable"),
        taints=tuple(taint for taint in spec.get("taints") or () if taint.get("effect") != PREFERENCE),
        allocatable=_devices(status.get("allocatable") or {}),
        held=tuple(
            Held(asked, _owner_of(pod))
            for pod in pods
            if (pod.get("status") or {}).get("phase") not in FINISHED and (asked := asked_by(pod["spec"]))
        ),
    )


def asked_by(spec: Raw) -> dict[str, int]:
    """Return the devices that a pod holds by resource, as the scheduler counts them.

    Containers run together with the init containers that go on running (sidecars); any other init container runs
    alone with the sidecars that were started before it. The larger of both is what a node must have.
    """
    together: dict[str, int] = {}
    largest: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        alone = _sum(together, _asked(container))
        if container.get("restartPolicy") == "Always":
            together = alone
        largest = _larger(largest, alone)
    for container in spec.get("containers") or ():
        together = _sum(together, _asked(container))
    return _larger(largest, together)


def _asked(container: Raw) -> dict[str, int]:
    """Requests, for which the API server takes the limits where there are none."""
    resources = container.get("resources") or {}
    return _devices({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _devices(amounts: Raw) -> dict[str, int]:
    """Only extended resources have a domain before their name; there is no half of one."""
    return {resource: int(amount(str(text))) for resource, text in amounts.items() if "/" in resource}


def _sum(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {resource: left.get(resource, 0) + right.get(resource, 0) for resource in {*left, *right}}


def _larger(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {resource: max(left.get(resource, 0), right.get(resource, 0)) for resource in {*left, *right}}


def _owner_of(pod: Raw) -> Owner | None:
    metadata = pod.get("metadata") or {}
    labels = metadata.get("labels") or {}
    if labels.get(names.LABEL_MANAGED_BY) != names.MANAGED_BY or names.LABEL_REVISION not in labels:
        return None
    return str(metadata.get("namespace")), str(labels.get(names.LABEL_NAME)), str(labels[names.LABEL_REVISION])


def free_devices(accelerator: Accelerator, nodes: Iterable[DeviceNode], mine: Owner | None = None) -> Free:
    """Return the room for pods of an accelerator; what the pods of `mine` hold already counts as free for them."""
    resource, free, total = accelerator.resource_name, 0, 0
    for node in nodes:
        if not fits(accelerator, node):
            continue
        there = node.allocatable.get(resource, 0)
        held = sum(pod.asked.get(resource, 0) for pod in node.held if mine is None or pod.owner != mine)
        free += max(0, there - held) // accelerator.count * accelerator.count
        total += there
    return Free(free, total)


def fits(accelerator: Accelerator, node: DeviceNode) -> bool:
    """Return whether a node may take pods of an accelerator, whatever else runs there."""
    wanted = node_labels(accelerator)
    tolerated = (ALWAYS_TOLERATED, *accelerator.tolerations)
    return (
        node.is_open
        and all(node.labels.get(label) == value for label, value in wanted.items())
        and all(any(_tolerates(one, taint) for one in tolerated) for taint in node.taints)
    )


def node_labels(accelerator: Accelerator) -> dict[str, str]:
    """Return the labels of the nodes that have this device."""
    product = {} if accelerator.product is None else {PRODUCT_LABEL: accelerator.product}
    return {**accelerator.node_selector, **product}


def _tolerates(toleration: Toleration, taint: Raw) -> bool:
    """As Kubernetes does: no effect is every effect, and Exists without a key is every key."""
    if toleration.effect is not None and toleration.effect != taint.get("effect"):
        return False
    if toleration.operator == "Exists":
        return toleration.key in (None, taint.get("key"))
    return toleration.key == taint.get("key") and (toleration.value or "") == (taint.get("value") or "")


def pods_by_accelerator(pods: int, accelerators: int) -> tuple[int, ...]:
    """Return an even split of pods over the accelerators, one Deployment each, the remainder to the first ones."""
    each, rest = divmod(pods, accelerators)
    return tuple(each + (1 if index < rest else 0) for index in range(accelerators))


def device_in_words(accelerator: Accelerator) -> str:
    """Return the device as people call it."""
    return accelerator.product or accelerator.resource_name


def lack_in_words(accelerators: Sequence[Accelerator], pods: Sequence[int], free: Sequence[Free]) -> str:
    """Return what so many pods of each accelerator need and what is free, e.g. "2 NVIDIA-L4, 1 free of 4"."""
    return "; ".join(
        f"{wanted * accelerator.count} {device_in_words(accelerator)}, {there.devices} free"
        + ("" if there.total is None else f" of {there.total}")
        for accelerator, wanted, there in zip(accelerators, pods, free, strict=True)
        if wanted
    )
