"""Clients of the session's API server, and the CRD on it."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from contracts.servers import RealServer, real_server
from visionmodel_devcluster import ControlPlane
from visionmodel_operator.api.crd import CRD_NAME, crd_document

ESTABLISHED_SECONDS = 30.0


@pytest.fixture
async def server(control_plane: ControlPlane) -> AsyncIterator[RealServer]:
    """An empty namespace, with the CRDs, through the operator's adapters."""
    async with real_server(control_plane.kubeconfig) as real:
        yield real


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
    try:
        extensions.create_custom_resource_definition(crd_document(), field_validation="Strict")
    except ApiException as error:
        # The servers of the contract tests create it too, as strictly.
        if error.status != 409:
            raise
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
