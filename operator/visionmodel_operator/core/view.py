"""One pass's snapshot with the questions that every phase asks of it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from visionmodel_operator.api.base import duration_delta, duration_seconds
from visionmodel_operator.api.spec import Analysis, HeaderMatch, VisionModelSpec
from visionmodel_operator.api.status import DrainStatus, PlanStep, RolloutStatus, TrafficStatus, VisionModelStatus
from visionmodel_operator.core import names
from visionmodel_operator.core.memory import traffic_of
from visionmodel_operator.core.plan import headers_at, planned_replicas
from visionmodel_operator.core.requests import Requests, remember, requests_for
from visionmodel_operator.core.routes import is_split
from visionmodel_operator.core.snapshot import PodState, Snapshot

ROUTE_SETTLE = timedelta(seconds=1)
"""How long an accepted change of weight is left alone: measured on Envoy Gateway, the split is in force at once."""


@dataclass(frozen=True)
class View:
    """A snapshot, the time, and the status as this pass has moved it so far.

    Attributes:
        target: revision of the spec.
    """

    snapshot: Snapshot
    spec: VisionModelSpec
    status: VisionModelStatus
    target: str
    now: datetime

    def at(self, status: VisionModelStatus) -> "View":
        """Return the same view after a move."""
        return replace(self, status=status)

    @property
    def rollout(self) -> RolloutStatus:
        """The rollout under way."""
        assert self.status.rollout is not None
        return self.status.rollout

    @property
    def traffic(self) -> TrafficStatus:
        """The recorded split."""
        return traffic_of(self.status)

    @property
    def stable(self) -> str | None:
        """The trusted revision, None before the first one serves."""
        return self.status.stable.revision if self.status.stable else None

    @property
    def full_replicas(self) -> int:
        """Pods of a revision that gets all traffic."""
        return 1 if self.spec.serving.replicas is None else self.spec.serving.replicas

    @property
    def step(self) -> PlanStep | None:
        """The plan's current step, None when the plan has no steps."""
        rollout = self.rollout
        return rollout.plan[rollout.step] if rollout.step < len(rollout.plan) else None

    @property
    def step_replicas(self) -> int:
        """Pods that the candidate needs for the current step; the first revision of all needs everything."""
        if self.stable is None or self.step is None:
            return self.full_replicas
        return planned_replicas(self.full_replicas, self.step)

    @property
    def step_headers(self) -> tuple[HeaderMatch, ...]:
        """Headers by which requests reach the candidate in the current step; only a gateway reads them."""
        return headers_at(self.rollout.plan, self.rollout.step) if self.has_gateway else ()

    @cached_property
    def analysis(self) -> Analysis:
        """The analysis that this rollout was started with."""
        return Analysis.model_validate(self.rollout.analysis)

    @property
    def has_gateway(self) -> bool:
        """Whether gateways split the traffic."""
        return is_split(self.spec.traffic, self.snapshot.platform)

    @cached_property
    def requests(self) -> Requests:
        """What people ask of this attempt."""
        if self.status.rollout is not None:
            revision, attempt = self.rollout.revision, self.rollout.attempt
        else:
            revision, attempt = self.status.failed_revision or self.target, self.status.failed_attempt or 1
        return requests_for(self.snapshot.annotations, revision, attempt, self.status.consumed_actions)

    def remembering(self, verb: str) -> VisionModelStatus:
        """Return the status in which what is asked by an action is acted on, and never will be again."""
        consumed = remember(self.status.consumed_actions, self.requests, verb)
        return self.status.model_copy(update={"consumed_actions": consumed})

    def ready(self, revision: str) -> int:
        """Return how many pods of a revision are ready."""
        workload = self.snapshot.workloads.get(revision)
        return workload.ready if workload is not None else 0

    def is_stored(self, revision: str) -> bool:
        """Return whether a revision was rendered, and can be brought back as it was."""
        workload = self.snapshot.workloads.get(revision)
        return workload is not None and bool(workload.stored)

    def pods(self, revision: str) -> tuple[PodState, ...]:
        """Return the pods of a revision."""
        return self.snapshot.pods.get(revision, ())

    def waited(self, since: datetime | None, text: str) -> bool:
        """Return whether a Duration has passed since a time; never when the time is not known."""
        return since is not None and self.now - since >= duration_delta(text)

    def is_past_deadline(self) -> bool:
        """Return whether the current phase made no progress for too long."""
        limit = timedelta(seconds=self.spec.progress_deadline_seconds)
        return self.now - self.rollout.phase_started_at >= limit

    @property
    def is_route_as_recorded(self) -> bool:
        """Whether the route object says what was recorded; also when there is nothing to route."""
        if not self.has_gateway or not self.traffic.slots:
            return True
        route = self.snapshot.route
        if route is None:
            return False
        backends = tuple(names.revision_service(self.snapshot.ref.name, slot) for slot in self.traffic.slots if slot)
        return route.ours and route.weights_ppm == tuple(self.traffic.weights_ppm) and route.backends == backends

    @property
    def other_writers(self) -> str:
        """Who else has written the route, for a sentence."""
        route = self.snapshot.route
        return ", ".join(route.foreign_managers) if route and route.foreign_managers else "an unnamed writer"

    @property
    def is_route_accepted(self) -> bool:
        """Whether the gateway has accepted the recorded split."""
        if not self.has_gateway or not self.traffic.slots:
            return True
        route = self.snapshot.route
        return route is not None and route.accepted and self.is_route_as_recorded

    @property
    def is_reachable(self) -> bool:
        """Whether requests arrive, be it by an older state of the route; without a gateway the Services answer."""
        if not self.has_gateway or not self.traffic.slots:
            return True
        route = self.snapshot.route
        return route is not None and route.serving

    @property
    def is_split_in_force(self) -> bool:
        """Whether the recorded split was accepted, had time to take effect, and still stands in the route."""
        if not self.has_gateway or not self.traffic.slots:
            return True
        verified = self.traffic.verified_at
        return verified is not None and self.now - verified >= ROUTE_SETTLE and self.is_route_as_recorded

    @property
    def is_settling(self) -> bool:
        """Whether the recorded split is accepted and only needs its moment to take effect."""
        verified = self.traffic.verified_at
        return self.has_gateway and verified is not None and self.now - verified < ROUTE_SETTLE

    def drained(self, revision: str) -> tuple[DrainStatus, bool]:
        """Return the evidence of draining, brought up to date, and whether the revision is idle.

        Idle: the pods' own counters of finished requests did not move and nothing was pending for longer than
        a request may take. A pod that does not answer gives no evidence; only drainMax ends that wait. One that
        never had an address never had a request.
        """
        drain = self.rollout.drain or DrainStatus(started_at=self.now)
        pods = tuple(pod for pod in self.pods(revision) if pod.ip is not None)
        counters = [(pod.finished_requests, pod.pending_requests) for pod in pods]
        finished = sum(count or 0.0 for count, _ in counters)
        is_known = all(count is not None and pending is not None for count, pending in counters)
        is_quiet = is_known and all(pending == 0 for _, pending in counters) and finished == drain.finished
        if is_known and (not is_quiet or drain.flat_since is None):
            flat_since = self.now if all(pending == 0 for _, pending in counters) else None
            drain = drain.model_copy(update={"finished": finished, "flat_since": flat_since})
        quiet_for = max(duration_seconds(self.spec.rollout.drain), duration_seconds(self.spec.traffic.request_timeout))
        is_idle = (
            is_quiet and drain.flat_since is not None and (self.now - drain.flat_since).total_seconds() > quiet_for
        )
        return drain, is_idle or not pods or self.waited(drain.started_at, self.spec.rollout.drain_max)
