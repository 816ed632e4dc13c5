"""A cluster for one VisionModel, in memory: it carries out a decision's actions and shows what a pass would see.

Time is explicit and moves only by `advance`; the operator is woken as in production, by what it watches and by
`wake_after`, never by a poll of the test. A pass may be killed after any number of its effects.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from unit.core import builders
from unit.core.simulated_traffic import Traffic
from visionmodel_contract.conversion import ConversionRequest, ReportSummary
from visionmodel_contract.exits import ExitCode
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.api.v1alpha1 import parse_status
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import (
    Action,
    CreateRevision,
    DeleteJob,
    DeleteRevision,
    EmitEvent,
    EnsureDisruptionBudget,
    EnsureFront,
    EnsureRoute,
    ForgetArtifact,
    RecordArtifact,
    ScaleRevision,
    StartConversion,
)
from visionmodel_operator.core.artifact_record import artifact_from_data
from visionmodel_operator.core.evidence import EvidenceRequest, evidence_due
from visionmodel_operator.core.operations import Apply
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.rollout import Decision, decide
from visionmodel_operator.core.snapshot import (
    Evidence,
    JobState,
    KnownArtifact,
    PodState,
    RouteState,
    Snapshot,
    WorkloadState,
)
from visionmodel_operator.core.status import project_status
from visionmodel_operator.render.artifact import record_artifact

QUANTUM = 1.0
"""Seconds between two looks at the simulated controllers."""

PASS_LIMIT = 40
"""Passes without time passing after which the operator is said to spin."""

State = tuple[str, str]
"""Phase and reason."""


@dataclass
class Model:
    """How one revision really is.

    Attributes:
        exit_code: of its conversion; OK succeeds, INTERNAL leaves no report.
        converts_in: seconds, None: never ends.
        ready_in: seconds until a pod is Ready, None: never.
        errors: share of failed requests.
        latency_ms: of every request.
    """

    exit_code: ExitCode = ExitCode.OK
    converts_in: float | None = 3.0
    ready_in: float | None = 4.0
    errors: float = 0.0
    latency_ms: float = 8.0


@dataclass
class Job:
    """A prepare Job: its question, and its answer once it has one."""

    revision: str
    request: ConversionRequest
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


@dataclass
class Workload:
    """A revision's ConfigMap and Deployment."""

    stored: bool = False
    exists: bool = False
    replicas: int = 0
    pods: list[Pod] = field(default_factory=list)


@dataclass
class Route:
    """The HTTPRoute; `accepted` is the gateway's answer to what stands in it now."""

    slots: tuple[str, ...]
    weights_ppm: tuple[int, ...]
    written: datetime
    accepted: bool = False
    foreign: bool = False


