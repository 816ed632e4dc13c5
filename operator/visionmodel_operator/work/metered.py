"""The Kube port with numbers: what a written status says about rollouts and conversions becomes metrics."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from visionmodel_operator.api.conditions import Outcome, Phase
from visionmodel_operator.api.spec import Analysis
from visionmodel_operator.api.status import RolloutStatus, VisionModelStatus
from visionmodel_operator.api.v1alpha1 import parse_status
from visionmodel_operator.core import memory
from visionmodel_operator.core.conversion_news import conversion_ended
from visionmodel_operator.core.judge import config_from_analysis, verdict_of
from visionmodel_operator.core.operations import Operation
from visionmodel_operator.core.snapshot import ObjectRef, Snapshot
from visionmodel_operator.reconcile import Kube
from visionmodel_operator.work.telemetry import Telemetry


class MeteredKube:
    """Passes everything on, and counts what changed after it was written."""

    def __init__(self, kube: Kube, telemetry: Telemetry) -> None:
        self._kube = kube
        self._telemetry = telemetry
        self._before: dict[tuple[str, str], VisionModelStatus] = {}

    async def observe(self, namespace: str, name: str) -> Snapshot | None:
        """As `Kube.observe`; an object that is gone takes its series with it."""
        snapshot = await self._kube.observe(namespace, name)
        if snapshot is None:
            self._before.pop((namespace, name), None)
            self._telemetry.forget_object(namespace, name)
        else:
            self._before[namespace, name] = snapshot.status
            self._show(snapshot.ref, snapshot.status)
        return snapshot

    async def perform(self, ref: ObjectRef, operation: Operation) -> None:
        """As `Kube.perform`."""
        await self._kube.perform(ref, operation)

    async def write_status(self, ref: ObjectRef, resource_version: str, status: Mapping[str, Any]) -> None:
        """As `Kube.write_status`."""
        await self._kube.write_status(ref, resource_version, status)
        after = parse_status(status)
        before = self._before.get((ref.namespace, ref.name), VisionModelStatus())
        self._before[ref.namespace, ref.name] = after
        self._count(ref, before, after)
        self._show(ref, after)

    def _count(self, ref: ObjectRef, before: VisionModelStatus, after: VisionModelStatus) -> None:
        for entry in after.history:
            if entry not in before.history:
                self._telemetry.rollouts.labels(ref.namespace, ref.name, entry.outcome).inc()
        if conversion_ended(before, after):
            assert after.conversion is not None
            had_job = after.conversion.job is not None
            (self._telemetry.cache_misses if had_job else self._telemetry.cache_hits).inc()
            ended_at = _newest_time(after)
            if had_job and after.conversion.started_at is not None and ended_at is not None:
                seconds = (ended_at - after.conversion.started_at).total_seconds()
                self._telemetry.conversion_duration.observe(max(0.0, seconds))

    def _show(self, ref: ObjectRef, status: VisionModelStatus) -> None:
        labels = (ref.namespace, ref.name)
        for phase in Phase:
            self._telemetry.phase.labels(*labels, phase).set(1 if status.phase is phase else 0)
        for outcome in Outcome:
            # Shown from 0 on: Prometheus sees no increase in a counter that appears with its first rollout.
            self._telemetry.rollouts.labels(*labels, outcome)
        rollout = status.rollout
        self._telemetry.step.labels(*labels).set(0 if status.canary is None else status.canary.step)
        self._telemetry.weight.labels(*labels).set(0 if status.canary is None else status.canary.weight)
        self._telemetry.evidence.labels(*labels).set(0 if rollout is None else evidence_of(rollout))


def evidence_of(rollout: RolloutStatus) -> float:
    """Return the largest log evidence of harm so far, 0 before there is any."""
    state = memory.judge_state(rollout)
    if state is None or state.last_tick is None:
        return 0.0
    config = config_from_analysis(Analysis.model_validate(rollout.analysis))
    return verdict_of(state, config).totals.evidence


def _newest_time(status: VisionModelStatus) -> datetime | None:
    """Return the time of the pass that wrote a status, as far as its conditions tell."""
    return max((condition.last_transition_time for condition in status.conditions), default=None)
