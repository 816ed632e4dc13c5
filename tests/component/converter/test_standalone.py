"""`visionmodel-convert MODEL` as a person runs it, without Kubernetes and without a registry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from visionmodel_contract.exits import ExitCode

pytestmark = [pytest.mark.component, pytest.mark.timeout(300)]


def convert(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "visionmodel_converter", *words]
    wide = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, check=False, timeout=240)


def test_model_becomes_int8_in_a_folder(trained: Path, tmp_path: Path) -> None:
    shapes = trained / "shapes"
    words = (
        *(str(shapes / "v2" / "model.onnx"), "--precision", "int8"),
        *("--calibration", str(shapes / "calibration.npz"), "--dataset", str(shapes / "evaluation.npz")),
        *("--goal", "map50:max-degradation:0.01", "--method", "MinMax"),
    )
    done = convert(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    artifact = Path(done.stdout.strip())
    assert artifact.parent == tmp_path / "artifacts"
    report = json.loads((artifact / "report.json").read_text())
    assert (report["precision"], report["candidates"][0]["method"]) == ("int8", "MinMax")
    assert "int8 (MinMax)" in done.stderr
    assert "Collecting" not in done.stderr, "libraries are kept from the display"
    again = convert(tmp_path, *words)
    assert (again.returncode, again.stdout) == (0, done.stdout)


def test_failure_is_a_sentence_and_an_exit_code(trained: Path, tmp_path: Path) -> None:
    done = convert(tmp_path, str(trained / "shapes" / "v2" / "model.onnx"), "--precision", "int8")
    assert done.returncode == ExitCode.BAD_REQUEST
    assert done.stdout == ""
    assert "CalibrationMissing: int8 needs sample inputs" in done.stderr
    missing = convert(tmp_path, "nothing.onnx")
    assert missing.returncode == ExitCode.SOURCE_NOT_FOUND
    assert "nothing.onnx" in missing.stderr


def test_exports_lie_beside_the_artifact(trained: Path, tmp_path: Path) -> None:
    done = convert(tmp_path, str(trained / "digits" / "v1" / "model.onnx"), "--export", "OpenVINO", "--export", "ORT")
    assert done.returncode == 0, done.stderr
    artifact, openvino, ort = map(Path, done.stdout.splitlines())
    assert artifact.name.startswith("prepare-")
    assert artifact.parent == openvino.parent == ort.parent == tmp_path / "artifacts"
    assert (openvino / "model.xml").is_file()
    assert (ort / "model.ort").is_file()
    assert "ORT: " in done.stderr
