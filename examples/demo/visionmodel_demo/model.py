"""A VisionModel as the demo follows it: apply, read status, wait for a phase, tell what changes."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from visionmodel_demo.kube import Kube, wait_for

Say = Callable[[str], None]


@dataclass(frozen=True)
class Followed:
    """One VisionModel in one namespace."""

    kube: Kube
    namespace: str
    name: str
    say: Say = field(default=print)

    def apply(self, document: Mapping[str, Any]) -> None:
        """Server-side apply, as GitOps does it."""
        self.kube.apply({**document, "metadata": {**document["metadata"], "namespace": self.namespace}})

    def read(self) -> dict[str, Any]:
        """Return the whole object; empty before it exists."""
        return self.kube.get("visionmodel", self.name, self.namespace) or {}

    def status(self) -> dict[str, Any]:
        """Return the status; empty before the first pass."""
        found: dict[str, Any] = self.read().get("status", {})
        return found

    def annotate(self, action: str, value: str) -> None:
        """Ask for an action as a person does."""
        key = f"visionmodel.dev/{action}={value}"
        self.kube.run("annotate", "visionmodel", self.name, "-n", self.namespace, "--overwrite", key)

    def wait(
        self,
        is_reached: Callable[[dict[str, Any]], bool],
        *,
        what: str,
        timeout: float = 300,
        look: Callable[[dict[str, Any]], None] = lambda status: None,
    ) -> dict[str, Any]:
        """Return the status once it is as wanted; says each change of phase, reason or message on the way."""
        said: list[str] = [""]

        def once() -> dict[str, Any] | None:
            document = self.read()
            status: dict[str, Any] = document.get("status", {})
            line = f"{status.get('phase', '')}/{status.get('reason', '')}: {status.get('message', '')}"
            if line != said[-1] and status:
                self.say(f"    {line}")
                said.append(line)
            look(status)
            is_current = status.get("observedGeneration") == document.get("metadata", {}).get("generation")
            return status if is_current and is_reached(status) else None

        return wait_for(once, timeout=timeout, what=f"{self.name}: {what}", last=lambda: said[-1])

    def condition(self, kind: str) -> dict[str, Any]:
        """Return one condition; empty when it is not set."""
        found = [c for c in self.status().get("conditions", []) if c["type"] == kind]
        return found[0] if found else {}


def example(path: Path, *, uri: str | None = None, digest: str | None = None) -> dict[str, Any]:
    """Return an example file's VisionModel, optionally of another model."""
    document: dict[str, Any] = copy.deepcopy(yaml.safe_load(path.read_text(encoding="utf-8")))
    if uri is not None:
        document["spec"]["model"]["storageUri"] = uri
    if digest is not None:
        document["spec"]["model"]["digest"] = digest
    return document
