"""The quantiser ModelOpt, really, from the image's lock: what it makes keeps its goal and runs in 8 bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from example_models.build import build

pytestmark = [pytest.mark.formats, pytest.mark.timeout(600)]


@pytest.mark.parametrize("method", ["MinMax", "Auto"])
def test_detector_in_openvino(method: str, tmp_path: Path) -> None:
    shapes = build() / "shapes"
    python = Path(os.environ["VISIONMODEL_FORMATS_VENVS"]) / "modelopt" / "bin" / "python"
    words = (
        *(str(shapes / "v2" / "model.onnx"), "--precision", "int8", "--backend", "OpenVINO"),
        *("--quantizer", "ModelOpt", "--method", method, "--calibration", str(shapes / "calibration.npz")),
        *("--dataset", str(shapes / "evaluation.npz"), "--goal", "map50:max-degradation:0.01"),
    )
    done = subprocess.run(
        [sys.executable, "-m", "visionmodel_converter", *words],
        cwd=tmp_path,
        env={**os.environ, "VISIONMODEL_MODELOPT_PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((Path(done.stdout.strip()) / "report.json").read_text())
    print(json.dumps({"method": method, "gates": report["gates"], "notes": report["notes"]}))
    (candidate,) = report["candidates"]
    assert candidate["share"]["compute"] > 0.9
    assert report["notes"][0].startswith("quantised by ModelOpt ")
