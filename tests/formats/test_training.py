"""The training recipes in real PyTorch, and what becomes of their models in the converter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from visionmodel_contract.exits import ExitCode

pytestmark = [pytest.mark.formats, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
RECIPES = ("baseline", "qat", "pruned")
SHORT = ("--epochs", "4", "--images", "8000")
"""Enough to tell a recipe that works from one that does not; distillation needs more and is run by hand."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the trained models, and each one's accuracy in PyTorch as accuracy.json."""
    folder = tmp_path_factory.mktemp("trained")
    python = Path(os.environ["VISIONMODEL_FORMATS_VENVS"]) / "torch" / "bin" / "python"
    only = [word for recipe in RECIPES for word in ("--only", recipe)]
    script = ROOT / "examples" / "training" / "train_digits.py"
    command = [str(python), str(script), "--out", str(folder), *SHORT, *only]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    print(*map(json.dumps, lines), sep="\n")
    (folder / "accuracy.json").write_text(json.dumps({line["recipe"]: line["top1"] for line in lines}))
    return folder


def convert(trained: Path, recipe: str, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Convert with a goal that holds the artifact to what PyTorch measured, give or take one image in a hundred."""
    accuracy = json.loads((trained / "accuracy.json").read_text())[recipe]
    goal = ("--dataset", str(trained / "evaluation.npz"), "--goal", f"top1:threshold:{accuracy - 0.01}")
    model = str(trained / recipe / "model.onnx")
    command = [sys.executable, "-m", "visionmodel_converter", model, *goal, *words]
    return subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads((Path(done.stdout.strip()) / "report.json").read_text())
    return report


def test_quantisation_aware_training_is_executed_in_int8(trained: Path, tmp_path: Path) -> None:
    report = report_of(convert(trained, "qat", tmp_path, "--precision", "int8"))
    (candidate,) = report["candidates"]
    assert candidate["share"]["compute"] > 0.95
    assert report["notes"] == ["arrived quantised (Q/DQ pairs, 18 nodes); its scales were left as they are"]


def test_pruned_while_training_keeps_what_pruning_in_one_shot_destroys(trained: Path, tmp_path: Path) -> None:
    assert report_of(convert(trained, "pruned", tmp_path))["sparseShare"] > 0.95
    again = convert(trained, "pruned", tmp_path, "--prune", "2:4")
    assert report_of(again)["sparseShare"] > 0.95, "its zeros are those that the converter would choose"
    spoilt = convert(trained, "baseline", tmp_path, "--prune", "2:4")
    assert spoilt.returncode == ExitCode.GATE_FAILED, spoilt.stderr
