"""Two VisionModels of one name in two namespaces may ask for the same path of the same listener; pure.

The Gateway API gives the path to the older route, without telling the younger one.
"""

from collections.abc import Iterable

from visionmodel_operator.adapters.reading import Raw, field_of, name_of


def winner_over(route: Raw, namesakes: Iterable[Raw]) -> str | None:
    """Return namespace/name of the route that gets this one's requests, None when nobody does.

    Args:
        route: a VisionModel's route.
        namesakes: routes for models of the same name, hence with the same path; it may be among them.
    """
    older = [other for other in namesakes if _precedence(other) < _precedence(route) and _overlap(other, route)]
    return "/".join(_precedence(min(older, key=_precedence))[1:]) if older else None


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
