"""The objects of one VisionModel in a cluster, the controllers that move them, and what people do to them."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self, assert_never

from unit.core import builders
from unit.core.simulated_traffic import Traffic
from visionmodel_contract.build import BuildRequest
from visionmodel_contract.conversion import ConversionRequest
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.report import ReportSummary
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import HeaderRouteStatus, VisionModelStatus
from visionmodel_operator.api.v1alpha1 import parse_status
from visionmodel_operator.core.actions import (
    Action,
    CreateRevision,
    DeleteJob,
    DeleteRevision,
    DeleteRoute,
    EnsureDisruptionBudget,
    EnsureFront,
    EnsureRoute,
    ForgetFailure,
    RecordArtifact,
    ScaleRevision,
    StartBuild,
    StartConversion,
)
from visionmodel_operator.core.artifact_record import artifact_from_data
from visionmodel_operator.core.devices import PRODUCT_LABEL, DeviceCount, DeviceNode, Held
from visionmodel_operator.core.operations import Apply, Delete
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.snapshot import KnownArtifact, Platform, Snapshot
from visionmodel_operator.render import operations
from visionmodel_operator.render.traffic import routes

GPU = "nvidia.com/gpu"

State = tuple[str, str]
"""Phase and reason."""


@dataclass
class Model:
    """How one revision really is.

    Attributes:
        exit_code: of its conversion; OK succeeds, INTERNAL leaves no report.
        build_exit_code: of the build of each of its engines, likewise.
        converts_in: seconds of each Job, None: never ends.
        ready_in: seconds until a pod is Ready, None: never.
        errors: share of failed requests.
        latency_ms: of every request.
        devices: pods that find a free device, None: all do.
    """

    exit_code: ExitCode = ExitCode.OK
    build_exit_code: ExitCode = ExitCode.OK
    converts_in: float | None = 3.0
    ready_in: float | None = 4.0
    errors: float = 0.0
    latency_ms: float = 8.0
    devices: int | None = None


@dataclass
class Pool:
    """Devices of one node that several VisionModels and others ask for; whoever asks first is served.

    Attributes:
        others: devices that pods hold which are nobody's here.
        placed: pods that hold one, by cluster and name, with their revision.
    """

    total: int
    others: int = 0
    placed: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Devices that the next pods get; fewer than none after a device broke."""
        return self.total - self.others - len(self.placed)

    def count(self, cluster: str) -> DeviceCount:
        """Return what the operator would count for one cluster's VisionModel."""
        mine = {key: (builders.REF.namespace, builders.REF.name, revision) for key, revision in self.placed.items()}
        held = [Held({GPU: 1}, owner if key[0] == cluster else None) for key, owner in mine.items()]
        node = DeviceNode("gpus", {PRODUCT_LABEL: "NVIDIA-L4"}, True, (), {GPU: self.total}, tuple(held))
        return DeviceCount((replace(node, held=(*held, Held({GPU: self.others}))),))


@dataclass
class Job:
    """A prepare or build Job: its question, and its answer once it has one."""

    revision: str
    request: ConversionRequest | BuildRequest
    started: datetime
    finished: bool | None = None
    summary: ReportSummary | None = None
    exit_code: int | None = None


@dataclass
class Pod:
    """A serving pod."""

    name: str
    ready_at: datetime | None
    restarts: int = 0
    finished: float = 0.0
    number: int = 0


@dataclass
class Workload:
    """A revision's ConfigMap and Deployment."""

    stored: bool = False
    exists: bool = False
    replicas: int = 0
    pods: list[Pod] = field(default_factory=list)
    accelerators: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Route:
    """The HTTPRoute; `accepted` is the gateway's answer to what stands in it now."""

    slots: tuple[str, ...]
    weights_ppm: tuple[int, ...]
    manifest: builders.Document
    written: datetime
    accepted: bool = False
    foreign: bool = False
    header_route: HeaderRouteStatus | None = None


