"""A cluster for one VisionModel, in memory: it carries out a decision's actions and shows what a pass would see.

Time is explicit and moves only by `advance`; the operator is woken as in production, by what it watches and by
`wake_after`, never by a poll of the test. A pass may be killed after any number of its effects.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from unit.core import builders
from unit.core.simulated_world import Job, Model, State, World
from visionmodel_operator.api.conditions import Outcome
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core import names
from visionmodel_operator.core.capacity import resources_to_count
from visionmodel_operator.core.devices import DeviceCount
from visionmodel_operator.core.evidence import EvidenceRequest, evidence_due
from visionmodel_operator.core.operations import Event
from visionmodel_operator.core.rollout import Decision, decide
from visionmodel_operator.core.snapshot import Evidence, JobState, PodState, RouteState, Snapshot, WorkloadState
from visionmodel_operator.core.status import project_status
from visionmodel_operator.render.traffic import with_route_compared

__all__ = ["Cluster", "Model", "State"]

BAD_ENDS = (Outcome.ABORTED, Outcome.CONVERSION_FAILED)
HARMLESS_ENDS = ("Reverted", "Suspended")
NO_DEVICE = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."

QUANTUM = 1.0
"""Seconds between two looks at the simulated controllers."""

PASS_LIMIT = 40
"""Passes without time passing after which the operator is said to spin."""


def _unchecked(cluster: "Cluster", snapshot: Snapshot, decision: Decision) -> None:
    """Promise nothing."""


@dataclass
class Cluster(World):
    """The world with the operator in it; copy it with `clone`.

    Attributes:
        transitions: (phase, reason) before and after, over all status writes.
        check: called with every decision before it is carried out.
        acted_on: every action annotation that was ever consumed.
        trusted: when each revision was stable last that nobody found to be bad since, by its successes and failures.
    """

    transitions: Counter[tuple[State, State]] = field(default_factory=Counter)
    events: list[Event] = field(default_factory=list)
    passes: int = 0
    next_look: datetime | None = builders.START
    seen: object = None
    check: Callable[["Cluster", Snapshot, Decision], None] = _unchecked
    acted_on: set[str] = field(default_factory=set)
    trusted: dict[str, datetime] = field(default_factory=dict)

    def clone(self) -> Self:
        """Return an independent copy; what is frozen is shared."""
        fresh = super().clone()
        fresh.transitions = Counter(self.transitions)
        fresh.events = list(self.events)
        fresh.acted_on = set(self.acted_on)
        fresh.trusted = dict(self.trusted)
        return fresh

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
            platform=self.platform,
            artifacts=dict(self.artifacts),
            jobs={name: _job_state(name, job) for name, job in self.jobs.items()},
            workloads={revision: self._workload_state(revision) for revision in self.workloads},
            pods=self._pods() if self.recorded.rollout is not None else {},
            route=self._route_state(),
        )
        seen = with_route_compared(seen)
        if resources_to_count(seen):
            counted = DeviceCount(error="nobody counts") if self.pool is None else self.pool.count(self.name)
            seen = replace(seen, devices=counted)
        request = evidence_due(seen, self.now.timestamp())
        return seen if request is None else replace(seen, evidence=self._evidence(request))

    def _pods(self) -> dict[str, tuple[PodState, ...]]:
        return {
            revision: tuple(
                PodState(
                    name=pod.name,
                    revision=revision,
                    ip="10.0.0.1",
                    ready=self.is_ready(pod) and self.is_placed(revision, pod),
                    waiting="" if self.is_placed(revision, pod) else "Unschedulable",
                    waiting_message="" if self.is_placed(revision, pod) else NO_DEVICE,
                    restarts=pod.restarts,
                    finished_requests=pod.finished,
                    pending_requests=0.0,
                )
                for pod in workload.pods
            )
            for revision, workload in self.workloads.items()
        }

    def _workload_state(self, revision: str) -> WorkloadState:
        workload = self.workloads[revision]
        stored = json.dumps([{"kind": "Deployment", "metadata": {"name": f"shapes-{revision}-0"}}])
        spec = json.dumps({"accelerators": workload.accelerators})
        config = {names.WORKLOAD_FILE: stored, names.SPEC_FILE: spec} if workload.stored else {}
        return WorkloadState(revision, workload.replicas, self.ready(revision), config)

    def _route_state(self) -> RouteState | None:
        route = self.route
        if route is None:
            return None
        backends = tuple(names.revision_service(builders.REF.name, revision) for revision in route.slots)
        reason = "" if route.accepted else "Pending" if self.accepts_in is not None else "NotAllowedByListeners"
        message = "" if route.accepted else "said the gateway"
        managers = ("argocd-controller",) if route.foreign else ()
        return RouteState(
            weights_ppm=route.weights_ppm,
            backends=backends,
            accepted=route.accepted,
            serving=bool(self.traffic.split),
            reason=reason,
            message=message,
            foreign_managers=managers,
            live={names.HTTP_ROUTE: route.manifest},
        )

    def _evidence(self, request: EvidenceRequest) -> Evidence:
        rollout, stable = self.recorded.rollout, self.recorded.stable
        assert rollout is not None
        assert stable is not None
        return self.traffic.evidence(request, rollout.revision, stable.revision, self.now.timestamp())

    def objects(self) -> object:
        """Return what effects can change."""
        pods = {revision: [pod.name for pod in w.pods] for revision, w in self.workloads.items()}
        rest = (self.artifacts, sorted(self.jobs), sorted(self.budgets), self.front, self.route)
        return ({revision: replace(w, pods=[]) for revision, w in self.workloads.items()}, pods, *rest)

    def effects_now(self) -> list[Callable[[], None]]:
        """Return the effects of the pass that would run now."""
        snapshot = self.snapshot()
        actions = decide(snapshot, self.now).actions
        return [effect for action in actions for effect in self.effects(action, snapshot)]

    # what the operator does

    def run_pass(self, killed_after: int | None = None) -> Decision:
        """Run one pass; killed after so many effects, it writes no status."""
        self.passes += 1
        snapshot = self.snapshot()
        decision = decide(snapshot, self.now)
        self.check(self, snapshot, decision)
        effects = [effect for action in decision.actions for effect in self.effects(action, snapshot)]
        for effect in effects[:killed_after]:
            effect()
        if killed_after is not None and killed_after <= len(effects):
            return decision
        written = project_status(snapshot, decision.status, self.target, self.now)
        self._trust(written)
        before, self.status = self.state, json.loads(written.model_dump_json(by_alias=True, exclude_none=True))
        if self.state != before:
            self.transitions[before, self.state] += 1
        self.events.extend(decision.events)
        self.acted_on.update(decision.status.consumed_actions)
        wake = decision.wake_after
        self.next_look = None if wake is None else self.now + timedelta(seconds=wake)
        self.seen = self._watched()
        return decision

    def _trust(self, written: VisionModelStatus) -> None:
        """Note, from what is written alone, which revision was good and which one was not."""
        before = self.recorded
        left, now = before.stable, written.stable
        if left is not None and now is not None and left.revision != now.revision:
            self.trusted[left.revision] = self.now
            if written.rollout is not None and written.rollout.jump:
                del self.trusted[left.revision]
        for entry in written.history[: len(written.history) - len(before.history)]:
            if entry.outcome in BAD_ENDS and entry.reason not in HARMLESS_ENDS:
                self.trusted.pop(entry.revision, None)

    def _watched(self) -> object:
        """What wakes the operator when it changes: the object without its status, and its children."""
        return (
            self.generation,
            sorted(self.annotations.items()),
            [(name, job.finished) for name, job in sorted(self.jobs.items())],
            [(r, w.stored, w.exists, w.replicas, self.ready(r)) for r, w in sorted(self.workloads.items())],
            None if self.route is None else replace(self.route),
        )

    # time

    def advance(self, seconds: float) -> None:
        """Let time pass: controllers, traffic, and every pass that is due on the way."""
        end = self.now + timedelta(seconds=seconds)
        self.settle()
        while self.now < end:
            step = min(QUANTUM, (end - self.now).total_seconds())
            self.traffic.flow(self.now.timestamp(), step, self.behaviour(), self.count)
            self.now += timedelta(seconds=step)
            self.run_controllers()
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
            self.traffic.flow(self.now.timestamp(), QUANTUM, self.behaviour(), self.count)
            self.now += timedelta(seconds=QUANTUM)
            self.run_controllers()
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


def _job_state(name: str, job: Job) -> JobState:
    return JobState(name, job.revision, job.finished, job.summary, job.exit_code)
