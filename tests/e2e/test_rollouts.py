"""The demo's stories with everything asserted: one VisionModel from its first version to three bad ones.

The tests are one story in order; each starts from what the one before left.
"""

from collections.abc import Iterator

import pytest

from e2e.installation import Installation, restricted_namespace
from e2e.scene import Scene, new_name
from visionmodel_demo import stories
from visionmodel_demo.kube import KubectlError
from visionmodel_demo.stories import Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def shapes(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    """The VisionModel of the whole story, in a namespace in which nothing was ever converted."""
    with restricted_namespace(installation, lambda: request.session.testsfailed) as namespace:
        scene = Scene(installation, namespace, new_name(), tmp_path_factory.mktemp("story"))
        yield scene
        if not request.session.testsfailed:
            scene.delete()


def broken_promises(story: Story) -> list[str]:
    return [f"{fact.what}: {fact.value}" for fact in story.facts if not fact.is_kept]


def test_first_version_is_converted_proven_and_served(shapes: Scene) -> None:
    story = stories.first_version(shapes.stage)
    assert broken_promises(story) == []
    status = shapes.model.status()
    gates = status["conversion"]["report"]["parity"]
    assert [(gate["metric"], gate["passed"]) for gate in gates] == [("map50", True)]
    assert gates[0]["value"] >= gates[0]["limit"] == 0.8
    assert status["simulatedAccelerators"] is (True if shapes.platform.is_ours else None)
    assert shapes.model.condition("Ready")["status"] == "True"


def test_namespace_admits_only_restricted_pods(shapes: Scene) -> None:
    """What the first version ran in is strict: a copy of its pod without the security context is refused."""
    pod = shapes.pods()[0]
    container = {"name": "copy", "image": pod["spec"]["containers"][0]["image"]}
    copy = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "copy", "namespace": shapes.namespace}}
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        shapes.platform.kube.apply({**copy, "spec": {"containers": [container]}})


def test_good_version_is_promoted_and_nothing_is_lost(shapes: Scene) -> None:
    stable = shapes.model.status()["stable"]["revision"]
    story = stories.good_version(shapes.stage)
    assert broken_promises(story) == []
    status = shapes.model.status()
    assert status["stable"]["revision"] != stable
    assert (status["phase"], status["history"][0]["outcome"]) == ("Healthy", "Promoted")


def test_failing_version_is_sent_back_for_its_errors(shapes: Scene) -> None:
    story = stories.bad_in_serving(shapes.stage, "v3-failing", "fails", fails=True)
    assert broken_promises(story) == []
    newest = shapes.model.status()["history"][0]
    assert (newest["outcome"], newest["reason"]) == ("Aborted", "HarmDetected")
    assert newest["message"].startswith("errors: ")


def test_slow_version_is_sent_back_for_its_latency(shapes: Scene) -> None:
    story = stories.bad_in_serving(shapes.stage, "v3-slow", "is slow", fails=False)
    assert broken_promises(story) == []
    newest = shapes.model.status()["history"][0]
    assert (newest["outcome"], newest["reason"]) == ("Aborted", "HarmDetected")
    assert newest["message"].startswith("latency: p50 canary ")


def test_badly_trained_version_gets_no_traffic(shapes: Scene) -> None:
    story = stories.broken_in_conversion(shapes.stage)
    assert broken_promises(story) == []
    parity = shapes.model.condition("ParityPassed")
    assert (parity["status"], parity["reason"]) == ("False", "ConversionFailed")
    assert "map50" in parity["message"]
    assert shapes.model.condition("Ready")["status"] == "True"


def test_same_content_is_never_converted_twice(shapes: Scene) -> None:
    """A second VisionModel of the same digests finds artifact and verdict of the first: no Job, not for a moment.

    The first one names its dataset without a digest: what its Job read is what the second one asks for.
    """
    second = Scene(shapes.installation, shapes.namespace, new_name(), shapes.folder)
    document = second.stage.version("v2")
    document["spec"]["conversion"]["gates"]["parity"]["datasetDigest"] = shapes.installation.evaluation
    second.serve(document)
    kube = second.platform.kube
    jobs = [job["metadata"]["name"] for job in kube.items("jobs", second.namespace)]
    told = kube.run(
        "get", "events", "-n", second.namespace, "-o", "name", "--field-selector", "involvedObject.kind=Job"
    )
    assert [name for name in jobs if name.startswith(second.name)] == []
    assert second.name not in told
    assert shapes.name in told, "events name the Jobs of the first one, so they would name those of the second"
    assert second.model.status()["conversion"]["stage"] == "Done"
    second.delete()
