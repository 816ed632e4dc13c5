"""How requests arrive: the front Service of the stable revision, and the routes that split between two slots.

There is one route for each protocol, with the same slots and weights.

Every field that the API server would default is written out, so that a route that differs from what we want in any
way, be it one field more, was edited by somebody else, or no longer is what the spec asks for.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, Final

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.spec import GatewayRef, Traffic
from visionmodel_operator.api.status import HeaderRouteStatus
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import EnsureFront, EnsureRoute
from visionmodel_operator.core.operations import Apply, ApplyWhole, Delete, Manifest, Operation
from visionmodel_operator.core.routes import KIND_OF, route_kinds
from visionmodel_operator.core.snapshot import ObjectRef, Snapshot
from visionmodel_operator.core.weights import WHOLE
from visionmodel_operator.render.objects import Json, owned_metadata
from visionmodel_operator.render.serving import service_ports

GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
API_VERSION: Final = f"{GATEWAY_GROUP}/v1"
INFERENCE_SERVICE: Final = "inference.GRPCInferenceService"
"""Of the Open Inference Protocol over gRPC; its calls name the model in the message."""


def ensure_front(action: EnsureFront, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the Service that always answers with the stable revision, with or without a gateway."""
    ref = snapshot.ref
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned_metadata(ref, names.front_service(ref.name), names.object_labels(ref.name, "front")),
        "spec": {
            "type": "ClusterIP",
            "selector": names.revision_selector(ref.name, action.revision),
            "ports": service_ports(metrics=False),
        },
    }
    return (Apply(manifest),)


