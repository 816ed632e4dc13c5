"""Which methods ModelOpt has, and that its absence and its failures are told with the remedy."""

import stat
from pathlib import Path

import numpy as np
import pytest

from unit.converter import tiny_models
from visionmodel_contract.exits import PERMANENT_EXIT_CODES
from visionmodel_contract.precision import CalibrationMethod
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import checked
from visionmodel_converter.precision.modelopt import modelopt_methods, modelopt_variant, refuse_missing_modelopt

MODEL = checked(tiny_models.classifier(), "the classifier")
SAMPLES = [{"x": np.random.default_rng(1).random((8, 4), np.float32)}]


@pytest.mark.parametrize(
    ("asked", "methods"), [("Auto", ("MinMax", "Entropy")), ("MinMax", ("MinMax",)), ("Entropy", ("Entropy",))]
)
def test_methods(asked: str, methods: tuple[str, ...]) -> None:
    assert modelopt_methods(CalibrationMethod(asked)) == methods


def test_percentile_is_refused() -> None:
    with pytest.raises(ConversionFailure, match="no calibration method Percentile; use MinMax, Entropy or Auto"):
        modelopt_methods(CalibrationMethod.PERCENTILE)


def test_absence_names_the_helm_value() -> None:
    with pytest.raises(ConversionFailure, match=r"converter\.modeloptImage") as refusal:
        refuse_missing_modelopt(Path("/nonexistent/python"))
    assert refusal.value.reason is Reason.QUANTIZER_NOT_INSTALLED


def program(folder: Path, lines: str) -> Path:
    """A stand-in for the other Python, which is given `-I SCRIPT FOLDER METHOD`."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_what_it_says_is_passed_on(tmp_path: Path) -> None:
    python = program(tmp_path, 'echo noise\necho "method $4 failed: no such node" >&2\nexit 1')
    with pytest.raises(ConversionFailure, match="ModelOpt failed: method entropy failed: no such node") as refusal:
        modelopt_variant(MODEL, SAMPLES, CalibrationMethod.ENTROPY, python=python, threads=1)
    assert refusal.value.reason is Reason.PRECISION_IMPOSSIBLE


def test_being_killed_is_not_held_against_the_model(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match="ModelOpt was ended by signal SIGKILL") as refusal:
        modelopt_variant(
            MODEL, SAMPLES, CalibrationMethod.ENTROPY, python=program(tmp_path, "kill -KILL $$"), threads=1
        )
    assert refusal.value.exit_code not in PERMANENT_EXIT_CODES


def test_what_it_makes_is_checked_like_any_graph(tmp_path: Path) -> None:
    (tmp_path / "made.onnx").write_bytes(tiny_models.to_bytes(tiny_models.detector()))
    copy = f'/bin/cp {tmp_path}/made.onnx "$3/quantised.onnx"; echo 1.2.3 > "$3/version.txt"'
    with pytest.raises(ConversionFailure, match=r"ModelOpt's graph: onnxruntime .* could not run") as refusal:
        modelopt_variant(MODEL, SAMPLES, CalibrationMethod.MIN_MAX, python=program(tmp_path, copy), threads=1)
    assert refusal.value.reason is Reason.PRECISION_IMPOSSIBLE


def test_samples_that_do_not_fit_are_refused_first(tmp_path: Path) -> None:
    nan = [{"x": np.full((8, 4), np.nan, np.float32)}]
    with pytest.raises(ConversionFailure) as refusal:
        modelopt_variant(MODEL, nan, CalibrationMethod.MIN_MAX, python=tmp_path / "none", threads=1)
    assert refusal.value.reason is Reason.CALIBRATION_INVALID
