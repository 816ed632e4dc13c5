"""How many devices a rollout needs at its largest, how many a cluster has for it, and what it does with those."""

from typing import Any

import pytest

from unit.core import builders
from visionmodel_cli.devices import DeviceNeed, canary_pods, capacity, device_needs, free_by_accelerator
from visionmodel_operator.api.spec import Pause, Step
from visionmodel_operator.core.devices import Free
from visionmodel_operator.core.plan import plan_from_steps

GPU = "nvidia.com/gpu"


def spec(count: int = 1, replicas: int = 3, *, shrink: bool = False, **accelerator: Any) -> Any:
    accelerators = [{"count": count, "product": "NVIDIA-L4", **accelerator}]
    wish = {"whenFull": "ShrinkByOne"} if shrink else {}
    rollout: dict[str, Any] = {"steps": [{"setWeight": 10}, {"setWeight": 50}], **wish}
    return builders.spec(1, serving={"replicas": replicas}, accelerators=accelerators, rollout=rollout)


def test_nodes_and_pods_of_a_cluster() -> None:
    def node(name: str, product: str) -> dict[str, Any]:
        ready = [{"type": "Ready", "status": "True"}]
        labels = {"nvidia.com/gpu.product": product}
        return {
            "metadata": {"name": name, "labels": labels},
            "status": {"allocatable": {GPU: "4"}, "conditions": ready},
        }

    def pod(node_name: str | None) -> dict[str, Any]:
        return {"spec": {"nodeName": node_name, "containers": [{"resources": {"limits": {GPU: "1"}}}]}}

    nodes = [node("a", "NVIDIA-L4"), node("b", "NVIDIA-A10")]
    two = builders.spec(1, accelerators=[{"product": "NVIDIA-L4"}, {"product": "NVIDIA-A10"}])
    pods = [pod("a"), pod("a"), pod("b"), pod(None)]
    assert free_by_accelerator(two, nodes, pods) == (Free(2, 4), Free(3, 4))


CHOICES: dict[str, tuple[Any, Free, str, str]] = {
    "surge": (spec(), Free(3, 8), "Surge", "Beside stable: 3 NVIDIA-L4, 3 free of 8."),
    "the steps only": (
        spec(),
        Free(2, 8),
        "Surge",
        "Beside stable: 1 NVIDIA-L4, 2 free of 8. The promotion needs 3 NVIDIA-L4, 2 free of 8.",
    ),
    "wait": (
        spec(),
        Free(0, 8),
        "Wait",
        "Needs 1 NVIDIA-L4, 0 free of 8. Stable gives no pod (rollout.whenFull: Wait).",
    ),
    "one replica": (
        spec(replicas=1, shrink=True),
        Free(0),
        "Wait",
        "Needs 1 NVIDIA-L4, 0 free. Stable has one pod, and gives none.",
    ),
    "shrink": (
        spec(shrink=True),
        Free(0, 8),
        "ShrinkByOne",
        "Needs 3 NVIDIA-L4, 0 free of 8: stable gives one of its 3 pods, and others one at a time when the canary is"
        " promoted. Weights above 33.3 % wait for the promotion.",
    ),
}


@pytest.mark.parametrize(("asked", "free", "choice", "message"), CHOICES.values(), ids=CHOICES.keys())
def test_what_a_rollout_would_do(asked: Any, free: Free, choice: str, message: str) -> None:
    found = capacity(asked, [free])
    assert found is not None
    assert (found.choice, found.message) == (choice, message)


def test_nothing_is_said_where_nothing_is_known_or_needed() -> None:
    assert capacity(spec(), None) is None
    assert capacity(builders.spec(1), []) is None


def test_both_revisions_hold_their_devices_at_the_end() -> None:
    (need,) = device_needs(spec(count=2), [Free(4, 4)])
    assert need == DeviceNeed(GPU, "NVIDIA-L4", stable=6, canary=6, free=4)
    assert need.largest == 12


def test_without_a_cluster_nothing_is_known_to_be_free() -> None:
    (need,) = device_needs(spec())
    assert need.free is None


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
