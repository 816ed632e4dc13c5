"""A new operator leaves running pods alone, also when it would render them differently."""

from typing import Any

import pytest

from e2e.installation import Installation
from e2e.scene import WAITING, Scene, assert_nothing_lost, new_name

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def serving(scene: Scene) -> dict[str, str]:
    """Return the template hash of every serving pod, by its uid."""
    return {pod["metadata"]["uid"]: pod["metadata"]["labels"]["pod-template-hash"] for pod in scene.pods()}


def init_containers(pod: dict[str, Any]) -> list[str]:
    return [container["name"] for container in pod["spec"].get("initContainers", [])]


def test_upgrade_in_mid_canary_restarts_no_serving_pod(
    scene: Scene, namespace: str, installation: Installation
) -> None:
    """The new operator fetches artifacts by init containers: new pods do so, pods that run are not touched."""
    scene.serve()
    before = scene.operator.pod()["metadata"]["uid"]
    fetched = Scene(installation, namespace, new_name(), scene.folder)
    with scene.load() as load:
        scene.model.apply(scene.document("v2", *WAITING))
        status = scene.wait_phase("Held", "Paused")
        pods = serving(scene)
        try:
            installation.install(imageVolumes="false", podAnnotations__upgraded="yes")
            assert scene.operator.pod()["metadata"]["uid"] != before
            fetched.serve()
            assert serving(scene) == pods
        finally:
            installation.install()
        scene.model.annotate("promote", f"{status['rollout']['revision']}/{status['rollout']['attempt']}")
        ended = scene.wait_settled()
    assert_nothing_lost(load.report())
    assert len(pods) == 2
    assert set(serving(scene)) < set(pods), "the promoted pod is the one that was on trial"
    assert ended["history"][0]["outcome"] == "Promoted"
    assert [init_containers(pod) for pod in scene.pods()] == [[]]
    assert [len(init_containers(pod)) for pod in fetched.pods()] == [1]
    fetched.answer()
    fetched.delete()
