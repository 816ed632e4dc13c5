"""What an action becomes: requests to the API server as values. `render` makes them, the Kube port sends them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]
"""A Kubernetes object as plain JSON values."""


@dataclass(frozen=True)
class Apply:
    """Server-side apply under our field manager, forced: these fields are ours. Skipped when nothing differs."""

    manifest: Manifest


@dataclass(frozen=True)
class ApplyWhole:
    """As Apply, and the spec holds nothing else: what others added to it is taken out.

    For an object whose every default is written out, and whose lists the server takes as a whole.
    """

    manifest: Manifest


@dataclass(frozen=True)
class Create:
    """Create once; already existing is success."""

    manifest: Manifest


@dataclass(frozen=True)
class Delete:
    """Delete with background propagation; already gone is success."""

    api_version: str
    kind: str
    name: str


@dataclass(frozen=True)
class Event:
    """An event on the VisionModel."""

    reason: str
    message: str
    warning: bool = False


Operation = Apply | ApplyWhole | Create | Delete | Event
