"""What a plan does beside weights, on the cluster: a header leads to the canary, and its pods are those asked for."""

import pytest

from e2e.scene import Scene, assert_nothing_lost, attempt, newest, pause, weight
from e2e.testers import Seen, evidence, load_of_testers, watch_both

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HEADER, VALUE = "x-canary", "1"
BY_HEADER = (
    {"setCanaryScale": {"replicas": 2}},
    {"setHeaderRoute": {"match": [{"headerName": HEADER, "headerValue": {"exact": VALUE}}]}},
    pause(),
    {"setCanaryScale": {"matchTrafficWeight": True}},
    weight(50),
    pause("5s"),
)
"""Testers alone until promoted, then half of everybody."""


def test_a_header_reaches_a_canary_without_a_share_and_is_gone_after_the_promotion(scene: Scene) -> None:
    stable = scene.serve()
    with scene.under_load() as users, load_of_testers(scene, HEADER, VALUE) as testers:
        scene.model.apply(scene.document("v2", *BY_HEADER))
        held = scene.wait_phase("Held", "Paused")
        canary = held["rollout"]["revision"]
        seen = watch_both(users, testers)
        judged, pods = evidence(scene), len(scene.pods(canary))
        scene.model.annotate("promote", f"{attempt(held)}/1")
        status = scene.wait_settled()
    assert_nothing_lost(testers.report())
    assert held["canary"]["weight"] == 0
    assert seen() == Seen(users={stable}, testers={canary}), "whoever asks for the canary gets it, and nobody else"
    assert judged == {}, "who asks for the canary is no evidence"
    assert pods == 2, "the canary has the pods that the plan asks for"
    assert newest(status) == ("Promoted", "Promoted")
    assert len(scene.route()["spec"]["rules"]) == 1
    assert len(scene.pods(canary)) == 1, "and those of the spec once it is stable"