@dataclass
class World:
    """Everything but the operator and time.

    Attributes:
        models: how each model number behaves; unknown ones are good.
        accepts_in: seconds until the gateway accepts the route, None: it rejects it.
        published: every artifact by the store that it lies in.
        pool: where its pods get devices; None: nobody counts them, and `Model.devices` says who finds one.
        name: tells clusters apart that share a pool.
    """

    document: builders.Document
    platform: Platform = builders.PLATFORM
    now: datetime = builders.START
    generation: int = 1
    annotations: dict[str, str] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    models: dict[int, Model] = field(default_factory=dict)
    artifacts: dict[str, KnownArtifact] = field(default_factory=dict)
    published: set[tuple[str | None, str]] = field(default_factory=set)
    jobs: dict[str, Job] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    budgets: set[str] = field(default_factory=set)
    front: str | None = None
    route: Route | None = None
    accepts_in: float | None = 1.0
    traffic: Traffic = field(default_factory=Traffic)
    jobs_started: int = 0
    pods_made: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    pool: Pool | None = None
    name: str = "a"

    def __post_init__(self) -> None:
        self._read_spec()

    def clone(self) -> Self:
        """Return an independent copy; what is frozen is shared."""
        fresh = copy.copy(self)
        fresh.annotations = dict(self.annotations)
        fresh.status = copy.deepcopy(self.status)
        fresh.models = {number: replace(model) for number, model in self.models.items()}
        fresh.artifacts = dict(self.artifacts)
        fresh.published = set(self.published)
        fresh.jobs = {name: replace(job) for name, job in self.jobs.items()}
        fresh.workloads = {
            revision: replace(workload, pods=[replace(pod) for pod in workload.pods])
            for revision, workload in self.workloads.items()
        }
        fresh.budgets = set(self.budgets)
        fresh.route = None if self.route is None else replace(self.route)
        fresh.traffic = self.traffic.clone()
        fresh.numbers = dict(self.numbers)
        fresh.pool = None if self.pool is None else replace(self.pool, placed=dict(self.pool.placed))
        return fresh

    def _read_spec(self) -> None:
        self.spec: VisionModelSpec = builders.parsed(self.document)
        self.target = revision_of(self.spec)
        self.numbers[self.target] = builders.model_of(self.spec.model.storage_uri)

    # what people and the outside do

    @property
    def recorded(self) -> VisionModelStatus:
        """The status as parsed."""
        return parse_status(self.status)

    @property
    def state(self) -> State:
        """Phase and reason."""
        return str(self.status.get("phase", "")), str(self.status.get("reason", ""))

    def edit(self, document: builders.Document) -> None:
        """Apply a changed spec."""
        if document != self.document:
            self.document = document
            self.generation += 1
            self._read_spec()

    def change(self, **sections: object) -> None:
        """Merge sections into the spec."""
        self.edit(builders.changed(self.document, dict(sections)))

    def use_model(self, number: int) -> None:
        """Name another model in the spec."""
        self.change(model=builders.spec_document(number, pinned="digest" in self.document["model"])["model"])

    def annotate(self, verb: str, value: str | None) -> None:
        """Set or remove an action's annotation."""
        key = f"visionmodel.dev/{verb}"
        self.annotations.pop(key, None)
        if value is not None:
            self.annotations[key] = value

    def ask(self, verb: str, suffix: str = "") -> str:
        """Annotate an action for the attempt at hand, or for the one that failed; return the value."""
        recorded = self.recorded
        if recorded.rollout is not None:
            value = f"{recorded.rollout.revision}/{recorded.rollout.attempt}{suffix}"
        else:
            value = f"{recorded.failed_revision}/{recorded.failed_attempt}{suffix}"
        self.annotate(verb, value)
        return value

    def crash(self, revision: str, times: int = 1) -> None:
        """Restart the containers of a revision's pods."""
        for pod in self.workloads.get(revision, Workload()).pods:
            pod.restarts += times

    def steal_route(self, weights_ppm: tuple[int, ...]) -> None:
        """Let another writer change the weights."""
        if self.route is None:
            return
        stolen = copy.deepcopy(self.route.manifest)
        for backend, weight in zip(stolen["spec"]["rules"][0]["backendRefs"], weights_ppm, strict=True):
            backend["weight"] = weight
        self._rewrite(replace(self.route, weights_ppm=weights_ppm, manifest=stolen))

    def divert_route(self) -> None:
        """Let another writer match a header, which takes all other requests away."""
        if self.route is None:
            return
        stolen = copy.deepcopy(self.route.manifest)
        stolen["spec"]["rules"][0]["matches"][0]["headers"] = [{"type": "Exact", "name": "x-user", "value": "beta"}]
        self._rewrite(replace(self.route, manifest=stolen))

    def _rewrite(self, route: Route) -> None:
        if self.route is None or route.manifest != self.route.manifest:
            self.route = replace(route, foreign=True, written=self.now, accepted=False)

    def throw_route_out(self) -> None:
        """Let the gateway refuse what it had accepted, until `accepts_in` is a number again."""
        self.accepts_in = None
        if self.route is not None:
            self.route = replace(self.route, accepted=False)
        self.traffic.split = {}

    def change_tensorrt_image(self) -> None:
        """Let another image build engines, as an upgrade of the chart does."""
        runtimes = {
            version: replace(runtime, tensorrt_converter_image=f"{runtime.tensorrt_converter_image}.1")
            for version, runtime in self.platform.runtimes.items()
        }
        self.platform = replace(self.platform, runtimes=runtimes)

    def lose_route(self) -> None:
        """Delete the route."""
        self.route = None
        self._settle_traffic()

    def lose_deployment(self, revision: str) -> None:
        """Delete a revision's Deployment with its pods."""
        workload = self.workloads[revision]
        workload.exists, workload.replicas, workload.pods = False, 0, []

    def is_ready(self, pod: Pod) -> bool:
        return pod.ready_at is not None and pod.ready_at <= self.now

    def is_placed(self, revision: str, pod: Pod) -> bool:
        """Whether a node took the pod."""
        if self.pool is not None:
            return (self.name, pod.name) in self.pool.placed
        devices = self._model(revision).devices
        return devices is None or self.workloads[revision].pods.index(pod) < devices

    def ready(self, revision: str) -> int:
        """Return how many pods of a revision are ready."""
        pods = self.workloads.get(revision, Workload()).pods
        return sum(self.is_ready(pod) and self.is_placed(revision, pod) for pod in pods)

    # effects

    def effects(self, action: Action, snapshot: Snapshot) -> Iterator[Callable[[], None]]:
        match action:
            case StartConversion() | StartBuild():
                yield lambda: self._start(action)
            case RecordArtifact() | ForgetFailure():
                yield lambda: self._record(action, snapshot)
            case DeleteJob(job):
                yield lambda: _discard(self.jobs, job)
            case CreateRevision(revision=revision, replicas=replicas):
                yield lambda: self._store(revision, action.spec)
                yield lambda: self._scale(revision, replicas)
            case ScaleRevision(revision, replicas):
                assert snapshot.workloads[revision].stored, "scaling what was never stored"
                yield lambda: self._scale(revision, replicas)
            case DeleteRevision(revision):
                yield lambda: self._scale(revision, 0)
                yield lambda: _discard(self.workloads, revision)
                yield lambda: self.budgets.discard(revision)
            case EnsureFront() | EnsureRoute() | DeleteRoute():
                yield self._traffic_effect(action)
            case EnsureDisruptionBudget(revision):
                yield lambda: self.budgets.add(revision)
            case _:
                assert_never(action)

    def _traffic_effect(self, action: EnsureFront | EnsureRoute | DeleteRoute) -> Callable[[], None]:
        match action:
            case EnsureFront(revision):
                return lambda: setattr(self, "front", revision)
            case EnsureRoute(slots, weights_ppm, _, header_route):
                assert sum(weights_ppm) == 1_000_000, f"weights {weights_ppm}"
                return lambda: self._write_route(slots, weights_ppm, action.spec, header_route)
            case DeleteRoute():
                return self.lose_route

    def _start(self, action: StartConversion | StartBuild) -> None:
        if action.job not in self.jobs:
            self.jobs[action.job] = Job(action.request.revision, action.request, self.now)
            self.jobs_started += 1

    def _record(self, action: RecordArtifact | ForgetFailure, snapshot: Snapshot) -> None:
        (operation,) = operations(action, snapshot)
        if isinstance(operation, Delete):
            self.artifacts.pop(action.key, None)
            return
        assert isinstance(operation, Apply)
        known = artifact_from_data(action.key, operation.manifest["data"])
        assert known is not None
        self.artifacts[action.key] = known

    def _store(self, revision: str, spec: VisionModelSpec) -> None:
        workload = self.workloads.setdefault(revision, Workload())
        workload.stored, workload.accelerators = True, spec.to_wire()["accelerators"]

    def _scale(self, revision: str, replicas: int) -> None:
        workload = self.workloads.setdefault(revision, Workload())
        workload.exists, workload.replicas = True, replicas
        del workload.pods[replicas:]
        while len(workload.pods) < replicas:
            self.pods_made += 1
            name = f"{revision}-{self.pods_made}"
            workload.pods.append(Pod(name, self._ready_at(revision), number=self.pods_made))

    def _model(self, revision: str) -> Model:
        return self.models.get(self.numbers[revision], Model())

    def _write_route(
        self,
        slots: tuple[str, ...],
        weights_ppm: tuple[int, ...],
        spec: VisionModelSpec,
        header_route: HeaderRouteStatus | None,
    ) -> None:
        (manifest,) = map(dict, routes(builders.REF, spec.traffic, slots, weights_ppm, header_route))
        if self.route is None or self.route.manifest != manifest:
            self.route = Route(slots, weights_ppm, manifest, self.now, header_route=header_route)

    # controllers

    def run_controllers(self) -> None:
        self._place_pods()
        for job in self.jobs.values():
            model = self._model(job.revision)
            if job.finished is None and model.converts_in is not None and self._since(job.started) >= model.converts_in:
                is_build = isinstance(job.request, BuildRequest)
                self._end(job, model.build_exit_code if is_build else model.exit_code)
        route = self.route
        if route is not None and not route.accepted and self.accepts_in is not None:
            route.accepted = self._since(route.written) >= self.accepts_in
        self._settle_traffic()

    def _place_pods(self) -> None:
        """Free the devices of pods that are gone, and give free ones to those that wait, the oldest first."""
        if self.pool is None:
            return
        pods = {(self.name, pod.name): (r, pod) for r, workload in self.workloads.items() for pod in workload.pods}
        for key in [key for key in self.pool.placed if key[0] == self.name and key not in pods]:
            del self.pool.placed[key]
        for key, (revision, pod) in sorted(pods.items(), key=lambda one: one[1][1].number):
            if key not in self.pool.placed and self.pool.free > 0:
                self.pool.placed[key] = revision
                pod.ready_at = self._ready_at(revision)

    def _ready_at(self, revision: str) -> datetime | None:
        ready_in = self._model(revision).ready_in
        return None if ready_in is None else self.now + timedelta(seconds=ready_in)

    def _end(self, job: Job, exit_code: ExitCode) -> None:
        if isinstance(job.request, BuildRequest) and not self._is_published(job.request):
            exit_code = ExitCode.REGISTRY_UNAVAILABLE
        job.finished, job.exit_code = exit_code is ExitCode.OK, int(exit_code)
        if exit_code is ExitCode.INTERNAL:
            return
        is_done, request = exit_code is ExitCode.OK, job.request
        if isinstance(request, BuildRequest):
            job.summary = builders.built(request) if is_done else builders.not_built(request, exit_code)
        else:
            job.summary = builders.succeeded(request) if is_done else builders.failed(request, exit_code)
            if job.summary.artifact is not None:
                self.published.add((request.publish.repository, job.summary.artifact.key))

    def _is_published(self, request: BuildRequest) -> bool:
        return (request.publish.repository, request.prepare_key) in self.published

    def _since(self, when: datetime) -> float:
        return (self.now - when).total_seconds()

    def _settle_traffic(self) -> None:
        """The gateway sends traffic by the newest route that it accepted."""
        if self.route is None:
            self.traffic.split, self.traffic.by_header = {}, None
        elif self.route.accepted:
            header_route = self.route.header_route
            self.traffic.by_header = header_route.revision if header_route and not header_route.parked else None
            self.traffic.split = dict(zip(self.route.slots, self.route.weights_ppm, strict=True))

    def behaviour(self) -> Callable[[str], tuple[float, float]]:
        def of(revision: str) -> tuple[float, float]:
            model = self._model(revision)
            return model.errors, model.latency_ms

        return of

    def count(self, revision: str, requests: float) -> None:
        pods = self.workloads.get(revision, Workload()).pods
        for pod in pods:
            pod.finished += requests / len(pods)


def _discard(mapping: dict[str, Any], key: str) -> None:
    mapping.pop(key, None)
