"""The two API servers behind the contract tests, with the same few ways to play user, controller and gateway."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from fakes.clock import FakeClock
from fakes.devices import FakeDevices
from fakes.kube import FakeKube
from visionmodel_operator.adapters.connection import MERGE_PATCH, Connection, connect
from visionmodel_operator.adapters.device_counter import DeviceCounter
from visionmodel_operator.adapters.kube_objects import KubeObjects
from visionmodel_operator.adapters.pod_logs import PodLogs
from visionmodel_operator.adapters.resources import collection_path, object_path
from visionmodel_operator.api.base import API_VERSION, KIND
from visionmodel_operator.api.crd import crd_document
from visionmodel_operator.core.names import ROUTE_KINDS
from visionmodel_operator.core.snapshot import ObjectRef, Platform, Runtime
from visionmodel_operator.reconcile import Devices, Kube

PLATFORM = Platform(
    runtimes={"24.10": Runtime("24.10", "registry.example/triton:24.10", "2.51")},
    default_runtime="24.10",
    converter_image="registry.example/converter:1",
    artifact_repository="registry.example/artifacts",
)
SPEC: dict[str, Any] = {"model": {"storageUri": "s3://models/m.onnx"}, "task": {"type": "Tensor"}}

KINDS = {
    KIND: API_VERSION,
    "ConfigMap": "v1",
    "Node": "v1",
    "Pod": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "GRPCRoute": "gateway.networking.k8s.io/v1",
}
_numbers = itertools.count(1)


class Server(Protocol):
    """A cluster in which nothing moves by itself, and one namespace of it."""

    kube: Kube
    devices: Devices
    namespace: str

    async def elsewhere(self) -> "Server":
        """Return another namespace of the same cluster."""

    async def add(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in the namespace, as somebody else; its status too. A node is of the whole cluster."""

    async def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Read an object."""

    async def set_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Replace a status."""

    async def edit(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        """Merge patch by the field manager `somebody`."""


async def add_model(server: Server, name: str = "m", spec: Mapping[str, Any] = SPEC) -> ObjectRef:
    """Create a VisionModel."""
    body = await server.add({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec})
    return ObjectRef(server.namespace, name, body["metadata"]["uid"])


class FakeServer:
    """The fake."""

    def __init__(self, namespace: str = "default", fake: FakeKube | None = None) -> None:
        self.namespace = namespace
        self.fake = fake or FakeKube(PLATFORM, FakeClock())
        self.kube: Kube = self.fake
        self.devices: Devices = FakeDevices(self.fake.store)

    async def elsewhere(self) -> Server:
        """As `Server.elsewhere`."""
        return FakeServer("elsewhere", self.fake)

    async def add(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """As `Server.add`."""
        metadata = {**manifest["metadata"], "namespace": self.namespace}
        return self.fake.store.create({**manifest, "metadata": metadata}, "somebody")

    async def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """As `Server.get`."""
        return self.fake.store.get(kind, self.namespace, name)

    async def set_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """As `Server.set_status`."""
        self.fake.store.set_status(kind, self.namespace, name, status)

    async def edit(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        """As `Server.edit`."""
        self.fake.store.edit(kind, self.namespace, name, patch, "somebody")


class RealServer:
    """The adapter in front of a real API server."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self.namespace = namespace
        self.connection = connection
        logs = PodLogs(connection, time.monotonic)
        self.kube: Kube = KubeObjects(connection, logs, PLATFORM, now=lambda: datetime.now(UTC), instance="test")
        self.devices: Devices = DeviceCounter(connection, time.monotonic)

    async def elsewhere(self) -> Server:
        """As `Server.elsewhere`."""
        return await _in_fresh_namespace(self.connection)

    async def add(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """As `Server.add`."""
        path = collection_path(manifest["apiVersion"], manifest["kind"], self._scope(manifest["kind"]))
        answer = await self.connection.request("POST", path, body=manifest)
        if "status" in manifest:
            await self.set_status(manifest["kind"], manifest["metadata"]["name"], manifest["status"])
        body: dict[str, Any] = answer.body
        return body

    async def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """As `Server.get`."""
        answer = await self.connection.request("GET", self._path(kind, name), allow=(404,))
        return None if answer.status == 404 else answer.body

    async def set_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """As `Server.set_status`."""
        body = await self.get(kind, name)
        assert body is not None
        path = f"{self._path(kind, name)}/status"
        await self.connection.request("PUT", path, body={**body, "status": status})

    async def edit(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        """As `Server.edit`."""
        query = {"fieldManager": "somebody"}
        path = self._path(kind, name)
        await self.connection.request("PATCH", path, query=query, body=patch, content_type=MERGE_PATCH)

    def _path(self, kind: str, name: str) -> str:
        return object_path(KINDS[kind], kind, self._scope(kind), name)

    def _scope(self, kind: str) -> str | None:
        return None if kind == "Node" else self.namespace


@asynccontextmanager
async def real_server(kubeconfig: Path) -> AsyncIterator[RealServer]:
    """A fresh namespace on a real API server with our CRD and those of the routes."""
    connection = await connect({**os.environ, "KUBECONFIG": str(kubeconfig)})
    try:
        for crd in (crd_document(), *(_route_crd(kind) for kind in ROUTE_KINDS)):
            await install_crd(connection, crd)
        yield await _in_fresh_namespace(connection)
    finally:
        await connection.close()


async def _in_fresh_namespace(connection: Connection) -> RealServer:
    namespace = f"contract-{os.getpid()}-{next(_numbers)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await connection.request("POST", "/api/v1/namespaces", body=body)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await connection.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body=account)
    return RealServer(connection, namespace)


async def install_crd(connection: Connection, crd: Mapping[str, Any]) -> None:
    """Create a CRD unless there is one of that name, and wait until it is served."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await connection.request("POST", path, query={"fieldValidation": "Strict"}, body=crd, allow=(409,))
    group, version = crd["spec"]["group"], crd["spec"]["versions"][0]["name"]
    deadline = time.monotonic() + 30
    served = f"/apis/{group}/{version}/{crd['spec']['names']['plural']}"
    while (await connection.request("GET", served, allow=(404, 429, 503))).status != 200:
        assert time.monotonic() < deadline, f"{served} is not served"
        await asyncio.sleep(0.05)


def _route_crd(kind: str) -> dict[str, Any]:
    """A route as far as the adapter cares: generation, status subresource, lists that are replaced as a whole."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}},
    }
    group = "gateway.networking.k8s.io"
    singular = kind.lower()
    spelled = {"kind": kind, "listKind": f"{kind}List", "plural": f"{singular}s", "singular": singular}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{singular}s.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in of the contract tests"},
        },
        "spec": {"group": group, "scope": "Namespaced", "names": spelled, "versions": [version]},
    }
