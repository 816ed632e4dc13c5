"""Strategy BlueGreen on the cluster under load: one switch that costs nobody a request, and a way back by itself."""

from typing import Any

import pytest

from e2e.scene import Scene, assert_nothing_lost, attempt, is_in, newest
from e2e.testers import Seen, evidence, load_of_testers, watch_both

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HEADER, VALUE = "x-visionmodel-preview", "true"
ERRORS = {"name": "errors", "type": "ErrorRate"}


def document(scene: Scene, version: str, *, replicas: int = 1, **settings: Any) -> dict[str, Any]:
    """Return a VisionModel with strategy BlueGreen; `settings` are fields of spec.rollout.blueGreen."""
    found = scene.document(version, metrics=[ERRORS])
    del found["spec"]["rollout"]["steps"]
    found["spec"]["rollout"] |= {"strategy": "BlueGreen", "blueGreen": settings}
    found["spec"]["serving"]["replicas"] = replicas
    return found


def test_a_good_version_is_previewed_and_takes_over_from_one_that_could_take_back(scene: Scene) -> None:
    blue = scene.serve(document(scene, "v1", replicas=2))
    with scene.under_load() as users, load_of_testers(scene, HEADER, VALUE) as testers:
        scene.model.apply(document(scene, "v2", replicas=2, autoPromotion=False, scaleDownDelay="10s"))
        held = scene.wait_phase("Held", "Paused")
        green = held["rollout"]["revision"]
        previewed = watch_both(users, testers)
        judged, pods = evidence(scene), (len(scene.pods(blue)), len(scene.pods(green)))
        scene.model.annotate("promote", f"{attempt(held)}/1")
        switched = scene.wait_phase("Progressing", "Observing")
        kept = len(scene.pods(blue))
        status = scene.wait_settled()
    assert_nothing_lost(testers.report())
    assert previewed() == Seen(users={blue}, testers={green}), "a preview is for those who ask for it"
    assert (judged, pods) == ({}, (2, 2)), "and at full scale"
    assert (switched["canary"]["weight"], switched["stable"]["revision"], kept) == (90, blue, 2)
    assert newest(status) == ("Promoted", "Promoted")
    assert status["stable"]["revision"] == green
    assert len(scene.route()["spec"]["rules"]) == 1


def test_a_bad_version_is_switched_to_and_goes_back_by_itself(scene: Scene) -> None:
    blue = scene.serve(document(scene, "v1"))
    shares: set[float] = set()
    with scene.under_load(failing=True):
        scene.model.apply(document(scene, "v3-failing", scaleDownDelay="5m"))
        status = scene.model.wait(
            is_in("Degraded"),
            what="the way back",
            timeout=240,
            look=lambda seen: shares.add(seen.get("canary", {}).get("weight", 0)),
        )
    assert 90 in shares, "it had been switched to"
    assert newest(status) == ("Aborted", "HarmDetected")
    assert status["stable"]["revision"] == blue
    assert sorted(scene.weights()) == [0, 1_000_000]
