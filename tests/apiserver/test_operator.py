"""The whole operator process: a model becomes healthy, kills are harmless, one of two works, stopping is clean."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from apiserver.operator_process import JOB_DONE, OperatorProcess, finished_container
from contracts import manifests
from contracts.servers import SPEC, RealServer, add_model
from visionmodel_contract.conversion import ConversionOptions, GatesRequest
from visionmodel_contract.keys import gate_key, prepare_key
from visionmodel_contract.precision import Backend, Precision
from visionmodel_contract.report import ArtifactInfo, ReportSummary, TensorSpec
from visionmodel_devcluster import ControlPlane
from visionmodel_operator.adapters.lease import LeaseObject
from visionmodel_operator.core import names

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(300)]

DIGEST = "sha256:" + "1" * 64
KEY = prepare_key(DIGEST, ConversionOptions())
TENSOR = TensorSpec(name="x", dtype="float32", dims=(-1, 4))
SUMMARY = ReportSummary(
    result="Succeeded",
    source_digest=DIGEST,
    gate_key=gate_key(KEY, GatesRequest()),
    artifact=ArtifactInfo(
        key=KEY,
        image=f"registry.example/artifacts@{DIGEST}",
        digest=DIGEST,
        model_digest=DIGEST,
        report_digest=DIGEST,
        precision=Precision.FP32,
        size_bytes=1000,
        nodes_before=3,
        nodes_after=2,
        inputs=(TENSOR,),
        outputs=(TENSOR,),
        opset=17,
    ),
)


class Scene:
    """One namespace, the operator processes that watch it, and what happens in it."""

    def __init__(self, server: RealServer, kubeconfig: Path, folder: Path) -> None:
        self.server = server
        self._kubeconfig = kubeconfig
        self._folder = folder

    def operator(self, identity: str = "op-1", **settings: str) -> OperatorProcess:
        namespace = self.server.namespace
        log = self._folder / f"{identity}.log"
        own = {"WATCH_NAMESPACES": namespace, "LEASE_NAMESPACE": namespace, **settings}
        return OperatorProcess(self._kubeconfig, log, identity, **own)

    async def phase(self) -> str | None:
        body = await self.server.get("VisionModel", "m")
        assert body is not None
        phase: str | None = body.get("status", {}).get("phase")
        return phase

    async def in_phase(self, phase: str) -> bool:
        return await self.phase() == phase

    async def items(self, path: str) -> list[dict[str, Any]]:
        group, plural = path.rsplit("/", 1)
        answer = await self.server.connection.request("GET", f"{group}/namespaces/{self.server.namespace}/{plural}")
        found: list[dict[str, Any]] = answer.body["items"]
        return found

    async def one(self, path: str) -> dict[str, Any] | None:
        return next(iter(await self.items(path)), None)

    async def named(self, path: str, ending: str) -> dict[str, Any] | None:
        found = (item for item in await self.items(path) if item["metadata"]["name"].endswith(ending))
        return next(found, None)

    async def finish_job(self, job: dict[str, Any], summary: ReportSummary = SUMMARY) -> None:
        name = job["metadata"]["name"]
        labels = {"batch.kubernetes.io/job-name": name}
        await self.server.add(manifests.pod(f"{name}-pod", labels, finished_container(summary.to_json())))
        await self.server.set_status("Job", name, JOB_DONE)

    async def make_ready(self, deployment: dict[str, Any]) -> None:
        count, generation = deployment["spec"]["replicas"], deployment["metadata"]["generation"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
        status = {"observedGeneration": generation, **counts}
        name, revision = deployment["metadata"]["name"], deployment["metadata"]["labels"][names.LABEL_REVISION]
        await self.server.set_status("Deployment", name, status)
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"}
        pod_status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready]}
        await self.server.add(manifests.pod(f"{name}-pod", names.object_labels("m", "serving", revision), pod_status))

    async def told(self, reason: str) -> bool:
        return any(event["reason"] == reason for event in await self.items("/apis/events.k8s.io/v1/events"))

    async def lease_holder(self) -> str | None:
        lease = await LeaseObject(self.server.connection, self.server.namespace, "visionmodel-operator").read()
        return None if lease is None else lease.holder


@pytest.fixture
def scene(server: RealServer, control_plane: ControlPlane, tmp_path: Path) -> Scene:
    return Scene(server, control_plane.kubeconfig, tmp_path)


async def test_a_model_becomes_healthy_over_two_kills(scene: Scene) -> None:
    await add_model(scene.server)
    with scene.operator() as operator:
        job = await operator.until(lambda: scene.one("/apis/batch/v1/jobs"), "a conversion Job")
        assert operator.stop(signal.SIGKILL) == -signal.SIGKILL
    await scene.finish_job(job)
    with scene.operator() as operator:
        deployment = await operator.until(lambda: scene.one("/apis/apps/v1/deployments"), "a Deployment")
        assert operator.stop(signal.SIGKILL) == -signal.SIGKILL
    await scene.make_ready(deployment)
    with scene.operator() as operator:
        await operator.until(lambda: scene.in_phase("Healthy"), "phase Healthy")
        assert operator.stop() == 0
        assert '"level": "ERROR"' not in operator.log
    body = await scene.server.get("VisionModel", "m")
    assert body is not None
    assert [key for key in body["metadata"].get("annotations", {}) if "kopf" in key] == []
    assert body["metadata"].get("finalizers") is None
    assert body["metadata"]["generation"] == 1
    assert await scene.items("/apis/batch/v1/jobs") == []


async def test_an_artifact_in_a_store_that_was_left_is_prepared_again_for_its_engine(scene: Scene) -> None:
    options, gates = ConversionOptions(backend=Backend.TENSORRT), GatesRequest(accelerated=True)
    key = prepare_key(DIGEST, options)
    assert SUMMARY.artifact is not None
    made = SUMMARY.artifact.model_copy(update={"key": key})
    present = SUMMARY.model_copy(update={"artifact": made, "gate_key": gate_key(key, gates)})
    left = made.model_copy(update={"image": f"left.example/artifacts@{DIGEST}"})
    sections = {"conversion": {"backend": "TensorRT"}, "accelerators": [{"product": "NVIDIA-L4"}]}
    await add_model(scene.server, spec={**SPEC, **sections})
    image = {"image": "registry.example/triton:1", "tritonVersion": "2.51", "tensorrtConverterImage": "r.example/trt:1"}
    with scene.operator(RUNTIMES=json.dumps({"24.10": image})) as operator:
        jobs = "/apis/batch/v1/jobs"
        first = await operator.until(lambda: scene.named(jobs, "-prepare"), "the prepare Job")
        await scene.finish_job(first, present.model_copy(update={"artifact": left}))
        again = await operator.until(lambda: scene.named(jobs, "-prepare-again"), "another prepare Job")
        assert await scene.named(jobs, "-build-0") is None
        body = await scene.server.get("VisionModel", "m")
        assert body is not None
        assert (body["status"]["reason"], body["status"]["conversion"]["leftStore"]) == (
            "StoreLeft",
            "left.example/artifacts",
        )
        await operator.until(lambda: scene.told("StoreLeft"), "its event")
        await scene.finish_job(again, present)
        await operator.until(lambda: scene.named(jobs, "-build-0"), "the build Job")
        assert '"level": "ERROR"' not in operator.log


async def test_one_of_two_works_and_the_other_takes_over(scene: Scene) -> None:
    with scene.operator("op-1") as first:

        async def led_by(name: str) -> bool:
            return await scene.lease_holder() == name

        await first.until(lambda: led_by("op-1"), "leadership of op-1")
        with scene.operator("op-2") as second:

            async def is_ready() -> bool:
                return second.get("/readyz") == (200, "ok\n")

            await second.until(is_ready, "readiness of the standby")
            assert await scene.lease_holder() == "op-1"
            assert "visionmodel_leader 0.0" in second.get("/metrics")[1]
            assert first.stop() == 0
            await second.until(lambda: led_by("op-2"), "leadership of op-2")
            await add_model(scene.server)
            await second.until(lambda: scene.in_phase("Converting"), "phase Converting")
            assert second.stop() == 0
    assert await scene.lease_holder() == ""


async def test_an_edit_while_nobody_watched_is_seen(scene: Scene) -> None:
    await add_model(scene.server)
    with scene.operator() as operator:
        first = await operator.until(lambda: scene.one("/apis/batch/v1/jobs"), "a conversion Job")
        assert operator.stop() == 0
    await scene.server.edit("VisionModel", "m", {"spec": {"serving": {"instances": 2}}})
    with scene.operator() as operator:

        async def other_revision() -> str | None:
            body = await scene.server.get("VisionModel", "m")
            assert body is not None
            revision: str = body["status"]["targetRevision"]
            return None if revision == first["metadata"]["labels"][names.LABEL_REVISION] else revision

        assert len(await operator.until(other_revision, "a new target revision")) == 10
        assert operator.stop() == 0


async def test_a_setting_that_is_wrong_ends_the_process_at_once(scene: Scene, tmp_path: Path) -> None:
    log = tmp_path / "wrong.log"
    with OperatorProcess(tmp_path / "kubeconfig", log, "op-1", WORKERS="many") as operator:
        assert operator.process.wait(30) == 1
    assert (
        operator.log == "visionmodel-operator: VISIONMODEL_WORKERS must be a whole number from 1 to 256, not 'many'\n"
    )
