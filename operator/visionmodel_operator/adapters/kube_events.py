"""Events on a VisionModel, repeated ones counted instead of multiplied."""

import hashlib
from datetime import datetime
from typing import Any

from visionmodel_operator.adapters.connection import MERGE_PATCH, Connection
from visionmodel_operator.adapters.reading import field_of
from visionmodel_operator.adapters.resources import collection_path, object_path
from visionmodel_operator.api.base import API_VERSION, KIND
from visionmodel_operator.core.names import FIELD_MANAGER
from visionmodel_operator.core.operations import Event
from visionmodel_operator.core.snapshot import ObjectRef

EVENTS = ("events.k8s.io/v1", "Event")
NOTE_BYTES = 1024
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def event_name(ref: ObjectRef, event: Event) -> str:
    """Name of an event: the same for the same object, reason and note, so that a repetition finds the first one."""
    identity = "\0".join((ref.uid, event.reason, event.message))
    return f"{ref.name}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def event_manifest(ref: ObjectRef, event: Event, now: datetime, instance: str) -> dict[str, Any]:
    """Return the first event of a series."""
    note = event.message.encode()[:NOTE_BYTES].decode(errors="ignore")
    return {
        "apiVersion": EVENTS[0],
        "kind": EVENTS[1],
        "metadata": {"name": event_name(ref, event), "namespace": ref.namespace},
        "eventTime": now.strftime(TIME),
        "reportingController": FIELD_MANAGER,
        "reportingInstance": instance[:128],
        "action": "Reconcile",
        "reason": event.reason[:128],
        "note": note,
        "type": "Warning" if event.warning else "Normal",
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": ref.uid,
        },
    }


async def emit_event(connection: Connection, ref: ObjectRef, event: Event, now: datetime, instance: str) -> None:
    """Create an event, or count it once more."""
    manifest = event_manifest(ref, event, now, instance)
    created = await connection.request("POST", collection_path(*EVENTS, ref.namespace), body=manifest, allow=(409,))
    if created.status != 409:
        return
    path = object_path(*EVENTS, ref.namespace, manifest["metadata"]["name"])
    live = await connection.request("GET", path, allow=(404,))
    count = field_of(live.body, "series", "count", default=1)
    series = {"count": int(count) + 1, "lastObservedTime": now.strftime(TIME)}
    await connection.request("PATCH", path, body={"series": series}, content_type=MERGE_PATCH, allow=(404,))
