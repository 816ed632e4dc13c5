"""One body of tests over two API servers: the fake, and the real adapter in front of a real one."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from contracts.servers import FakeServer, Server, real_server
from visionmodel_devcluster.controlplane import ControlPlane


@pytest.fixture(scope="session")
def contract_kubeconfig() -> Iterator[Path]:
    """Kubeconfig of a real API server."""
    with ControlPlane() as kubeconfig:
        yield kubeconfig


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.apiserver)])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A cluster without controllers, and an empty namespace of it."""
    if request.param == "fake":
        yield FakeServer()
        return
    async with real_server(request.getfixturevalue("contract_kubeconfig")) as real:
        yield real
