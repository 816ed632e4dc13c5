"""Exports beside the artifact in a real registry: never in its image, fetched by their own digests."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from component.converter.conftest import JobRunner
from component.converter.test_precisions import run
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.precision import ExportFormat

pytestmark = [pytest.mark.component, pytest.mark.timeout(300)]

BOTH = ["ORT", "OpenVINO"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_published_beside_the_artifact(job: JobRunner, trained: Path, tmp_path: Path, precision: str) -> None:
    done = run(job, trained, {"precisions": [precision]}, exports=BOTH)
    assert done.code == 0, done.stderr
    assert done.summary.artifact is not None
    ort, openvino = done.summary.exports
    assert (ort.format, openvino.format) == (ExportFormat.ORT, ExportFormat.OPENVINO)
    tags = job.registry.tags(job.repository)
    assert len([tag for tag in tags if re.fullmatch("export-[0-9a-f]{32}", tag)]) == 2
    assert [line["stage"] for line in done.progress][-3:] == ["Export", "Export", "Done"]

    artifact, export = tmp_path / "artifact", tmp_path / "export"
    assert job.fetch_artifact(done.summary.artifact.image, artifact) == 0
    assert sorted(path.name for path in artifact.iterdir()) == ["model.onnx", "provenance.json", "report.json"]
    assert job.fetch_artifact(ort.image or "", export) == 0
    assert sorted(path.name for path in export.iterdir()) == ["export.json", "model.ort"]
    record = json.loads((export / "export.json").read_text())
    assert record["modelDigest"] == done.summary.artifact.model_digest
    images = np.random.default_rng(3).random((2, 3, 64, 64), np.float32)
    expected = onnxruntime.InferenceSession(artifact / "model.onnx").run(None, {"images": images})
    actual = onnxruntime.InferenceSession(export / "model.ort").run(None, {"images": images})
    for left, right in zip(expected, actual, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4 * np.abs(left).max())


def test_asked_for_later_nothing_is_converted_again(job: JobRunner, trained: Path) -> None:
    first = run(job, trained, {"precisions": ["fp32"]})
    later = run(job, trained, {"precisions": ["fp32"]}, exports=BOTH, work="later")
    assert later.summary.artifact == first.summary.artifact
    assert later.summary.gate_key != first.summary.gate_key
    stages = [line["stage"] for line in later.progress]
    assert ("Publish" in stages, stages.count("Export")) == (False, 2)
    again = run(job, trained, {"precisions": ["fp32"]}, exports=BOTH[::-1], work="again")
    assert again.summary.exports == later.summary.exports[::-1]
    known = {"exports": BOTH, "passedGateKeys": [later.summary.gate_key]}
    known_stages = [
        line["stage"] for line in run(job, trained, {"precisions": ["fp32"]}, work="known", **known).progress
    ]
    assert (known_stages[-2:], "Check" in known_stages) == (["Lookup", "Done"], False)


def test_what_this_image_cannot_export_is_refused_first(job: JobRunner, trained: Path) -> None:
    done = run(job, trained, {"precisions": ["fp32"]}, exports=["TFLite"])
    assert (done.code, done.progress[0]["stage"], job.tags()) == (
        ExitCode.RUNTIME_MISSING,
        "ExporterNotInstalled",
        [],
    )
