"""What the commands write to a real API server is what the operator reads."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from contracts import manifests
from contracts.servers import RealServer, add_model
from unit.cli.models import STATES
from unit.core import builders
from unit.core.simulated_cluster import Cluster
from visionmodel_cli.cluster import ClusterError, connect
from visionmodel_cli.main import app
from visionmodel_cli.undo import undo
from visionmodel_devcluster import ControlPlane
from visionmodel_operator.api.v1alpha1 import parse_spec
from visionmodel_operator.core import names
from visionmodel_operator.core.requests import MAY_SERVE, Requests, requests_for
from visionmodel_operator.core.revision import revision_of, revision_sections

pytestmark = pytest.mark.apiserver

OLD, NEW = (revision_of(builders.spec(number)) for number in (1, 2))


class Scene:
    """One VisionModel in a recorded state, and the commands about it."""

    def __init__(self, server: RealServer, control_plane: ControlPlane) -> None:
        self.server = server
        self.kubeconfig = control_plane.kubeconfig

    async def in_state(self, state: str) -> Cluster:
        """Store what the operator would have recorded."""
        cluster = STATES[state]()
        await add_model(self.server, "shapes", cluster.document)
        await self.server.set_status("VisionModel", "shapes", cluster.status)
        return cluster

    async def run(self, *words: str) -> Result:
        where = ("--kubeconfig", str(self.kubeconfig), "-n", self.server.namespace)
        return await asyncio.to_thread(CliRunner().invoke, app, [words[0], "shapes", *words[1:], *where])

    async def answer(self, *words: str) -> Any:
        done = await self.run(*words, "-o", "json")
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    async def model(self) -> dict[str, Any]:
        body = await self.server.get("VisionModel", "shapes")
        assert body is not None
        return body

    async def requests(self, revision: str, attempt: int) -> Requests:
        """Read the annotations as the operator does."""
        annotations = (await self.model())["metadata"].get("annotations", {})
        return requests_for(annotations, revision, attempt, ())


@pytest.fixture
def scene(server: RealServer, control_plane: ControlPlane) -> Scene:
    return Scene(server, control_plane)


@pytest.mark.parametrize(
    ("words", "state", "is_asked"),
    [
        (("promote",), "observing", lambda asked: asked.promote_step == 1),
        (("promote", "--full"), "observing", lambda asked: asked.promote_full),
        (("promote",), "awaiting-apply", lambda asked: asked.promote_step == MAY_SERVE),
        (("abort",), "observing", lambda asked: asked.abort),
        (("pause",), "observing", lambda asked: asked.pause),
        (("retry",), "turned-back", lambda asked: asked.retry),
    ],
)
async def test_the_operator_reads_what_was_asked(
    words: tuple[str, ...], state: str, is_asked: Callable[[Requests], bool], scene: Scene
) -> None:
    await scene.in_state(state)
    assert not is_asked(await scene.requests(NEW, 1))
    answer = await scene.answer(*words)
    assert is_asked(await scene.requests(NEW, 1))
    assert not is_asked(await scene.requests(NEW, 2)) or words == ("pause",)
    assert answer["annotation"].startswith("visionmodel.dev/")
    writers = {entry["manager"] for entry in (await scene.model())["metadata"]["managedFields"]}
    assert "kubectl-visionmodel" in writers


async def test_resume_takes_the_pause_away(scene: Scene) -> None:
    await scene.in_state("observing")
    await scene.answer("pause")
    assert (await scene.run("pause")).exit_code == 1
    await scene.answer("resume")
    assert names.ANNOTATION_PAUSE not in (await scene.model())["metadata"].get("annotations", {})


@pytest.mark.parametrize("words", [("promote",), ("abort",), ("retry",), ("resume",), ("undo",)])
async def test_a_refusal_writes_nothing(words: tuple[str, ...], scene: Scene) -> None:
    await scene.in_state("healthy")
    before = await scene.model()
    done = await scene.run(*words)
    assert (done.exit_code, "VisionModel 'shapes'" in done.output) == (1, True)
    assert await scene.model() == before


async def test_undo_puts_the_stored_spec_back(scene: Scene) -> None:
    await scene.in_state("promoted")
    sections = json.dumps(revision_sections(builders.spec(1)))
    labels = names.object_labels("shapes", "serving", OLD)
    stored = manifests.config_map(f"shapes-{OLD}", {names.SPEC_FILE: sections}, labels)
    assert [row["canGoBack"] for row in await scene.answer("history")] == [False, False]
    await scene.server.add(stored)
    assert [row["canGoBack"] for row in await scene.answer("history")] == [False, True]
    before = parse_spec((await scene.model())["spec"])
    assert (await scene.answer("undo"))["revision"] == OLD
    after = parse_spec((await scene.model())["spec"])
    assert (revision_of(before), revision_of(after)) == (NEW, OLD)
    assert (after.rollout, after.traffic) == (before.rollout, before.traffic)
    assert after.serving.replicas == before.serving.replicas


async def test_a_change_by_somebody_else_stops_an_undo(scene: Scene) -> None:
    await scene.in_state("promoted")
    model = await scene.model()
    request = undo(model, OLD, {names.SPEC_FILE: json.dumps(revision_sections(builders.spec(1)))}, builders.START)
    await scene.server.edit("VisionModel", "shapes", {"spec": {"suspend": True}})
    with (
        connect(scene.kubeconfig, None, scene.server.namespace) as cluster,
        pytest.raises(ClusterError, match="changed by somebody else meanwhile; look again"),
    ):
        await asyncio.to_thread(cluster.patch_spec, "shapes", request.patch)


async def test_the_operators_own_writing_stops_no_undo(scene: Scene) -> None:
    cluster = await scene.in_state("promoted")
    request = undo(
        await scene.model(), OLD, {names.SPEC_FILE: json.dumps(revision_sections(builders.spec(1)))}, builders.START
    )
    await scene.server.set_status("VisionModel", "shapes", {**cluster.status, "message": "another pass"})
    with connect(scene.kubeconfig, None, scene.server.namespace) as api:
        await asyncio.to_thread(api.patch_spec, "shapes", request.patch)
    assert revision_of(parse_spec((await scene.model())["spec"])) == OLD


async def test_status_lists_the_pods_by_revision(scene: Scene) -> None:
    await scene.in_state("observing")
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await scene.server.add(manifests.pod("new-0", names.object_labels("shapes", "serving", NEW), ready))
    await scene.server.add(manifests.pod("job-0", names.object_labels("shapes", "conversion", NEW), ready))
    answer = await scene.answer("status")
    assert {one["revision"]: [pod["name"] for pod in one["pods"]] for one in answer["revisions"]} == {
        OLD: [],
        NEW: ["new-0"],
    }


@pytest.mark.parametrize(("state", "code"), [("promoted", 0), ("turned-back", 3), ("suspended", 4)])
async def test_watch_ends_with_its_code(state: str, code: int, scene: Scene) -> None:
    cluster = await scene.in_state(state)
    generation = (await scene.model())["metadata"]["generation"]
    await scene.server.set_status("VisionModel", "shapes", {**cluster.status, "observedGeneration": generation})
    done = await scene.run("status", "-w", "--timeout", "20s")
    assert (done.exit_code, len(done.output.splitlines())) == (code, 1)


async def test_watch_ends_after_its_time(scene: Scene) -> None:
    await scene.in_state("observing")
    assert (await scene.run("status", "-w", "--timeout", "0s")).exit_code == 5
