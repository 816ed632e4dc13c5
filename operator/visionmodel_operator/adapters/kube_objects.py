"""The Kube port in front of a real API server: observe, perform, write the status.

A pass reads everything it needs in at most three rounds of parallel requests and writes only what differs: what
was seen is kept for the length of the pass, to compare with before an apply.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from visionmodel_contract.keys import digest_of
from visionmodel_operator.adapters.connection import APPLY, MERGE_PATCH, Connection
from visionmodel_operator.adapters.job_translation import JOB_NAME_LABEL
from visionmodel_operator.adapters.kube_events import emit_event
from visionmodel_operator.adapters.managed_fields import holds_exactly, is_applied, projection
from visionmodel_operator.adapters.ownership import refuse_foreign
from visionmodel_operator.adapters.pod_logs import PodLogs
from visionmodel_operator.adapters.reading import Raw, field_of, label_of, name_of
from visionmodel_operator.adapters.resources import GATEWAY_API_VERSION, collection_path, object_path, path_of, selector
from visionmodel_operator.adapters.route_conflicts import rival_labels
from visionmodel_operator.adapters.translation import (
    Observed,
    needs_serving_pods,
    parsed_spec,
    reported_keys,
    snapshot_from,
    wanted_artifact_keys,
)
from visionmodel_operator.api.base import API_VERSION, KIND
from visionmodel_operator.api.v1alpha1 import parse_status
from visionmodel_operator.core import names
from visionmodel_operator.core.operations import Apply, ApplyWhole, Create, Delete, Event, Manifest, Operation
from visionmodel_operator.core.snapshot import ObjectRef, Platform, Snapshot
from visionmodel_operator.errors import Retry

CHILD_KINDS = (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap"), ("batch/v1", "Job"))
SEEN_PASSES = 64
"""Passes whose objects are kept: several times the usual number of workers. A pass that lost them reads again."""

_ObjectKey = tuple[str, str]


@dataclass
class _Seen:
    """Objects of one pass by kind and name."""

    uid: str
    objects: dict[_ObjectKey, Raw]


class KubeObjects:
    """Implements `reconcile.Kube`.

    Attributes:
        platform: settings and what the cluster can do; becomes part of every snapshot.
        now: wall clock, for events.
        instance: name of this process in events.
        namespaces: those that are watched; all of them when empty.
    """

    def __init__(
        self,
        connection: Connection,
        logs: PodLogs,
        platform: Platform,
        *,
        now: Callable[[], datetime],
        instance: str,
        namespaces: Sequence[str] = (),
    ) -> None:
        self._connection = connection
        self._logs = logs
        self.platform = platform
        self.now = now
        self.instance = instance
        self.namespaces = namespaces
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()
        self._rewritten: dict[tuple[str, str], dict[_ObjectKey, tuple[str, str]]] = {}

    # observe

    async def observe(self, namespace: str, name: str) -> Snapshot | None:
        """As `Kube.observe`."""
        mine = selector(names.child_labels(name))
        model, routes, lists = await asyncio.gather(
            self._get(API_VERSION, KIND, namespace, name),
            self._routes(namespace, name),
            asyncio.gather(*(self._list(*kind, namespace, mine) for kind in CHILD_KINDS)),
        )
        if model is None:
            self._seen.pop((namespace, name), None)
            self._rewritten.pop((namespace, name), None)
            return None
        children = tuple(child for found in lists for child in found)
        observed = Observed(model=model, children=children, routes=routes)
        keys = wanted_artifact_keys(parsed_spec(model)[0], parse_status(model.get("status")), self.platform)
        pods, artifacts, rivals = await asyncio.gather(
            self._pods(observed), self._artifacts(namespace, keys), self._rivals(observed)
        )
        observed = replace(observed, pods=pods, artifacts=artifacts, rivals=rivals)
        more, progress = await asyncio.gather(
            self._artifacts(namespace, reported_keys(observed) - keys), self._progress(observed)
        )
        observed = replace(observed, artifacts=(*artifacts, *more), progress=progress)
        self._remember(namespace, name, observed)
        return snapshot_from(observed, self.platform)

    async def _routes(self, namespace: str, name: str) -> tuple[Raw, ...]:
        kinds = self.platform.route_kinds
        found = await asyncio.gather(
            *(self._get(GATEWAY_API_VERSION, kind, namespace, names.route(name)) for kind in kinds)
        )
        return tuple(route for route in found if route is not None)

    async def _rivals(self, observed: Observed) -> tuple[Raw, ...]:
        """Routes of other VisionModels that may match the same requests; the server answers this from memory."""
        own, name = observed.model["metadata"]["namespace"], name_of(observed.model)
        namespaces: tuple[str | None, ...] = tuple(self.namespaces) or (None,)
        asked = (
            self._list(GATEWAY_API_VERSION, route["kind"], namespace, selector(rival_labels(route["kind"], name)), "0")
            for route in observed.routes
            for namespace in namespaces
            if namespace != own or route["kind"] != names.HTTP_ROUTE
        )
        return tuple(route for routes in await asyncio.gather(*asked) for route in routes)

    async def _pods(self, observed: Observed) -> tuple[Raw, ...]:
        namespace = observed.model["metadata"]["namespace"]
        wanted = []
        if needs_serving_pods(observed.model, observed.of_kind("Deployment")):
            wanted.append(selector(names.child_labels(name_of(observed.model))))
        if jobs := sorted(name_of(job) for job in observed.of_kind("Job")):
            wanted.append(f"{JOB_NAME_LABEL} in ({','.join(jobs)})")
        found = await asyncio.gather(*(self._list("v1", "Pod", namespace, labels) for labels in wanted))
        return tuple({name_of(pod): pod for pods in found for pod in pods}.values())

    async def _artifacts(self, namespace: str, keys: Iterable[str]) -> tuple[Raw, ...]:
        wanted = (names.artifact_config(key) for key in sorted(keys))
        found = await asyncio.gather(*(self._get("v1", "ConfigMap", namespace, name) for name in wanted))
        return tuple(config for config in found if config is not None)

    async def _progress(self, observed: Observed) -> Mapping[str, str]:
        namespace = observed.model["metadata"]["namespace"]
        running = {
            job: pod
            for pod in observed.pods
            if (job := label_of(pod, JOB_NAME_LABEL)) is not None and field_of(pod, "status", "phase") == "Running"
        }
        lines = await asyncio.gather(
            *(
                self._logs.last_line(namespace, name_of(pod), pod["spec"]["containers"][0]["name"])
                for pod in running.values()
            )
        )
        return {job: line for job, line in zip(running, lines, strict=True) if line is not None}

    async def _get(self, api_version: str, kind: str, namespace: str, name: str) -> Raw | None:
        answer = await self._connection.request("GET", object_path(api_version, kind, namespace, name), allow=(404,))
        return None if answer.status == 404 else answer.body

    async def _list(
        self, api_version: str, kind: str, namespace: str | None, labels: str, version: str = ""
    ) -> list[Raw]:
        query = {"labelSelector": labels, **({"resourceVersion": version} if version else {})}
        answer = await self._connection.request("GET", collection_path(api_version, kind, namespace), query=query)
        # Items of a list come without their type.
        return [{**item, "apiVersion": api_version, "kind": kind} for item in answer.body.get("items") or []]

    def _remember(self, namespace: str, name: str, observed: Observed) -> None:
        seen = {_key(raw): raw for raw in (*observed.children, *observed.artifacts, *observed.routes, observed.model)}
        self._seen.pop((namespace, name), None)
        self._seen[namespace, name] = _Seen(observed.model["metadata"]["uid"], seen)
        if len(self._seen) > SEEN_PASSES:
            self._seen.popitem(last=False)

    # perform

    async def perform(self, ref: ObjectRef, operation: Operation) -> None:
        """As `Kube.perform`."""
        match operation:
            case Apply(manifest):
                await self._apply(ref, manifest)
            case ApplyWhole(manifest):
                await self._apply_whole(ref, manifest)
            case Create(manifest):
                await self._create(ref, manifest)
            case Delete():
                await self._delete(ref, operation)
            case Event():
                await emit_event(self._connection, ref, operation, self.now(), self.instance)

    async def _apply(self, ref: ObjectRef, manifest: Manifest) -> None:
        live = await self._live(ref, manifest)
        if live is not None and (is_applied(manifest, live) or self._was_rewritten(ref, manifest, live)):
            return
        await self._write(ref, manifest)

    async def _apply_whole(self, ref: ObjectRef, manifest: Manifest) -> None:
        live = await self._live(ref, manifest)
        if live is not None and is_applied(manifest, live) and holds_exactly(manifest, live):
            return
        written = await self._write(ref, manifest)
        # An apply withdraws nothing that somebody else has set.
        added: Mapping[str, None] = dict.fromkeys(written["spec"].keys() - manifest["spec"].keys())
        if added:
            path, query = path_of(manifest, ref.namespace), {"fieldManager": names.FIELD_MANAGER}
            patch = {"spec": added}
            answer = await self._connection.request("PATCH", path, query=query, body=patch, content_type=MERGE_PATCH)
            self._note(ref, answer.body)

    async def _write(self, ref: ObjectRef, manifest: Manifest) -> Raw:
        path = path_of(manifest, ref.namespace)
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        answer = await self._connection.request("PATCH", path, query=query, body=manifest, content_type=APPLY)
        self._note(ref, answer.body)
        rewritten = self._rewritten.setdefault((ref.namespace, ref.name), {})
        if is_applied(manifest, answer.body):
            rewritten.pop(_key(manifest), None)
        else:
            rewritten[_key(manifest)] = (digest_of(manifest), digest_of(projection(manifest, answer.body)))
        body: Raw = answer.body
        return body

    def _was_rewritten(self, ref: ObjectRef, manifest: Manifest, live: Raw) -> bool:
        """Whether the live object is what the server made of this very manifest."""
        made = self._rewritten.get((ref.namespace, ref.name), {}).get(_key(manifest))
        return made is not None and made == (digest_of(manifest), digest_of(projection(manifest, live)))

    async def _live(self, ref: ObjectRef, manifest: Manifest) -> Raw | None:
        """Return what is there to be written over; raises UserError when it is somebody else's."""
        seen = self._seen.get((ref.namespace, ref.name))
        live = seen.objects.get(_key(manifest)) if seen is not None and seen.uid == ref.uid else None
        if live is None:
            # Also when it would have been in a list: a foreign object of that name has no label of ours.
            live = await self._get(manifest["apiVersion"], manifest["kind"], ref.namespace, name_of(manifest))
        if live is not None:
            refuse_foreign(manifest, live, ref)
        return live

    async def _create(self, ref: ObjectRef, manifest: Manifest) -> None:
        seen = self._seen.get((ref.namespace, ref.name))
        if seen is not None and _key(manifest) in seen.objects:
            return
        path = collection_path(manifest["apiVersion"], manifest["kind"], ref.namespace)
        query = {"fieldManager": names.FIELD_MANAGER}
        answer = await self._connection.request("POST", path, query=query, body=manifest, allow=(409,))
        if answer.status != 409:
            self._note(ref, answer.body)
        elif field_of(answer.body, "reason") != "AlreadyExists":
            raise Retry(f"POST {path}: {field_of(answer.body, 'message')}")

    async def _delete(self, ref: ObjectRef, operation: Delete) -> None:
        path = object_path(operation.api_version, operation.kind, ref.namespace, operation.name)
        query = {"propagationPolicy": "Background"}
        await self._connection.request("DELETE", path, query=query, allow=(404,))
        if (seen := self._seen.get((ref.namespace, ref.name))) is not None:
            seen.objects.pop((operation.kind, operation.name), None)
        self._rewritten.get((ref.namespace, ref.name), {}).pop((operation.kind, operation.name), None)

    def _note(self, ref: ObjectRef, raw: Raw) -> None:
        if (seen := self._seen.get((ref.namespace, ref.name))) is not None:
            seen.objects[_key(raw)] = raw

    # status

    async def write_status(self, ref: ObjectRef, resource_version: str, status: Mapping[str, Any]) -> None:
        """As `Kube.write_status`."""
        seen = self._seen.get((ref.namespace, ref.name))
        model = None if seen is None else seen.objects.get((KIND, ref.name))
        is_same_version = model is not None and model["metadata"]["resourceVersion"] == resource_version
        if model is not None and is_same_version and model.get("status", {}) == status:
            return
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": ref.name,
                "namespace": ref.namespace,
                "uid": ref.uid,
                "resourceVersion": resource_version,
            },
            "status": status,
        }
        path = f"{object_path(API_VERSION, KIND, ref.namespace, ref.name)}/status"
        query = {"fieldManager": names.FIELD_MANAGER}
        answer = await self._connection.request("PUT", path, query=query, body=body)
        self._note(ref, answer.body)


def _key(raw: Raw) -> _ObjectKey:
    return str(raw["kind"]), name_of(raw)
