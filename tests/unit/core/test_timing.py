"""How long a pass waits, by state."""

from collections.abc import Callable

import pytest

from unit.core import scenarios, walks
from unit.core.simulated_cluster import Cluster
from visionmodel_operator.core.rollout import decide


def next_look(cluster: Cluster) -> float | None:
    """Return what the pass says that follows once nothing moves any more."""
    cluster.settle()
    for _ in range(5):
        cluster.run_pass()
    return decide(cluster.snapshot(), cluster.now).wake_after


def drifted(cluster: Cluster) -> None:
    """Two edits of the route in a minute: the second is not put right at once."""
    for _ in range(2):
        cluster.divert_route()
        cluster.advance(3)


CASES: dict[str, tuple[Callable[[], Cluster], Callable[[Cluster], object], float | None]] = {
    "healthy": (scenarios.serving, walks.nothing, None),
    "healthy-without-a-gateway": (lambda: scenarios.serving(gateway=False), walks.nothing, None),
    "healthy-with-a-drifted-route": (scenarios.serving, drifted, 10.0),
    "healthy-while-an-edited-route-is-taken-over": (
        scenarios.serving,
        walks.at_once(walks.refuse_routes, walks.hostname("a.example")),
        10.0,
    ),
    "first-not-routed": (walks.first_not_routed, walks.nothing, 10.0),
    "first-refused": (walks.first_refused, walks.nothing, 10.0),
    "just-routed": (
        walks.first_not_routed,
        walks.at_once(walks.accept_again, lambda c: c.advance(1)),
        1.0,
    ),
    "suspended": (walks.suspended, walks.nothing, None),
    "turned-back": (walks.turned_back, walks.nothing, None),
    "converting": (scenarios.converting, walks.nothing, 10.0),
    "provisioning": (scenarios.provisioning, walks.nothing, 10.0),
    "awaiting-apply": (scenarios.awaiting_apply, walks.nothing, 10.0),
    "no-metrics": (scenarios.metrics_gone, walks.nothing, 5.0),
    "split-refused": (scenarios.split_refused, walks.nothing, 10.0),
    "draining": (scenarios.draining, walks.nothing, 1.0),
    "aborting-before-the-gateway-answers": (
        scenarios.observing,
        walks.at_once(lambda c: setattr(c, "accepts_in", None), walks.revert, walks.until("Aborting")),
        10.0,
    ),
}


@pytest.mark.parametrize(("start", "then", "expected"), CASES.values(), ids=CASES.keys())
def test_wake_after(start: Callable[[], Cluster], then: Callable[[Cluster], object], expected: float | None) -> None:
    cluster = start()
    then(cluster)
    assert next_look(cluster) == expected


def test_an_outage_is_asked_about_once_per_interval() -> None:
    cluster = scenarios.metrics_gone()
    before = cluster.passes
    cluster.advance(60)
    assert cluster.passes - before <= 13


def test_a_route_that_is_edited_all_the_time_is_put_right_once_a_minute() -> None:
    cluster = scenarios.serving()
    for _ in range(100):
        cluster.divert_route()
        cluster.advance(1)
    corrections = [event for event in cluster.events if event.reason == "RouteCorrected"]
    assert len(corrections) == 2
    assert "argocd-controller" in corrections[0].message


def test_requests_that_never_end_do_not_make_the_operator_spin() -> None:
    cluster = scenarios.draining()
    assert cluster.recorded.rollout is not None
    leaving = cluster.recorded.rollout.previous
    assert leaving is not None
    before = cluster.passes
    for _ in range(50):
        for pod in cluster.workloads[leaving].pods:
            pod.finished += 1
        cluster.advance(1)
    assert cluster.is_in("Draining")
    assert cluster.passes - before <= 55
    cluster.advance_to("Healthy", limit=30)


def test_the_end_of_the_shortest_time_of_a_step_is_looked_for_once() -> None:
    steps = [{"setWeight": 10}, {"pause": {"duration": "4s"}}]
    cluster = scenarios.with_candidate(rollout={"steps": steps, "analysis": {"interval": "60s"}})
    cluster.advance_to(("Progressing", "Observing"))
    assert next_look(cluster) == 4.0
    cluster.advance(6)
    assert next_look(cluster) == 10.0
