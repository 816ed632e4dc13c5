"""The Kube port in memory, and the controllers of a cluster as explicit steps of a test.

It reads its objects through the adapter's own translation, and passes the contract tests in `tests/contracts/`.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fakes.clock import FakeClock
from fakes.store import AlreadyThere, NotThere, Object, ObjectStore, has_labels
from visionmodel_contract.report import ReportSummary
from visionmodel_operator.adapters.job_translation import JOB_NAME_LABEL
from visionmodel_operator.adapters.ownership import refuse_foreign
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
from visionmodel_operator.core.operations import Apply, ApplyWhole, Create, Delete, Event, Operation
from visionmodel_operator.core.snapshot import ObjectRef, Platform, Snapshot
from visionmodel_operator.errors import Retry

CHILD_KINDS = ("Deployment", "Service", "ConfigMap", "Job")
GATEWAY_API = "gateway.networking.k8s.io/v1"


@dataclass(frozen=True)
class Write:
    """One change that the operator made: verb is apply, create, delete, event or status."""

    verb: str
    kind: str
    name: str


class Killed(BaseException):
    """The operator process ends here; not an Exception, so that nothing handles it."""


class FakeKube:
    """Objects in memory behind the Kube port.

    Attributes:
        writes: what the operator changed, in order; an apply that changes nothing is not there.
        events: events in order, repetitions included.
        before_write: called with each write before it happens; may raise Retry, UserError or `Killed`.
    """

    def __init__(self, platform: Platform, now: FakeClock) -> None:
        self.platform = platform
        self.now = now
        self.store = ObjectStore()
        self.writes: list[Write] = []
        self.events: list[Event] = []
        self.before_write: Callable[[Write], None] | None = None
        self._progress: dict[str, str] = {}

    # the port

    async def observe(self, namespace: str, name: str) -> Snapshot | None:
        """As `Kube.observe`."""
        model = self.store.get(KIND, namespace, name)
        if model is None:
            return None
        mine = names.child_labels(name)
        children = [child for kind in CHILD_KINDS for child in self.store.select(kind, namespace, mine)]
        deployments = [child for child in children if child["kind"] == "Deployment"]
        jobs = {child["metadata"]["name"] for child in children if child["kind"] == "Job"}
        pods = self.store.select("Pod", namespace, {})
        wants_serving = needs_serving_pods(model, deployments)
        wanted_pods = [
            pod
            for pod in pods
            if pod["metadata"]["labels"].get(JOB_NAME_LABEL) in jobs or (wants_serving and has_labels(pod, mine))
        ]
        routes = self._routes(namespace, name)
        observed = Observed(model, tuple(children), tuple(wanted_pods), routes, (), dict(self._progress))
        keys = wanted_artifact_keys(parsed_spec(model)[0], parse_status(model.get("status")), self.platform)
        found = (
            self.store.get("ConfigMap", namespace, names.artifact_config(key))
            for key in sorted(keys | reported_keys(observed))
        )
        artifacts = tuple(config for config in found if config is not None)
        return snapshot_from(
            replace(observed, artifacts=artifacts, rivals=self._rivals(routes, namespace, name)), self.platform
        )

    def _routes(self, namespace: str, name: str) -> tuple[Object, ...]:
        found = (self.store.get(kind, namespace, names.route(name)) for kind in self.platform.route_kinds)
        return tuple(route for route in found if route is not None)

    def _rivals(self, routes: Sequence[Object], namespace: str, name: str) -> tuple[Object, ...]:
        mine = {route["kind"] for route in routes}
        return tuple(
            body
            for (kind, where, _), body in self.store.objects.items()
            if kind in mine
            and (where != namespace or kind != names.HTTP_ROUTE)
            and has_labels(body, rival_labels(kind, name))
        )

    async def perform(self, ref: ObjectRef, operation: Operation) -> None:
        """As `Kube.perform`."""
        match operation:
            case Apply(manifest):
                self._apply(ref, placed(manifest, ref.namespace))
            case ApplyWhole(manifest):
                self._apply(ref, placed(manifest, ref.namespace), whole=True)
            case Create(manifest):
                body = placed(manifest, ref.namespace)
                if self.store.get(body["kind"], ref.namespace, body["metadata"]["name"]) is None:
                    self._write("create", body["kind"], body["metadata"]["name"])
                    self.store.create(body, created=self.now.stamp())
            case Delete(_, kind, name):
                if self.store.get(kind, ref.namespace, name) is not None:
                    self._write("delete", kind, name)
                    self.store.delete(kind, ref.namespace, name)
                    self._collect_pods(kind, ref.namespace, name)
            case Event():
                self._write("event", "Event", operation.reason)
                self.events.append(operation)

    def _apply(self, ref: ObjectRef, manifest: Object, *, whole: bool = False) -> None:
        live = self.store.get(manifest["kind"], ref.namespace, manifest["metadata"]["name"])
        if live is not None:
            refuse_foreign(manifest, live, ref)
        self.store.apply(
            manifest,
            whole=whole,
            created=self.now.stamp(),
            before_change=lambda: self._write("apply", manifest["kind"], manifest["metadata"]["name"]),
        )

    async def write_status(self, ref: ObjectRef, resource_version: str, status: Mapping[str, Any]) -> None:
        """As `Kube.write_status`."""
        model = self.store.get(KIND, ref.namespace, ref.name)
        if model is None or model["metadata"]["uid"] != ref.uid:
            raise Retry(f"{ref.namespace}/{ref.name} is gone")
        if model["metadata"]["resourceVersion"] != resource_version:
            raise Retry(f"{ref.namespace}/{ref.name} was changed by somebody else")
        if model.get("status") == status:
            return
        self._write("status", KIND, ref.name)
        self.store.set_status(KIND, ref.namespace, ref.name, status)

    def _write(self, verb: str, kind: str, name: str) -> None:
        write = Write(verb, kind, name)
        if self.before_write is not None:
            self.before_write(write)
        self.writes.append(write)

    def die_after(self, writes: int) -> None:
        """End the operator before its write number `writes` + 1, counted from now; `before_write = None` revives it."""
        left = writes

        def count(_: Write) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1

        self.before_write = count

    # the user

    def add_model(
        self,
        name: str,
        spec: Mapping[str, Any],
        namespace: str = "default",
        annotations: Mapping[str, str] | None = None,
    ) -> ObjectRef:
        """Create a VisionModel."""
        metadata = {"name": name, "namespace": namespace, "annotations": dict(annotations or {})}
        manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": dict(spec)}
        body = self.store.create(manifest, "kubectl", created=self.now.stamp())
        return ObjectRef(namespace, name, body["metadata"]["uid"])

    def edit_model(self, name: str, spec: Mapping[str, Any], namespace: str = "default") -> None:
        """Merge a patch into the spec; null removes a field."""
        self.store.edit(KIND, namespace, name, {"spec": spec})

    def annotate(self, name: str, annotations: Mapping[str, str | None], namespace: str = "default") -> None:
        """Set annotations; None removes one."""
        self.store.edit(KIND, namespace, name, {"metadata": {"annotations": annotations}})

    def orphan_model(self, name: str, namespace: str = "default") -> None:
        """Delete a VisionModel and leave its children, as `--cascade=orphan` does."""
        self.store.orphan(KIND, namespace, name)

    def delete_model(self, name: str, namespace: str = "default") -> None:
        """Delete a VisionModel; the garbage collector takes its children."""
        self.store.delete(KIND, namespace, name)
        for pod in self.store.select("Pod", namespace, {names.LABEL_NAME: name}):
            self.store.delete("Pod", namespace, pod["metadata"]["name"])

    def status(self, name: str, namespace: str = "default") -> dict[str, Any]:
        """The recorded status as JSON."""
        model = self.store.get(KIND, namespace, name)
        assert model is not None
        return dict(model.get("status") or {})

    # the Job controller

    def run_job(self, job: str, stage: str = "Fetch", percent: int = 0, namespace: str = "default") -> None:
        """A Job's pod runs and has written one line of progress."""
        self._progress[job] = f'{{"stage": "{stage}", "progress": {percent}}}'
        self._put_job_pod(job, namespace, {"phase": "Running"})

    def block_job(self, job: str, reason: str = "Unschedulable", namespace: str = "default") -> None:
        """A Job's pod cannot start."""
        condition = {"type": "PodScheduled", "status": "False", "reason": reason}
        self._put_job_pod(job, namespace, {"phase": "Pending", "conditions": [condition]})

    def finish_job(
        self,
        job: str,
        summary: ReportSummary | None = None,
        *,
        exit_code: int = 0,
        message: str = "",
        namespace: str = "default",
    ) -> None:
        """A Job ends, with this report (or this text) as its container's termination message."""
        text = message if summary is None else summary.to_json()
        ended = {"exitCode": exit_code, "message": text, "finishedAt": self.now.stamp()}
        container = {"name": "prepare", "restartCount": 0, "state": {"terminated": ended}}
        phase = "Succeeded" if exit_code == 0 else "Failed"
        self._put_job_pod(job, namespace, {"phase": phase, "containerStatuses": [container]})
        kind = "Complete" if exit_code == 0 else "Failed"
        self.store.set_status("Job", namespace, job, {"conditions": [{"type": kind, "status": "True"}]})

    def _put_job_pod(self, job: str, namespace: str, status: Object) -> None:
        body = self.store.get("Job", namespace, job)
        if body is None:
            raise NotThere(("Job", namespace, job))
        name = f"{job}-pod"
        if self.store.get("Pod", namespace, name) is None:
            labels = {**body["metadata"].get("labels", {}), JOB_NAME_LABEL: job}
            self.store.create(_pod(name, namespace, labels), "kube-controller-manager")
        self.store.set_status("Pod", namespace, name, status)

    # the Deployment controller and the kubelet

    def make_ready(self, revision: str, ready: int | None = None, namespace: str = "default") -> None:
        """Give a revision's Deployments the pods they ask for; the first `ready` (all when None) are ready."""
        left = ready
        for deployment in self.store.select("Deployment", namespace, {names.LABEL_REVISION: revision}):
            wanted = deployment["spec"].get("replicas", 1)
            here = wanted if left is None else min(left, wanted)
            left = None if left is None else left - here
            self._set_pods(deployment, wanted, here)

    def settle(self, namespace: str = "default") -> None:
        """Let every controller catch up: all pods ready, superfluous ones gone, the route accepted."""
        for deployment in self.store.select("Deployment", namespace, {}):
            wanted = deployment["spec"].get("replicas", 1)
            self._set_pods(deployment, wanted, wanted)
        for kind in names.ROUTE_KINDS:
            for route in self.store.select(kind, namespace, {}):
                self.accept_route(route["metadata"]["name"], namespace, kind)

    def break_pods(
        self, revision: str, *, restarts: int = 0, reason: str = "CrashLoopBackOff", namespace: str = "default"
    ) -> None:
        """A revision's pods are there and not ready, with this many restarts of each."""
        self.make_ready(revision, 0, namespace)
        for pod in self.store.select("Pod", namespace, {names.LABEL_REVISION: revision}):
            waiting = {"name": "triton", "restartCount": restarts, "state": {"waiting": {"reason": reason}}}
            status = {**pod["status"], "containerStatuses": [waiting]}
            self.store.set_status("Pod", namespace, pod["metadata"]["name"], status)

    def _set_pods(self, deployment: Object, wanted: int, ready: int) -> None:
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        for index in range(wanted):
            self._put_serving_pod(deployment, index, is_ready=index < ready)
        prefix = f"{name}-pod-"
        for pod in self.store.select("Pod", namespace, {}):
            pod_name = pod["metadata"]["name"]
            if pod_name.startswith(prefix) and int(pod_name.removeprefix(prefix)) >= wanted:
                self.store.delete("Pod", namespace, pod_name)
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        self.store.set_status("Deployment", namespace, name, status)

    def _put_serving_pod(self, deployment: Object, index: int, *, is_ready: bool) -> None:
        namespace = deployment["metadata"]["namespace"]
        name = f"{deployment['metadata']['name']}-pod-{index}"
        before = self.store.get("Pod", namespace, name)
        if before is None:
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            self.store.create(_pod(name, namespace, labels), "kube-controller-manager")
        since = self.now.stamp()
        for condition in (before or {}).get("status", {}).get("conditions", []):
            if condition["status"] == str(is_ready):
                since = condition["lastTransitionTime"]
        status = {
            "phase": "Running",
            "podIP": pod_ip(name),
            "conditions": [{"type": "Ready", "status": str(is_ready), "lastTransitionTime": since}],
            "containerStatuses": [{"name": "triton", "restartCount": 0, "state": {"running": {}}}],
        }
        self.store.set_status("Pod", namespace, name, status)

    def _collect_pods(self, kind: str, namespace: str, name: str) -> None:
        if kind in ("Job", "Deployment"):
            for pod in self.store.select("Pod", namespace, {}):
                if pod["metadata"]["name"].startswith(f"{name}-pod"):
                    self.store.delete("Pod", namespace, pod["metadata"]["name"])

    # the gateway

    def accept_route(self, name: str, namespace: str = "default", kind: str = names.HTTP_ROUTE) -> None:
        """The gateway takes over the route as it is now."""
        self._answer_route((kind, namespace, name), {"status": "True", "reason": "Accepted", "message": ""})

    def refuse_route(
        self, name: str, reason: str, message: str = "", namespace: str = "default", kind: str = names.HTTP_ROUTE
    ) -> None:
        """The gateway refuses the route as it is now."""
        self._answer_route((kind, namespace, name), {"status": "False", "reason": reason, "message": message})

    def _answer_route(self, key: tuple[str, str, str], said: Mapping[str, str]) -> None:
        route = self.store.get(*key)
        if route is None:
            raise NotThere(key)
        answer: dict[str, Any] = {**said, "observedGeneration": route["metadata"]["generation"]}
        resolved = {**answer, "type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs"}
        conditions = [{**answer, "type": "Accepted"}, resolved]
        parents = [{"parentRef": ref, "conditions": conditions} for ref in route["spec"]["parentRefs"]]
        self.store.set_status(*key, {"parents": parents})

    def edit_route(
        self, name: str, weights: Sequence[int], manager: str = "kubectl-edit", namespace: str = "default"
    ) -> None:
        """Somebody else changes the weights of a route."""
        route = self.store.get("HTTPRoute", namespace, name)
        if route is None:
            raise NotThere(("HTTPRoute", namespace, name))
        rules = route["spec"]["rules"]
        for backend, weight in zip(rules[0]["backendRefs"], weights, strict=True):
            backend["weight"] = weight
        self.store.edit("HTTPRoute", namespace, name, {"spec": {"rules": rules}}, manager)

    def weights(self, name: str, namespace: str = "default", kind: str = names.HTTP_ROUTE) -> dict[str, int]:
        """Weight by backend Service in the live route, without backends of weight 0."""
        route = self.store.get(kind, namespace, name)
        assert route is not None
        backends = route["spec"]["rules"][0]["backendRefs"]
        return {backend["name"]: backend["weight"] for backend in backends if backend["weight"]}


def placed(manifest: Mapping[str, Any], namespace: str) -> Object:
    """The manifest in a namespace; a different one in it is a bug of the caller."""
    metadata = {"namespace": namespace, **manifest["metadata"]}
    assert metadata["namespace"] == namespace
    return {**manifest, "metadata": metadata}


def pod_ip(pod: str) -> str:
    """The address of a pod; the same for the same name."""
    number = zlib.crc32(pod.encode())
    return f"10.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}"


def _pod(name: str, namespace: str, labels: Mapping[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels}}


__all__ = ["AlreadyThere", "FakeKube", "Killed", "NotThere", "Write", "placed", "pod_ip"]
