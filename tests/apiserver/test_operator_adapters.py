"""The adapters that have no fake beside them: inventory, lease and events, against a real API server."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from contracts import manifests
from contracts.manifests import KEY
from contracts.servers import RealServer, add_model
from visionmodel_operator.adapters.inventory import Inventory
from visionmodel_operator.adapters.kube_events import event_name
from visionmodel_operator.adapters.lease import LeaseObject, LeaseRecord
from visionmodel_operator.adapters.needs import Needs
from visionmodel_operator.core import names
from visionmodel_operator.core.names import ROUTE_KINDS
from visionmodel_operator.core.operations import Apply, Event

pytestmark = pytest.mark.apiserver


def artifact_config() -> dict[str, object]:
    return manifests.config_map(names.artifact_config(KEY), {}, {names.LABEL_ARTIFACT_KEY: KEY})


async def test_inventory_lists_the_watched_namespaces(server: RealServer) -> None:
    ref = await add_model(server)
    await server.set_status("VisionModel", "m", {"conversion": {"key": KEY}})
    await server.kube.perform(ref, Apply(artifact_config()))
    await server.add(manifests.config_map("other", {}))
    inventory = Inventory(server.connection, (server.namespace,))
    (model,) = await inventory.models()
    body = await server.get("VisionModel", "m")
    assert body is not None
    version = body["metadata"]["resourceVersion"]
    assert (model.name, model.resource_version, model.artifact_keys) == ("m", version, frozenset({KEY}))
    (artifact,) = await inventory.artifacts()
    assert (artifact.namespace, artifact.name, artifact.key) == (server.namespace, names.artifact_config(KEY), KEY)
    everywhere = Inventory(server.connection)
    assert model in await everywhere.models()
    assert artifact in await everywhere.artifacts()


async def test_inventory_lists_what_the_store_must_keep(server: RealServer) -> None:
    ref = await add_model(server)
    keys, digests = [digit * 32 for digit in "789"], [f"sha256:{digit * 64}" for digit in "78"]
    export = {"format": "ORT", "digest": digests[0], "sizeBytes": 1, "difference": 0.0, "runtime": "a runtime"}
    made = {"key": keys[0], "report": {"exports": [export]}}
    await server.set_status("VisionModel", "m", {"conversion": made})
    ours = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
    for name, text in (("record", f"s3://models/engine-{keys[1]}"), ("workload", f"r.example/m@{digests[1]}")):
        await server.kube.perform(ref, Apply(manifests.config_map(name, {"text": text}, ours)))
    await server.add(manifests.config_map("other", {"of-somebody": keys[2]}))
    inventory = Inventory(server.connection, (server.namespace,))
    assert await inventory.needs_of_models() == Needs(frozenset({keys[0]}), frozenset({digests[0]}))
    assert await inventory.needs_of_configs() == Needs(frozenset({keys[1]}), frozenset({digests[1]}))


async def test_a_long_list_is_read_to_its_end(server: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visionmodel_operator.adapters.paging.PAGE", "2")
    for name in "abcde":
        await add_model(server, name)
    models = await Inventory(server.connection, (server.namespace,)).models()
    assert [model.name for model in models] == list("abcde")


async def test_an_artifact_that_changed_since_the_list_stays(server: RealServer) -> None:
    ref = await add_model(server)
    await server.kube.perform(ref, Apply(artifact_config()))
    inventory = Inventory(server.connection, (server.namespace,))
    (record,) = await inventory.artifacts()
    await inventory.delete_artifact(replace(record, resource_version="1"))
    assert await inventory.artifacts() == (record,)
    await inventory.delete_artifact(record)
    await inventory.delete_artifact(record)
    assert await inventory.artifacts() == ()


async def test_discovery(server: RealServer) -> None:
    inventory = Inventory(server.connection)
    assert await inventory.server_version() >= (1, 30)
    assert (await inventory.serves_models(), await inventory.route_kinds()) == (True, ROUTE_KINDS)
    assert await inventory._served("visionmodel.dev/v9") == frozenset()


async def test_a_lease_is_written_over_the_version_it_was_made_from(server: RealServer) -> None:
    lease = LeaseObject(server.connection, server.namespace, "operator")
    now = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert await lease.read() is None
    first = LeaseRecord("a", 15, 0, now, now)
    stored = await lease.write(first)
    assert stored is not None
    assert await lease.read() == stored == replace(first, version=stored.version)
    assert await lease.write(first) is None
    assert await lease.write(replace(stored, holder="b", transitions=1)) is not None
    assert await lease.write(replace(stored, holder="c")) is None
    held = await lease.read()
    assert held is not None
    assert held.holder == "b"


async def test_a_repeated_event_is_counted(server: RealServer) -> None:
    ref = await add_model(server)
    event = Event("HarmDetected", "errors rose", warning=True)
    started = time.time()
    for _ in range(3):
        await server.kube.perform(ref, event)
    await server.kube.perform(ref, Event("Promoted", "done"))
    path = f"/apis/events.k8s.io/v1/namespaces/{server.namespace}/events"
    items = (await server.connection.request("GET", path)).body["items"]
    found = {item["metadata"]["name"]: item for item in items}
    assert sorted(item["reason"] for item in items) == ["HarmDetected", "Promoted"]
    repeated = found[event_name(ref, event)]
    assert (repeated["series"]["count"], repeated["type"]) == (3, "Warning")
    assert datetime.fromisoformat(repeated["series"]["lastObservedTime"]).timestamp() >= started - 1
