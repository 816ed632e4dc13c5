"""The operator as a pod: ways to end it, and everything it has logged, also in pods that are gone."""

import os
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from visionmodel_demo.kube import KubectlError, wait_for
from visionmodel_demo.platform import SYSTEM_NAMESPACE, Platform

DEPLOYMENT = "visionmodel-operator"
SELECTOR = "app.kubernetes.io/name=visionmodel-operator"
CONTAINER = "operator"
PROGRAM = "visionmodel_operator"
KILLED = 128 + signal.SIGKILL


class OperatorLog:
    """What the operator's pods have logged since `begin`.

    A pod takes its log with it, so whoever ends one saves first.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.begin()

    def begin(self) -> None:
        """Forget what was logged until now."""
        self._since = datetime.now(UTC)
        # Ordered; a line that is read twice (they carry times) counts once.
        self._lines: dict[str, None] = {}
        self._read: set[str] = set()
        self._unread: dict[str, str] = {}

    def save(self) -> None:
        """Read the logs of all pods that are there, also of a container before its restart."""
        for pod in self._platform.kube.items("pods", SYSTEM_NAMESPACE, SELECTOR):
            uid = pod["metadata"]["uid"]
            try:
                lines = self._lines_of(pod)
            except KubectlError as refusal:
                # One that is on its way out may have gone since it was listed; it was saved by whoever ended it.
                if uid not in self._read:
                    self._unread[uid] = str(refusal)
                continue
            self._lines.update(dict.fromkeys(lines))
            self._read.add(uid)
            self._unread.pop(uid, None)

    def _lines_of(self, pod: Mapping[str, Any]) -> list[str]:
        options = ("-c", CONTAINER, f"--since-time={self._since.isoformat()}")
        containers = (("--previous",), ()) if restarts(pod) else ((),)
        target = f"pod/{pod['metadata']['name']}"
        texts = [self._platform.kube.logs(target, SYSTEM_NAMESPACE, *options, *which) for which in containers]
        return [line for text in texts for line in text.splitlines()]

    def lines(self) -> list[str]:
        """Return what was saved."""
        return list(self._lines)

    def unread(self) -> list[str]:
        """Return why the logs of pods could not be read: what is not known is not well."""
        return list(self._unread.values())


class Operator:
    """The operator that the chart has installed."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.log = OperatorLog(platform)

    def pod(self) -> dict[str, Any]:
        """Return the only pod that is ready and not on its way out."""

        def one() -> dict[str, Any] | None:
            pods = self._platform.kube.items("pods", SYSTEM_NAMESPACE, SELECTOR)
            alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and _is_ready(pod)]
            return alive[0] if len(alive) == 1 else None

        return wait_for(one, timeout=120, what="one ready operator pod")

    def settle(self) -> None:
        """Wait until the pods of an earlier install are gone, and keep what they log until then.

        An upgrade ends when the new pod is ready. One that is still on its way out would be listed by a later reader,
        and gone before its log is read.
        """

        def is_alone() -> bool:
            self.log.save()
            pods = self._platform.kube.items("pods", SYSTEM_NAMESPACE, SELECTOR)
            return len(pods) == 1 and "deletionTimestamp" not in pods[0]["metadata"] and _is_ready(pods[0])

        wait_for(is_alone, timeout=120, what="one operator pod and no other")

    def kill_process(self) -> None:
        """SIGKILL the process and wait until its container was started again in the same pod.

        From outside the container, because the kernel keeps a container's first process from being killed from within;
        so this needs the node to be this machine.
        """
        pod = self.pod()
        before = restarts(pod)
        self.log.save()
        os.kill(_process_of(pod["metadata"]["uid"]), signal.SIGKILL)

        def is_back() -> bool:
            found = self.pod()
            return found["metadata"]["uid"] == pod["metadata"]["uid"] and restarts(found) == before + 1

        wait_for(is_back, timeout=120, what="the operator's container to be started again")
        last = self.pod()["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert last["exitCode"] == KILLED, last

    def delete_pod(self) -> None:
        """Remove the pod without grace and wait for its successor."""
        pod = self.pod()
        self.log.save()
        self._platform.kube.delete("pod", pod["metadata"]["name"], SYSTEM_NAMESPACE, "--grace-period=0", "--force")
        wait_for(
            lambda: self.pod()["metadata"]["uid"] != pod["metadata"]["uid"], timeout=120, what="another operator pod"
        )

    def scale(self, replicas: int) -> None:
        """Stop (0) or start (1) the operator and wait until it is so."""
        kube = self._platform.kube
        self.log.save()
        kube.run("scale", f"deployment/{DEPLOYMENT}", "-n", SYSTEM_NAMESPACE, f"--replicas={replicas}")
        if replicas:
            self.pod()
            return
        wait_for(lambda: not kube.items("pods", SYSTEM_NAMESPACE, SELECTOR), timeout=120, what="no operator pod")


def _is_ready(pod: Mapping[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def restarts(pod: Mapping[str, Any]) -> int:
    """Return how often the operator's container was started again."""
    return sum(int(status["restartCount"]) for status in pod["status"].get("containerStatuses", []))


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
