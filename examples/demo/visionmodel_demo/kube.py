"""kubectl as the demo and the e2e suite use it: what a person would type, with the answers as values."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.5


class KubectlError(Exception):
    """kubectl refused; the text is its own."""


class WaitedTooLongError(Exception):
    """A condition did not come true in time; the text says what was seen last."""


def wait_for(look: Callable[[], T | None], *, timeout: float, what: str, last: Callable[[], str] = str) -> T:
    """Return the first answer that is not None or False; looks twice a second.

    Raises:
        WaitedTooLongError: after `timeout` seconds, with what `last` says was seen.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise WaitedTooLongError(f"{what}: not within {timeout:.0f} s. {last()}")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class Kube:
    """One cluster, through kubectl."""

    kubectl: Path
    kubeconfig: Path

    def run(self, *arguments: str, text: str | None = None, timeout: float = 120) -> str:
        """Return what kubectl prints."""
        command = [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """Return an object, None when it does not exist."""
        scope = ("-n", namespace) if namespace else ()
        printed = self.run("get", kind, name, *scope, "--ignore-not-found", "-o", "json")
        return json.loads(printed) if printed.strip() else None

    def items(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        chosen = ("-l", selector) if selector else ()
        printed = self.run("get", kind, "-n", namespace, *chosen, "-o", "json")
        found: list[dict[str, Any]] = json.loads(printed)["items"]
        return found

    def apply(self, *manifests: Mapping[str, Any], manager: str = "kubectl") -> None:
        """Server-side apply, as Argo CD does it; a field conflict is an error."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.run("apply", "--server-side", f"--field-manager={manager}", "-f", "-", text=json.dumps(document))

    def patch(self, kind: str, name: str, namespace: str, patch: Mapping[str, Any], *options: str) -> None:
        """Merge-patch an object."""
        self.run("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(patch), *options)

    def delete(self, kind: str, name: str, namespace: str, *options: str) -> None:
        """Delete an object; already gone is fine."""
        self.run("delete", kind, name, "-n", namespace, "--ignore-not-found", *options)

    def logs(self, target: str, namespace: str, *options: str) -> str:
        """Return the log of a pod, or of `deployment/<name>`."""
        return self.run("logs", target, "-n", namespace, *options)

    @contextmanager
    def forward(self, target: str, namespace: str, port: int) -> Iterator[int]:
        """Yield a local port that leads to a pod or Service, so that nothing must be reachable from here."""
        command = [str(self.kubectl), "--kubeconfig", str(self.kubeconfig)]
        command += ["port-forward", "-n", namespace, target, f":{port}", "--address", "127.0.0.1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if "127.0.0.1:" not in line:
                    assert process.stderr is not None
                    raise KubectlError(f"port-forward to {target}: {process.stderr.read()[-500:]}")
                yield int(line.split("127.0.0.1:")[1].split(" ")[0])
            finally:
                process.terminate()
