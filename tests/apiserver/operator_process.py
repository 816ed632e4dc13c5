"""The operator as a child process against a real API server, whose controllers the test plays."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from visionmodel_devcluster.controlplane import free_port
from visionmodel_devcluster.direct import open_direct

T = TypeVar("T")
DEADLINE = 60.0

SETTINGS = {
    "VISIONMODEL_PROMETHEUS_URL": "http://127.0.0.1:1",
    "VISIONMODEL_CONVERTER_IMAGE": "registry.example/converter:1",
    "VISIONMODEL_RUNTIMES": '{"24.10": {"image": "registry.example/triton:24.10", "tritonVersion": "2.51"}}',
    "VISIONMODEL_ARTIFACT_REPOSITORY": "registry.example/artifacts",
    "VISIONMODEL_ALLOW_HTTP_SOURCES": "false",
}


class OperatorProcess:
    """One process; a context manager that kills it at the end."""

    def __init__(self, kubeconfig: Path, log: Path, identity: str, **settings: str) -> None:
        self.port = free_port()
        self._log = log
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VISIONMODEL_")},
            **SETTINGS,
            "KUBECONFIG": str(kubeconfig),
            "VISIONMODEL_HTTP_PORT": str(self.port),
            "VISIONMODEL_POD_NAME": identity,
            **{f"VISIONMODEL_{name}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "OperatorProcess":
        with self._log.open("ab") as log:
            argv = [sys.executable, "-W", "error", "-m", "visionmodel_operator"]
            self._process = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The child."""
        assert self._process is not None
        return self._process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    @property
    def log(self) -> str:
        """Everything it wrote."""
        return self._log.read_text(errors="replace")

    def get(self, path: str) -> tuple[int, str]:
        """Ask its HTTP server; status 0 while nobody answers."""
        try:
            with open_direct(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    async def until(self, look: Callable[[], Awaitable[T | None]], what: str) -> T:
        """Look again and again until there is something to see; fails with the operator's log."""
        deadline = time.monotonic() + DEADLINE
        while (seen := await look()) is None or seen is False:
            assert self.process.poll() is None, f"the operator ended; its log:\n{self.log[-4000:]}"
            assert time.monotonic() < deadline, f"{what} did not happen; the operator's log:\n{self.log[-4000:]}"
            await asyncio.sleep(0.1)
        return seen


def finished_container(message: str) -> dict[str, Any]:
    """Status of a pod whose container ended well."""
    times = {"startedAt": "2026-01-01T12:00:00Z", "finishedAt": "2026-01-01T12:00:05Z"}
    state = {"terminated": {"exitCode": 0, "message": message, **times}}
    container = {"name": "main", "ready": False, "restartCount": 0, "image": "x", "imageID": "", "state": state}
    return {"phase": "Succeeded", "containerStatuses": [container]}


JOB_DONE: dict[str, Any] = {
    "startTime": "2026-01-01T12:00:00Z",
    "completionTime": "2026-01-01T12:00:06Z",
    "succeeded": 1,
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "lastProbeTime": "2026-01-01T12:00:06Z",
            "lastTransitionTime": "2026-01-01T12:00:06Z",
        }
        for kind in ("SuccessCriteriaMet", "Complete")
    ],
}
