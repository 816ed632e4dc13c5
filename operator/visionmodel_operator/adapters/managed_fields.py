"""Whether a server-side apply would change anything; pure.

Comparing values is not enough: a field that we applied once and want no longer still stands in the live object,
and only managedFields tells that it is ours to withdraw. And the server rewrites some values (0.5 CPU becomes
500m), so "differs from what we want" may mean "is what came of it last time".
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from visionmodel_operator.adapters.reading import Raw, field_of
from visionmodel_operator.core.names import FIELD_MANAGER


def is_applied(desired: Raw, live: Raw) -> bool:
    """Whether the live object has every desired field, and no other field that we own."""
    return is_subset(desired, live) and not owns_more(desired, live)


def holds_exactly(desired: Raw, live: Raw) -> bool:
    """Whether the spec of the live object is the desired one, to the last field."""
    return bool(desired["spec"] == live.get("spec"))


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


def owns_more(desired: Raw, live: Raw) -> bool:
    """Whether our field manager owns a field of the live object that is not desired any more."""
    entries = field_of(live, "metadata", "managedFields", default=[])
    return any(
        _has_unwanted(entry.get("fieldsV1") or {}, desired)
        for entry in entries
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")
    )


def _has_unwanted(fields: Mapping[str, Any], desired: Any) -> bool:
    for key, below in fields.items():
        if key == ".":
            continue
        found, value = _lookup(key, desired)
        if not found or (below and _has_unwanted(below, value)):
            return True
    return False


def _lookup(key: str, desired: Any) -> tuple[bool, Any]:
    """Return whether a managedFields path element (`f:name`, `k:{keys}`, `v:value`) is desired, and what is there."""
    kind, _, text = key.partition(":")
    if kind == "f":
        return (True, desired[text]) if isinstance(desired, Mapping) and text in desired else (False, None)
    if not isinstance(desired, Sequence) or isinstance(desired, str):
        return False, None
    wanted = json.loads(text)
    if kind == "k":
        # A key field that we leave out is one that the server defaults.
        items = (item for item in desired if all(item.get(name, value) == value for name, value in wanted.items()))
        item = next(items, None)
        return item is not None, item
    return wanted in desired, None


def projection(desired: Any, live: Any) -> Any:
    """Return the live values at the places of a desired manifest."""
    if isinstance(desired, Mapping):
        return {key: projection(value, field_of(live, key)) for key, value in desired.items()}
    if isinstance(desired, list | tuple) and isinstance(live, list) and len(live) == len(desired):
        return [projection(a, b) for a, b in zip(desired, live, strict=True)]
    return live
