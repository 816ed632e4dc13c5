"""The Devices port in front of a real API server: one count for the whole process, a few seconds old at most.

However many rollouts begin at once, nodes and pods are listed once. Only the pods of nodes with the device are, by
the name of their node, which the API server has an index for; and only while a rollout begins or waits.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from visionmodel_operator.adapters.connection import Connection
from visionmodel_operator.adapters.paging import pages_of
from visionmodel_operator.adapters.reading import Raw, field_of, name_of
from visionmodel_operator.adapters.resources import collection_path
from visionmodel_operator.core.devices import FINISHED, DeviceCount, device_node
from visionmodel_operator.errors import Retry, UserError

FRESH_SECONDS = 10.0
"""As often as a rollout that waits is looked at."""
AT_ONCE = 8
"""Lists of pods at a time."""


@dataclass(frozen=True)
class _Known:
    count: DeviceCount
    until: float


class DeviceCounter:
    """Implements `reconcile.Devices`."""

    def __init__(self, connection: Connection, monotonic: Callable[[], float]) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._known: dict[frozenset[str], _Known] = {}
        self._lock = asyncio.Lock()

    async def count(self, resources: frozenset[str]) -> DeviceCount:
        """As `Devices.count`; also a refusal is remembered for a while."""
        async with self._lock:
            now = self._monotonic()
            self._known = {asked: known for asked, known in self._known.items() if known.until > now}
            if resources not in self._known:
                self._known[resources] = _Known(await self._counted(resources), self._monotonic() + FRESH_SECONDS)
            return self._known[resources].count

    async def _counted(self, resources: frozenset[str]) -> DeviceCount:
        try:
            nodes = [node for node in await self._nodes() if resources & field_of(node, "status", "allocatable").keys()]
            turn = asyncio.Semaphore(AT_ONCE)
            pods = await asyncio.gather(*(self._pods(name_of(node), turn) for node in nodes))
        except (Retry, UserError) as error:
            return DeviceCount(error=str(error))
        return DeviceCount(tuple(device_node(node, held) for node, held in zip(nodes, pods, strict=True)))

    async def _nodes(self) -> list[Raw]:
        """Nodes with some allocatable resource, each without the list of its images, which is most of it."""
        found: list[Raw] = []
        async for node in pages_of(self._connection, "v1", "Node", None):
            field_of(node, "status", default={}).pop("images", None)
            if field_of(node, "status", "allocatable"):
                found.append(node)
        return found

    async def _pods(self, node: str, turn: asyncio.Semaphore) -> list[Raw]:
        over = ",".join(f"status.phase!={phase}" for phase in FINISHED)
        # Version 0: from the server's memory, in one piece.
        query = {"fieldSelector": f"spec.nodeName={node},{over}", "resourceVersion": "0"}
        async with turn:
            answer = await self._connection.request("GET", collection_path("v1", "Pod", None), query=query)
        return list(answer.body.get("items") or [])
