"""Lists over all VisionModels and their ConfigMaps, for the resync and for what the store must keep; and discovery."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from visionmodel_operator.adapters.connection import Connection
from visionmodel_operator.adapters.needs import Needs, needs_of_config, needs_of_model
from visionmodel_operator.adapters.paging import pages_of
from visionmodel_operator.adapters.reading import Raw, field_of, label_of, name_of, time_of
from visionmodel_operator.adapters.resources import (
    GATEWAY_API_VERSION,
    PLURALS,
    group_path,
    object_path,
)
from visionmodel_operator.adapters.translation import kept_artifact_keys
from visionmodel_operator.api.base import API_VERSION, KIND, PLURAL
from visionmodel_operator.core.names import LABEL_ARTIFACT_KEY, LABEL_MANAGED_BY, MANAGED_BY, ROUTE_KINDS

METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class KnownModel:
    """One VisionModel as the resync needs it."""

    namespace: str
    name: str
    resource_version: str
    artifact_keys: frozenset[str]


@dataclass(frozen=True)
class ArtifactRecord:
    """One ConfigMap `artifact-<key>`."""

    namespace: str
    name: str
    key: str
    uid: str
    resource_version: str
    created: datetime


class Inventory:
    """Lists over the watched namespaces; all of them when `namespaces` is empty."""

    def __init__(self, connection: Connection, namespaces: Sequence[str] = ()) -> None:
        self._connection = connection
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)

    async def models(self) -> tuple[KnownModel, ...]:
        """Return every VisionModel. Raises Retry when a list could not be read to its end."""
        return tuple(
            [
                KnownModel(
                    raw["metadata"]["namespace"],
                    name_of(raw),
                    raw["metadata"]["resourceVersion"],
                    kept_artifact_keys(raw),
                )
                async for raw in self._pages(API_VERSION, KIND, {})
            ]
        )

    async def artifacts(self) -> tuple[ArtifactRecord, ...]:
        """Return every artifact ConfigMap."""
        query = {"labelSelector": LABEL_ARTIFACT_KEY}
        return tuple(
            [
                _record(raw)
                async for raw in self._pages("v1", "ConfigMap", query, METADATA_LIST)
                if label_of(raw, LABEL_ARTIFACT_KEY)
            ]
        )

    async def needs_of_configs(self) -> Needs:
        """Return what the ConfigMaps of ours name of the store."""
        query = {"labelSelector": f"{LABEL_MANAGED_BY}={MANAGED_BY}"}
        needs = Needs()
        async for raw in self._pages("v1", "ConfigMap", query):
            needs |= needs_of_config(raw)
        return needs

    async def needs_of_models(self) -> Needs:
        """Return what the VisionModels name of the store."""
        needs = Needs()
        async for raw in self._pages(API_VERSION, KIND, {}):
            needs |= needs_of_model(raw)
        return needs

    async def delete_artifact(self, record: ArtifactRecord) -> None:
        """Delete one, if it is still the one that was listed."""
        preconditions = {"uid": record.uid, "resourceVersion": record.resource_version}
        await self._connection.request(
            "DELETE",
            object_path("v1", "ConfigMap", record.namespace, record.name),
            body={"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions},
            allow=(404, 409),
        )

    async def _pages(
        self, api_version: str, kind: str, query: dict[str, str], accept: str = "application/json"
    ) -> AsyncIterator[Raw]:
        for namespace in self._namespaces:
            async for raw in pages_of(self._connection, api_version, kind, namespace, query, accept):
                yield raw

    async def server_version(self) -> tuple[int, int]:
        """Return (major, minor) of the API server."""
        version = (await self._connection.request("GET", "/version")).body
        return int(version["major"]), int("".join(filter(str.isdigit, version["minor"])))

    async def serves_models(self) -> bool:
        """Whether the VisionModel CRD is served."""
        return PLURAL in await self._served(API_VERSION)

    async def route_kinds(self) -> tuple[str, ...]:
        """Kinds of the Gateway API's routes that are served, of those that the operator writes."""
        served = await self._served(GATEWAY_API_VERSION)
        return tuple(kind for kind in ROUTE_KINDS if PLURALS[GATEWAY_API_VERSION, kind] in served)

    async def _served(self, api_version: str) -> frozenset[str]:
        """Plurals of the group's version; none when there is no such group."""
        answer = await self._connection.request("GET", group_path(api_version), allow=(404,))
        resources = [] if answer.status == 404 else field_of(answer.body, "resources", default=[])
        return frozenset(str(resource.get("name")) for resource in resources)


def _record(raw: Raw) -> ArtifactRecord:
    metadata = raw["metadata"]
    created = time_of(metadata["creationTimestamp"])
    assert created is not None
    return ArtifactRecord(
        namespace=metadata["namespace"],
        name=metadata["name"],
        key=metadata["labels"][LABEL_ARTIFACT_KEY],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        created=created,
    )
