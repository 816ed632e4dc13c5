"""Our routes under the Gateway API's own schema: they are stored as they were written, so that a difference is an edit.

A new version of the Gateway API with a default that `render.traffic` does not write out fails here.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.servers import RealServer, add_model, install_crd, real_server
from unit.core import builders
from visionmodel_devcluster import ControlPlane
from visionmodel_devcluster.builds import built
from visionmodel_devcluster.tools import TOOLS
from visionmodel_operator.adapters.connection import connect
from visionmodel_operator.api.spec import Traffic
from visionmodel_operator.api.status import HeaderRouteStatus
from visionmodel_operator.core.names import HTTP_ROUTE
from visionmodel_operator.core.operations import ApplyWhole, Manifest
from visionmodel_operator.core.snapshot import ObjectRef
from visionmodel_operator.render.traffic import routes

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

DEFINITIONS = "chart/charts/crds/crds/gatewayapi-crds.yaml"
BARE: dict[str, Any] = {"gatewayRefs": [{"name": "vision"}]}
FULL: dict[str, Any] = {
    "gatewayRefs": [{**builders.GATEWAY, "hostnames": ["a.example", "b.example"]}],
    "requestTimeout": "1m30s",
}


OVER_GRPC: dict[str, Any] = {"gatewayRefs": [{"name": "vision", "protocol": "GRPC", "hostnames": ["a.example"]}]}
TRAFFIC = [pytest.param(BARE, id="bare"), pytest.param(FULL, id="full"), pytest.param(OVER_GRPC, id="grpc")]


def route_crds() -> list[dict[str, Any]]:
    """The routes' definitions as the gateway of the dev cluster brings them."""
    documents = yaml.safe_load_all((built(TOOLS["envoy-gateway"]) / DEFINITIONS).read_text(encoding="utf-8"))
    wanted = [f"{kind}.gateway.networking.k8s.io" for kind in ("httproutes", "grpcroutes")]
    found = {d["metadata"]["name"]: d for d in documents if d}
    return [found[name] for name in wanted]


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with ControlPlane() as path:
        yield path


@pytest.fixture
async def server(kubeconfig: Path) -> AsyncIterator[RealServer]:
    connection = await connect({**os.environ, "KUBECONFIG": str(kubeconfig)})
    try:
        for crd in route_crds():
            await install_crd(connection, crd)
    finally:
        await connection.close()
    async with real_server(kubeconfig) as real:
        yield real


def route(
    ref: ObjectRef, traffic: dict[str, Any], *weights: int, header_route: HeaderRouteStatus | None = None
) -> Manifest:
    slots = ("aaaaaaaaaa", "bbbbbbbbbb")[: len(weights)]
    (made,) = routes(ref, Traffic.model_validate(traffic), slots, weights, header_route)
    return made


BY_HEADER = HeaderRouteStatus.model_validate(
    {"revision": "bbbbbbbbbb", "match": [{"headerName": "x-canary", "headerValue": {"exact": "1"}}]}
)


@pytest.mark.parametrize("traffic", TRAFFIC)
@pytest.mark.parametrize("is_parked", [None, True], ids=["in force", "parked"])
async def test_a_rule_for_a_header_is_stored_as_written_and_goes_again(
    server: RealServer, is_parked: bool | None, traffic: dict[str, Any]
) -> None:
    ref, by_header = await add_model(server), BY_HEADER.model_copy(update={"parked": is_parked})
    wanted = route(ref, traffic, 999_999, 1, header_route=by_header)
    await server.kube.perform(ref, ApplyWhole(wanted))
    assert await spec_of(server, wanted["kind"]) == wanted["spec"]
    without = route(ref, traffic, 999_999, 1)
    await server.kube.perform(ref, ApplyWhole(without))
    assert await spec_of(server, wanted["kind"]) == without["spec"]


async def spec_of(server: RealServer, kind: str = HTTP_ROUTE) -> dict[str, Any]:
    body = await server.get(kind, "m")
    assert body is not None
    spec: dict[str, Any] = body["spec"]
    return spec


@pytest.mark.parametrize("traffic", TRAFFIC)
@pytest.mark.parametrize("weights", [(1_000_000,), (999_999, 1)], ids=["stable alone", "split"])
async def test_what_is_stored_is_what_was_written(
    server: RealServer, traffic: dict[str, Any], weights: tuple[int, ...]
) -> None:
    ref = await add_model(server)
    wanted = route(ref, traffic, *weights)
    await server.kube.perform(ref, ApplyWhole(wanted))
    assert await spec_of(server, wanted["kind"]) == wanted["spec"]


async def test_what_the_spec_no_longer_asks_for_is_gone(server: RealServer) -> None:
    ref = await add_model(server)
    await server.kube.perform(ref, ApplyWhole(route(ref, FULL, 1_000_000)))
    await server.kube.observe(server.namespace, "m")
    wanted = route(ref, BARE, 1_000_000)
    await server.kube.perform(ref, ApplyWhole(wanted))
    assert await spec_of(server) == wanted["spec"]


HEADER = {"type": "Exact", "name": "x-user", "value": "beta"}
EDITS: dict[str, Callable[[dict[str, Any]], None]] = {
    "another thing to match": lambda spec: spec["rules"][0]["matches"][0].update(headers=[HEADER]),
    "another rule": lambda spec: spec["rules"].append(spec["rules"][0]),
    "a filter": lambda spec: spec["rules"][0].update(
        filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-user"]}}]
    ),
    "a hostname": lambda spec: spec.update(hostnames=["other.example"]),
    "more gateways": lambda spec: spec.update(useDefaultGateways="All"),
    "another listener": lambda spec: spec["parentRefs"][0].update(sectionName="other"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
async def test_what_others_change_or_add_is_put_right(
    server: RealServer, edit: Callable[[dict[str, Any]], None]
) -> None:
    ref = await add_model(server)
    wanted = route(ref, BARE, 999_999, 1)
    await server.kube.perform(ref, ApplyWhole(wanted))
    edited = await spec_of(server)
    edit(edited)
    await server.edit("HTTPRoute", "m", {"spec": edited})
    assert await spec_of(server) == edited != wanted["spec"]
    await server.kube.observe(server.namespace, "m")
    await server.kube.perform(ref, ApplyWhole(wanted))
    assert await spec_of(server) == wanted["spec"]
