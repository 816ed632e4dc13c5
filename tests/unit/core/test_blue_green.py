"""Strategy BlueGreen: a preview that no user reaches, one switch, judged while the previous revision can take over."""

from typing import Any

import pytest

from unit.core import builders, scenarios, walks
from unit.core.simulated_cluster import Cluster, Model
from visionmodel_operator.api.spec import BlueGreen
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.blue_green import blue_green_plan
from visionmodel_operator.core.plan import plan_of
from visionmodel_operator.core.weights import TRACE, WHOLE

PREVIEW = BlueGreen().preview_headers
SWITCHED = PlanStep(weight_ppm=900_000, min_seconds=300.0, scale_ppm=WHOLE)

PLANS: dict[str, tuple[dict[str, Any], PlanStep, PlanStep]] = {
    "by itself": ({}, PlanStep(weight_ppm=0, min_seconds=0.0, headers=PREVIEW, scale_ppm=WHOLE), SWITCHED),
    "after a while": (
        {"autoPromotionDelay": "10m"},
        PlanStep(weight_ppm=0, min_seconds=600.0, headers=PREVIEW, scale_ppm=WHOLE),
        SWITCHED,
    ),
    "by hand": (
        {"autoPromotion": False},
        PlanStep(weight_ppm=0, headers=PREVIEW, scale_ppm=WHOLE),
        SWITCHED,
    ),
    "a small preview without a header": (
        {"previewReplicas": 1, "previewHeaders": []},
        PlanStep(weight_ppm=0, min_seconds=0.0, replicas=1),
        SWITCHED,
    ),
    "another baseline and time": (
        {"baselineWeight": 0.5, "scaleDownDelay": "1h"},
        PlanStep(weight_ppm=0, min_seconds=0.0, headers=PREVIEW, scale_ppm=WHOLE),
        PlanStep(weight_ppm=995_000, min_seconds=3600.0, scale_ppm=WHOLE),
    ),
    "no baseline leaves a trace": (
        {"baselineWeight": 0},
        PlanStep(weight_ppm=0, min_seconds=0.0, headers=PREVIEW, scale_ppm=WHOLE),
        PlanStep(weight_ppm=WHOLE - TRACE, min_seconds=300.0, scale_ppm=WHOLE),
    ),
}


@pytest.mark.parametrize(("settings", "preview", "switched"), PLANS.values(), ids=PLANS.keys())
def test_the_plan(settings: dict[str, Any], preview: PlanStep, switched: PlanStep) -> None:
    assert blue_green_plan(BlueGreen.model_validate(settings)) == (preview, switched)


def test_the_plan_is_that_of_the_strategy() -> None:
    unsaid = builders.spec(1, rollout={**builders.BLUE_GREEN, "blueGreen": None}).rollout
    assert plan_of(unsaid) == blue_green_plan(BlueGreen())
    assert [step.weight_ppm for step in plan_of(builders.spec(1).rollout)] == [100_000, 500_000]


def rolled_out(cluster: Cluster) -> tuple[str, str]:
    """Return the stable revision, and the one on trial."""
    rollout, stable = cluster.recorded.rollout, cluster.recorded.stable
    assert rollout is not None
    assert stable is not None
    return stable.revision, rollout.revision


def pods(cluster: Cluster) -> dict[str, int]:
    return {revision: workload.replicas for revision, workload in cluster.workloads.items() if workload.replicas}


def with_settings(model: Model | None = None, **settings: Any) -> Cluster:
    merged = builders.changed(builders.BLUE_GREEN, {"blueGreen": {"autoPromotion": True, **settings}})
    return scenarios.with_candidate(model, rollout={**merged, "steps": None})


def test_a_preview_is_at_full_scale_and_reached_by_its_header_alone() -> None:
    cluster = scenarios.previewed()
    blue, green = rolled_out(cluster)
    assert pods(cluster) == {blue: 2, green: 2}
    assert cluster.traffic.split == {blue: WHOLE, green: 0}
    assert cluster.traffic.by_header == green
    assert cluster.recorded.rollout is not None
    assert cluster.recorded.rollout.judge == {}
    cluster.advance(3600)
    assert cluster.is_in("Held", "Paused"), "it waits for as long as it takes"


def test_the_switch_leaves_the_previous_revision_its_pods_and_a_share() -> None:
    cluster = scenarios.switched()
    blue, green = rolled_out(cluster)
    assert cluster.traffic.split == {blue: 100_000, green: 900_000}
    assert pods(cluster) == {blue: 2, green: 2}
    assert cluster.front == blue, "stable until the analysis has passed"
    started = cluster.now
    cluster.advance_to("Promoting")
    assert (cluster.now - started).total_seconds() >= 20 - 6 - 1, "scaleDownDelay since the switch"
    cluster.advance_to(walks.PROMOTED)
    cluster.advance(1)
    assert pods(cluster) == {green: 2}
    assert cluster.traffic.split == {blue: 0, green: WHOLE}
    assert cluster.traffic.by_header is None


def test_a_worse_revision_goes_back_by_itself() -> None:
    cluster = with_settings(walks.HARMFUL)
    blue = cluster.recorded.stable.revision if cluster.recorded.stable else ""
    cluster.advance_to("Aborting")
    assert pods(cluster)[blue] == 2, "it can take everybody at once"
    cluster.advance_to(("Degraded", "HarmDetected"))
    cluster.advance(1)
    assert pods(cluster) == {blue: 2}
    assert cluster.traffic.split[blue] == WHOLE
    entry = cluster.recorded.history[0]
    assert (entry.outcome, entry.previous) == ("Aborted", blue)


def test_the_switch_waits_for_its_delay() -> None:
    cluster = with_settings(autoPromotionDelay="40s")
    cluster.advance_to(("Progressing", "Observing"))
    started = cluster.now
    cluster.advance_to(("Progressing", "Routing"))
    assert (cluster.now - started).total_seconds() == pytest.approx(40, abs=1)


def test_a_small_preview_grows_before_the_switch() -> None:
    cluster = with_settings(previewReplicas=1, autoPromotionDelay="10s")
    cluster.advance_to(("Progressing", "Observing"))
    blue, green = rolled_out(cluster)
    assert pods(cluster) == {blue: 2, green: 1}
    while cluster.traffic.split[green] == 0:
        cluster.advance(1)
    assert cluster.ready(green) == 2, "all of its pods are ready before the first user"


def test_without_a_baseline_only_limits_of_its_own_send_it_back() -> None:
    cluster = with_settings(walks.HARMFUL, baselineWeight=0)
    limited = cluster.clone()
    limited.change(rollout={"analysis": {"metrics": scenarios.SLO_METRICS}})
    cluster.advance_to(walks.PROMOTED)
    limited.advance_to(("Degraded", "HarmDetected"))


def test_without_a_gateway_the_switch_is_by_the_front_service_and_waits_all_the_same() -> None:
    cluster = scenarios.with_candidate(gateway=False, rollout=builders.BLUE_GREEN)
    cluster.advance_to(("Held", "Paused"))
    blue, green = rolled_out(cluster)
    cluster.advance(600)
    assert (cluster.front, pods(cluster)) == (blue, {blue: 2, green: 2})
    cluster.ask("promote", "/1")
    cluster.advance_to(walks.PROMOTED)
    assert cluster.front == green
