"""The export TFLite, really: onnx2tf from the image's lock, and TensorFlow Lite's answers against the artifact's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from example_models.build import build
from visionmodel_contract.exits import ExitCode

pytestmark = [pytest.mark.formats, pytest.mark.timeout(600)]


def convert(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    python = Path(os.environ["VISIONMODEL_FORMATS_VENVS"]) / "onnx2tf" / "bin" / "python"
    environment = {**os.environ, "VISIONMODEL_ONNX2TF_PYTHON": str(python), "COLUMNS": "200"}
    command = [sys.executable, "-m", "visionmodel_converter", *words, "--export", "TFLite"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("model", ["shapes/v2", "digits/v1"])
def test_exported_and_proven(model: str, tmp_path: Path) -> None:
    data = build() / model.partition("/")[0] / "evaluation.npz"
    goal = ("--dataset", str(data), "--goal", "cosine:threshold:0.9999")
    done = convert(tmp_path, str(build() / model / "model.onnx"), *goal)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[1])
    record = json.loads((folder / "export.json").read_text())
    print(json.dumps(record))
    assert (record["format"], record["samples"]) == ("TFLite", 1 + 3 + 2 * 8)
    assert record["difference"] < 1e-4
    assert record["notes"] == ["batch 1", "input images is channels last"]
    assert (folder / "model.tflite").read_bytes()[4:8] == b"TFL3"


def test_int8_is_refused_with_the_remedy(tmp_path: Path) -> None:
    shapes = build() / "shapes"
    int8 = ("--precision", "int8", "--method", "MinMax", "--calibration", str(shapes / "calibration.npz"))
    done = convert(tmp_path, str(shapes / "v2" / "model.onnx"), *int8)
    assert done.returncode == ExitCode.EXPORT_FAILED, done.stderr
    assert "ask for precision fp32" in " ".join(done.stderr.split())
