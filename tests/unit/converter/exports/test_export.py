"""Exports of a tiny network in their own runtimes: right, found again, refused where they are wrong."""

import json
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from unit.converter import tiny_models
from visionmodel_contract.exits import PERMANENT_EXIT_CODES, ExitCode
from visionmodel_contract.keys import export_key
from visionmodel_contract.precision import ExportFormat, Precision
from visionmodel_converter.exports.export import (
    FILES,
    TOLERANCES,
    Artifact,
    Workshop,
    disagreement,
    exported,
    refuse_disagreement,
    refuse_impossible_exports,
)
from visionmodel_converter.exports.made import Made, Source
from visionmodel_converter.exports.tflite import export_tflite
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import CheckedModel, checked
from visionmodel_converter.graph.session import Run, Tensors, open_session
from visionmodel_converter.store.folder import FolderStore
from visionmodel_converter.store.image import sha256_of

MODEL = checked(tiny_models.classifier(), "the classifier")
SAMPLE = {"x": np.full((2, 4), 0.25, np.float32)}
ABSENT = Path("/nonexistent/python")


def run_of(model: CheckedModel) -> Run:
    return open_session(model.serialized(), shown="the artifact", threads=1)


def artifact(run: Run | None = None) -> Artifact:
    return Artifact(MODEL, Precision.FP32, run or run_of(MODEL), [SAMPLE], seed=1)


def workshop(folder: Path, work: str = "work") -> Workshop:
    return Workshop(FolderStore(folder / "store"), folder / work, threads=1, onnx2tf_python=ABSENT)


@pytest.mark.parametrize("wanted", [ExportFormat.ORT, ExportFormat.OPENVINO])
def test_made_compared_and_found_again(wanted: ExportFormat, tmp_path: Path) -> None:
    made = exported(wanted, artifact(), workshop(tmp_path))
    key = export_key(sha256_of(MODEL.serialized()), wanted)
    folder = tmp_path / "store" / f"export-{key}"
    assert {"export.json", *FILES[wanted]} <= {path.name for path in folder.iterdir()}
    record = json.loads((folder / "export.json").read_text())
    assert (record["modelDigest"], record["samples"]) == (sha256_of(MODEL.serialized()), 1 + 3 + 2)
    assert (made.format, made.image, made.runtime) == (wanted, folder.as_uri(), record["runtime"])
    assert made.size_bytes == sum((folder / name).stat().st_size for name in FILES[wanted])
    assert 0 <= made.difference <= 1e-6

    def never(_: Tensors) -> dict[str, NDArray[Any]]:
        raise AssertionError("an export that is there is not compared again")

    assert exported(wanted, artifact(never), workshop(tmp_path, "again")) == made


def test_ort_file_opens_alone(tmp_path: Path) -> None:
    exported(ExportFormat.ORT, artifact(), workshop(tmp_path))
    (file,) = (tmp_path / "store").glob("*/model.ort")
    (found,) = onnxruntime.InferenceSession(file.read_bytes()).run(None, SAMPLE)
    np.testing.assert_allclose(found, run_of(MODEL)(SAMPLE)["logits"], rtol=1e-5)


def test_what_disagrees_is_not_published(tmp_path: Path) -> None:
    honest = run_of(MODEL)

    def off(inputs: Tensors) -> dict[str, NDArray[Any]]:
        return {name: array * 1.001 for name, array in honest(inputs).items()}

    with pytest.raises(ConversionFailure, match="export ORT: in onnxruntime") as refusal:
        exported(ExportFormat.ORT, artifact(off), workshop(tmp_path))
    assert refusal.value.reason is Reason.EDGE_EXPORT_DISAGREES
    assert refusal.value.exit_code is ExitCode.EXPORT_FAILED
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize(("factor", "passes"), [(0.0, True), (1.0, True), (1.01, False), (float("nan"), False)])
def test_tolerance(precision: Precision, factor: float, passes: bool) -> None:
    difference, made = factor * TOLERANCES[precision], Made({}, [], "a runtime")
    if passes:
        refuse_disagreement(ExportFormat.ORT, difference, precision, made)
        return
    with pytest.raises(ConversionFailure, match="a runtime"):
        refuse_disagreement(ExportFormat.ORT, difference, precision, made)


