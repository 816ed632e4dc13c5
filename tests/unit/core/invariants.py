"""What must hold in every pass, whatever happens to the cluster; called by `Cluster.run_pass` before the effects."""

import json

from unit.core.simulated_cluster import Cluster
from visionmodel_operator.api.base import duration_delta
from visionmodel_operator.api.capacity import CapacityChoice
from visionmodel_operator.api.conditions import ACTIVE_PHASES, ConditionType, Phase, Reason
from visionmodel_operator.api.spec import OnNewRevision
from visionmodel_operator.api.status import ConditionStatus, HeaderRouteStatus, VisionModelStatus
from visionmodel_operator.api.v1alpha1 import parse_status
from visionmodel_operator.core import memory
from visionmodel_operator.core.actions import DeleteRevision, EnsureRoute, ScaleRevision
from visionmodel_operator.core.rollout import Decision, decide
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.core.status import project_status
from visionmodel_operator.core.weights import WHOLE

ROLLOUT_LIMIT_BYTES = 4096
QUIET_SECONDS = 5.0
"""Longer than a request may take, and `rollout.drain`, in the specs of the tests."""

NEVER = float("-inf")


def check_pass(cluster: Cluster, snapshot: Snapshot, decision: Decision) -> None:
    """Fail if a decision breaks a promise."""
    assert decide(snapshot, cluster.now) == decision, "the same snapshot gives the same decision"
    _check_split(snapshot, decision.status)
    _check_requests(cluster, snapshot, decision.status)
    _check_refused(snapshot, decision.status)
    _check_policy(snapshot, decision.status)
    _check_jump(cluster, snapshot, decision.status)
    _check_scale(cluster, snapshot, decision)
    _check_route_writes(cluster, decision)
    _check_waiting(decision)
    _check_written(cluster, snapshot, decision)


def _check_split(snapshot: Snapshot, status: VisionModelStatus) -> None:
    traffic = memory.traffic_of(status)
    if not traffic.slots:
        return
    assert sum(traffic.weights_ppm) == WHOLE, traffic
    assert len(traffic.weights_ppm) == len(traffic.slots) == len(set(traffic.slots)), traffic
    for revision, weight in zip(traffic.slots, traffic.weights_ppm, strict=True):
        workload = snapshot.workloads.get(revision)
        assert weight == 0 or workload is not None, f"{revision} has traffic and was never made"


def _check_requests(cluster: Cluster, snapshot: Snapshot, status: VisionModelStatus) -> None:
    fresh = set(status.consumed_actions) - set(snapshot.status.consumed_actions)
    assert not fresh & cluster.acted_on, f"{fresh} acted before"


def _check_refused(snapshot: Snapshot, status: VisionModelStatus) -> None:
    before, after = snapshot.status.rollout, status.rollout
    if after is None or (before is not None and before.revision == after.revision):
        return
    refused = memory.failure_of(snapshot.status, after.revision)
    asked = refused and f"retry={after.revision}/{refused.attempt}"
    assert not refused or asked in status.consumed_actions, f"{after.revision} was turned back before"


def _check_jump(cluster: Cluster, snapshot: Snapshot, status: VisionModelStatus) -> None:
    """Only what served lately, and was not found to be bad since, is gone back to in one jump."""
    before, after = snapshot.status.rollout, status.rollout
    if after is None or not after.jump or (before is not None and before.jump):
        return
    window = cluster.spec.rollback_window
    newer = [revision for revision, left in cluster.trusted.items() if left > cluster.trusted[after.revision]]
    assert len(set(newer)) < window.revisions, f"{after.revision} is not among the last {window.revisions}"
    assert cluster.now - cluster.trusted[after.revision] <= duration_delta(window.duration)
    assert cluster.workloads[after.revision].stored


def _check_policy(snapshot: Snapshot, status: VisionModelStatus) -> None:
    rollout, phase = status.rollout, snapshot.status.phase
    if rollout is not None and phase is Phase.ROLLING_BACK:
        assert rollout.ended != Reason.SUPERSEDED, "who goes back arrives there first"
    if rollout is None or rollout.on_new_revision is OnNewRevision.RESTART or rollout.previous is None:
        return
    assert rollout.ended != Reason.SUPERSEDED, "what was to be finished first is replaced"


def _check_scale(cluster: Cluster, snapshot: Snapshot, decision: Decision) -> None:
    assert snapshot.spec is not None
    full = 1 if snapshot.spec.serving.replicas is None else snapshot.spec.serving.replicas
    stable = decision.status.stable
    is_suspended = decision.status.phase is Phase.SUSPENDED
    for action in decision.actions:
        match action:
            case ScaleRevision(revision, replicas) if stable is not None and revision == stable.revision:
                _check_stable(decision.status, 0 if is_suspended else full, replicas)
            case ScaleRevision(revision, 0) if not is_suspended and full > 0:
                _check_idle(cluster, snapshot, revision)
            case DeleteRevision(revision):
                _check_idle(cluster, snapshot, revision)
            case _:
                pass
    if stable is not None and not is_suspended and decision.actions:
        assert any(getattr(a, "revision", None) == stable.revision for a in decision.actions), "stable is kept up"


