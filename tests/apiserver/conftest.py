"""A real etcd and API server for the session; the binaries are built once and cached by the dev cluster."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config

from visionmodel_devcluster import ControlPlane
from visionmodel_operator.api.crd import CRD_NAME, crd_document

ESTABLISHED_SECONDS = 30.0


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A running control plane; `.kubeconfig` is the path of an administrator's kubeconfig."""
    plane = ControlPlane()
    with plane:
        yield plane


@pytest.fixture(scope="session")
def api_client(control_plane: ControlPlane) -> Iterator[Any]:
    """An administrator's client."""
    settings = client.Configuration()
    load: Any = config.load_kube_config
    load(str(control_plane.kubeconfig), client_configuration=settings)
    with client.ApiClient(settings) as api:
        yield api


@pytest.fixture(scope="session")
def crd(api_client: Any) -> dict[str, Any]:
    """The CRD as the server stores it, once it is established."""
    extensions: Any = client.ApiextensionsV1Api(api_client)
    extensions.create_custom_resource_definition(crd_document(), field_validation="Strict")
    deadline = time.monotonic() + ESTABLISHED_SECONDS
    while True:
        stored: dict[str, Any] = api_client.sanitize_for_serialization(
            extensions.read_custom_resource_definition(CRD_NAME)
        )
        conditions = {c["type"]: c for c in stored.get("status", {}).get("conditions", ())}
        if conditions.get("Established", {}).get("status") == "True":
            return stored
        if time.monotonic() > deadline:
            raise TimeoutError(f"{CRD_NAME} was not established: {conditions}")
        time.sleep(0.05)
