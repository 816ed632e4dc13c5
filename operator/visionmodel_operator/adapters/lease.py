"""One Lease object in the API server; the election itself is in `work/lease.py`.

The official client has a Lease lock only in its synchronous half.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from visionmodel_operator.adapters.connection import Connection
from visionmodel_operator.adapters.reading import field_of
from visionmodel_operator.adapters.resources import collection_path, object_path

LEASE = ("coordination.k8s.io/v1", "Lease")
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class LeaseRecord:
    """Who holds the lease. `version` is None for a record that is not stored yet."""

    holder: str
    seconds: int
    transitions: int
    acquired: datetime
    renewed: datetime
    version: str | None = None


class LeaseObject:
    """Reads and replaces one Lease."""

    def __init__(self, connection: Connection, namespace: str, name: str) -> None:
        self._connection = connection
        self._namespace = namespace
        self._name = name

    async def read(self) -> LeaseRecord | None:
        """Return the stored record, None when there is no Lease."""
        answer = await self._connection.request("GET", self._path, allow=(404,))
        if answer.status == 404:
            return None
        spec: dict[str, Any] = field_of(answer.body, "spec", default={})
        return LeaseRecord(
            holder=spec.get("holderIdentity") or "",
            seconds=int(spec.get("leaseDurationSeconds") or 0),
            transitions=int(spec.get("leaseTransitions") or 0),
            acquired=_time(spec.get("acquireTime")),
            renewed=_time(spec.get("renewTime")),
            version=answer.body["metadata"]["resourceVersion"],
        )

    async def write(self, record: LeaseRecord) -> LeaseRecord | None:
        """Store the record over exactly the version it was made from; None when somebody was faster."""
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        spec = {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": record.seconds,
            "leaseTransitions": record.transitions,
            "acquireTime": record.acquired.strftime(TIME),
            "renewTime": record.renewed.strftime(TIME),
        }
        body = {"apiVersion": LEASE[0], "kind": LEASE[1], "metadata": metadata, "spec": spec}
        if record.version is None:
            path = collection_path(*LEASE, self._namespace)
            answer = await self._connection.request("POST", path, body=body, allow=(409,))
        else:
            metadata["resourceVersion"] = record.version
            answer = await self._connection.request("PUT", self._path, body=body, allow=(404, 409))
        if answer.status in (404, 409):
            return None
        return LeaseRecord(
            record.holder,
            record.seconds,
            record.transitions,
            record.acquired,
            record.renewed,
            answer.body["metadata"]["resourceVersion"],
        )

    @property
    def _path(self) -> str:
        return object_path(*LEASE, self._namespace, self._name)


def _time(text: str | None) -> datetime:
    return datetime.fromtimestamp(0, UTC) if text is None else datetime.fromisoformat(text)
