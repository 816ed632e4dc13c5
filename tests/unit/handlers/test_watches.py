from typing import Any

import kopf
import pytest

from visionmodel_operator.core.names import ROUTE_KINDS
from visionmodel_operator.handlers.watches import registry_for

Woken = tuple[str, str, str, str | None]


async def no_login(**_: Any) -> kopf.AiohttpSession:
    raise AssertionError("nobody logs in here")


def registry_and_calls(*, route_kinds: tuple[str, ...] = ROUTE_KINDS) -> tuple[Any, list[Woken]]:
    calls: list[Woken] = []

    def woken(resource: str, namespace: str, name: str, version: str | None) -> None:
        calls.append((resource, namespace, name, version))

    return registry_for(woken, no_login, route_kinds=route_kinds), calls


def test_no_handler_keeps_state_on_objects() -> None:
    registry, _ = registry_and_calls()
    kinds = ("_changing", "_spawning", "_indexing", "_webhooks")
    assert [handler for kind in kinds for handler in getattr(registry, kind).get_all_handlers()] == []


@pytest.mark.parametrize(
    ("route_kinds", "expected"),
    [
        (ROUTE_KINDS, ["visionmodels", "deployments", "jobs", "httproutes", "grpcroutes"]),
        (("HTTPRoute",), ["visionmodels", "deployments", "jobs", "httproutes"]),
        ((), ["visionmodels", "deployments", "jobs"]),
    ],
)
def test_what_is_watched(route_kinds: tuple[str, ...], expected: list[str]) -> None:
    registry, _ = registry_and_calls(route_kinds=route_kinds)
    assert [handler.id for handler in registry._watching.get_all_handlers()] == expected
    assert [handler.id for handler in registry._activities.get_all_handlers()] == ["login"]


async def deliver(registry: Any, resource: str, event: dict[str, Any]) -> None:
    (handler,) = [h for h in registry._watching.get_all_handlers() if h.id == resource]
    metadata = event["object"]["metadata"]
    await handler.fn(
        event=event,
        namespace=metadata["namespace"],
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        body=event["object"],
    )


def event_of(kind: str | None, name: str, **labels: str) -> dict[str, Any]:
    metadata = {"namespace": "n", "name": name, "resourceVersion": "7", "labels": labels}
    return {"type": kind, "object": {"metadata": metadata}}


@pytest.mark.parametrize(
    ("resource", "event", "expected"),
    [
        pytest.param("visionmodels", event_of(None, "m"), [("visionmodels", "n", "m", "7")], id="listed"),
        pytest.param("visionmodels", event_of("MODIFIED", "m"), [("visionmodels", "n", "m", "7")], id="changed"),
        pytest.param("visionmodels", event_of("DELETED", "m"), [("visionmodels", "n", "m", None)], id="deleted"),
        pytest.param(
            "jobs", event_of("ADDED", "j", **{"visionmodel.dev/name": "m"}), [("jobs", "n", "m", None)], id="child"
        ),
        pytest.param(
            "httproutes",
            event_of("DELETED", "m", **{"visionmodel.dev/name": "m"}),
            [("httproutes", "n", "m", None)],
            id="child deleted",
        ),
        pytest.param("deployments", event_of("ADDED", "d"), [], id="a child without an owner"),
    ],
)
async def test_events_only_wake(resource: str, event: dict[str, Any], expected: list[Woken]) -> None:
    registry, calls = registry_and_calls()
    await deliver(registry, resource, event)
    assert calls == expected
