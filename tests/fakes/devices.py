"""The Devices port over the nodes and pods of a fake cluster; it passes the contract tests in `tests/contracts/`."""

from fakes.store import ObjectStore
from visionmodel_operator.core.devices import DeviceCount, device_node


class FakeDevices:
    """Counts what stands in a store, each time anew.

    Attributes:
        refusal: why nothing may be counted; empty: it may.
        asked: the resources of each call.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.refusal = ""
        self.asked: list[frozenset[str]] = []

    async def count(self, resources: frozenset[str]) -> DeviceCount:
        """As `Devices.count`."""
        self.asked.append(resources)
        if self.refusal:
            return DeviceCount(error=self.refusal)
        pods = [body for (kind, _, _), body in self._store.objects.items() if kind == "Pod"]
        return DeviceCount(
            tuple(
                device_node(
                    node, [pod for pod in pods if pod.get("spec", {}).get("nodeName") == node["metadata"]["name"]]
                )
                for (kind, _, _), node in sorted(self._store.objects.items())
                if kind == "Node" and resources & node["status"]["allocatable"].keys()
            )
        )
