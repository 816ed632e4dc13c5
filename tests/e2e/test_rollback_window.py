"""Back to what served an hour ago: one jump under load, and nobody notices."""

import pytest

from e2e.scene import Scene
from visionmodel_demo.platform import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def jobs_told_of(platform: Platform, namespace: str) -> int:
    """Return how many Jobs were ever created in a namespace."""
    chosen = "involvedObject.kind=VisionModel,reason=ConversionStarted"
    return len(platform.kube.run("get", "events", "-n", namespace, "-o", "name", "--field-selector", chosen).split())


def test_first_version_applied_again_is_back_in_one_jump(scene: Scene) -> None:
    first = scene.serve()
    with scene.under_load() as load:
        scene.model.apply(scene.document("v2"))
        scene.wait_phase("Draining")
        promoted = scene.wait_settled()
        second, jobs = promoted["stable"]["revision"], jobs_told_of(scene.platform, scene.namespace)
        told = len(scene.told)
        scene.model.apply(scene.document("v1"))
        scene.wait_phase("RollingBack")
        status = scene.wait_settled()
    ends = [(entry["revision"], entry["outcome"], entry["reason"]) for entry in status["history"]]
    assert ends == [
        (first, "RolledBack", "RolledBack"),
        (second, "Promoted", "Promoted"),
        (first, "Promoted", "Promoted"),
    ]
    assert (status["phase"], status["reason"], status["stable"]["revision"]) == ("Healthy", "RolledBack", first)
    assert [line for line in scene.told[told:] if "Progressing/" in line or "Converting/" in line] == []
    assert jobs_told_of(scene.platform, scene.namespace) == jobs, "nothing is converted again"
    assert sorted(scene.weights()) == [0, 1_000_000]
    assert [pod["metadata"]["labels"]["visionmodel.dev/revision"] for pod in scene.pods()] == [first]
    assert {first, second} <= set(load.report().revisions), "both answered"
    (event,) = scene.events("RolledBack")
    assert event["message"] == f"Healthy: {status['history'][0]['message']}"
