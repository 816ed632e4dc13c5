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


def test_a_kept_revision_of_an_unpinned_source_is_not_converted_again() -> None:
    cluster = scenarios.serving(pinned=False)
    first = cluster.recorded.stable
    cluster.use_model(2)
    cluster.advance_to("Converting")
    cluster.advance_to("Healthy")
    jobs = cluster.jobs_started
    cluster.use_model(1)
    cluster.advance_to("Provisioning")
    cluster.advance_to("Healthy")
    assert cluster.jobs_started == jobs == 2
    assert first is not None
    recorded = cluster.recorded
    assert recorded.stable is not None
    assert (recorded.stable.revision, recorded.stable.artifact) == (first.revision, first.artifact)
    assert {known.artifact_key for known in recorded.revisions} == set(cluster.artifacts)


def test_a_job_is_told_which_verdicts_are_known() -> None:
    cluster = scenarios.serving(pinned=False)
    (known,) = cluster.artifacts.values()
    cluster.change(serving={"instances": 2})
    cluster.advance_to("Converting")
    cluster.advance(1)
    (job,) = cluster.jobs.values()
    assert job.request.passed_gate_keys == tuple(known.verdicts)
