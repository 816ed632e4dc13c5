"""How many devices a rollout needs at its largest, and how many a cluster could give to its pods."""

from typing import Any

import pytest

from unit.core import builders
from visionmodel_cli.devices import DeviceNeed, canary_pods, device_needs
from visionmodel_operator.api.spec import Pause, Step
from visionmodel_operator.core.plan import plan_from_steps

GPU = "nvidia.com/gpu"
L4 = {"nvidia.com/gpu.product": "NVIDIA-L4"}


def node(name: str, devices: int | None, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": "8"} | ({} if devices is None else {GPU: str(devices)})
    return {
        "metadata": {"name": name, "labels": L4 if labels is None else labels},
        "spec": spec,
        "status": {"allocatable": allocatable},
    }


def pod(
    node_name: str | None, *containers: int, before: tuple[int, ...] = (), phase: str = "Running"
) -> dict[str, Any]:
    def container(devices: int) -> dict[str, Any]:
        return {"resources": {"limits": {GPU: str(devices)}}} if devices else {}

    spec: dict[str, Any] = {"containers": [container(devices) for devices in containers]}
    if before:
        spec["initContainers"] = [container(devices) for devices in before]
    return {"spec": spec | ({"nodeName": node_name} if node_name else {}), "status": {"phase": phase}}


def spec(count: int = 1, replicas: int = 3, **accelerator: Any) -> Any:
    accelerators = [{"count": count, "product": "NVIDIA-L4", **accelerator}]
    return builders.spec(1, serving={"replicas": replicas}, accelerators=accelerators)


FREE: dict[str, tuple[Any, list[Any], list[Any], int]] = {
    "nothing runs": (spec(), [node("a", 4)], [], 4),
    "what runs is taken": (spec(), [node("a", 4), node("b", 2)], [pod("a", 1, 2), pod("b", 1)], 2),
    "what runs elsewhere is not": (spec(), [node("a", 4)], [pod("b", 4), pod(None, 4)], 4),
    "what is over is not": (spec(), [node("a", 4)], [pod("a", 1, phase="Succeeded"), pod("a", 1, phase="Failed")], 4),
    "what runs before counts at its largest": (spec(), [node("a", 4)], [pod("a", 1, before=(3, 2))], 1),
    "a node of another product": (spec(), [node("a", 4, {"nvidia.com/gpu.product": "NVIDIA-A10"})], [], 0),
    "any product": (spec(product=None), [node("a", 4, {})], [], 4),
    "a node selector": (spec(nodeSelector={"zone": "x"}), [node("a", 4), node("b", 2, L4 | {"zone": "x"})], [], 2),
    "a cordoned node": (spec(), [node("a", 4, unschedulable=True), node("b", 1)], [], 1),
    "a node without devices": (spec(), [node("a", None)], [], 0),
    "pods of two on odd nodes": (spec(count=2), [node("a", 3), node("b", 1)], [], 2),
    "more asked than there is": (spec(), [node("a", 1), node("b", 1)], [pod("a", 2)], 1),
}


@pytest.mark.parametrize(("asked", "nodes", "pods", "free"), FREE.values(), ids=FREE.keys())
def test_free_devices(asked: Any, nodes: list[Any], pods: list[Any], free: int) -> None:
    (need,) = device_needs(asked, nodes, pods)
    assert need.free == free


def test_both_revisions_hold_their_devices_at_the_end() -> None:
    (need,) = device_needs(spec(count=2), [node("a", 4)], [])
    assert need == DeviceNeed(GPU, "NVIDIA-L4", stable=6, canary=6, free=4)
    assert (need.largest, need.missing) == (12, 2)


def test_without_a_cluster_nothing_is_known_to_be_missing() -> None:
    (need,) = device_needs(spec())
    assert (need.free, need.missing) == (None, 0)


def test_pods_are_divided_over_the_accelerators() -> None:
    two = builders.spec(1, serving={"replicas": 3}, accelerators=[{"product": "NVIDIA-L4"}, {"product": "NVIDIA-A10"}])
    assert [(need.product, need.canary) for need in device_needs(two)] == [("NVIDIA-L4", 2), ("NVIDIA-A10", 1)]
    assert device_needs(builders.spec(1)) == ()


def test_a_canary_has_its_share_of_the_pods_and_never_fewer_than_before() -> None:
    parts = [(50, "1m"), (10, "1m"), (80, "1m")]
    steps = [part for weight, time in parts for part in (Step(set_weight=weight), Step(pause=Pause(duration=time)))]
    assert canary_pods(spec(replicas=4), plan_from_steps(steps)) == (2, 2, 4)


def test_a_plan_that_sets_the_canarys_pods_is_followed_up_and_down() -> None:
    more, half = {"setCanaryScale": {"replicas": 5}}, {"setCanaryScale": {"weight": 50}}
    steps = [more, {"setWeight": 5}, half, {"setWeight": 9}]
    asked = builders.spec(1, serving={"replicas": 3}, accelerators=[{"product": "NVIDIA-L4"}], rollout={"steps": steps})
    assert canary_pods(asked, plan_from_steps(asked.rollout.steps)) == (5, 2)
    (need,) = device_needs(asked)
    assert (need.stable, need.canary) == (3, 5)
