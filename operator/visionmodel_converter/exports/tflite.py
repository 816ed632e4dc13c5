"""TFLite by onnx2tf, in an environment of its own that the image may lack; run back by TensorFlow's interpreter."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visionmodel_contract.precision import ExportFormat, Precision
from visionmodel_converter.exports.made import Made, Source, export_failure
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.agreement import relative_difference
from visionmodel_converter.graph.onnx_model import FREE
from visionmodel_converter.graph.session import Run, Tensors
from visionmodel_converter.other_python import run_script

FILE: Final = "model.tflite"
CHILD: Final = Path(__file__).with_name("tflite_child.py")


def refuse_missing_onnx2tf(python: Path) -> None:
    """Raise ExporterNotInstalled unless the environment with onnx2tf is there."""
    if not python.is_file():
        raise ConversionFailure(
            Reason.EXPORTER_NOT_INSTALLED,
            f"export TFLite: this converter has no onnx2tf ({python} is not there); have the platform team build"
            " one (python -m images.build converter-tflite) and set the Helm value converter.tfliteImage, or name the"
            " Python of an environment made from requirements/tflite.txt in VISIONMODEL_ONNX2TF_PYTHON",
        )


def refuse_without_fp32(precisions: Sequence[Precision]) -> None:
    """Raise EdgeExportFailed unless one of the precisions is one that onnx2tf keeps."""
    if Precision.FP32 not in precisions:
        raise export_failure(
            ExportFormat.TFLITE,
            f"onnx2tf makes FP32 of a graph in {' or '.join(precisions)}",
            "ask for precision fp32 and quantise the TFLite file with its own tools",
        )


def export_tflite(source: Source, run_artifact: Run, python: Path) -> Made:
    """Return the flatbuffer for one sample, run sample by sample.

    Raises:
        ConversionFailure: EdgeExportFailed, for INT8 artifacts too: onnx2tf makes float arithmetic of Q/DQ pairs, so
            that the file would have INT8's errors and FP32's size; or as `run_script` does.
    """
    refuse_without_fp32([source.precision])
    free = [spec.name for spec in source.model.inputs if FREE in spec.dims[1:]]
    if free:
        raise export_failure(
            ExportFormat.TFLITE,
            f"input {free[0]!r} has a free axis besides the batch",
            "export the network with fixed sizes",
        )
    samples = [sample for batch in source.inputs for sample in _samples(batch)]
    _run_child(source, samples, python)
    expected = [run_artifact(sample) for sample in samples]
    outputs = _read(source.folder / "outputs.npz", expected)
    return Made(
        {FILE: source.folder / FILE},
        _batched(outputs, source.inputs),
        (source.folder / "runtime.txt").read_text(encoding="ascii"),
        _layout_notes(source),
    )


def _samples(batch: Tensors) -> list[dict[str, NDArray[Any]]]:
    count = len(next(iter(batch.values())))
    return [{name: array[index : index + 1] for name, array in batch.items()} for index in range(count)]


def _run_child(source: Source, samples: Sequence[Tensors], python: Path) -> None:
    folder = source.folder
    (folder / "model.onnx").write_bytes(source.model.serialized())
    stored = {f"{index}:{name}": array for index, sample in enumerate(samples) for name, array in sample.items()}
    np.savez(folder / "inputs.npz", **stored)  # type: ignore[arg-type] # its keyword allow_pickle is none of ours
    environment = {
        "HOME": str(folder),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": str(source.threads),
    }
    said = run_script(python, CHILD, [str(folder)], environment=environment, tool="onnx2tf")
    if said is not None:
        raise export_failure(ExportFormat.TFLITE, f"onnx2tf failed: {said}", "serve a graph that TFLite can express")


def _read(path: Path, expected: Sequence[Mapping[str, NDArray[Any]]]) -> list[dict[str, NDArray[Any]]]:
    """Return each sample's outputs in ONNX's layout.

    Whether onnx2tf left an output channels last cannot be seen where its axes are of one length; the layout in which
    it agrees with the artifact is the right one, and where it agrees in none the gate says so. Raises EdgeExportFailed
    for an output that has lost its name.
    """
    found: list[dict[str, NDArray[Any]]] = []
    with np.load(path) as stored:
        for index, outputs in enumerate(expected):
            there = {name.removeprefix(f"{index}:") for name in stored.files if name.startswith(f"{index}:")}
            _refuse_renamed_outputs(outputs, there)
            found.append({name: _as_onnx(stored[f"{index}:{name}"], wanted) for name, wanted in outputs.items()})
    return found


def _refuse_renamed_outputs(wanted: Iterable[str], there: Iterable[str]) -> None:
    missing = sorted(set(wanted) - set(there))
    if missing:
        raise export_failure(
            ExportFormat.TFLITE,
            f"output {missing[0]!r} was renamed to one of {sorted(there)}",
            "export the network with plain output names",
        )


def _as_onnx(array: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    layouts = [array, np.moveaxis(array, -1, 1)] if array.ndim > 2 else [array]
    return min(layouts, key=lambda layout: (layout.shape != wanted.shape, relative_difference(wanted, layout)))


def _batched(outputs: Sequence[Mapping[str, NDArray[Any]]], inputs: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
    rows, found = iter(outputs), []
    for batch in inputs:
        mine = [next(rows) for _ in range(len(next(iter(batch.values()))))]
        found.append({name: np.concatenate([row[name] for row in mine]) for name in mine[0]})
    return found


def _layout_notes(source: Source) -> tuple[str, ...]:
    images = [spec.name for spec in source.model.inputs if len(spec.dims) > 2]
    return ("batch 1", *(f"input {name} is channels last" for name in images))
