"""A rollout on a node whose GPUs are all taken: it waits by numbers, and shrinks stable by one when asked to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.scene import Scene, Status, newest
from visionmodel_demo.kube import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GPU = "nvidia.com/gpu"
NODE_GPUS = 4
REPLICAS = 2


def on_gpus(scene: Scene, version: str, **rollout: Any) -> dict[str, Any]:
    """Return a VisionModel with two pods of one GPU each."""
    document = scene.document(version)
    document["spec"]["accelerators"] = [{"resourceName": GPU, "count": 1, "product": "NVIDIA-L4"}]
    document["spec"]["serving"]["replicas"] = REPLICAS
    document["spec"]["rollout"] |= rollout
    return document


@contextmanager
def others_hold(scene: Scene, gpus: int) -> Iterator[None]:
    """Let a pod of nobody's VisionModel hold GPUs for as long as the block runs."""
    name, kube = f"{scene.name}-others", scene.platform.kube
    container = {
        "name": "sleep",
        "image": scene.installation.images["operator"],
        "command": ["python3", "-c", "import signal; signal.signal(15, lambda *_: exit(0)); signal.pause()"],
        "resources": {"requests": {"cpu": "1m"}, "limits": {GPU: str(gpus)}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    restricted = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": restricted, "terminationGracePeriodSeconds": 2}
    metadata = {"name": name, "namespace": scene.namespace}
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def runs() -> bool:
        found = kube.get("pod", name, scene.namespace) or {}
        return bool(found.get("status", {}).get("phase") == "Running")

    wait_for(runs, timeout=60, what="the pod that holds the other GPUs")
    yield
    kube.delete("pod", name, scene.namespace)


def choice(status: Status) -> str | None:
    """Return where the canary's devices come from."""
    found: str | None = status.get("rollout", {}).get("capacity", {}).get("choice")
    return found


def ready_pods(scene: Scene, revision: str) -> int:
    conditions = [pod["status"].get("conditions", []) for pod in scene.pods(revision)]
    return sum(any(one["type"] == "Ready" and one["status"] == "True" for one in found) for found in conditions)


@pytest.mark.fault("every GPU taken: the rollout waits, then stable gives one of its two pods")
def test_a_full_node_is_waited_for_and_then_stable_gives_a_pod(scene: Scene) -> None:
    if not scene.platform.is_ours:
        pytest.skip("counts on the four GPUs of the dev cluster's node")
    stable = scene.serve(on_gpus(scene, "v1"))
    with others_hold(scene, NODE_GPUS - REPLICAS), scene.under_load():
        scene.model.apply(on_gpus(scene, "v2"))
        status = scene.wait_phase("Held", "NoCapacity")
        assert choice(status) == "Wait"
        assert status["message"].startswith("Needs 1 NVIDIA-L4, 0 free of 4.")
        assert ready_pods(scene, stable) == REPLICAS
        scene.model.apply(on_gpus(scene, "v2", whenFull="ShrinkByOne"))
        status = scene.model.wait(lambda seen: choice(seen) == "ShrinkByOne", what="ShrinkByOne", timeout=60)
        assert "stable gives one of its 2 pods" in status["rollout"]["capacity"]["message"]
        scene.wait_phase("Progressing", "Observing")
        assert ready_pods(scene, stable) == REPLICAS - 1
        status = scene.wait_settled()
        assert newest(status) == ("Promoted", "Promoted")
        made = status["stable"]["revision"]
        wait_for(lambda: ready_pods(scene, made) == REPLICAS, timeout=90, what="both pods of the new stable revision")
    assert made != stable
    assert scene.events("ShrinkByOne"), "people are told that stable gives a pod"
