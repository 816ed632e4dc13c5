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


Operation = Apply | Create | Delete | Event


def is_subset(desired: Any, live: Any) -> bool:
    """Return whether every field of a desired manifest has that value in the live object.

    Lists must agree in length and order, since the lists we write are ours as a whole.
    """
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(key in live and is_subset(v, live[key]) for key, v in desired.items())
    if isinstance(desired, list | tuple):
        return (
            isinstance(live, list | tuple)
            and len(desired) == len(live)
            and all(is_subset(a, b) for a, b in zip(desired, live, strict=True))
        )
    return bool(desired == live)
