"""What `reconcile.Devices` promises."""

from typing import Any

import pytest

from contracts import manifests
from contracts.servers import RealServer, Server
from visionmodel_operator.adapters import paging
from visionmodel_operator.adapters.connection import Answer, Connection
from visionmodel_operator.adapters.device_counter import FRESH_SECONDS, DeviceCounter
from visionmodel_operator.core import names
from visionmodel_operator.core.devices import DeviceCount, Held
from visionmodel_operator.errors import Retry


def resource_of(server: Server) -> str:
    """Return a device that no other test has."""
    return f"example.com/{server.namespace}"


async def add_node(server: Server, name: str, devices: int) -> str:
    """Create a node with so many devices; return its name in the cluster."""
    status = {
        "allocatable": {resource_of(server): str(devices), "cpu": "4"},
        "conditions": [{"type": "Ready", "status": "True"}],
        "images": [{"names": ["registry.example/x"]}],
    }
    full_name = f"{name}-{server.namespace}"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": full_name, "labels": {"zone": "x"}}, "spec": {}}
    await server.add({**node, "status": status})
    return full_name


async def add_pod(server: Server, name: str, node: str | None, devices: int, phase: str, **labels: str) -> None:
    resources = {"limits": {resource_of(server): str(devices)}, "requests": {resource_of(server): str(devices)}}
    pod = manifests.pod(name, labels, {"phase": phase})
    container = {**pod["spec"]["containers"][0], "resources": resources}
    spec: dict[str, Any] = {"containers": [container], **({} if node is None else {"nodeName": node})}
    await server.add({**pod, "spec": spec})


async def test_nodes_with_the_device_and_what_is_held_of_it(server: Server) -> None:
    first, second = await add_node(server, "a", 4), await add_node(server, "b", 2)
    mine = names.object_labels("m", "serving", manifests.REVISION)
    await add_pod(server, "mine", first, 1, "Running", **mine)
    await add_pod(server, "starting", first, 2, "Pending")
    await add_pod(server, "over", first, 1, "Succeeded")
    await add_pod(server, "waiting", None, 1, "Pending")
    count = await server.devices.count(frozenset({resource_of(server)}))
    assert count.error == ""
    assert [node.name for node in count.nodes] == [first, second]
    resource = resource_of(server)
    node, empty = count.nodes
    assert (node.labels["zone"], node.allocatable, node.is_open) == ("x", {resource: 4}, True)
    owner = (server.namespace, "m", manifests.REVISION)
    assert sorted(node.held, key=lambda held: held.asked[resource]) == [Held({resource: 1}, owner), Held({resource: 2})]
    assert empty.held == ()


async def test_a_device_that_no_node_has(server: Server) -> None:
    await add_node(server, "a", 4)
    assert await server.devices.count(frozenset({"example.com/other"})) == DeviceCount()


class _Watched(Connection):
    """A connection that notes what it is asked, and may be refused."""

    def __init__(self, connection: Connection) -> None:
        self._inner = connection
        self.asked: list[str] = []
        self.refusal: Exception | None = None

    async def request(self, method: str, path: str, **rest: Any) -> Answer:
        self.asked.append(path)
        if self.refusal is not None:
            raise self.refusal
        return await self._inner.request(method, path, **rest)


@pytest.mark.apiserver
async def test_one_count_serves_the_whole_process_for_a_while(
    monkeypatch: pytest.MonkeyPatch, real: RealServer
) -> None:
    monkeypatch.setattr(paging, "PAGE", "1")
    for name in "abc":
        await add_node(real, name, 1)
    connection, time = _Watched(real.connection), [0.0]
    counter = DeviceCounter(connection, lambda: time[0])
    asked = frozenset({resource_of(real)})
    first = await counter.count(asked)
    assert len(first.nodes) == 3, "all pages are read"
    assert connection.asked.count("/api/v1/pods") == 3, "pods of nodes without the device are not listed"
    before = len(connection.asked)
    assert await counter.count(asked) is first
    assert len(connection.asked) == before
    time[0] += FRESH_SECONDS
    assert await counter.count(asked) == first
    assert len(connection.asked) == 2 * before


@pytest.mark.apiserver
async def test_a_refusal_is_told_and_not_repeated_at_once(real: RealServer) -> None:
    connection = _Watched(real.connection)
    connection.refusal = Retry("nobody answers")
    counter = DeviceCounter(connection, lambda: 0.0)
    for _ in range(3):
        assert await counter.count(frozenset({"example.com/x"})) == DeviceCount(error="nobody answers")
    assert connection.asked == ["/api/v1/nodes"]