def _check_stable(status: VisionModelStatus, full: int, replicas: int) -> None:
    """Stable runs at full scale, or lacks one pod of what its traffic needs while it gives devices to a canary."""
    capacity = status.rollout.capacity if status.rollout is not None else None
    is_giving = capacity is not None and capacity.choice is CapacityChoice.SHRINK_BY_ONE
    if not is_giving or replicas == full:
        assert replicas == full, "stable runs at full scale"
        return
    assert status.phase in (Phase.PROVISIONING, Phase.PROGRESSING, Phase.HELD, Phase.PROMOTING), "it is whole again"
    assert status.stable is not None
    assert replicas >= (1 if status.phase is Phase.PROMOTING else full - 1), "stable gives one pod"
    traffic = memory.share_of(status, status.stable.revision) / WHOLE
    assert traffic * full - replicas < 1.001, f"{replicas} of {full} pods have {traffic:.0%} of the traffic"


def _check_idle(cluster: Cluster, snapshot: Snapshot, revision: str) -> None:
    """Nothing goes to a revision that loses its pods, and nothing went there lately."""
    if cluster.workloads[revision].replicas == 0:
        return
    assert memory.share_of(snapshot.status, revision) == 0, f"{revision} is scaled down with traffic recorded"
    in_force = cluster.traffic.split.get(revision, 0)
    assert in_force == 0, f"{revision} is scaled down with {in_force} ppm in force"
    quiet = cluster.now.timestamp() - cluster.traffic.last_request.get(revision, NEVER)
    assert quiet >= QUIET_SECONDS, f"{revision} had a request {quiet} s ago"


def _check_route_writes(cluster: Cluster, decision: Decision) -> None:
    route = cluster.route
    for action in decision.actions:
        if not isinstance(action, EnsureRoute) or route is None or route.foreign:
            continue
        before = dict(zip(route.slots, route.weights_ppm, strict=True))
        after = dict(zip(action.slots, action.weights_ppm, strict=True))
        for revision in {*before, *after}:
            jump = {before.get(revision, 0), after.get(revision, 0)}
            assert jump != {0, WHOLE}, f"{revision} jumps in one write: {before} to {after}"
        _check_header_rule(route.header_route, action.header_route)


def _check_header_rule(before: HeaderRouteStatus | None, after: HeaderRouteStatus | None) -> None:
    """A rule that comes or goes has nobody to fit it."""
    if (before is None) != (after is None):
        changed = before or after
        assert changed is not None
        assert changed.parked, f"requests by a header meet a rule that is not there: {before} to {after}"


def _check_waiting(decision: Decision) -> None:
    status = decision.status
    assert status.phase is not None
    assert status.reason
    assert status.message
    assert status.phase not in ACTIVE_PHASES or decision.wake_after is not None, "an active rollout is looked at again"
    assert status.phase not in ACTIVE_PHASES or status.rollout is not None


def _check_written(cluster: Cluster, snapshot: Snapshot, decision: Decision) -> None:
    written = project_status(snapshot, decision.status, cluster.target, cluster.now)
    wire = json.loads(json.dumps(written.to_wire()))
    assert parse_status(wire) == written, "status survives the API server"
    size = len(json.dumps(wire.get("rollout", {}), separators=(",", ":")))
    assert size < ROLLOUT_LIMIT_BYTES, f"status.rollout has {size} bytes"
    said = {condition.type: condition.status for condition in written.conditions}
    assert set(said) == set(ConditionType), "every condition is always set"
    is_served = written.stable is not None and cluster.ready(written.stable.revision) > 0
    is_reached = not cluster.spec.traffic.gateway_refs or bool(cluster.traffic.split)
    is_ready = is_served and is_reached and written.phase not in (Phase.SUSPENDED, Phase.PENDING)
    assert (said[ConditionType.READY] is ConditionStatus.TRUE) == is_ready, "Ready says whether users are served"
    if said[ConditionType.READY] is ConditionStatus.TRUE and said[ConditionType.RECONCILING] is ConditionStatus.FALSE:
        route = cluster.route
        is_split = not cluster.spec.traffic.gateway_refs or (route is not None and not route.foreign)
        assert is_split or written.phase is Phase.DEGRADED, "what is called done is in the route"
    assert said[ConditionType.RECONCILING] is not ConditionStatus.TRUE or said[ConditionType.STALLED] is (
        ConditionStatus.FALSE
    )
