"""Reading plain JSON objects of the API server without asking at every step whether the next level is there."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Raw = Mapping[str, Any]
"""A Kubernetes object as the API server sent it."""


def field_of(raw: Any, *path: str, default: Any = None) -> Any:
    """Return the value at a path of keys; the default where a level is missing or null."""
    for key in path:
        if not isinstance(raw, Mapping):
            return default
        raw = raw.get(key)
    return default if raw is None else raw


def name_of(raw: Raw) -> str:
    """Name of an object."""
    return str(raw["metadata"]["name"])


def label_of(raw: Raw, label: str) -> str | None:
    """Value of a label, None without it."""
    value = field_of(raw, "metadata", "labels", label)
    return None if value is None else str(value)


def time_of(text: str | None) -> datetime | None:
    """Parse an RFC 3339 time of the API server."""
    return None if text is None else datetime.fromisoformat(text)


def condition_of(conditions: Sequence[Raw], kind: str) -> Raw:
    """Return the condition of a type; an empty one, hence neither true nor false, when it is not there."""
    return next((c for c in conditions if c.get("type") == kind), {})


def is_true(conditions: Sequence[Raw], kind: str) -> bool:
    """Whether a condition is there and True."""
    return condition_of(conditions, kind).get("status") == "True"
