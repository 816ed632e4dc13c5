"""The operator as a pod: its log, and ways to end it."""

import json
import os
import signal
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from visionmodel_demo.kube import KubectlError, wait_for
from visionmodel_demo.platform import SYSTEM_NAMESPACE, Platform

DEPLOYMENT = "visionmodel-operator"
SELECTOR = "app.kubernetes.io/name=visionmodel-operator"
CONTAINER = "operator"
PROGRAM = "visionmodel_operator"
KILLED = 128 + signal.SIGKILL


def operator_pod(platform: Platform) -> dict[str, Any]:
    """Return the only operator pod that is ready and not on its way out."""

    def one() -> dict[str, Any] | None:
        pods = platform.kube.items("pods", SYSTEM_NAMESPACE, SELECTOR)
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and _is_ready(pod)]
        return alive[0] if len(alive) == 1 else None

    return wait_for(one, timeout=120, what="one ready operator pod")


def _is_ready(pod: Mapping[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def restarts(pod: Mapping[str, Any]) -> int:
    """Return how often the operator's container was started again."""
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def kill_process(platform: Platform) -> None:
    """SIGKILL the operator's process and wait until its container was started again in the same pod.

    From outside the container, because the kernel keeps a container's first process from being killed from within;
    so this needs the node to be this machine.
    """
    pod = operator_pod(platform)
    before = restarts(pod)
    os.kill(_process_of(pod["metadata"]["uid"]), signal.SIGKILL)

    def is_back() -> bool:
        found = operator_pod(platform)
        return found["metadata"]["uid"] == pod["metadata"]["uid"] and restarts(found) == before + 1

    wait_for(is_back, timeout=120, what="the operator's container to be started again")
    last = operator_pod(platform)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert last["exitCode"] == KILLED, last


def _process_of(pod_uid: str) -> int:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _is_operator(folder, pod_uid):
            return int(folder.name)
    raise LookupError(f"no operator process of pod {pod_uid} on this machine")


def _is_operator(folder: Path, pod_uid: str) -> bool:
    try:
        is_in_pod = pod_uid in (folder / "cgroup").read_text().replace("_", "-")
        return is_in_pod and PROGRAM in (folder / "cmdline").read_text()
    except OSError:
        return False


def delete_pod(platform: Platform) -> None:
    """Remove the operator's pod without grace and wait for its successor."""
    pod = operator_pod(platform)
    platform.kube.delete("pod", pod["metadata"]["name"], SYSTEM_NAMESPACE, "--grace-period=0", "--force")
    wait_for(
        lambda: operator_pod(platform)["metadata"]["uid"] != pod["metadata"]["uid"],
        timeout=120,
        what="another operator pod",
    )


def scale(platform: Platform, replicas: int) -> None:
    """Stop (0) or start (1) the operator and wait until it is so."""
    platform.kube.run("scale", f"deployment/{DEPLOYMENT}", "-n", SYSTEM_NAMESPACE, f"--replicas={replicas}")
    if replicas:
        operator_pod(platform)
        return
    wait_for(lambda: not platform.kube.items("pods", SYSTEM_NAMESPACE, SELECTOR), timeout=120, what="no operator pod")


def operator_log(platform: Platform, since: datetime) -> str:
    """Return what the operator's pods have logged since a time, also before a restart of their container."""
    kube = platform.kube
    texts = []
    for pod in kube.items("pods", SYSTEM_NAMESPACE, SELECTOR):
        for previous in ((), ("--previous",)) if restarts(pod) else ((),):
            options = ("-c", CONTAINER, f"--since-time={since.isoformat()}", *previous)
            try:
                texts.append(kube.logs(f"pod/{pod['metadata']['name']}", SYSTEM_NAMESPACE, *options))
            except KubectlError as gone:
                texts.append(json.dumps({"unread": str(gone)}))
    return "\n".join(texts)
