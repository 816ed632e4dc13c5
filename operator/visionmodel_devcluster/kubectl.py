"""The few calls to the API server that starting a cluster needs, through our own kubectl.

kubectl and not a client library: this package may import nothing but the standard library and PyYAML.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from visionmodel_devcluster.builds import binary
from visionmodel_devcluster.errors import DevClusterError


class Kubectl:
    """kubectl with one kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command = [str(binary("kubectl")), "--kubeconfig", str(kubeconfig)]

    def run(self, *arguments: str, text: str | None = None) -> str:
        """Run and return what was printed; an error with kubectl's own words."""
        done = subprocess.run([*self._command, *arguments], input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DevClusterError(f"kubectl {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any] | None:
        """An object, None when it is not there."""
        printed = self.run("get", *arguments, "--ignore-not-found", "-o", "json")
        if not printed.strip():
            return None
        document: dict[str, Any] = json.loads(printed)
        return document

    def apply(self, manifests: str) -> None:
        """Server-side apply: repeating it changes nothing."""
        arguments = ("--server-side", "--force-conflicts", "--field-manager=devcluster", "-f", "-")
        self.run("apply", *arguments, text=manifests)
