"""The ranges of activations over sample inputs, from which INT8 scales follow.

Three methods, because none is known to be best for every network: on the example detector MinMax and Percentile lose
at most half a point of mAP50 and Entropy one and a half, and nothing promises that order elsewhere. The caller tries
them and lets the task decide.
Calibration runs once per method; everything that is quantised afterwards reads the ranges from onnxruntime's own
calibration cache.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization import CalibrationMethod as OrtMethod
from onnxruntime.quantization.calibrate import (
    CalibraterBase,
    HistogramCalibrater,
    HistogramCollector,
    TensorsData,
    create_calibrator,
)

from visionmodel_contract.precision import CalibrationMethod
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.graph.session import Tensors
from visionmodel_converter.precision.layout import Plan
from visionmodel_converter.precision.variant import library_output_on_stderr

BINS: Final = 2048
QUANTISED_BINS: Final = 128
"""What TensorRT's calibrator used (S. Migacz, "8-bit inference with TensorRT", GTC 2017). With the library's own
128 bins the search has a single candidate, and entropy equals MinMax: quantize_static can ask for nothing else."""
PERCENTILE: Final = 99.999
ELEMENTS_PER_RUN: Final = 2**21
"""Input numbers fed at once. Every activation of the network is held for them: one image of 640x640, 170 of 64x64."""
FEW_SAMPLES: Final = 128
"""Fewer are reported: 32 instead of 256 images cost the example detector 1.2 points of mAP50."""

HISTOGRAM_METHODS: Final[dict[CalibrationMethod, tuple[OrtMethod, dict[str, Any]]]] = {
    CalibrationMethod.PERCENTILE: (OrtMethod.Percentile, {"percentile": PERCENTILE, "symmetric": True}),
    CalibrationMethod.ENTROPY: (OrtMethod.Entropy, {"num_quantized_bins": QUANTISED_BINS}),
}
ALL_METHODS: Final = (CalibrationMethod.MIN_MAX, *HISTOGRAM_METHODS)
"""What CalibrationMethod.AUTO stands for, the cheapest first."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Smallest and largest value of each activation, as one method sees them, over a number of samples."""

    method: CalibrationMethod
    data: TensorsData
    samples: int


class _Batch(CalibrationDataReader):  # type: ignore[misc]
    """One batch, as the library wants to be given it."""

    def __init__(self, tensors: Tensors) -> None:
        self._left = [dict(tensors)]

    def get_next(self) -> Any:
        return self._left.pop() if self._left else None


def methods_of(asked: CalibrationMethod) -> tuple[CalibrationMethod, ...]:
    """Return the methods to try for what a request names."""
    return ALL_METHODS if asked is CalibrationMethod.AUTO else (asked,)


def refuse_unfit_samples(samples: Sequence[Tensors], inputs: tuple[TensorSpec, ...]) -> None:
    """Raise CalibrationInvalid unless every batch holds finite arrays that fit every input of the model."""
    for position, batch in enumerate(samples):
        for spec in inputs:
            fault = _fault(batch, spec)
            if fault:
                raise ConversionFailure(
                    Reason.CALIBRATION_INVALID,
                    f"calibration batch {position}, input {spec.name!r}: {fault}; store what serving feeds the model",
                )
    if not sum(len(batch[inputs[0].name]) for batch in samples):
        raise ConversionFailure(
            Reason.CALIBRATION_INVALID,
            "the calibration set holds no sample; name a dataset in conversion.calibration with at least "
            f"{FEW_SAMPLES} (500 are better)",
        )


def _fault(batch: Tensors, spec: TensorSpec) -> str | None:
    array = batch.get(spec.name)
    if array is None:
        return f"it is missing; the batch has {sorted(batch)}"
    fits = array.ndim == len(spec.dims) and all(
        dim in (-1, size) for dim, size in zip(spec.dims, array.shape, strict=True)
    )
    if not fits or array.dtype.name != spec.dtype:
        return f"it is {array.dtype.name} {list(array.shape)}, the model wants {spec.dtype} {list(spec.dims)}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "it holds NaN or infinity"
    return None


