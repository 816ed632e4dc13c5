"""The example models through the Job: the gates agree with the trainers' own metric and keep the bad one out."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from example_models.families import BANDS
from visionmodel_contract.exits import ExitCode

from .conftest import Finished, JobRunner

PUBLISHED = ["shapes/v1", "shapes/v2", "shapes/v3-failing", "shapes/v3-slow", "digits/v1"]


def run(job: JobRunner, trained: Path, name: str, limit: float, **changes: Any) -> Finished:
    family = name.split("/")[0]
    goal = {"name": BANDS[name].metric, "goal": "threshold", "value": limit}
    dataset = f"pvc://{trained.name}/{family}/evaluation.npz"
    mounted = job.with_environment(VISIONMODEL_PVC_ROOT=str(trained.parent))
    parity = {"datasetUri": dataset, "metrics": [goal]}
    request = job.request(f"pvc://{trained.name}/{name}/model.onnx", parity=parity, **changes)
    return mounted.run(request)


def promised(trained: Path, name: str) -> float:
    files = json.loads((trained / "models.json").read_text())["files"]
    return float(next(entry["value"] for entry in files if entry["file"] == f"{name}/model.onnx"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_good_model_is_published_with_its_metric(job: JobRunner, trained: Path, name: str) -> None:
    done = run(job, trained, name, BANDS[name].low)
    assert done.code == 0, done.stderr
    (gate,) = done.summary.gates
    assert gate.passed
    assert gate.source_value == pytest.approx(gate.value, abs=1e-3)
    assert gate.value == pytest.approx(promised(trained, name), abs=0.02)  # 101 points here, every point there
    assert len(job.tags()) == 1


def test_openvino_is_judged_in_openvino(job: JobRunner, trained: Path, tmp_path: Path) -> None:
    """The artifact is the same ONNX file, but its goals are measured in the runtime that will serve it."""
    done = run(job, trained, "shapes/v2", BANDS["shapes/v2"].low, options={"backend": "OpenVINO"})
    assert done.code == 0, done.stderr
    (gate,) = done.summary.gates
    assert gate.source_value == pytest.approx(gate.value, abs=1e-3)
    assert done.summary.artifact is not None
    assert job.fetch_artifact(done.summary.artifact.image, tmp_path / "v") == 0
    statement = json.loads((tmp_path / "v" / "provenance.json").read_text())
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["options"]["backend"] == "OpenVINO"
    assert f"pkg:pypi/openvino@{version('openvino')}" in [entry["uri"] for entry in definition["resolvedDependencies"]]


def test_bad_detector_is_kept_out(job: JobRunner, trained: Path) -> None:
    done = run(job, trained, "shapes/v4", 0.7)
    assert done.summary.failure is not None
    assert (done.code, done.summary.failure.reason) == (ExitCode.GATE_FAILED, "GateFailed")
    assert done.summary.gates[0].value < 0.3
    assert job.tags() == []
