"""The rollback window: who is in it, who never is, and what is kept for it."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from unit.core import builders, scenarios, walks
from unit.core.simulated_cluster import Cluster, Model
from visionmodel_operator.api.conditions import ConditionType, Outcome
from visionmodel_operator.api.spec import RollbackWindow
from visionmodel_operator.api.status import KnownRevision, VisionModelStatus
from visionmodel_operator.api.v1alpha1 import parse_status
from visionmodel_operator.core import memory
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.weights import TRACE, WHOLE
from visionmodel_operator.core.window import revisions_in_window

NOW = builders.START


def known(revision: str, hours: float | None = None) -> KnownRevision:
    """A revision that another one took over from so many hours ago; None: never."""
    return KnownRevision(revision=revision, replaced_at=None if hours is None else NOW - timedelta(hours=hours))


REVISIONS = [known("new"), known("b", 2), known("never"), known("a", 1), known("c", 30), known("d", 3)]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, ("a", "b", "d")),
        ({"revisions": 2}, ("a", "b")),
        ({"revisions": 0}, ()),
        ({"revisions": 10}, ("a", "b", "d")),
        ({"revisions": 10, "duration": "30h"}, ("a", "b", "d", "c")),
        ({"duration": "2h"}, ("a", "b")),
        ({"duration": "0s"}, ()),
    ],
)
def test_who_is_in_the_window(window: dict[str, Any], expected: tuple[str, ...]) -> None:
    status = VisionModelStatus(revisions=REVISIONS)
    assert revisions_in_window(status, RollbackWindow.model_validate(window), NOW) == expected


def revision(model: int) -> str:
    return revision_of(builders.spec(model))


def in_window(cluster: Cluster) -> tuple[str, ...]:
    return revisions_in_window(cluster.recorded, cluster.spec.rollback_window, cluster.now)


def promote(cluster: Cluster, model: int) -> None:
    cluster.use_model(model)
    cluster.advance_to("Draining")
    cluster.advance_to("Healthy")
    cluster.advance(10)


def test_whoever_was_replaced_last_is_first() -> None:
    cluster = scenarios.promoted()
    assert in_window(cluster) == (revision(1),)
    promote(cluster, 3)
    assert in_window(cluster) == (revision(2), revision(1))


def test_who_was_left_in_one_move_is_not_gone_back_to_like_that() -> None:
    cluster = scenarios.promoted()
    cluster.use_model(1)
    cluster.advance_to(walks.ROLLED_BACK)
    assert in_window(cluster) == ()
    assert cluster.recorded.history[0].outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize("end", ["User", "CanaryUnhealthy"])
def test_who_was_turned_back_is_out_for_good(end: str) -> None:
    cluster = scenarios.rolling_back()
    {"User": walks.ask("abort"), "CanaryUnhealthy": walks.crash}[end](cluster)
    cluster.advance_to(("Degraded", end))
    assert in_window(cluster) == ()
    cluster.use_model(2)
    cluster.advance_to("Healthy")
    cluster.use_model(1)
    cluster.advance_to(("Degraded", end))


def test_who_comes_back_step_by_step_and_does_harm_is_out_too() -> None:
    cluster = scenarios.rollback_unavailable()
    cluster.ask("promote", "/0")
    cluster.advance_to("Provisioning")
    cluster.models[1] = Model(errors=0.4)
    for pod in cluster.workloads[revision(1)].pods:
        pod.ready_at = cluster.now
    cluster.advance_to(walks.HARM)
    assert in_window(cluster) == ()


def test_who_changes_their_mind_may_still_go_back() -> None:
    cluster = scenarios.rolling_back()
    cluster.use_model(2)
    cluster.advance_to(walks.SERVING)
    assert in_window(cluster) == (revision(1),)


def test_a_status_of_an_older_operator_has_nobody_in_the_window() -> None:
    cluster = scenarios.promoted()
    cluster.status = copy.deepcopy(cluster.status)
    for one in cluster.status["revisions"]:
        one.pop("replacedAt", None)
    assert in_window(cluster) == ()
    cluster.trusted.clear()
    cluster.use_model(1)
    cluster.advance_to("Converting")
    cluster.advance_to(walks.PROMOTED)


def test_an_older_rollout_under_way_is_no_move_back() -> None:
    wire = copy.deepcopy(scenarios.scaling().status)
    del wire["rollout"]["jump"]
    rollout = parse_status(wire).rollout
    assert rollout is not None
    assert not rollout.jump


def test_the_window_keeps_what_the_limit_would_not() -> None:
    cluster = scenarios.serving(revisionHistoryLimit=0, rollbackWindow={"revisions": 3, "duration": "1h"})
    for model in (2, 3, 4, 5):
        promote(cluster, model)
    assert sorted(cluster.workloads) == sorted(map(revision, (2, 3, 4, 5)))
    cluster.advance(3600)
    cluster.run_pass()
    # stable, and the other slot of the route
    assert sorted(cluster.workloads) == sorted(map(revision, (4, 5)))


def test_the_memory_of_many_candidates_forgets_none_of_the_window() -> None:
    cluster = scenarios.promoted()
    status = cluster.recorded
    for number in range(100):
        status = memory.begin(status, f"candidate{number}", 1, FROZEN, cluster.now)
        status = status.model_copy(update={"rollout": None, "traffic": None})
    assert len(status.revisions) == memory.KNOWN_LIMIT
    assert revisions_in_window(status, cluster.spec.rollback_window, cluster.now) == (revision(1),)


FROZEN = memory.Frozen(
    plan=(),
    plan_digest="digest",
    analysis=builders.spec().rollout.analysis.to_wire(),
    on_new_revision=builders.spec().rollout.on_new_revision,
    spec={},
)


def test_nothing_is_converted_and_nobody_waits_for_a_step() -> None:
    cluster = scenarios.promoted()
    jobs, began = cluster.jobs_started, cluster.now
    cluster.use_model(1)
    cluster.advance_to("RollingBack")
    assert cluster.traffic.split == {revision(1): 0, revision(2): 1_000_000}
    recorded = cluster.recorded
    assert recorded.canary is not None
    assert (recorded.canary.revision, recorded.canary.steps, recorded.canary.step) == (revision(1), 0, 0)
    assert next(c.status for c in recorded.conditions if c.type is ConditionType.CONVERTED) == "True"
    cluster.advance_to("Draining")
    assert (cluster.now - began).total_seconds() < 15
    cluster.advance_to(walks.ROLLED_BACK)
    assert cluster.jobs_started == jobs
    told = [(event.reason, event.message, event.warning) for event in cluster.events]
    ended = f"Revision {revision(1)} serves all requests again; {revision(2)} was left in one jump."
    assert ("RolledBack", f"Healthy: {ended}", False) in told
    newest = cluster.recorded.history[0]
    assert (newest.outcome, newest.reason, newest.message) == (Outcome.ROLLED_BACK, "RolledBack", ended)


def test_a_conversion_that_waits_to_be_applied_is_not_asked_for_again() -> None:
    cluster = scenarios.promoted()
    cluster.change(conversion={"autoApply": False})
    cluster.use_model(1)
    cluster.advance_to(walks.ROLLED_BACK)


def test_a_newer_revision_waits_until_it_is_back() -> None:
    cluster = scenarios.rolling_back()
    cluster.use_model(3)
    cluster.advance(2)
    pending = next(c for c in cluster.recorded.conditions if c.type is ConditionType.PLAN_CHANGE_PENDING)
    assert (pending.status, pending.reason) == ("True", "Queued")
    assert cluster.is_in("RollingBack")


def test_what_keeps_it_from_going_back_is_said() -> None:
    message = scenarios.rollback_unavailable().status["message"]
    assert message.startswith(f"Revision {revision(2)} goes on serving, since {revision(1)} cannot be gone back to.")
    assert "Not ready within 60 s." in message
    lacking = scenarios.rolling_back_without_a_device().status["message"]
    assert "find no free nvidia.com/gpu" in lacking


def test_pods_that_have_devices_are_waited_for_without_a_hold() -> None:
    cluster = scenarios.rolling_back_without_a_device()
    cluster.models[1] = Model(ready_in=20)
    cluster.lose_deployment(cluster.target)
    cluster.advance_to(walks.BACK, limit=15)
    assert cluster.ready(cluster.target) == 0
    cluster.advance_to(walks.ROLLED_BACK)


@pytest.mark.parametrize("state", ["rolling-back-paused", "rolling-back-without-a-device"])
def test_a_hold_knows_since_when(state: str) -> None:
    cluster = scenarios.ON_THE_WAY_BACK[state]()
    since = cluster.status["rollout"]["hold"]["since"]
    cluster.advance(20)
    assert cluster.status["rollout"]["hold"]["since"] == since


def test_a_pause_by_other_means_is_said() -> None:
    cluster = scenarios.rolling_back_paused()
    cluster.annotate("pause", "true")
    cluster.change(rollout={"paused": False})
    cluster.advance(2)
    assert cluster.is_in("Held")
    assert "annotation" in cluster.status["message"]


def test_who_serves_keeps_the_traffic_until_the_gateway_knows_who_comes() -> None:
    """Else the route would go from all on one side to all on the other, with nothing in force between."""
    cluster = scenarios.rolling_back()
    cluster.accepts_in = None
    cluster.advance(60)
    assert cluster.is_in(walks.BACK)
    traffic = cluster.recorded.traffic
    assert traffic is not None
    assert dict(zip(traffic.slots, traffic.weights_ppm, strict=True)) == {
        revision(1): TRACE,
        revision(2): WHOLE - TRACE,
    }
    cluster.accepts_in = 1.0
    cluster.advance_to(("RollingBack", "Swapping"))
