"""What a plan does beside weights, on the cluster: a header leads to the canary, and its pods are those asked for."""

from dataclasses import replace

import pytest

from e2e.scene import Scene, assert_nothing_lost, attempt, newest, pause, weight
from example_models.shapes import traffic_images
from load import Load, LoadReport, LoadThread, Target, image_payloads
from visionmodel_demo.kube import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HEADER, VALUE = "x-canary", "1"
TESTERS = 5.0
"""Requests per second with the header."""
BY_HEADER = (
    {"setCanaryScale": {"replicas": 2}},
    {"setHeaderRoute": {"match": [{"headerName": HEADER, "headerValue": {"exact": VALUE}}]}},
    pause(),
    {"setCanaryScale": {"matchTrafficWeight": True}},
    weight(50),
    pause("5s"),
)
"""Testers alone until promoted, then half of everybody."""


def load_of_testers(scene: Scene) -> LoadThread:
    """Return traffic of those who send the header, not started yet."""
    target = Target(f"http://{scene.stage.address}", scene.name)
    images = traffic_images(seed=11, count=20, bright_share=0.0)
    payloads = [
        replace(payload, headers={**payload.headers, HEADER: VALUE})
        for payload in image_payloads(target, lambda index: images[index : index + 1], distinct=len(images))
    ]
    return LoadThread(Load(target, TESTERS, payloads, max_requests=3_000, max_seconds=600))


def answered_by(report: LoadReport) -> set[str]:
    """Return the revisions that answered."""
    return {revision for revision, count in report.revisions.items() if count}


def test_a_header_reaches_a_canary_without_a_share_and_is_gone_after_the_promotion(scene: Scene) -> None:
    stable = scene.serve()
    with scene.under_load() as users, load_of_testers(scene) as mine:
        scene.model.apply(scene.document("v2", *BY_HEADER))
        held = scene.wait_phase("Held", "Paused")
        canary = held["rollout"]["revision"]
        begun = (users.elapsed(), mine.elapsed())
        _wait_for_more(mine, 50)
        until = (users.elapsed(), mine.elapsed())
        judged, pods = scene.model.status()["rollout"].get("judge"), len(scene.pods(canary))
        scene.model.annotate("promote", f"{attempt(held)}/1")
        status = scene.wait_settled()
        users_alone = users.report(since=begun[0], until=until[0])
        testers_alone = mine.report(since=begun[1], until=until[1])
    assert_nothing_lost(mine.report())
    assert held["canary"]["weight"] == 0
    assert answered_by(users_alone) == {stable}, "no user reaches the canary"
    assert answered_by(testers_alone) == {canary}, "whoever asks for the canary gets it"
    assert not judged, "and is no evidence"
    assert pods == 2, "the canary has the pods that the plan asks for"
    assert newest(status) == ("Promoted", "Promoted")
    assert len(scene.route()["spec"]["rules"]) == 1
    assert len(scene.pods(canary)) == 1, "and those of the spec once it is stable"


def _wait_for_more(load: LoadThread, answers: int) -> None:
    enough = load.counters().answered + answers
    wait_for(lambda: load.counters().answered >= enough, timeout=60, what=f"{answers} more answers")