def calibrate(
    model: ModelProto, samples: Sequence[Tensors], method: CalibrationMethod, plan: Plan, *, threads: int
) -> Ranges:
    """Run the samples through an FP32 graph; returns the range of every tensor that the plan quantises.

    The samples went through `refuse_unfit_samples`; their order and their cut into batches do not matter. Raises
    CalibrationInvalid when the method finds no finite range.
    """
    with _calibrator(model, plan.op_types, OrtMethod.MinMax, {}, threads) as calibrator:
        count = _collect(calibrator, samples)
        data: TensorsData = calibrator.compute_data()
    _refuse_non_finite(data)
    if method is CalibrationMethod.MIN_MAX:
        return Ranges(method, data, count)
    ort_method, options = HISTOGRAM_METHODS[method]
    with _calibrator(model, plan.op_types, ort_method, options, threads) as calibrator:
        calibrator.tensors_to_calibrate = plan.tensors.intersection(calibrator.tensors_to_calibrate)
        calibrator.collector = _primed_collector(calibrator, data)
        _collect(calibrator, samples)
        return Ranges(method, calibrator.compute_data(), count)


def largest_magnitudes(model: ModelProto, samples: Sequence[Tensors], *, threads: int) -> dict[str, float]:
    """Return the largest |value| that each FP32 tensor takes over the samples; NaN and infinity stay what they are."""
    with _calibrator(model, [], OrtMethod.MinMax, {}, threads) as calibrator:
        _collect(calibrator, samples)
        data = calibrator.compute_data()
    return {
        name: float(np.max(np.abs(np.concatenate([np.ravel(bound) for bound in found.range_value]))))
        for name, found in data.items()
    }


@contextlib.contextmanager
def _calibrator(
    model: ModelProto, op_types: list[str], method: OrtMethod, options: dict[str, Any], threads: int
) -> Iterator[CalibraterBase]:
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder, library_output_on_stderr():
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        calibrator = create_calibrator(
            path,
            op_types,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=method,
            extra_options=options,
        )
        calibrator.infer_session = _session(calibrator.augmented_model_path, threads)
        yield calibrator


def _collect(calibrator: CalibraterBase, samples: Sequence[Tensors]) -> int:
    """Feed the samples, a few at a time; returns how many there were."""
    count = 0
    for batch in _runs(samples):
        rows = len(next(iter(batch.values())))
        try:
            calibrator.collect_data(_Batch(batch))
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception
            raise ConversionFailure(
                Reason.CALIBRATION_INVALID,
                f"the model fails on calibration samples {count} to {count + rows - 1}: {first_line(error)}; leave "
                "them out, or mend the model",
            ) from error
        count += rows
    return count


def _session(path: str, threads: int) -> onnxruntime.InferenceSession:
    """Open the calibrator's graph as it does itself, but with the Job's threads and without its chatter."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _runs(samples: Sequence[Tensors]) -> Iterator[Tensors]:
    """Cut batches into runs that fit into memory."""
    for batch in samples:
        rows = len(next(iter(batch.values())))
        elements = sum(array.size for array in batch.values()) // max(1, rows)
        step = max(1, ELEMENTS_PER_RUN // max(1, elements))
        for start in range(0, rows, step):
            yield {name: array[start : start + step] for name, array in batch.items()}


def _primed_collector(calibrator: HistogramCalibrater, data: TensorsData) -> HistogramCollector:
    """Return a collector whose empty histograms span the whole range of each tensor.

    Left alone, the first batch decides the width of the bins and every larger value adds more of them: another order
    of the samples gives other scales, and one bright image after dark ones takes all memory.
    """
    collector = HistogramCollector(
        calibrator.method,
        calibrator.symmetric,
        BINS,
        calibrator.num_quantized_bins,
        calibrator.percentile,
        calibrator.scenario,
    )
    for name in calibrator.tensors_to_calibrate:
        low, high = (np.float32(np.ravel(bound)[0]) for bound in data[name].range_value)
        reach = np.float32(max(abs(low), abs(high)) or 1.0)
        counts = np.zeros(BINS, np.int64)
        histogram: tuple[Any, ...]
        if calibrator.symmetric:  # counts absolute values
            histogram = (counts, np.linspace(0, reach, BINS + 1, dtype=np.float32), low, high)
        else:
            histogram = (counts, np.linspace(-reach, reach, BINS + 1, dtype=np.float32), low, high, reach)
        collector.get_histogram_dict()[name] = histogram
    return collector


def _refuse_non_finite(data: TensorsData) -> None:
    for name, found in sorted(data.items()):
        if not np.isfinite(np.concatenate([np.ravel(bound) for bound in found.range_value])).all():
            raise ConversionFailure(
                Reason.CALIBRATION_INVALID,
                f"calibration found NaN or infinity in tensor {name!r}; check the range of the samples "
                "and run the model on them",
            )
