"""What the judge makes of the hard cases: few failures, failures on both sides, no requests at all."""

import pytest

from e2e.scene import HALF, Scene, attempt, newest, pause, weight

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ERRORS = {"name": "errors", "type": "ErrorRate"}
A_TENTH = 0.1


@pytest.mark.fault("canary fails a tenth of its requests")
def test_canary_that_fails_a_tenth_is_turned_back(scene: Scene) -> None:
    stable = scene.serve()
    with scene.under_load(failing=True, bright_share=A_TENTH):
        scene.model.apply(scene.document("v3-failing", weight(50), pause("2m"), metrics=[ERRORS]))
        status = scene.wait_settled()
    assert newest(status) == ("Aborted", "HarmDetected")
    assert (status["phase"], status["stable"]["revision"]) == ("Degraded", stable)


@pytest.mark.fault("both versions fail: an incident upstream")
def test_failure_of_both_versions_is_no_reason_to_go_back(scene: Scene) -> None:
    """The load offers what neither can answer. The rollout holds, and the decision is left to people."""
    scene.serve(scene.document("v3-failing"))
    # Long enough that the floor is proven missed before the step could end.
    document = scene.document("v3-failing", weight(50), pause("1m"), metrics=[{**ERRORS, "sloMax": 0.05}])
    document["spec"]["serving"]["batching"]["maxBatchSize"] = 4
    with scene.load() as load:
        scene.model.apply(document)
        held = scene.wait_phase("Held", "UpstreamIncident")
        scene.model.annotate("abort", attempt(held))
        status = scene.wait_settled()
    report = load.report(canary=held["rollout"]["revision"])
    scene.reports.append(report)
    print(f"    {report}")
    assert not report.void, str(report)
    assert held["canary"]["weight"] == 50
    assert newest(status) == ("Aborted", "User")
    assert {loss.revision for loss in report.losses} == {status["stable"]["revision"]}, "stable's own failures only"


@pytest.mark.fault("no traffic at all")
def test_nothing_is_promoted_without_traffic(scene: Scene) -> None:
    scene.serve()
    scene.model.apply(scene.document("v2", *HALF, metricsGrace="10s"))
    held = scene.wait_phase("Held", "MetricsUnavailable")
    scene.model.annotate("abort", attempt(held))
    status = scene.wait_settled()
    assert held["canary"]["weight"] == 50
    assert newest(status) == ("Aborted", "User")
