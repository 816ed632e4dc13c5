"""Two VisionModels may ask for the same requests of the same listener; pure.

Over HTTP two of one name in two namespaces, over gRPC any two: a call names its model in the body, which no gateway
reads. The Gateway API gives the requests to the older route, without telling the younger one.
"""

from collections.abc import Iterable

from visionmodel_operator.adapters.reading import Raw, field_of, name_of
from visionmodel_operator.core.names import (
    HTTP_ROUTE,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    MANAGED_BY,
    ROUTE_COMPONENT,
    child_labels,
)


def winner_over(route: Raw, rivals: Iterable[Raw]) -> str | None:
    """Return namespace/name of the route that gets this one's requests, None when nobody does.

    Args:
        route: a VisionModel's route.
        rivals: routes that match the same requests, if of its kind; it may be among them.
    """
    older = [
        other
        for other in rivals
        if other["kind"] == route["kind"] and _precedence(other) < _precedence(route) and _overlap(other, route)
    ]
    return "/".join(_precedence(min(older, key=_precedence))[1:]) if older else None


def rival_labels(kind: str, name: str) -> dict[str, str]:
    """Labels of the routes of a kind that may match what the route of the VisionModel `name` matches."""
    if kind == HTTP_ROUTE:
        return child_labels(name)
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_COMPONENT: ROUTE_COMPONENT}


def _precedence(route: Raw) -> tuple[str, str, str]:
    metadata = route["metadata"]
    return str(metadata.get("creationTimestamp", "")), str(metadata["namespace"]), name_of(route)


def _overlap(one: Raw, other: Raw) -> bool:
    return _share_a_listener(one, other) and _share_a_host(one, other)


def _share_a_listener(one: Raw, other: Raw) -> bool:
    return any(
        a[:2] == b[:2] and (a[2] == b[2] or a[2] is None or b[2] is None)
        for a in _listeners(one)
        for b in _listeners(other)
    )


def _listeners(route: Raw) -> list[tuple[str, str, str | None]]:
    own = route["metadata"]["namespace"]
    parents = field_of(route, "spec", "parentRefs", default=[])
    return [(parent.get("namespace") or own, parent["name"], parent.get("sectionName")) for parent in parents]


def _share_a_host(one: Raw, other: Raw) -> bool:
    """Whether both name a host alike; of two that differ the more specific one gets the request, whatever its age."""
    ours, theirs = (set(field_of(route, "spec", "hostnames", default=[""])) for route in (one, other))
    return bool(ours & theirs)
