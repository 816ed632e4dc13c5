"""INT8 by NVIDIA Model Optimizer, in an environment of its own that the image may lack.

It places Q/DQ pairs for TensorRT, symmetric and signed, which OpenVINO runs in 8 bits too and onnxruntime's CPU
provider does not. Measured on the example detector (0.961 mAP50) in OpenVINO 2026.4: 0.956 with `max`, 0.931 with
`entropy`, 0.961 with onnxruntime's quantiser and MinMax.
"""

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from visionmodel_contract.precision import CalibrationMethod, Precision
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.graph.session import Tensors
from visionmodel_converter.other_python import run_script
from visionmodel_converter.precision.calibration import refuse_unfit_samples
from visionmodel_converter.precision.qdq import refuse_quantised
from visionmodel_converter.precision.variant import Variant, proven
from visionmodel_converter.storage import Storage

CHILD: Final = Path(__file__).with_name("modelopt_child.py")
METHODS: Final = {CalibrationMethod.MIN_MAX: "max", CalibrationMethod.ENTROPY: "entropy"}
"""Our words for ModelOpt's; it has no percentile."""


def refuse_missing_modelopt(python: Path) -> None:
    """Raise QuantizerNotInstalled unless the environment with ModelOpt is there."""
    if not python.is_file():
        raise ConversionFailure(
            Reason.QUANTIZER_NOT_INSTALLED,
            f"calibration.quantizer ModelOpt: this converter has no ModelOpt ({python} is not there); have the platform"
            " team build one (python -m images.build converter-modelopt) and set the Helm value"
            " converter.modeloptImage, or name the Python of an environment made from requirements/modelopt.txt in"
            " VISIONMODEL_MODELOPT_PYTHON",
        )


def modelopt_methods(asked: CalibrationMethod) -> tuple[CalibrationMethod, ...]:
    """Return the methods to try for what a request names. Raises BadRequest for one that ModelOpt has not."""
    if asked is CalibrationMethod.AUTO:
        return tuple(METHODS)
    if asked not in METHODS:
        raise ConversionFailure(
            Reason.BAD_REQUEST, f"ModelOpt has no calibration method {asked}; use {', '.join(METHODS)} or Auto"
        )
    return (asked,)


def modelopt_variants(
    source: CheckedModel,
    samples: Sequence[Tensors],
    methods: Sequence[CalibrationMethod],
    *,
    python: Path,
    threads: int,
    storage: Storage,
) -> list[Variant]:
    """Return the source as ModelOpt quantises it by each of the methods.

    The samples, all of one size, go to its process by way of the disk, once: neither process holds more of them than a
    batch.

    Raises:
        ConversionFailure: UnsupportedQuantization, CalibrationInvalid or PrecisionImpossible; as `run_script` does, or
            as `Storage.refuse_shortage` where the samples do not fit onto the disk.
    """
    refuse_quantised(source)
    refuse_unfit_samples(samples, source.inputs)
    with tempfile.TemporaryDirectory(prefix="visionmodel-modelopt-") as scratch:
        folder = Path(scratch)
        (folder / "model.onnx").write_bytes(source.serialized())
        _store(samples, source.inputs, folder, storage)
        return [_quantised(source, method, folder, python, threads) for method in methods]


def _store(samples: Sequence[Tensors], inputs: Sequence[TensorSpec], folder: Path, storage: Storage) -> None:
    """Write one .npy file for each input, a batch at a time; calibration.json tells which is whose."""
    first = next(iter(samples))
    count = sum(len(batch[inputs[0].name]) for batch in samples)
    arrays = {spec.name: first[spec.name] for spec in inputs}
    files = {name: f"calibration-{index}.npy" for index, name in enumerate(arrays)}
    needed = sum(count * prod(array.shape[1:]) * array.itemsize for array in arrays.values())
    storage.refuse_shortage(needed, f"{count} calibration samples for ModelOpt")
    (folder / "calibration.json").write_text(json.dumps(files), encoding="utf-8")
    with ExitStack() as stack:
        opened = {name: stack.enter_context((folder / file).open("wb")) for name, file in files.items()}
        for name, array in arrays.items():
            header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False}
            np.lib.format.write_array_header_2_0(opened[name], {**header, "shape": (count, *array.shape[1:])})
        for batch in samples:
            for name, file in opened.items():
                # written, not mapped: a disk that fills up all the same ends a mapped write with a signal
                file.write(np.ascontiguousarray(batch[name]).data)


def _quantised(source: CheckedModel, method: CalibrationMethod, folder: Path, python: Path, threads: int) -> Variant:
    _run_child(folder, METHODS[method], python, threads)
    made = onnx.load(folder / "quantised.onnx")
    version = (folder / "version.txt").read_text(encoding="ascii")
    model = proven(made, source, what="ModelOpt's graph", threads=threads)
    return Variant(Precision.INT8, model, method, (), (f"quantised by ModelOpt {version}",))


def _run_child(folder: Path, method: str, python: Path, threads: int) -> None:
    environment = {
        "HOME": str(folder),
        "PATH": str(python.parent),
        "CUDA_VISIBLE_DEVICES": "",
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": str(threads),
    }
    said = run_script(python, CHILD, [str(folder), method], environment=environment, tool="ModelOpt")
    if said is not None:
        raise ConversionFailure(
            Reason.PRECISION_IMPOSSIBLE,
            f"ModelOpt failed: {said}; use calibration.quantizer ONNXRuntime, or another precision",
        )
