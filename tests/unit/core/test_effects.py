"""What the recorded status asks of the cluster, where a whole rollout would not show it."""

from collections.abc import Callable

import pytest

from unit.core import scenarios
from unit.core.simulated_cluster import Cluster
from visionmodel_operator.core.actions import DeleteRoute, EnsureRoute


@pytest.mark.parametrize(
    "state",
    [pytest.param(scenarios.serving, id="serving"), pytest.param(scenarios.observing, id="in a canary")],
)
def test_a_route_goes_with_the_gateways_of_the_spec(state: Callable[[], Cluster]) -> None:
    cluster = state()
    front = cluster.front
    assert cluster.snapshot().route is not None
    cluster.change(traffic={"gatewayRefs": []})
    cluster.advance(5)
    assert cluster.snapshot().route is None
    assert cluster.front == front


def test_a_route_comes_back_with_the_gateways() -> None:
    cluster = scenarios.serving()
    before = cluster.route
    assert before is not None
    named = cluster.document["traffic"]["gatewayRefs"]
    cluster.change(traffic={"gatewayRefs": []})
    cluster.advance(5)
    cluster.change(traffic={"gatewayRefs": named})
    cluster.advance(5)
    assert cluster.route is not None
    assert (cluster.route.slots, cluster.route.weights_ppm) == (before.slots, before.weights_ppm)


def test_no_route_is_deleted_twice() -> None:
    cluster = scenarios.serving(gateway=False)
    actions = cluster.run_pass().actions
    assert not [action for action in actions if isinstance(action, DeleteRoute | EnsureRoute)]
