"""Proof that "no request was lost" can fail: the order that the operator never uses, done by hand."""

import pytest

from e2e.scene import WAITING, Scene
from visionmodel_demo.kube import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_pods_before_weight_loses_requests(scene: Scene) -> None:
    """A canary without pods that still has half of the weight: what the gateway answers then is a loss.

    The gateway puts the canary's revision header on its own 503 too; it must not pass for the canary's own failure.
    """
    scene.serve()
    kube = scene.platform.kube
    scene.model.apply(scene.document("v2", *WAITING))
    canary = scene.wait_phase("Held", "Paused")["rollout"]["revision"]
    scene.operator.scale(0)
    try:
        with scene.load() as load:
            kube.run("scale", f"deployment/{scene.name}-{canary}-0", "-n", scene.namespace, "--replicas=0")
            wait_for(lambda: load.counters().failed > 0, timeout=90, what="a failed request")
        report = load.report(canary=canary)
    finally:
        scene.operator.scale(1)
    print(f"    {report}\n    {report.losses}")
    assert not report.void, str(report)
    assert report.lost > 0, str(report)
    assert report.own == 0, str(report)