def ensure_route(action: EnsureRoute, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the routes with these slots and weights, and the delete of one whose protocol is no longer asked for."""
    wanted = routes(snapshot.ref, action.spec.traffic, action.slots, action.weights_ppm, action.header_route)
    return (*(ApplyWhole(route) for route in wanted), *_deletes(snapshot, {route["kind"] for route in wanted}))


def delete_route(snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the delete of every route that there is."""
    return _deletes(snapshot, frozenset())


def _deletes(snapshot: Snapshot, wanted: Collection[str]) -> tuple[Operation, ...]:
    live = snapshot.route.live if snapshot.route is not None else {}
    return tuple(Delete(API_VERSION, kind, names.route(snapshot.ref.name)) for kind in live if kind not in wanted)


def desired_routes(snapshot: Snapshot) -> tuple[Manifest, ...]:
    """Return the routes that recorded status asks for, to compare with the live ones; none where none should be."""
    traffic = snapshot.status.traffic
    if snapshot.spec is None or traffic is None or not any(traffic.slots):
        return ()
    return routes(snapshot.ref, snapshot.spec.traffic, traffic.slots, traffic.weights_ppm, traffic.header_route)


def with_route_compared(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot knowing whether the live routes are those that recorded status asks for."""
    route, desired = snapshot.route, desired_routes(snapshot)
    if route is None or not desired:
        return snapshot
    is_owned = all(_is_owned(live, snapshot.ref) for live in route.live.values())
    is_equal = {kind: live.get("spec") for kind, live in route.live.items()} == {d["kind"]: d["spec"] for d in desired}
    return replace(snapshot, route=replace(route, ours=is_owned and is_equal))


def _is_owned(live: Mapping[str, Any], ref: ObjectRef) -> bool:
    return any(owner["uid"] == ref.uid for owner in live["metadata"].get("ownerReferences", []))


def routes(
    ref: ObjectRef,
    traffic: Traffic,
    slots: Sequence[str],
    weights_ppm: Sequence[int],
    header_route: HeaderRouteStatus | None = None,
) -> tuple[Manifest, ...]:
    """Return the route of each gateway that is named.

    The gateway names its counters by rule index and backend index, so both are part of the contract with the judge:
    the split is the first rule, and the rule for a header stands behind it. It is asked first all the same, because
    of two rules that match alike the one with more headers comes first, wherever it stands.
    """
    by_kind = {KIND_OF[gateway.protocol]: gateway for gateway in traffic.gateway_refs}
    made = []
    for kind in route_kinds(traffic):
        match, limits = _matched(ref, kind, traffic)
        rules = [{"matches": [match], "backendRefs": backend_refs(ref.name, slots, weights_ppm, kind), **limits}]
        if header_route is not None:
            matches = [{**match, "headers": [header]} for header in _headers(header_route)]
            backend = _backend_ref(ref.name, header_route.revision, 1, kind)
            rules.append({"matches": matches, "backendRefs": [backend], **limits})
        made.append(_route(ref, kind, by_kind[kind], rules))
    return tuple(made)


def _matched(ref: ObjectRef, kind: str, traffic: Traffic) -> tuple[Json, Json]:
    """Return which requests are this model's, and the limits of each; a GRPCRoute has none: the client's hold."""
    if kind == names.GRPC_ROUTE:
        return {"method": {"type": "Exact", "service": INFERENCE_SERVICE}}, {}
    path = {"path": {"type": "PathPrefix", "value": f"/v2/models/{ref.name}"}}
    return path, {"timeouts": {"request": gateway_duration(traffic.request_timeout)}}


def _route(ref: ObjectRef, kind: str, gateway: GatewayRef, rules: list[Json]) -> Manifest:
    spec: Json = {"parentRefs": [_parent_ref(ref, gateway)], "rules": rules}
    if gateway.hostnames:
        spec["hostnames"] = list(dict.fromkeys(gateway.hostnames))
    labels = names.object_labels(ref.name, names.ROUTE_COMPONENT)
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": owned_metadata(ref, names.route(ref.name), labels),
        "spec": spec,
    }


def _headers(header_route: HeaderRouteStatus) -> list[Json]:
    """Return the headers of which each alone leads to the revision; parked, one that no client has cause to send."""
    if header_route.parked:
        return [{"type": "Exact", "name": names.PARKED_HEADER, "value": header_route.revision}]
    return [
        {"type": "Exact", "name": match.header_name, "value": match.header_value.exact} for match in header_route.match
    ]


def backend_refs(
    name: str, slots: Sequence[str], weights_ppm: Sequence[int], kind: str = names.HTTP_ROUTE
) -> list[Json]:
    """Return one backend per slot, in slot order.

    An empty last slot is left out. An empty first one cannot be, since the second would move into its place and
    into its counters: it points at the other slot's Service with weight 0.

    Raises:
        ValueError: the weights are not the share of each slot in parts per million.
    """
    weights = dict(enumerate(weights_ppm))
    filled = [revision for revision in slots if revision]
    if len(slots) != len(weights_ppm) or sum(weights_ppm) != WHOLE or not filled:
        raise ValueError(f"slots {list(slots)} do not match weights {list(weights_ppm)} of {WHOLE}")
    if any(weights[index] != 0 for index, revision in enumerate(slots) if not revision):
        raise ValueError(f"an empty slot of {list(slots)} has a weight: {list(weights_ppm)}")
    last = max(index for index, revision in enumerate(slots) if revision)
    return [_backend_ref(name, slots[index] or filled[0], weights[index], kind) for index in range(last + 1)]


def _backend_ref(name: str, revision: str, weight: int, kind: str) -> Json:
    """Return one backend. Its filter names the revision to clients, and makes the gateway count it by itself."""
    return {
        "group": "",
        "kind": "Service",
        "name": names.revision_service(name, revision),
        "port": names.GRPC_PORT if kind == names.GRPC_ROUTE else names.HTTP_PORT,
        "weight": weight,
        "filters": [
            {
                "type": "ResponseHeaderModifier",
                "responseHeaderModifier": {"set": [{"name": names.REVISION_HEADER, "value": revision}]},
            }
        ],
    }


def _parent_ref(ref: ObjectRef, gateway: GatewayRef) -> Json:
    parent: Json = {
        "group": GATEWAY_GROUP,
        "kind": "Gateway",
        "name": gateway.name,
        "namespace": gateway.namespace or ref.namespace,
    }
    if gateway.section_name is not None:
        parent["sectionName"] = gateway.section_name
    return parent


def gateway_duration(duration: str) -> str:
    """Return a Duration in Gateway API's form: whole hours, seconds and milliseconds, at most five digits each.

    Rounded up to a millisecond, so that a limit never becomes 0, which would mean none.
    """
    milliseconds = ceil(round(duration_seconds(duration) * 1000, 6))
    hours, rest = divmod(milliseconds, 3_600_000)
    seconds, millis = divmod(rest, 1000)
    parts = [f"{number}{unit}" for number, unit in ((hours, "h"), (seconds, "s"), (millis, "ms")) if number]
    return "".join(parts) or "0s"
