"""Free devices, counted as the scheduler would place pods."""

from typing import Any

import pytest

from visionmodel_operator.api.spec import Accelerator
from visionmodel_operator.core.devices import (
    Free,
    asked_by,
    device_node,
    free_devices,
    lack_in_words,
    pods_by_accelerator,
)

GPU = "nvidia.com/gpu"
SLICE = "nvidia.com/mig-1g.5gb"
L4 = {"nvidia.com/gpu.product": "NVIDIA-L4"}
MINE = ("vision", "shapes", "0123456789")

Json = dict[str, Any]


def node(
    devices: int | None,
    *pods: Json,
    labels: dict[str, str] | None = None,
    ready: str = "True",
    resource: str = GPU,
    **spec: Any,
) -> Any:
    allocatable = {"cpu": "8", "hugepages-2Mi": "0"} | ({} if devices is None else {resource: str(devices)})
    return device_node(
        {
            "metadata": {"name": "a", "labels": L4 if labels is None else labels},
            "spec": spec,
            "status": {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": ready}]},
        },
        pods,
    )


def container(devices: int, resource: str = GPU, **fields: Any) -> Json:
    return {"resources": {"limits": {resource: str(devices), "cpu": "1"}}, **fields} if devices else dict(fields)


def pod(*devices: int, before: tuple[Json, ...] = (), phase: str = "Running", labels: Json | None = None) -> Json:
    spec: Json = {"containers": [container(number) for number in devices], "initContainers": list(before)}
    return {
        "metadata": {"name": "p", "namespace": "vision", "labels": labels or {}},
        "spec": spec,
        "status": {"phase": phase},
    }


def accelerator(count: int = 1, **fields: Any) -> Accelerator:
    return Accelerator.model_validate({"count": count, "product": "NVIDIA-L4", **fields})


def taint(key: str, effect: str = "NoSchedule", value: str | None = None) -> Json:
    return {"key": key, "effect": effect, **({} if value is None else {"value": value})}


MY_LABELS = {
    "app.kubernetes.io/managed-by": "visionmodel-operator",
    "visionmodel.dev/name": "shapes",
    "visionmodel.dev/revision": "0123456789",
}
FREE: dict[str, tuple[Accelerator, list[Any], Free]] = {
    "nothing runs": (accelerator(), [node(4)], Free(4, 4)),
    "what runs is taken": (accelerator(), [node(4, pod(1, 2)), node(2, pod(1))], Free(2, 6)),
    "a pod on its way out still holds": (accelerator(), [node(2, pod(1, phase="Pending"))], Free(1, 2)),
    "what is over is not": (
        accelerator(),
        [node(4, pod(1, phase="Succeeded"), pod(1, phase="Failed"))],
        Free(4, 4),
    ),
    "a pod without devices": (accelerator(), [node(4, pod(0))], Free(4, 4)),
    "another product": (accelerator(), [node(4, labels={"nvidia.com/gpu.product": "NVIDIA-A10"})], Free(0, 0)),
    "any product": (accelerator(product=None), [node(4, labels={})], Free(4, 4)),
    "a node selector": (
        accelerator(nodeSelector={"zone": "x"}),
        [node(4), node(2, labels=L4 | {"zone": "x"})],
        Free(2, 2),
    ),
    "a cordoned node": (accelerator(), [node(4, unschedulable=True), node(1)], Free(1, 1)),
    "a node that is not ready": (accelerator(), [node(4, ready="False"), node(2, ready="Unknown")], Free(0, 0)),
    "the taint of every GPU": (accelerator(), [node(4, taints=[taint(GPU, value="present")])], Free(4, 4)),
    "a taint that nobody tolerates": (accelerator(), [node(4, taints=[taint("team", value="a")])], Free(0, 0)),
    "a taint that is tolerated": (
        accelerator(tolerations=[{"key": "team", "value": "a", "effect": "NoSchedule"}]),
        [node(4, taints=[taint("team", value="a")])],
        Free(4, 4),
    ),
    "a taint of another value": (
        accelerator(tolerations=[{"key": "team", "value": "b"}]),
        [node(4, taints=[taint("team", value="a")])],
        Free(0, 0),
    ),
    "a taint of another effect": (
        accelerator(tolerations=[{"key": "team", "operator": "Exists", "effect": "NoSchedule"}]),
        [node(4, taints=[taint("team", "NoExecute")])],
        Free(0, 0),
    ),
    "everything is tolerated": (
        accelerator(tolerations=[{"operator": "Exists"}]),
        [node(4, taints=[taint("team", "NoExecute"), taint("other")])],
        Free(4, 4),
    ),
    "a taint that only prefers": (accelerator(), [node(4, taints=[taint("team", "PreferNoSchedule")])], Free(4, 4)),
    "a node without devices": (accelerator(), [node(None)], Free(0, 0)),
    "pods of two on odd nodes": (accelerator(2), [node(3), node(1)], Free(2, 4)),
    "more asked than there is": (accelerator(), [node(1, pod(2)), node(1)], Free(1, 2)),
    "another resource": (accelerator(resourceName=SLICE), [node(4)], Free(0, 0)),
    "a slice": (accelerator(resourceName=SLICE), [node(7, pod(1), resource=SLICE)], Free(7, 7)),
    "mine count as free for me": (accelerator(), [node(2, pod(1, labels=MY_LABELS), pod(1))], Free(1, 2)),
    "labels without our mark are nobody's": (
        accelerator(),
        [node(2, pod(1, labels=MY_LABELS | {"app.kubernetes.io/managed-by": "helm"}))],
        Free(1, 2),
    ),
}


@pytest.mark.parametrize(("asked", "nodes", "free"), FREE.values(), ids=FREE.keys())
def test_free_devices(asked: Accelerator, nodes: list[Any], free: Free) -> None:
    assert free_devices(asked, nodes, MINE) == free


def test_without_a_name_nothing_is_mine() -> None:
    assert free_devices(accelerator(), [node(2, pod(1, labels=MY_LABELS))]) == Free(1, 2)


SIDECAR = {"restartPolicy": "Always"}
ASKED: dict[str, tuple[Json, int]] = {
    "containers together": (pod(1, 2), 3),
    "the largest of those before": (pod(1, before=(container(3), container(2))), 3),
    "those before are smaller": (pod(2, 2, before=(container(3),)), 4),
    "a sidecar runs beside them": (pod(2, before=(container(1, **SIDECAR),)), 3),
    "a sidecar beside a later one": (pod(1, before=(container(1, **SIDECAR), container(3))), 4),
    "no sidecar beside an earlier one": (pod(1, before=(container(3), container(1, **SIDECAR))), 3),
    "two sidecars": (pod(1, before=(container(1, **SIDECAR), container(1, **SIDECAR))), 3),
}


@pytest.mark.parametrize(("asking", "devices"), ASKED.values(), ids=ASKED.keys())
def test_a_pod_asks_as_the_scheduler_counts(asking: Json, devices: int) -> None:
    assert asked_by(asking["spec"]) == {GPU: devices}


def test_requests_go_before_limits_and_only_devices_count() -> None:
    both = {"resources": {"requests": {GPU: "1", "memory": "1Gi"}, "limits": {GPU: "1", SLICE: "2"}}}
    assert asked_by({"containers": [both, {}]}) == {GPU: 1, SLICE: 2}


def test_pods_are_split_evenly() -> None:
    assert [pods_by_accelerator(pods, 3) for pods in (0, 1, 3, 5)] == [(0, 0, 0), (1, 0, 0), (1, 1, 1), (2, 2, 1)]


def test_what_is_missing_in_words() -> None:
    accelerators = [accelerator(2), accelerator(product=None, resourceName=SLICE), accelerator()]
    said = lack_in_words(accelerators, (1, 3, 0), (Free(1, 4), Free(2), Free(0, 0)))
    assert said == "2 NVIDIA-L4, 1 free of 4; 3 nvidia.com/mig-1g.5gb, 2 free"
