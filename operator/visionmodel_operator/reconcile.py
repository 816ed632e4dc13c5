"""One pass over one VisionModel: observe, gather evidence, decide, apply, report. kopf never appears here.

Called by the work queue, which owns all retries. The ports are small protocols, wired by `__main__`; the
in-memory fakes in `tests/fakes/` are held to the same contract tests as the adapters.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from visionmodel_operator.api.base import duration_delta, duration_seconds
from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.api.spec import Analysis, MetricType
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core.actions import takes_away
from visionmodel_operator.core.capacity import resources_to_count
from visionmodel_operator.core.conversion_news import conversion_news
from visionmodel_operator.core.counters import GatewaySamples, Series, Window, sample_range, ticks_from_samples
from visionmodel_operator.core.detection import is_forecast_due
from visionmodel_operator.core.devices import DeviceCount
from visionmodel_operator.core.evidence import EvidenceRequest, evidence_due
from visionmodel_operator.core.operations import Event, Operation
from visionmodel_operator.core.recent_traffic import SLOTS, RecentTraffic, recent_ends, recent_traffic, recent_window
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.rollout import Decision, decide
from visionmodel_operator.core.snapshot import Evidence, ObjectRef, Snapshot
from visionmodel_operator.core.status import Trouble, project_status
from visionmodel_operator.errors import Retry, UserError
from visionmodel_operator.render import operations
from visionmodel_operator.render.promql import gateway_queries, threshold_query
from visionmodel_operator.render.traffic import with_route_compared

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PodActivity:
    """Triton's own counters on one pod, summed over models."""

    finished: float
    pending: float


class Kube(Protocol):
    """The API server."""

    async def observe(self, namespace: str, name: str) -> Snapshot | None:
        """Return the object and its children, or None when it is gone. Evidence and pod counters are not filled."""

    async def perform(self, ref: ObjectRef, operation: Operation) -> None:
        """Carry out one operation in the object's namespace. Raises Retry or UserError."""

    async def write_status(self, ref: ObjectRef, resource_version: str, status: Mapping[str, Any]) -> None:
        """Replace the status if the object still has this resourceVersion. Raises Retry on a conflict."""


class Metrics(Protocol):
    """Prometheus."""

    async def samples(self, query: str, at: datetime) -> tuple[Series, ...]:
        """Return the raw samples of a range-vector selector evaluated at a time. Raises Retry if it cannot."""

    async def value(self, query: str, at: datetime) -> float | None:
        """Return the one number an expression gives, None when there is none. Raises Retry if it cannot."""


class Triton(Protocol):
    """The serving pods' own metrics."""

    async def activity(self, pod_ip: str) -> PodActivity | None:
        """Return the pod's request counters, None when it does not answer."""


class Devices(Protocol):
    """The devices of the cluster."""

    async def count(self, resources: frozenset[str]) -> DeviceCount:
        """Return the nodes with any of these resources and what is held of them; never raises: `error` says why not."""


class UncountedDevices:
    """Implements `Devices` where the platform team lets the operator list neither nodes nor all pods."""

    async def count(self, resources: frozenset[str]) -> DeviceCount:
        """As `Devices.count`."""
        return DeviceCount(error="the chart's value gpuCounting does not let the operator list nodes and pods")


@dataclass(frozen=True)
class World:
    """Everything outside the process that a pass may touch."""

    kube: Kube
    metrics: Metrics
    triton: Triton
    now: Callable[[], datetime]
    devices: Devices = field(default_factory=UncountedDevices)


@dataclass(frozen=True)
class Outcome:
    """How a pass ended, for the queue and the log.

    Attributes:
        wake_after: seconds until the next look, None when only a change can matter.
    """

    wake_after: float | None = None
    phase: str = ""
    reason: str = ""
    revision: str = ""


async def reconcile(world: World, namespace: str, name: str) -> Outcome:
    """Carry one VisionModel one step towards its spec; safe to run at any time and to be killed at any point.

    Raises:
        Retry: something outside was not ready; the queue backs off.
    """
    seen = await world.kube.observe(namespace, name)
    if seen is None or seen.deleting:
        return Outcome()
    try:
        return await _pass(world, seen, world.now())
    except Retry:
        raise
    except Exception as bug:
        await _confess(world, seen, bug)
        raise


