"""The head that every rendered object shares: labels, owner, and nothing that another writer could fight over."""

from collections.abc import Mapping
from typing import Any

from visionmodel_operator.api.base import API_VERSION, KIND
from visionmodel_operator.core.snapshot import ObjectRef

Json = dict[str, Any]
"""A JSON object under construction; handed out as a read-only `Manifest`."""


def owner_reference(ref: ObjectRef) -> Json:
    """Return the controller reference by which the garbage collector follows a deleted VisionModel."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": ref.name,
        "uid": ref.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned_metadata(
    ref: ObjectRef, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> Json:
    """Return the metadata of a child of this VisionModel."""
    metadata: Json = {"name": name, "namespace": ref.namespace, "labels": dict(labels)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    metadata["ownerReferences"] = [owner_reference(ref)]
    return metadata


def without_empty(mapping: Mapping[str, Any]) -> Json:
    """Return the mapping without None, empty strings, lists and maps.

    The API server drops them, and a field that never comes back would look like drift in every pass.
    """
    return {key: value for key, value in mapping.items() if value is not None and value not in ("", [], {})}
