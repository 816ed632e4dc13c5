"""The worst samples beside the report: in the published image, in a folder, and always the same bytes."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from component.converter.conftest import Finished, JobRunner
from component.converter.test_images import TASK, archive_files
from component.converter.test_standalone import convert
from unit.converter.gates.archives import zip_bytes

pytestmark = [pytest.mark.component, pytest.mark.timeout(300)]

PICTURES = ("worst.html", "worst.png")


def int8_from_images(job: JobRunner, trained: Path, *, work: str, repository: str = "") -> Finished:
    """Convert the good detector to INT8, calibrated and judged by the scenes as pictures."""
    claim = job.pvc_root / "models"
    claim.mkdir(exist_ok=True)
    (claim / "scenes.zip").write_bytes(zip_bytes(archive_files()))
    (claim / "m.onnx").write_bytes((trained / "shapes" / "v2" / "model.onnx").read_bytes())
    options = {"precisions": ["int8"], "calibration": {"datasetUri": "pvc://models/scenes.zip", "method": "MinMax"}}
    request = job.request("pvc://models/m.onnx", options=options, task=TASK.model_dump(mode="json", by_alias=True))
    request["publish"]["repository"] += repository
    return job.run(request, work=work)


def unpacked(job: JobRunner, done: Finished, folder: Path) -> dict[str, bytes]:
    assert done.summary.artifact is not None, done.stderr
    assert job.fetch_artifact(done.summary.artifact.image, folder) == 0
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def digests(report: dict[str, Any], files: dict[str, bytes]) -> dict[str, str]:
    assert sorted(report["pictures"]) == sorted(PICTURES)
    return {name: f"sha256:{hashlib.sha256(files[name]).hexdigest()}" for name in report["pictures"]}


def test_worst_samples_are_published_with_their_digests(job: JobRunner, trained: Path, tmp_path: Path) -> None:
    first = int8_from_images(job, trained, work="first")
    files = unpacked(job, first, tmp_path / "out")
    report = json.loads(files["report.json"])
    assert report["pictures"] == digests(report, files)
    distances = [float(text) for text in re.findall(rb"distance ([0-9.]+)</figcaption>", files["worst.html"])]
    assert len(distances) == 8
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0, "int8 moves some box"
    with Image.open(tmp_path / "out" / "worst.png") as sheet:
        assert (sheet.format, sheet.height % 8) == ("PNG", 0)

    second = int8_from_images(job, trained, work="second", repository="-again")
    again = unpacked(job, second, tmp_path / "out-again")
    assert {name: again[name] for name in PICTURES} == {name: files[name] for name in PICTURES}


def test_tensors_cannot_be_drawn(job: JobRunner, trained: Path, tmp_path: Path) -> None:
    claim = job.pvc_root / "models"
    claim.mkdir()
    for name, source in (("m.onnx", "v2/model.onnx"), ("eval.npz", "evaluation.npz")):
        (claim / name).write_bytes((trained / "shapes" / source).read_bytes())
    done = job.run(job.request("pvc://models/m.onnx", parity={"datasetUri": "pvc://models/eval.npz"}))
    files = unpacked(job, done, tmp_path / "v")
    assert sorted(files) == ["model.onnx", "provenance.json", "report.json"]
    assert json.loads(files["report.json"])["pictures"] == {}


def test_standalone_conversion_leaves_them_beside_the_model(trained: Path, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes.zip"
    scenes.write_bytes(zip_bytes(archive_files()))
    model = trained / "shapes" / "v2" / "model.onnx"
    done = convert(tmp_path, str(model), "--dataset", str(scenes), "--decoder", "Grid", "--resize", "Stretch")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    report = json.loads(files["report.json"])
    assert report["pictures"] == digests(report, files)