async def _pass(world: World, seen: Snapshot, now: datetime) -> Outcome:
    snapshot = await _with_measurements(world, seen, now)
    decision = decide(snapshot, now)
    trouble, retry = await _perform(world, snapshot, decision)
    target = revision_of(snapshot.spec) if snapshot.spec is not None else None
    status = project_status(snapshot, decision.status, target, now, trouble, retry="" if retry is None else str(retry))
    if status != snapshot.status:
        await world.kube.write_status(snapshot.ref, snapshot.resource_version, status.to_wire())
    await _announce(world, snapshot, (*decision.events, *conversion_news(snapshot, status)), trouble)
    if retry is not None:
        raise retry
    return _outcome(status, decision, trouble)


async def _confess(world: World, seen: Snapshot, bug: Exception) -> None:
    """Say in the object that the operator has a bug; the log has the traceback, the queue backs off."""
    trouble = Trouble(Reason.INTERNAL_ERROR, f"{type(bug).__name__}: {bug}. The operator's log has the details.")
    with contextlib.suppress(Exception):
        target = revision_of(seen.spec) if seen.spec is not None else None
        status = project_status(seen, seen.status, target, world.now(), trouble)
        if status != seen.status:
            await world.kube.write_status(seen.ref, seen.resource_version, status.to_wire())


async def _with_measurements(world: World, snapshot: Snapshot, now: datetime) -> Snapshot:
    """Fill in what only measuring tells: route drift, the evidence that is due, free devices, the pods' counters."""
    snapshot = with_route_compared(snapshot)
    if is_forecast_due(snapshot):
        snapshot = replace(snapshot, recent_traffic=await _recent_traffic(world, snapshot, now))
    if wanted := resources_to_count(snapshot):
        snapshot = replace(snapshot, devices=await world.devices.count(wanted))
    request = evidence_due(snapshot, now.timestamp())
    if request is not None:
        snapshot = replace(snapshot, evidence=await _evidence(world, snapshot, request))
    if snapshot.status.phase in (Phase.DRAINING, Phase.ABORTING):
        snapshot = await _with_pod_counters(world, snapshot)
    return snapshot


async def _recent_traffic(world: World, snapshot: Snapshot, now: datetime) -> RecentTraffic:
    """Ask Prometheus for the last hour; an outage is no data, since a forecast keeps nothing from beginning."""
    ref, ends = snapshot.ref, recent_ends(now.timestamp())
    window = recent_window(ref.namespace, ref.name)
    try:
        samples = await _samples(world, snapshot, ends, window, with_buckets=False)
    except (Retry, UserError):
        return recent_traffic(())
    return recent_traffic(ticks_from_samples(samples, ends, *SLOTS, window))


async def _samples(
    world: World, snapshot: Snapshot, ends: Sequence[float], window: Window, *, with_buckets: bool = True
) -> GatewaySamples:
    """Return what the gateway counted in the ticks that end at `ends`. Raises Retry or UserError."""
    start, end = sample_range(ends, window)
    at, ref = datetime.fromtimestamp(end, tz=world.now().tzinfo), snapshot.ref
    queries = gateway_queries(snapshot.platform.gateway_profile, ref.namespace, ref.name, end - start)
    asked = (queries.requests, queries.up, *((queries.buckets,) if with_buckets else ()))
    requests, up, *buckets = await asyncio.gather(*(world.metrics.samples(query, at) for query in asked))
    return GatewaySamples(requests, buckets[0] if buckets else (), up)


async def _evidence(world: World, snapshot: Snapshot, request: EvidenceRequest) -> Evidence:
    """Ask Prometheus; an outage is told, never judged.

    Nor does a defect of ours keep this pass from what does not depend on evidence: an abort, above all.
    """
    try:
        return await _measured(world, snapshot, request)
    except (Retry, UserError) as outage:
        return Evidence(error=str(outage))
    except Exception as bug:
        context = {"namespace": snapshot.ref.namespace, "name": snapshot.ref.name}
        _log.exception("the metrics could not be read", extra={"context": context})
        kind = type(bug).__name__
        return Evidence(error=f"The operator could not read the metrics ({kind}); its log has the details.")


