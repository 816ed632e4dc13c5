"""The example models through the Job: the gates agree with the trainers' own metric and keep the bad one out."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from evaluation import write_part
from example_models.families import BANDS
from visionmodel_contract.exits import ExitCode

from .conftest import Finished, JobRunner

PUBLISHED = ["shapes/v1", "shapes/v2", "shapes/v3-failing", "digits/v1"]


@pytest.fixture(scope="module")
def claims(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of claims: `models` holds the trained models and their datasets, one of them also in part."""
    folder = tmp_path_factory.mktemp("claims")
    shutil.copytree(trained, folder / "models")
    write_part(folder / "models" / "shapes" / "evaluation.npz", folder / "models" / "shapes" / "part.npz")
    return folder


def run(
    job: JobRunner, claims: Path, name: str, limit: float, dataset: str = "evaluation.npz", **changes: Any
) -> Finished:
    goal = {"name": BANDS[name].metric, "goal": "threshold", "value": limit}
    parity = {"datasetUri": f"pvc://models/{name.split('/')[0]}/{dataset}", "metrics": [goal]}
    request = job.request(f"pvc://models/{name}/model.onnx", parity=parity, **changes)
    return job.with_environment(VISIONMODEL_PVC_ROOT=str(claims)).run(request, work=name.replace("/", "-"))


def promised(claims: Path, name: str) -> float:
    files = json.loads((claims / "models" / "models.json").read_text())["files"]
    return float(next(entry["value"] for entry in files if entry["file"] == f"{name}/model.onnx"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_good_model_is_published_with_its_metric(job: JobRunner, claims: Path, name: str) -> None:
    done = run(job, claims, name, BANDS[name].low)
    assert done.code == 0, done.stderr
    (gate,) = done.summary.gates
    assert gate.passed
    assert gate.source_value == pytest.approx(gate.value, abs=1e-3)
    assert gate.value == pytest.approx(promised(claims, name), abs=0.02)  # 101 points here, every point there
    assert len(job.tags()) == 1


def test_openvino_is_judged_in_openvino(job: JobRunner, claims: Path, tmp_path: Path) -> None:
    """The artifact is the same ONNX file, but its goals are measured in the runtime that will serve it."""
    done = run(job, claims, "shapes/v2", BANDS["shapes/v2"].low, options={"backend": "OpenVINO"})
    assert done.code == 0, done.stderr
    (gate,) = done.summary.gates
    assert gate.source_value == pytest.approx(gate.value, abs=1e-3)
    assert done.summary.artifact is not None
    assert job.fetch_artifact(done.summary.artifact.image, tmp_path / "v") == 0
    statement = json.loads((tmp_path / "v" / "provenance.json").read_text())
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["options"]["backend"] == "OpenVINO"
    assert f"pkg:pypi/openvino@{version('openvino')}" in [entry["uri"] for entry in definition["resolvedDependencies"]]


def test_slow_model_is_published_with_the_metric_of_the_one_that_it_delays(job: JobRunner, claims: Path) -> None:
    done, quick = (run(job, claims, name, BANDS[name].low, "part.npz") for name in ("shapes/v3-slow", "shapes/v2"))
    assert done.code == 0, done.stderr
    (gate,), (other,) = done.summary.gates, quick.summary.gates
    assert gate.passed
    assert gate.source_value == pytest.approx(gate.value, abs=1e-3)
    assert gate.value == pytest.approx(other.value, abs=1e-3)
    assert len(job.tags()) == 2


def test_bad_detector_is_kept_out(job: JobRunner, claims: Path) -> None:
    done = run(job, claims, "shapes/v4", 0.7)
    assert done.summary.failure is not None
    assert (done.code, done.summary.failure.reason) == (ExitCode.GATE_FAILED, "GateFailed")
    assert done.summary.gates[0].value < 0.3
    assert job.tags() == []
