"""Deployments, serving pods and the route as the core sees them; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from visionmodel_operator.adapters.job_translation import JOB_NAME_LABEL, wait_of
from visionmodel_operator.adapters.reading import Raw, condition_of, field_of, is_true, label_of, name_of
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.core.names import FIELD_MANAGER, HTTP_ROUTE, LABEL_REVISION
from visionmodel_operator.core.snapshot import PodState, RouteState, WorkloadState


def workload_states(deployments: Iterable[Raw], configs: Iterable[Raw]) -> dict[str, WorkloadState]:
    """Return the workloads by revision, also of one that only has a Deployment or only its ConfigMap left."""
    data = {r: field_of(c, "data", default={}) for c in configs if (r := label_of(c, LABEL_REVISION))}
    by_revision: dict[str, list[Raw]] = {}
    for deployment in deployments:
        if revision := label_of(deployment, LABEL_REVISION):
            by_revision.setdefault(revision, []).append(deployment)
    return {
        revision: WorkloadState(
            revision=revision,
            replicas=sum(wanted_replicas(d) for d in by_revision.get(revision, [])),
            ready=sum(ready_replicas(d) for d in by_revision.get(revision, [])),
            config=data.get(revision, {}),
        )
        for revision in sorted({*data, *by_revision})
    }


def wanted_replicas(deployment: Raw) -> int:
    """Pods that a Deployment asks for; the API server defaults an unset number to 1."""
    return int(field_of(deployment, "spec", "replicas", default=1))


def ready_replicas(deployment: Raw) -> int:
    """Return the ready pods, at most as many as are asked for.

    Also for a generation that the Deployment's controller has not seen yet: pod templates never move, so a pod that
    was ready before a change of scale is as good after it, and counting none for a moment would look like an outage.
    """
    status = field_of(deployment, "status", default={})
    counted = min(status.get("readyReplicas") or 0, status.get("updatedReplicas") or 0)
    return int(min(counted, wanted_replicas(deployment)))


def is_settled(deployment: Raw) -> bool:
    """Whether every pod that is asked for is ready, and none besides."""
    replicas = field_of(deployment, "status", "replicas", default=0)
    return bool(ready_replicas(deployment) == wanted_replicas(deployment) == replicas)


def pod_states(pods: Iterable[Raw]) -> dict[str, tuple[PodState, ...]]:
    """Return the serving pods by revision; pods of Jobs and pods that have ended for good are left out."""
    by_revision: dict[str, list[PodState]] = {}
    for pod in pods:
        revision = label_of(pod, LABEL_REVISION)
        ended = field_of(pod, "status", "phase") in ("Succeeded", "Failed")
        if revision and not ended and label_of(pod, JOB_NAME_LABEL) is None:
            by_revision.setdefault(revision, []).append(_pod_state(pod, revision))
    return {revision: tuple(sorted(states, key=lambda s: s.name)) for revision, states in by_revision.items()}


def _pod_state(pod: Raw, revision: str) -> PodState:
    conditions = field_of(pod, "status", "conditions", default=[])
    ready = is_true(conditions, "Ready")
    containers = field_of(pod, "status", "containerStatuses", default=[])
    wait = wait_of(pod)
    return PodState(
        name=name_of(pod),
        revision=revision,
        ip=field_of(pod, "status", "podIP"),
        ready=ready,
        restarts=sum(int(c.get("restartCount") or 0) for c in containers),
        terminating=field_of(pod, "metadata", "deletionTimestamp") is not None,
        waiting=wait.reason,
        waiting_message=wait.message,
    )


def routes_state(routes: Sequence[tuple[Raw, str | None]]) -> RouteState | None:
    """Return what the routes of one VisionModel say together; None when there is none.

    One that is not accepted speaks for all: a split is in force when it is for every protocol. Requests arrive when
    they do over one of them, so that a protocol that is added interrupts nobody.

    Args:
        routes: the live objects, one of a kind, each with what `route_state` calls its winner.
    """
    states = [route_state(route, winner) for route, winner in routes]
    if not states:
        return None
    speaker = next((state for state in states if not state.accepted), states[0])
    return replace(
        states[0],
        accepted=speaker.accepted,
        serving=any(state.serving for state in states),
        reason=speaker.reason,
        message=speaker.message,
        live={kind: live for state in states for kind, live in state.live.items()},
        foreign_managers=tuple(sorted({manager for state in states for manager in state.foreign_managers})),
    )


def route_state(route: Raw, winner: str | None = None) -> RouteState:
    """Return what the route says and whether its gateway has taken it over in its current generation.

    Args:
        route: the live object.
        winner: namespace/name of an older route that gets its requests.
    """
    rules = field_of(route, "spec", "rules", default=[])
    backends = field_of(rules[0] if rules else {}, "backendRefs", default=[])
    reason, message = _refusal_of(route) if winner is None else _conflict_with(route, winner)
    managers = _spec_managers(route)
    return RouteState(
        weights_ppm=tuple(int(field_of(backend, "weight", default=1)) for backend in backends),
        backends=tuple(str(backend.get("name")) for backend in backends),
        accepted=not reason,
        serving=winner is None and _is_taken_over(route),
        reason=reason,
        message=message,
        live={route["kind"]: route},
        foreign_managers=tuple(sorted(managers - {FIELD_MANAGER})),
    )


def _conflict_with(route: Raw, winner: str) -> tuple[str, str]:
    if route["kind"] == HTTP_ROUTE:
        remedy = "this path of the listener: rename one, or give each its hostnames."
    else:
        remedy = "this host of the listener: give each its hostnames, or a listener of its own."
    return Reason.ROUTE_CONFLICT, f"The older {route['kind']} {winner} has {remedy}"


def _answers(route: Raw) -> list[tuple[str, list[Raw]]]:
    """Return each parent's name and what its controllers answered."""
    namespace = field_of(route, "metadata", "namespace")
    parents = field_of(route, "status", "parents", default=[])
    return [
        (
            str(reference.get("name")),
            [p for p in parents if _parent_key(p.get("parentRef"), namespace) == _parent_key(reference, namespace)],
        )
        for reference in field_of(route, "spec", "parentRefs", default=[])
    ]