ONE: Mapping[str, NDArray[Any]] = {"a": np.array([[1.0, -2.0]])}


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (ONE, 0.0),
        ({"a": np.array([[1.0, -1.0]])}, 0.5),
        ({"a": np.array([[np.nan, -2.0]])}, np.nan),
        ({"a": np.array([[1.0, -2.0, 0.0]])}, np.inf),
    ],
    ids=["same", "half", "nan", "shape"],
)
def test_disagreement_is_the_worst_of_all_batches(actual: Mapping[str, NDArray[Any]], expected: float) -> None:
    np.testing.assert_equal(disagreement([ONE, ONE, ONE], [ONE, actual, ONE]), expected)


def test_a_tie_is_one_of_all_elements() -> None:
    """Of a small batch it would be more than any tolerance; the number of the class says nothing."""
    expected = [{"classes": np.zeros((batch, 50, 50), np.int64)} for batch in (1, 7)]
    actual = [{"classes": answer["classes"].astype(np.int32)} for answer in expected]
    actual[0]["classes"][0, 0, 0] = 20
    assert disagreement(expected, actual) == pytest.approx(1 / 20_000)
    assert disagreement(expected, expected) == 0


@pytest.mark.parametrize(("file", "content"), [("model.ort", b"changed"), ("export.json", b"{}"), ("model.ort", None)])
def test_damage_is_told(file: str, content: bytes | None, tmp_path: Path) -> None:
    exported(ExportFormat.ORT, artifact(), workshop(tmp_path))
    (path,) = (tmp_path / "store").glob(f"*/{file}")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ConversionFailure) as refusal:
        exported(ExportFormat.ORT, artifact(), workshop(tmp_path, "again"))
    assert refusal.value.reason is Reason.ARTIFACT_CORRUPT
    assert path.parent.name in refusal.value.message


def test_missing_onnx2tf_is_told_before_anything_is_done() -> None:
    refuse_impossible_exports((ExportFormat.ORT, ExportFormat.OPENVINO), (Precision.INT8,), ABSENT)
    with pytest.raises(ConversionFailure, match=r"converter\.tfliteImage") as refusal:
        refuse_impossible_exports((ExportFormat.TFLITE,), (Precision.FP32, Precision.INT8), ABSENT)
    assert (refusal.value.reason, refusal.value.exit_code) == (
        Reason.EXPORTER_NOT_INSTALLED,
        ExitCode.RUNTIME_MISSING,
    )


def test_tflite_without_fp32_is_told_before_anything_is_done() -> None:
    with pytest.raises(ConversionFailure, match="FP32 of a graph in fp16 or int8; ask for precision fp32"):
        refuse_impossible_exports((ExportFormat.TFLITE,), (Precision.FP16, Precision.INT8), ABSENT)


FAILS = "echo noise\necho 'no such operator: Bogus' >&2\nexit 1"


def tflite(
    folder: Path, lines: str = FAILS, *, precision: Precision = Precision.FP32, model: CheckedModel = MODEL
) -> Made:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{lines}\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return export_tflite(Source(model, precision, [SAMPLE], folder, threads=1), run_of(MODEL), python)


def test_what_onnx2tf_says_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match="onnx2tf failed: no such operator: Bogus") as refusal:
        tflite(tmp_path)
    assert refusal.value.reason is Reason.EDGE_EXPORT_FAILED


def test_being_killed_is_not_held_against_the_model(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match="onnx2tf was ended by signal SIGKILL") as refusal:
        tflite(tmp_path, "kill -KILL $$")
    assert refusal.value.exit_code not in PERMANENT_EXIT_CODES


def test_an_output_that_lost_its_name_is_told(tmp_path: Path) -> None:
    row = np.zeros((1, 3), np.float32)
    np.savez(tmp_path / "answers.npz", **{"0:logits": row, "1:Identity": row})  # type: ignore[arg-type]
    script = f'/bin/cp {tmp_path}/answers.npz "$3/outputs.npz"; echo lite > "$3/runtime.txt"'
    with pytest.raises(ConversionFailure, match=r"output 'logits' was renamed to one of \['Identity'\]") as refusal:
        tflite(tmp_path, script)
    assert refusal.value.reason is Reason.EDGE_EXPORT_FAILED


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_tflite_is_made_of_fp32_alone(precision: Precision, tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match=f"makes FP32 of a graph in {precision}"):
        tflite(tmp_path, precision=precision)


def test_tflite_needs_fixed_sizes(tmp_path: Path) -> None:
    (spec,) = MODEL.inputs
    free = replace(MODEL, inputs=(spec.model_copy(update={"name": "image", "dims": (-1, 3, -1, -1)}),))
    with pytest.raises(ConversionFailure, match="'image' has a free axis"):
        tflite(tmp_path, model=free)