async def _measured(world: World, snapshot: Snapshot, request: EvidenceRequest) -> Evidence:
    """Return the ticks that were asked for. Raises Retry or UserError."""
    samples = await _samples(world, snapshot, request.ends, request.window)
    values = await _threshold_values(world, snapshot, request)
    return Evidence(ticks_from_samples(samples, tuple(values), request.canary, request.stable, request.window), values)


async def _threshold_values(
    world: World, snapshot: Snapshot, request: EvidenceRequest
) -> dict[float, dict[str, float | None]]:
    """Return the values by tick end, oldest first; after a while no further ticks are asked for in this pass.

    A slow Prometheus and many ticks to catch up with would otherwise use up the time of every pass, and nothing would
    be judged or turned back any more.
    """
    rollout = snapshot.status.rollout
    assert rollout is not None
    analysis = Analysis.model_validate(rollout.analysis)
    queries = {m.name: threshold_query(m, snapshot) for m in analysis.metrics if m.type is MetricType.THRESHOLD}
    if not queries:
        return {end: {} for end in request.ends}
    started = world.now()
    values: dict[float, dict[str, float | None]] = {}
    for end in request.ends:
        at = datetime.fromtimestamp(end, tz=started.tzinfo)
        found = await asyncio.gather(*(world.metrics.value(query, at) for query in queries.values()))
        values[end] = dict(zip(queries, found, strict=True))
        if world.now() - started > THRESHOLD_TIME:
            break
    return values


async def _with_pod_counters(world: World, snapshot: Snapshot) -> Snapshot:
    """Ask each pod of the leaving revision how much it has finished; no answer stays None."""
    rollout = snapshot.status.rollout
    if rollout is None:
        return snapshot
    leaving = rollout.previous if snapshot.status.phase is Phase.DRAINING else rollout.revision
    pods = snapshot.pods.get(leaving or "", ())
    activities = await asyncio.gather(*(world.triton.activity(pod.ip) if pod.ip else _nothing() for pod in pods))
    counted = tuple(
        pod if seen is None else replace(pod, finished_requests=seen.finished, pending_requests=seen.pending)
        for pod, seen in zip(pods, activities, strict=True)
    )
    return replace(snapshot, pods={**snapshot.pods, leaving or "": counted})


async def _nothing() -> PodActivity | None:
    return None


async def _perform(world: World, snapshot: Snapshot, decision: Decision) -> tuple[Trouble | None, Retry | None]:
    """Carry out the effects in order; what only a person can mend becomes a condition.

    One that fails stops those that take something away, and no others: a refused Deployment must not keep traffic on
    a canary that is turned back. Every effect follows from recorded status, so none relies on the one before it.
    """
    trouble: Trouble | None = None
    retry: Retry | None = None
    for action in decision.actions:
        if (trouble or retry) and takes_away(action):
            continue
        try:
            for operation in operations(action, snapshot):
                await world.kube.perform(snapshot.ref, operation)
        except UserError as error:
            trouble = trouble or Trouble(error.reason, str(error))
        except Retry as error:
            retry = retry or error
    return trouble, retry


async def _announce(world: World, snapshot: Snapshot, events: Sequence[Event], trouble: Trouble | None) -> None:
    """Tell people, after the status that it is about was written; an event is news, never memory."""
    known = {condition.reason for condition in snapshot.status.conditions if condition.status == "True"}
    news = list(events)
    if trouble is not None and trouble.reason not in known:
        news.append(Event(trouble.reason, trouble.message, warning=True))
    for event in news:
        await world.kube.perform(snapshot.ref, event)


def _outcome(status: VisionModelStatus, decision: Decision, trouble: Trouble | None) -> Outcome:
    wake = decision.wake_after
    if trouble is not None:
        wake = TROUBLE_RETRY if wake is None else min(TROUBLE_RETRY, wake)
    revision = status.rollout.revision if status.rollout else status.stable.revision if status.stable else ""
    return Outcome(wake, str(status.phase or ""), status.reason or "", revision)


THRESHOLD_TIME = duration_delta("20s")
"""For the Threshold metrics of one pass, which has 60 s."""
TROUBLE_RETRY = duration_seconds("1m")
"""The server refused something: looked at again now and then, because quotas and policies change without us; sooner
where something else is due, which the refusal must not delay."""