@dataclass
class Cluster:
    """The world; copy it with `clone`.

    Attributes:
        models: how each model number behaves; unknown ones are good.
        accepts_in: seconds until the gateway accepts the route, None: it rejects it.
        transitions: (phase, reason) before and after, over all status writes.
        check: called with every decision before it is carried out.
        acted_on: every action annotation that was ever consumed.
    """

    document: builders.Document
    now: datetime = builders.START
    generation: int = 1
    annotations: dict[str, str] = field(default_factory=dict)
    status: dict[str, object] = field(default_factory=dict)
    models: dict[int, Model] = field(default_factory=dict)
    artifacts: dict[str, KnownArtifact] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    budgets: set[str] = field(default_factory=set)
    front: str | None = None
    route: Route | None = None
    accepts_in: float | None = 1.0
    traffic: Traffic = field(default_factory=Traffic)
    transitions: Counter[tuple[State, State]] = field(default_factory=Counter)
    events: list[EmitEvent] = field(default_factory=list)
    passes: int = 0
    jobs_started: int = 0
    next_look: datetime | None = builders.START
    seen: object = None
    pods_made: int = 0
    check: Callable[["Cluster", Snapshot, Decision], None] = field(default=lambda cluster, snapshot, decision: None)
    acted_on: set[str] = field(default_factory=set)

    def clone(self) -> "Cluster":
        """Return an independent copy; what is frozen is shared."""
        fresh = copy.copy(self)
        fresh.annotations = dict(self.annotations)
        fresh.models = {number: replace(model) for number, model in self.models.items()}
        fresh.artifacts = dict(self.artifacts)
        fresh.jobs = {name: replace(job) for name, job in self.jobs.items()}
        fresh.workloads = {
            revision: replace(workload, pods=[replace(pod) for pod in workload.pods])
            for revision, workload in self.workloads.items()
        }
        fresh.budgets = set(self.budgets)
        fresh.route = None if self.route is None else replace(self.route)
        fresh.traffic = self.traffic.clone()
        fresh.transitions = Counter(self.transitions)
        fresh.events = list(self.events)
        fresh.acted_on = set(self.acted_on)
        return fresh

    def world(self) -> object:
        """Return everything that an interruption must not change: the objects and the status."""
        return (
            self.status,
            self.artifacts,
            self.jobs,
            {revision: replace(w, pods=[]) for revision, w in self.workloads.items()},
            {revision: [(pod.ready_at, pod.restarts) for pod in w.pods] for revision, w in self.workloads.items()},
            self.budgets,
            self.front,
            self.route,
        )

    # what people and the outside do

    @property
    def spec(self) -> VisionModelSpec:
        """The spec as parsed."""
        return builders.parsed(self.document)

    @property
    def target(self) -> str:
        """Revision of the spec."""
        return revision_of(self.spec)

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
        if self.route is not None:
            self.route = replace(self.route, weights_ppm=weights_ppm, foreign=True, written=self.now, accepted=False)

    def lose_route(self) -> None:
        """Delete the route."""
        self.route = None
        self._settle_traffic()

    def lose_deployment(self, revision: str) -> None:
        """Delete a revision's Deployment with its pods."""
        workload = self.workloads[revision]
        workload.exists, workload.replicas, workload.pods = False, 0, []

    # what a pass sees

    def snapshot(self) -> Snapshot:
        """Return what a pass would see now, measurements included."""
        seen = Snapshot(
            ref=builders.REF,
            generation=self.generation,
            resource_version=str(self.passes),
            spec=self.spec,
            spec_error="",
            annotations=dict(self.annotations),
            status=self.recorded,
            platform=builders.PLATFORM,
            artifacts=dict(self.artifacts),
            jobs={name: _job_state(name, job) for name, job in self.jobs.items()},
            workloads={revision: self._workload_state(revision) for revision in self.workloads},
            pods=self._pods() if self.recorded.rollout is not None else {},
            route=self._route_state(),
        )
        request = evidence_due(seen, self.now.timestamp())
        return seen if request is None else replace(seen, evidence=self._evidence(request))

    def _pods(self) -> dict[str, tuple[PodState, ...]]:
        return {
            revision: tuple(
                PodState(
                    name=pod.name,
                    revision=revision,
                    ip="10.0.0.1",
                    ready=self._is_ready(pod),
                    restarts=pod.restarts,
                    finished_requests=pod.finished,
                    pending_requests=0.0,
                )
                for pod in workload.pods
            )
            for revision, workload in self.workloads.items()
        }

    def _is_ready(self, pod: Pod) -> bool:
        return pod.ready_at is not None and pod.ready_at <= self.now

    def ready(self, revision: str) -> int:
        """Return how many pods of a revision are ready."""
        return sum(self._is_ready(pod) for pod in self.workloads.get(revision, Workload()).pods)

    def _workload_state(self, revision: str) -> WorkloadState:
        workload = self.workloads[revision]
        stored = ({"kind": "Deployment", "metadata": {"name": f"shapes-{revision}-0"}},) if workload.stored else ()
        return WorkloadState(revision, workload.replicas, self.ready(revision), workload.exists, stored)

    def _route_state(self) -> RouteState | None:
        route = self.route
        if route is None:
            return None
        backends = tuple(names.revision_service(builders.REF.name, revision) for revision in route.slots)
        reason = "" if route.accepted else "Pending" if self.accepts_in is not None else "NotAllowedByListeners"
        message = "" if route.accepted else "said the gateway"
        managers = ("argocd-controller",) if route.foreign else ()
        return RouteState(route.weights_ppm, backends, route.accepted, reason, message, not route.foreign, managers)

    def _evidence(self, request: EvidenceRequest) -> Evidence:
        rollout, stable = self.recorded.rollout, self.recorded.stable
        assert rollout is not None
        assert stable is not None
        return self.traffic.evidence(request, rollout.revision, stable.revision, self.now.timestamp())

    # what the operator does

    def run_pass(self, killed_after: int | None = None) -> Decision:
        """Run one pass; killed after so many effects, it writes no status."""
        self.passes += 1
        snapshot = self.snapshot()
        decision = decide(snapshot, self.now)
        self.check(self, snapshot, decision)
        effects = [effect for action in decision.actions for effect in self._effects(action, snapshot)]
        for effect in effects[:killed_after]:
            effect()
        if killed_after is not None and killed_after <= len(effects):
            return decision
        written = project_status(snapshot, decision.status, self.target, self.now)
        before, self.status = self.state, json.loads(written.model_dump_json(by_alias=True, exclude_none=True))
        if self.state != before:
            self.transitions[before, self.state] += 1
        self.events.extend(decision.events)
        wake = decision.wake_after
        self.next_look = None if wake is None else self.now + timedelta(seconds=wake)
        self.seen = self._watched()
        return decision

    def effects_of(self, decision: Decision) -> int:
        """Return into how many effects a decision falls apart."""
        snapshot = self.snapshot()
        return sum(1 for action in decision.actions for _ in self._effects(action, snapshot))

    def _watched(self) -> object:
        """What wakes the operator when it changes: the object without its status, and its children."""
        return (
            self.generation,
            sorted(self.annotations.items()),
            [(name, job.finished) for name, job in sorted(self.jobs.items())],
            [(r, w.stored, w.exists, w.replicas, self.ready(r)) for r, w in sorted(self.workloads.items())],
            None if self.route is None else replace(self.route),
        )

    def _effects(self, action: Action, snapshot: Snapshot) -> Iterator[Callable[[], None]]:
        match action:
            case StartConversion():
                yield lambda: self._start(action)
            case RecordArtifact():
                yield lambda: self._record(action, snapshot)
            case ForgetArtifact(key):
                yield lambda: _discard(self.artifacts, key)
            case DeleteJob(job):
                yield lambda: _discard(self.jobs, job)
            case CreateRevision(revision=revision, replicas=replicas):
                yield lambda: self._store(revision)
                yield lambda: self._scale(revision, replicas)
            case ScaleRevision(revision, replicas):
                assert snapshot.workloads[revision].stored, "scaling what was never stored"
                yield lambda: self._scale(revision, replicas)
            case DeleteRevision(revision):
                yield lambda: self._scale(revision, 0)
                yield lambda: _discard(self.workloads, revision)
                yield lambda: self.budgets.discard(revision)
            case EnsureFront(revision):
                yield lambda: setattr(self, "front", revision)
            case EnsureRoute(slots, weights_ppm):
                assert sum(weights_ppm) == 1_000_000, f"weights {weights_ppm}"
                yield lambda: self._write_route(slots, weights_ppm)
            case EnsureDisruptionBudget(revision):
                yield lambda: self.budgets.add(revision)
            case EmitEvent():
                yield lambda: self.events.append(action)

    def _start(self, action: StartConversion) -> None:
        if action.job not in self.jobs:
            self.jobs[action.job] = Job(action.request.revision, action.request, self.now)
            self.jobs_started += 1

    def _record(self, action: RecordArtifact, snapshot: Snapshot) -> None:
        (operation,) = record_artifact(action, snapshot)
        assert isinstance(operation, Apply)
        known = artifact_from_data(action.key, operation.manifest["data"])
        assert known is not None
        self.artifacts[action.key] = known

    def _store(self, revision: str) -> None:
        self.workloads.setdefault(revision, Workload()).stored = True

    def _scale(self, revision: str, replicas: int) -> None:
        workload = self.workloads.setdefault(revision, Workload())
        workload.exists, workload.replicas = True, replicas
        del workload.pods[replicas:]
        while len(workload.pods) < replicas:
            self.pods_made += 1
            ready_in = self._model(revision).ready_in
            ready_at = None if ready_in is None else self.now + timedelta(seconds=ready_in)
            workload.pods.append(Pod(f"{revision}-{self.pods_made}", ready_at))

    def _model(self, revision: str) -> Model:
        for number, model in self.models.items():
            for pinned in (True, False):
                document = builders.spec_document(number, pinned=pinned)
                if revision == revision_of(builders.parsed({**self.document, "model": document["model"]})):
                    return model
        return Model()

    def _write_route(self, slots: tuple[str, ...], weights_ppm: tuple[int, ...]) -> None:
        route = self.route
        if route is None or (route.slots, route.weights_ppm, route.foreign) != (slots, weights_ppm, False):
            self.route = Route(slots, weights_ppm, self.now)

    # time

    def advance(self, seconds: float) -> None:
        """Let time pass: controllers, traffic, and every pass that is due on the way."""
        end = self.now + timedelta(seconds=seconds)
        self.settle()
        while self.now < end:
            step = min(QUANTUM, (end - self.now).total_seconds())
            self.traffic.flow(self.now.timestamp(), step, self._behaviour(), self._count)
            self.now += timedelta(seconds=step)
            self._controllers()
            self.settle()

    def settle(self) -> None:
        """Run the passes that are due at this instant."""
        for _ in range(PASS_LIMIT):
            if not self.is_pass_due():
                return
            self.run_pass()
        raise AssertionError(f"the operator spins in {self.state}: {self.status.get('message')}")

    def is_pass_due(self) -> bool:
        """Whether the operator is woken now."""
        return (self.next_look is not None and self.next_look <= self.now) or self.seen != self._watched()

    def advance_to(self, *states: State | str, limit: float = 900.0) -> None:
        """Let time pass until a state (or a phase) is reached."""
        end = self.now + timedelta(seconds=limit)
        self.settle_one_by_one(states)
        while not self.is_in(*states):
            assert self.now < end, f"still {self.state} ({self.status.get('message')}), wanted {states}"
            self.traffic.flow(self.now.timestamp(), QUANTUM, self._behaviour(), self._count)
            self.now += timedelta(seconds=QUANTUM)
            self._controllers()
            self.settle_one_by_one(states)

    def settle_one_by_one(self, states: tuple[State | str, ...]) -> None:
        """Run the due passes, but stop as soon as one of the states is reached."""
        for _ in range(PASS_LIMIT):
            if self.is_in(*states) or not self.is_pass_due():
                return
            self.run_pass()
        raise AssertionError(f"the operator spins in {self.state}: {self.status.get('message')}")

    def is_in(self, *states: State | str) -> bool:
        """Whether the phase, or the phase with its reason, is one of these."""
        return any(state in (self.state, self.state[0]) for state in states)

    def _controllers(self) -> None:
        for job in self.jobs.values():
            model = self._model(job.revision)
            if job.finished is None and model.converts_in is not None and self._since(job.started) >= model.converts_in:
                self._end(job, model.exit_code)
        route = self.route
        if route is not None and not route.accepted and self.accepts_in is not None:
            route.accepted = self._since(route.written) >= self.accepts_in
        self._settle_traffic()

    def _end(self, job: Job, exit_code: ExitCode) -> None:
        job.finished, job.exit_code = exit_code is ExitCode.OK, int(exit_code)
        if exit_code is ExitCode.OK:
            job.summary = builders.succeeded(job.request)
        elif exit_code is not ExitCode.INTERNAL:
            job.summary = builders.failed(job.request, exit_code)

    def _since(self, when: datetime) -> float:
        return (self.now - when).total_seconds()

    def _settle_traffic(self) -> None:
        """The gateway sends traffic by the newest route that it accepted."""
        if self.route is None:
            self.traffic.split = {}
        elif self.route.accepted:
            self.traffic.split = dict(zip(self.route.slots, self.route.weights_ppm, strict=True))

    def _behaviour(self) -> Callable[[str], tuple[float, float]]:
        def of(revision: str) -> tuple[float, float]:
            model = self._model(revision)
            return model.errors, model.latency_ms

        return of

    def _count(self, revision: str, requests: float) -> None:
        pods = self.workloads.get(revision, Workload()).pods
        for pod in pods:
            pod.finished += requests / len(pods)


def _job_state(name: str, job: Job) -> JobState:
    return JobState(name, job.revision, job.finished, job.summary, job.exit_code)


def _discard(mapping: dict[str, Any], key: str) -> None:
    mapping.pop(key, None)
