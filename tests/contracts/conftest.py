"""One body of tests over two API servers: the fake, and the real adapter in front of a real one."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.servers import FakeServer, RealServer, Server, real_server


@pytest.fixture
async def real(control_plane: Any) -> AsyncIterator[RealServer]:
    """An empty namespace of a real API server, for what the fake has no part in."""
    async with real_server(control_plane.kubeconfig) as real:
        yield real


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.apiserver)])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A cluster without controllers, and an empty namespace of it."""
    if request.param == "fake":
        yield FakeServer()
        return
    async with real_server(request.getfixturevalue("control_plane").kubeconfig) as real:
        yield real
