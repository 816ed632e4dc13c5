"""What people read in each state: every condition, as a whole."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from unit.core import builders, scenarios, walks
from unit.core.simulated_cluster import Cluster
from visionmodel_operator.api.conditions import ConditionType
from visionmodel_operator.api.status import ConditionStatus, VisionModelStatus
from visionmodel_operator.core.rollout import decide
from visionmodel_operator.core.status import Trouble, project_status


def thrown_out_while_observing() -> Cluster:
    cluster = scenarios.observing()
    cluster.throw_route_out()
    return cluster


STATES: Mapping[str, Callable[[], Cluster]] = {
    "created": lambda: scenarios.new_cluster(1),
    "serving": scenarios.serving,
    "serving-without-a-gateway": lambda: scenarios.serving(gateway=False),
    "converting": scenarios.converting,
    "not-converted": walks.not_converted,
    "observing": scenarios.observing,
    "second-step": scenarios.routing_second_step,
    "no-metrics": scenarios.metrics_gone,
    "split-refused": scenarios.split_refused,
    "draining": scenarios.draining,
    "turned-back": walks.turned_back,
    "suspended": walks.suspended,
    "starting-again": walks.starting_again,
    "stable-down": walks.stable_down,
    "first-not-ready": scenarios.first_not_ready,
    "first-not-routed": walks.first_not_routed,
    "first-refused": walks.first_refused,
    "thrown-out-while-observing": thrown_out_while_observing,
}

SERVING = {
    "Ready": "True Serving",
    "Reconciling": "False Serving",
    "Stalled": "False Serving",
    "Converted": "True ArtifactVerified",
    "ParityPassed": "True Verified",
    "WorkloadAvailable": "True Available",
    "RouteAccepted": "True Accepted",
    "SplitVerified": "True Verified",
    "MetricsAvailable": "Unknown NotApplicable",
    "LatencyJudgeable": "Unknown NotApplicable",
    "CanaryHealthy": "Unknown NotApplicable",
    "PlanChangePending": "False NotApplicable",
}
NOTHING_SERVES = {"WorkloadAvailable": "False WaitingForPods", "SplitVerified": "Unknown NotApplicable"}

#: How each state differs from serving.
EXPECTED: Mapping[str, Mapping[str, str]] = {
    "created": {
        **NOTHING_SERVES,
        "Ready": "False NewRevision",
        "Reconciling": "True NewRevision",
        "Stalled": "False NewRevision",
        "Converted": "False Converting",
        "ParityPassed": "Unknown Unknown",
        "RouteAccepted": "Unknown Routing",
    },
    "serving": {},
    "serving-without-a-gateway": {
        "RouteAccepted": "Unknown NotApplicable",
        "SplitVerified": "Unknown NotApplicable",
    },
    "converting": {
        "Reconciling": "True NewRevision",
        "Stalled": "False NewRevision",
        "Converted": "False Converting",
        "ParityPassed": "Unknown Unknown",
        "CanaryHealthy": "True NewRevision",
    },
    "not-converted": {
        "Reconciling": "False ConversionFailed",
        "Stalled": "True ConversionFailed",
        "Converted": "False ConversionFailed",
        "ParityPassed": "False ConversionFailed",
        "CanaryHealthy": "False ConversionFailed",
    },
    "observing": {
        "Reconciling": "True Observing",
        "Stalled": "False Observing",
        "CanaryHealthy": "True Observing",
    },
    "second-step": {
        "Reconciling": "True Routing",
        "Stalled": "False Routing",
        "SplitVerified": "True Verified",
        "MetricsAvailable": "True Available",
        "LatencyJudgeable": "True Available",
        "CanaryHealthy": "True Routing",
    },
    "no-metrics": {
        "Reconciling": "True MetricsUnavailable",
        "Stalled": "False MetricsUnavailable",
        "MetricsAvailable": "False MetricsUnavailable",
        "CanaryHealthy": "True MetricsUnavailable",
    },
    "split-refused": {
        "Reconciling": "True SplitMismatch",
        "Stalled": "False SplitMismatch",
        "RouteAccepted": "False NotAllowedByListeners",
        "SplitVerified": "Unknown Routing",
        "CanaryHealthy": "True SplitMismatch",
    },
    "draining": {
        "Reconciling": "True Draining",
        "Stalled": "False Draining",
        "MetricsAvailable": "True Available",
        "LatencyJudgeable": "True Available",
    },
    "turned-back": {
        "Reconciling": "False HarmDetected",
        "Stalled": "True HarmDetected",
        "CanaryHealthy": "False HarmDetected",
    },
    "suspended": {
        "Ready": "False Suspended",
        "Reconciling": "False Suspended",
        "Stalled": "False Suspended",
        "WorkloadAvailable": "False WaitingForPods",
    },
    "starting-again": {
        "Ready": "False StableUnavailable",
        "Reconciling": "True WaitingForPods",
        "Stalled": "False WaitingForPods",
        "WorkloadAvailable": "False WaitingForPods",
    },
    "stable-down": {
        "Ready": "False StableUnavailable",
        "Reconciling": "False StableUnavailable",
        "Stalled": "True StableUnavailable",
        "WorkloadAvailable": "False WaitingForPods",
    },
    "first-not-ready": {
        **NOTHING_SERVES,
        "Ready": "False ProgressDeadline",
        "Reconciling": "False ProgressDeadline",
        "Stalled": "True ProgressDeadline",
        "RouteAccepted": "Unknown Routing",
    },
    "first-not-routed": {
        "Ready": "False Routing",
        "Reconciling": "True Routing",
        "Stalled": "False Routing",
        "RouteAccepted": "False NotAllowedByListeners",
        "SplitVerified": "Unknown Routing",
    },
    "first-refused": {
        "Ready": "False RouteRejected",
        "Reconciling": "False RouteRejected",
        "Stalled": "True RouteRejected",
        "RouteAccepted": "False NotAllowedByListeners",
        "SplitVerified": "Unknown Routing",
    },
    "thrown-out-while-observing": {
        "Ready": "False RouteRejected",
        "Reconciling": "True Observing",
        "Stalled": "False Observing",
        "RouteAccepted": "False NotAllowedByListeners",
        "CanaryHealthy": "True Observing",
    },
}


def conditions(status: VisionModelStatus) -> dict[str, str]:
    return {str(c.type): f"{c.status} {c.reason}" for c in status.conditions}


@pytest.mark.parametrize("state", STATES)
def test_conditions(state: str) -> None:
    cluster = STATES[state]()
    cluster.run_pass()
    assert conditions(cluster.recorded) == {**SERVING, **EXPECTED[state]}


ERRORS_ONLY: list[dict[str, Any]] = [{"name": "errors", "type": "ErrorRate"}]
SLOW_AND_SLOWER: list[dict[str, Any]] = [
    {"name": "slow", "type": "LatencyRatio"},
    {"name": "slower", "type": "LatencyRatio", "quantile": 0.99, "gating": False},
]
TAIL_ONLY: list[dict[str, Any]] = [{"name": "p99", "type": "LatencyTail", "quantile": 0.99}]
JUDGEABLE: Mapping[str, tuple[list[dict[str, Any]] | None, float, str, str]] = {
    "compared": (None, 20.0, "True Available", "Canary and stable have latency histograms."),
    "no-latency-is-asked-for": (ERRORS_ONLY, 20.0, "Unknown NotApplicable", "No metric compares latencies."),
    "too-few-requests": (
        SLOW_AND_SLOWER,
        5.0,
        "False MetricSilent",
        "slow, slower: no tick of this step had 5 requests and a whole histogram on both sides.",
    ),
    "edges-are-being-chosen": (
        TAIL_ONLY,
        20.0,
        "Unknown Observing",
        "p99: 90 of 1000 requests of stable seen to choose bucket edges from",
    ),
    "no-edge-can-judge": (
        TAIL_ONLY,
        500.0,
        "False NoUsableBuckets",
        "p99: no edge of the gateway's histogram (1, 5, 10, 25, 50, 100, 250, 500 ms) has 0.2 to 20 % of stable's 2250"
        " requests beyond it",
    ),
    "no-requests": (None, 0.0, "Unknown NotApplicable", "No request was counted in this step yet."),
}


@pytest.mark.parametrize(("metrics", "rate", "expected", "message"), JUDGEABLE.values(), ids=JUDGEABLE.keys())
def test_latency_is_judgeable_where_it_was_compared(
    metrics: list[dict[str, Any]] | None, rate: float, expected: str, message: str
) -> None:
    cluster = scenarios.with_candidate(rollout={"analysis": {"metrics": metrics} if metrics else {}})
    cluster.traffic.rate = rate
    cluster.advance_to(("Progressing", "Observing"))
    cluster.advance(17)
    said = {c.type: c.message for c in cluster.recorded.conditions}
    assert conditions(cluster.recorded)["LatencyJudgeable"] == expected
    assert said[ConditionType.LATENCY_JUDGEABLE] == message


def test_the_method_behind_auto_is_named() -> None:
    cluster = scenarios.with_candidate(rollout={"analysis": {"method": "Auto"}})
    cluster.advance_to(("Progressing", "Observing"))
    cluster.advance(17)
    said = {c.type: c.message for c in cluster.recorded.conditions}
    assert said[ConditionType.METRICS_AVAILABLE] == (
        "The newest tick has data. Method Auto compares errors by Paired: stable's pods have one counter, so their own"
        " noise cannot be measured."
    )


def test_numbers_of_a_canary() -> None:
    cluster = scenarios.routing_second_step()
    cluster.advance_to(("Progressing", "Observing"))
    recorded = cluster.recorded
    assert recorded.stable is not None
    assert recorded.canary is not None
    assert (recorded.stable.weight, recorded.stable.ready_replicas) == (50.0, 2)
    assert (recorded.canary.weight, recorded.canary.ready_replicas, recorded.canary.step, recorded.canary.steps) == (
        50.0,
        1,
        2,
        2,
    )
    assert recorded.stable.artifact != recorded.canary.artifact
    assert recorded.replicas == 2
    assert recorded.selector == (f"visionmodel.dev/name=shapes,visionmodel.dev/revision={recorded.stable.revision}")


@pytest.mark.parametrize("edit", [{"steps": [{"setWeight": 1}]}, {"onNewRevision": "Queue"}], ids=["steps", "policy"])
def test_an_edited_plan_is_pending_until_the_next_rollout(edit: dict[str, Any]) -> None:
    cluster = scenarios.observing()
    cluster.change(rollout=edit)
    cluster.advance(3)
    assert conditions(cluster.recorded)["PlanChangePending"] == "True NewRevision"
    assert len(cluster.recorded.rollout.plan if cluster.recorded.rollout else []) == 2
    cluster.advance_to("Healthy")
    assert conditions(cluster.recorded)["PlanChangePending"] == "False NotApplicable"


def test_a_condition_keeps_its_time_while_its_value_stays() -> None:
    cluster = scenarios.serving()
    before = {c.type: c for c in cluster.recorded.conditions}
    cluster.use_model(2)
    cluster.advance(1)
    after = {c.type: c for c in cluster.recorded.conditions}
    changed = {kind for kind in after if after[kind].last_transition_time != before[kind].last_transition_time}
    assert changed == {kind for kind in ConditionType if after[kind].status is not before[kind].status}, (
        "a transition is a change of the value"
    )
    assert after[ConditionType.READY].observed_generation == 2


def test_trouble_stalls_and_says_why() -> None:
    cluster = scenarios.converting()
    snapshot = cluster.snapshot()
    written = project_status(snapshot, snapshot.status, cluster.target, cluster.now, Trouble("Forbidden", "no quota"))
    said = {c.type: (c.status, c.reason, c.message) for c in written.conditions}
    assert said[ConditionType.STALLED] == (ConditionStatus.TRUE, "Forbidden", "no quota")
    assert said[ConditionType.RECONCILING] == (ConditionStatus.FALSE, "Forbidden", "no quota")


RETRIED = {
    "alone": (scenarios.serving, None, "True Retrying", "False Serving"),
    "beside a refusal": (scenarios.serving, Trouble("Forbidden", "no quota"), "False Forbidden", "True Forbidden"),
    "after an abort": (walks.turned_back, None, "False HarmDetected", "True HarmDetected"),
}


@pytest.mark.parametrize(("start", "trouble", "reconciling", "stalled"), RETRIED.values(), ids=RETRIED.keys())
def test_a_generation_that_must_be_tried_again_is_not_observed(
    start: Callable[[], Cluster], trouble: Trouble | None, reconciling: str, stalled: str
) -> None:
    cluster = start()
    before = cluster.recorded.observed_generation
    assert before is not None
    snapshot = replace(cluster.snapshot(), generation=before + 1)
    written = project_status(snapshot, snapshot.status, cluster.target, cluster.now, trouble, retry="busy")
    assert written.observed_generation == before
    assert {condition.observed_generation for condition in written.conditions} == {before}
    said = conditions(written)
    assert (said["Reconciling"], said["Stalled"]) == (reconciling, stalled)


def test_an_invalid_spec_moves_nothing_and_is_told() -> None:
    cluster = scenarios.observing()
    snapshot = replace(cluster.snapshot(), spec=None, spec_error="spec.serving: no", generation=9)
    later = cluster.now + timedelta(seconds=60)
    decision = decide(snapshot, later)
    assert (decision.status, decision.actions, decision.wake_after) == (snapshot.status, (), None)
    written = project_status(snapshot, decision.status, None, later)
    assert conditions(written) == {**conditions(snapshot.status), "Stalled": "True InvalidSpec"}
    assert written.observed_generation == 9
    assert written.rollout == snapshot.status.rollout


def test_events_say_every_move_once() -> None:
    cluster = scenarios.with_candidate(walks.HARMFUL)
    cluster.events.clear()
    cluster.advance_to(walks.HARM)
    cluster.advance(60)
    assert [(event.reason, event.warning) for event in cluster.events] == [
        ("NewRevision", False),
        ("WaitingForPods", False),
        ("Routing", False),
        ("Observing", False),
        ("HarmDetected", True),
        ("HarmDetected", True),
    ]


def test_the_address_of_a_model() -> None:
    hosts = {"gatewayRefs": [{**builders.GATEWAY, "hostnames": ["vision.example"]}]}
    cluster = scenarios.serving(traffic=hosts)
    assert cluster.recorded.url == "http://vision.example/v2/models/shapes"
    assert scenarios.serving().recorded.url == "http://shapes.vision.svc:8000/v2/models/shapes"


def test_a_refused_split_is_told_in_the_words_of_the_gateway() -> None:
    message = scenarios.split_refused().recorded.message
    assert message == "The gateway has not accepted the split: said the gateway"


def test_a_gateway_that_never_accepts_the_first_route_is_told() -> None:
    cluster = walks.first_not_routed()
    cluster.advance(10)
    assert cluster.recorded.message == "Waiting for the gateway to accept the route: said the gateway"
    cluster.advance_to(walks.REJECTED, limit=cluster.spec.progress_deadline_seconds)
    assert cluster.recorded.message == "The gateway does not accept the route: said the gateway"
    (ready,) = [c for c in cluster.recorded.conditions if c.type is ConditionType.READY]
    assert ready.message == f"No gateway hands requests to revision {cluster.target}: said the gateway"
    assert [(event.reason, event.warning) for event in cluster.events[-2:]] == [
        ("Routing", False),
        ("RouteRejected", True),
    ]


def test_nobody_waits_for_a_gateway_that_the_cluster_does_not_know() -> None:
    cluster = walks.first_not_routed()
    platform = replace(builders.PLATFORM, route_kinds=())
    snapshot = replace(cluster.snapshot(), platform=platform, route=None)
    decision = decide(snapshot, cluster.now)
    assert (decision.status.phase, decision.status.reason) == walks.SERVING
    said = conditions(project_status(snapshot, decision.status, cluster.target, cluster.now))
    assert (said["Ready"], said["RouteAccepted"]) == ("True Serving", "False GatewayAPIMissing")


def test_who_is_served_stays_so_while_the_gateway_takes_over_an_edited_route() -> None:
    cluster = scenarios.serving()
    cluster.accepts_in = 20.0
    walks.hostname("a.example")(cluster)
    cluster.advance(10)
    assert cluster.state == walks.SERVING
    said = conditions(cluster.recorded)
    assert (said["Ready"], said["Reconciling"], said["SplitVerified"]) == (
        "True Serving",
        "True Routing",
        "Unknown Routing",
    )
    cluster.advance(15)
    assert conditions(cluster.recorded)["Reconciling"] == "False Serving"


def test_a_split_that_cannot_be_written_is_told() -> None:
    cluster = scenarios.routing()
    cluster.accepts_in = None
    while not cluster.is_in("Held"):
        cluster.advance(1)
        cluster.lose_route()
    assert cluster.recorded.message == "The gateway has not accepted the split: the route does not exist"


def test_a_pause_tells_who_still_asks_for_it() -> None:
    steps = [{"setWeight": 20}, {"pause": {}}]
    cluster = scenarios.with_candidate(rollout={"steps": steps})
    cluster.advance_to(("Progressing", "Observing"))
    cluster.change(rollout={"paused": True})
    cluster.advance_to(("Held", "Paused"))
    assert cluster.recorded.message == "Paused by spec.rollout.paused."
    cluster.change(rollout={"paused": False})
    cluster.annotate("pause", "true")
    cluster.advance(1)
    assert cluster.recorded.message == "Paused by annotation."
    cluster.annotate("pause", None)
    cluster.advance(1)
    rollout = cluster.recorded.rollout
    assert rollout is not None
    assert cluster.recorded.message == (
        f"Step 1 of 1 waits for promotion: annotate visionmodel.dev/promote={rollout.revision}/1/1."
    )


def corrections(cluster: Cluster) -> list[str]:
    return [event.message for event in cluster.events if event.reason == "RouteCorrected"]


def test_a_lost_route_is_written_again_as_often_as_it_is_lost() -> None:
    cluster = scenarios.serving()
    for _ in range(5):
        cluster.lose_route()
        cluster.advance(3)
        assert cluster.route is not None
        assert cluster.route.accepted
    assert corrections(cluster) == []


def test_an_edit_of_the_spec_is_no_foreign_writer() -> None:
    cluster = scenarios.serving()
    for hostname in ("a.example", "b.example", "c.example"):
        cluster.change(traffic={"gatewayRefs": [{**builders.GATEWAY, "hostnames": [hostname]}]})
        cluster.advance(3)
        assert cluster.route is not None
        assert cluster.route.manifest["spec"]["hostnames"] == [hostname]
    cluster.change(traffic={"gatewayRefs": [builders.GATEWAY]})
    cluster.advance(3)
    assert cluster.route is not None
    assert "hostnames" not in cluster.route.manifest["spec"]
    assert corrections(cluster) == []


def test_a_diverted_route_is_put_right() -> None:
    cluster = scenarios.serving()
    assert cluster.route is not None
    before = cluster.route.manifest
    cluster.divert_route()
    cluster.advance(3)
    assert cluster.route.manifest == before
    assert corrections(cluster) == ["The route was changed by argocd-controller and is put right."]


WHY_PROMOTED = {
    "no-steps": ({"rollout": {"steps": []}}, ""),
    "no-gateway": ({"gateway": False}, " Nothing splits the traffic: not judged."),
    "no-gateway-after-a-pause": (
        {"gateway": False, "rollout": {"steps": [{"pause": {"duration": "5s"}}, {"setWeight": 50}]}},
        " Nothing splits the traffic: not judged.",
    ),
}


@pytest.mark.parametrize(("sections", "note"), WHY_PROMOTED.values(), ids=WHY_PROMOTED.keys())
def test_a_promotion_says_why_nothing_was_judged(sections: dict[str, Any], note: str) -> None:
    cluster = scenarios.with_candidate(**sections)
    cluster.advance_to("Promoting")
    assert cluster.recorded.message == f"Revision {cluster.target} is brought to full scale.{note}"


def test_a_promotion_is_called_judged_where_the_gateway_went_away_after_that() -> None:
    cluster = scenarios.observing()
    walks.gateways()(cluster)
    cluster.ask("promote")
    cluster.advance_to("Promoting")
    assert cluster.recorded.message == f"Revision {cluster.target} is brought to full scale."


def test_an_abort_is_remembered_with_its_attempt() -> None:
    cluster = scenarios.observing()
    value = cluster.ask("abort")
    cluster.advance_to("Aborting")
    assert cluster.recorded.consumed_actions == [f"abort={value}"]


def test_an_action_is_meant_for_one_attempt() -> None:
    cluster = walks.turned_back()
    cluster.ask("retry")
    cluster.advance_to("Converting")
    assert cluster.ask("abort").endswith("/2")
    cluster.advance_to(("Degraded", "User"), limit=30)
    assert [(entry.attempt, entry.reason) for entry in cluster.recorded.history[:2]] == [
        (2, "User"),
        (1, "HarmDetected"),
    ]


def test_the_history_keeps_the_numbers_behind_a_verdict() -> None:
    newest, first = walks.turned_back().recorded.history
    assert newest.requests >= 10
    assert newest.evidence > 4.6
    assert (first.requests, first.evidence) == (0, 0.0)


def test_one_replica_runs_unless_more_are_asked_for() -> None:
    cluster = scenarios.serving(serving={"replicas": None})
    assert cluster.workloads[cluster.target].replicas == 1