def _is_taken_over(route: Raw) -> bool:
    """Whether every parent has the route in this generation or an older one."""
    answers = [given for _, given in _answers(route)]
    return bool(answers) and all(
        given and all(is_true(field_of(one, "conditions", default=[]), "Accepted") for one in given)
        for given in answers
    )


def _refusal_of(route: Raw) -> tuple[str, str]:
    """Return reason and message of the first parent that has not taken the route over; empty when all have."""
    answers = _answers(route)
    if not answers:
        return "NoParents", "The route names no Gateway."
    generation = field_of(route, "metadata", "generation", default=0)
    refusals = (_refusal_in(given, generation, gateway) for gateway, given in answers)
    return next((refusal for refusal in refusals if refusal[0]), ("", ""))


def _parent_key(reference: Raw | None, namespace: str | None) -> tuple[Any, ...]:
    return (
        field_of(reference, "namespace", default=namespace),
        field_of(reference, "name"),
        field_of(reference, "sectionName"),
        field_of(reference, "port"),
    )


def _refusal_in(answers: list[Raw], generation: int, gateway: str) -> tuple[str, str]:
    for answer in answers:
        conditions = field_of(answer, "conditions", default=[])
        for kind in ("Accepted", "ResolvedRefs"):
            condition = condition_of(conditions, kind)
            if not condition or condition.get("observedGeneration", 0) < generation:
                return "Pending", f"Gateway {gateway} has not seen generation {generation} of the route yet."
            if condition.get("status") != "True":
                return str(condition.get("reason") or kind), str(condition.get("message") or "")
    return ("", "") if answers else ("Pending", f"Gateway {gateway} has not answered yet.")


def _spec_managers(route: Raw) -> frozenset[str]:
    """Who owns fields of the spec; writers of the status alone do not count."""
    entries = field_of(route, "metadata", "managedFields", default=[])
    return frozenset(
        str(entry.get("manager"))
        for entry in entries
        if not entry.get("subresource") and "f:spec" in field_of(entry, "fieldsV1", default={})
    )
