"""The route: fixed slots, exact weights, and nothing that a default could turn into drift."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from unit.render.samples import CANARY, CPU_SPEC, REF, REVISION, snapshot, spec, status
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.actions import DeleteRoute, EnsureFront, EnsureRoute
from visionmodel_operator.core.operations import Apply, ApplyWhole, Delete
from visionmodel_operator.core.snapshot import RouteState
from visionmodel_operator.render import operations
from visionmodel_operator.render.traffic import (
    backend_refs,
    desired_routes,
    gateway_duration,
    routes,
    with_route_compared,
)


def refs(slots: tuple[str, ...], weights: tuple[int, ...]) -> list[tuple[str, int, str]]:
    """Return (Service, weight, revision in the response header) by slot."""
    return [
        (ref["name"], ref["weight"], ref["filters"][0]["responseHeaderModifier"]["set"][0]["value"])
        for ref in backend_refs("shapes", slots, weights)
    ]


@pytest.mark.parametrize(
    ("slots", "weights", "expected"),
    [
        pytest.param((REVISION,), (1_000_000,), [(REVISION, 1_000_000)], id="one slot"),
        pytest.param((REVISION, ""), (1_000_000, 0), [(REVISION, 1_000_000)], id="empty last slot is left out"),
        pytest.param(
            (REVISION, CANARY), (950_000, 50_000), [(REVISION, 950_000), (CANARY, 50_000)], id="canary in the second"
        ),
        pytest.param(
            (CANARY, REVISION), (50_000, 950_000), [(CANARY, 50_000), (REVISION, 950_000)], id="canary in the first"
        ),
        pytest.param((REVISION, CANARY), (1, 999_999), [(REVISION, 1), (CANARY, 999_999)], id="leaving"),
        pytest.param(
            (REVISION, CANARY), (0, 1_000_000), [(REVISION, 0), (CANARY, 1_000_000)], id="weight 0 keeps its place"
        ),
        pytest.param(
            ("", REVISION),
            (0, 1_000_000),
            [(REVISION, 0), (REVISION, 1_000_000)],
            id="empty first slot holds the place",
        ),
    ],
)
def test_slots(slots: tuple[str, ...], weights: tuple[int, ...], expected: list[tuple[str, int]]) -> None:
    assert refs(slots, weights) == [(f"shapes-{revision}", weight, revision) for revision, weight in expected]


@pytest.mark.parametrize(
    ("slots", "weights"),
    [
        pytest.param((REVISION, CANARY), (950_000, 50_001), id="sum too large"),
        pytest.param((REVISION, CANARY), (1_000_000,), id="a weight is missing"),
        pytest.param((REVISION, ""), (500_000, 500_000), id="an empty slot has a weight"),
        pytest.param(("", ""), (0, 1_000_000), id="nobody answers"),
    ],
)
def test_impossible_splits_are_bugs(slots: tuple[str, ...], weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="slot"):
        backend_refs("shapes", slots, weights)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("10s", "10s"),
        ("1m30s", "90s"),
        ("1.5s", "1s500ms"),
        ("70ms", "70ms"),
        ("1500us", "2ms"),
        ("1us", "1ms"),
        ("100h", "100h"),
        ("1h1s", "1h1s"),
        ("0s", "0s"),
    ],
)
def test_gateway_duration(written: str, expected: str) -> None:
    assert gateway_duration(written) == expected


def test_optional_parts_of_the_parent() -> None:
    plain = spec(traffic={"gatewayRefs": [{"name": "vision"}], "requestTimeout": "2m"})
    (route,) = routes(REF, plain.traffic, (REVISION,), (1_000_000,))
    assert route["spec"]["parentRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "vision", "namespace": "vision"}
    ]
    assert "hostnames" not in route["spec"]
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "120s"}


def recorded(**traffic: Any) -> Any:
    return status(traffic={"slots": [REVISION, CANARY], "weightsPpm": [950_000, 50_000], **traffic})


def test_desired_route_is_what_the_action_applies() -> None:
    picture = snapshot(status=recorded())
    (operation,) = operations(EnsureRoute((REVISION, CANARY), (950_000, 50_000), CPU_SPEC), picture)
    assert [operation] == [ApplyWhole(route) for route in desired_routes(picture)]


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(snapshot(status=recorded(), spec=None), id="invalid spec"),
        pytest.param(snapshot(status=recorded(), spec=spec()), id="no gateway"),
        pytest.param(snapshot(), id="nothing recorded"),
        pytest.param(snapshot(status=status(traffic={})), id="no slots yet"),
    ],
)
def test_no_route_is_desired(picture: Any) -> None:
    assert desired_routes(picture) == ()


def test_without_a_gateway_there_is_no_route() -> None:
    assert operations(EnsureRoute((REVISION,), (1_000_000,), spec()), snapshot()) == ()


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda s: s["rules"][0]["backendRefs"][0].update(weight=1), id="weight"),
        pytest.param(lambda s: s["rules"][0]["backendRefs"].reverse(), id="order of slots"),
        pytest.param(lambda s: s["rules"].append({"backendRefs": []}), id="another rule"),
        pytest.param(lambda s: s["rules"][0]["backendRefs"][1].pop("filters"), id="filter"),
        pytest.param(lambda s: s["parentRefs"][0].update(sectionName="other"), id="listener"),
        pytest.param(lambda s: s["rules"][0]["timeouts"].update(request="1s"), id="timeout"),
        pytest.param(lambda s: s["rules"][0]["matches"][0].update(headers=[]), id="another thing to match"),
        pytest.param(lambda s: s["parentRefs"][0].update(port=8443), id="port of the listener"),
        pytest.param(lambda s: s.update(useDefaultGateways="All"), id="more gateways"),
        pytest.param(lambda s: s.pop("hostnames"), id="no hostnames"),
    ],
)
def test_edits_are_seen(edit: Any) -> None:
    (live,) = copy.deepcopy(desired_routes(snapshot(status=recorded())))
    assert is_ours(live)
    edit(live["spec"])
    assert not is_ours(live)


def test_a_route_of_a_namesake_that_is_gone_is_not_ours_yet() -> None:
    (live,) = copy.deepcopy(desired_routes(snapshot(status=recorded())))
    del live["metadata"]["ownerReferences"]
    assert not is_ours(live)


def is_ours(*lives: Any, of: VisionModelSpec = CPU_SPEC) -> bool:
    route = RouteState((), (), accepted=True, serving=True, live={live["kind"]: live for live in lives})
    compared = with_route_compared(snapshot(status=recorded(), spec=of, route=route)).route
    assert compared is not None
    return compared.ours


BOTH = spec(
    traffic={
        "gatewayRefs": [
            {"name": "vision", "sectionName": "http"},
            {"name": "vision", "sectionName": "grpc", "protocol": "GRPC", "hostnames": ["shapes.example"]},
        ]
    }
)
SPLIT = ((REVISION, CANARY), (950_000, 50_000))


def test_both_protocols_are_split_alike() -> None:
    over_http, over_grpc = routes(REF, BOTH.traffic, *SPLIT)
    assert (over_http["kind"], over_grpc["kind"]) == ("HTTPRoute", "GRPCRoute")
    assert [parent["sectionName"] for parent in over_grpc["spec"]["parentRefs"]] == ["grpc"]
    assert ("hostnames" in over_http["spec"], over_grpc["spec"]["hostnames"]) == (False, ["shapes.example"])
    (rule,) = over_grpc["spec"]["rules"]
    assert rule["matches"] == [{"method": {"type": "Exact", "service": "inference.GRPCInferenceService"}}]
    assert "timeouts" not in rule, "a GRPCRoute has none"
    ports = [{**backend, "port": 8000} for backend in rule["backendRefs"]]
    assert ports == over_http["spec"]["rules"][0]["backendRefs"]
    assert {backend["port"] for backend in rule["backendRefs"]} == {8001}


def test_a_missing_and_a_superfluous_route_are_seen() -> None:
    over_http, over_grpc = routes(REF, BOTH.traffic, *SPLIT)
    assert is_ours(over_http, over_grpc, of=BOTH)
    assert not is_ours(over_http, of=BOTH)
    alone = spec(traffic={"gatewayRefs": [{"name": "vision", "sectionName": "http"}]})
    assert is_ours(over_http, of=alone)
    assert not is_ours(over_http, over_grpc, of=alone)


def test_a_protocol_that_is_no_longer_asked_for_loses_its_route() -> None:
    over_http, over_grpc = routes(REF, BOTH.traffic, *SPLIT)
    live = RouteState((), (), accepted=True, serving=True, live={"HTTPRoute": over_http, "GRPCRoute": over_grpc})
    only_grpc = spec(
        traffic={"gatewayRefs": [{"name": "vision", "sectionName": "grpc", "protocol": "GRPC"}]},
    )
    applied, deleted = operations(EnsureRoute(*SPLIT, only_grpc), snapshot(route=live))
    assert isinstance(applied, ApplyWhole)
    assert applied.manifest["kind"] == "GRPCRoute"
    assert deleted == Delete("gateway.networking.k8s.io/v1", "HTTPRoute", "shapes")
    deletes = operations(DeleteRoute(), snapshot(route=live))
    assert deletes == tuple(replace(deleted, kind=kind) for kind in ("HTTPRoute", "GRPCRoute"))


def test_front_selects_the_stable_revision() -> None:
    (operation,) = operations(EnsureFront(REVISION), snapshot())
    assert isinstance(operation, Apply)
    assert operation.manifest["metadata"]["name"] == "shapes"
    assert operation.manifest["spec"]["selector"] == {
        "visionmodel.dev/name": "shapes",
        "visionmodel.dev/revision": REVISION,
    }
