from typing import Any

import pytest

from visionmodel_operator.adapters.route_conflicts import rival_labels, winner_over
from visionmodel_operator.core import names

GATEWAY = {"name": "vision", "namespace": "gateways", "sectionName": "http"}


def route(
    namespace: str = "a", created: str = "2026-01-01T12:00:00Z", kind: str = names.HTTP_ROUTE, **spec: Any
) -> dict[str, Any]:
    metadata = {"name": "shapes", "namespace": namespace, "creationTimestamp": created}
    return {"kind": kind, "metadata": metadata, "spec": {"parentRefs": [GATEWAY], **spec}}


MINE = route("b", "2026-01-02T12:00:00Z")


@pytest.mark.parametrize(
    ("mine", "other", "winner"),
    [
        pytest.param(MINE, route(), "a/shapes", id="the older one wins"),
        pytest.param(MINE, route("c", "2026-01-03T12:00:00Z"), None, id="a younger one does not"),
        pytest.param(MINE, route("a", "2026-01-02T12:00:00Z"), "a/shapes", id="of the same age: by name"),
        pytest.param(MINE, MINE, None, id="itself"),
        pytest.param(MINE, route(kind=names.GRPC_ROUTE), None, id="another protocol"),
        pytest.param(MINE, route(parentRefs=[{**GATEWAY, "sectionName": "https"}]), None, id="another listener"),
        pytest.param(
            MINE, route(parentRefs=[{"name": "vision", "namespace": "gateways"}]), "a/shapes", id="every listener"
        ),
        pytest.param(MINE, route(parentRefs=[{**GATEWAY, "name": "other"}]), None, id="another gateway"),
        pytest.param(
            MINE, route(parentRefs=[{"name": "vision", "sectionName": "http"}]), None, id="a gateway of its namespace"
        ),
        pytest.param(
            route("b", "2026-01-02T12:00:00Z", hostnames=["x.example"]),
            route(hostnames=["y.example"]),
            None,
            id="other hosts",
        ),
        pytest.param(
            route("b", "2026-01-02T12:00:00Z", hostnames=["x.example", "z.example"]),
            route(hostnames=["x.example"]),
            "a/shapes",
            id="a shared host",
        ),
        pytest.param(
            route("b", "2026-01-02T12:00:00Z", hostnames=["x.example"]), route(), None, id="mine is more specific"
        ),
        pytest.param(MINE, route(hostnames=["x.example"]), None, id="only for a host of its own"),
    ],
)
def test_winner(mine: dict[str, Any], other: dict[str, Any], winner: str | None) -> None:
    assert winner_over(mine, [other]) == winner


def test_the_oldest_of_several_wins() -> None:
    assert winner_over(MINE, [route("d", "2026-01-01T13:00:00Z"), route("c"), MINE]) == "c/shapes"


def test_over_grpc_every_model_is_a_rival() -> None:
    """Its calls name the model in the message, which no gateway reads."""
    over_http, over_grpc = (rival_labels(kind, "shapes") for kind in names.ROUTE_KINDS)
    mine, other = (names.object_labels(name, names.ROUTE_COMPONENT) for name in ("shapes", "cats"))
    assert over_http.items() <= mine.items()
    assert not over_http.items() <= other.items()
    assert over_grpc.items() <= mine.items()
    assert over_grpc.items() <= other.items()
    assert not over_grpc.items() <= names.object_labels("cats", "front").items()
