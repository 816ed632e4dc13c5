"""A build in front of a real registry: the artifact is found there, the engine is published there and unpacks."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from component.converter.conftest import JobRunner
from fakes.device import FakeDevice
from visionmodel_contract.build import BuildRequest, EngineOptions, ShapeRange
from visionmodel_contract.conversion import PublishTarget
from visionmodel_contract.report import ReportSummary
from visionmodel_converter.build import BuildJob, build
from visionmodel_converter.environment import environment_from
from visionmodel_converter.journal import Journal
from visionmodel_converter.store.publish import RegistryStore
from visionmodel_converter.store.registry import open_registry

pytestmark = [pytest.mark.component, pytest.mark.timeout(300)]


def built(job: JobRunner, device: FakeDevice, prepare_key: str, work: Path, *passed: str) -> ReportSummary:
    target = PublishTarget(repository=f"{job.registry.host}/{job.repository}", insecure=True)
    request = BuildRequest(
        namespace="shop",
        name="shapes",
        revision="0123456789",
        key="b" * 32,
        gate_key="c" * 32,
        prepare_key=prepare_key,
        options=EngineOptions(batch=ShapeRange(min=1, opt=2, max=2)),
        publish=target,
        passed_gate_keys=passed,
    )
    work.mkdir()
    environment = environment_from(job.environment)
    journal = Journal(io.StringIO(), lambda: datetime.now(UTC))
    with open_registry(job.registry.host, job.repository, insecure=True, environment=environment) as registry:
        return build(
            BuildJob(
                request,
                work,
                environment,
                RegistryStore(registry, lambda: datetime.now(UTC)),
                device,
                journal,
                1,
                ("build",),
            )
        )


def test_an_engine_of_a_published_artifact(job: JobRunner, trained: Path, tmp_path: Path) -> None:
    prepared = job.with_environment(VISIONMODEL_PVC_ROOT=str(trained.parent)).run(
        job.request(
            f"pvc://{trained.name}/digits/v1/model.onnx",
            options={"backend": "TensorRT"},
            gates={"accelerated": True},
        )
    )
    assert prepared.code == 0, prepared.stderr
    assert prepared.summary.artifact is not None
    device, key = FakeDevice(), prepared.summary.artifact.key
    summary = built(job, device, key, tmp_path / "first")
    assert summary.artifact is not None
    assert job.tags() == [f"prepare-{key}"]
    labels = job.registry.manifest(job.repository, f"engine-{summary.artifact.key}")["annotations"]
    assert labels["org.opencontainers.image.title"] == "VisionModel engine"

    assert job.fetch_artifact(summary.artifact.image, tmp_path / "served") == 0
    assert sorted(path.name for path in (tmp_path / "served").iterdir()) == [
        "model.plan",
        "provenance.json",
        "report.json",
    ]
    report = json.loads((tmp_path / "served" / "report.json").read_text())
    assert report["engine"]["prepareKey"] == key

    again = built(job, device, key, tmp_path / "second", "c" * 32)
    assert (again.cached, again.artifact, device.builds) == (True, summary.artifact, 1)
