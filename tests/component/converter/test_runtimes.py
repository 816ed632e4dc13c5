"""The trained detector in both runtimes, in FP32 and INT8: same answers, proven precision, speed and memory.

The figures are printed (`pytest -rP`); what is asserted holds on a busy machine too.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from example_models.build import build
from visionmodel_contract.precision import Backend, Precision
from visionmodel_contract.report import TensorSpec
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.failures import ConversionFailure
from visionmodel_converter.gates.arrays import ArraySamples
from visionmodel_converter.gates.memory import measure_memory
from visionmodel_converter.gates.metrics import Detection
from visionmodel_converter.gates.proof import (
    Layer,
    executed_onnxruntime,
    executed_openvino,
    precision_share,
    refuse_missing_precision,
)
from visionmodel_converter.gates.speed import compare_speed, measure_speed
from visionmodel_converter.gates.tasks import DetectionPlan
from visionmodel_converter.graph.backends import open_backend
from visionmodel_converter.graph.openvino import compile_openvino
from visionmodel_converter.graph.session import Run, Tensors, random_inputs
from visionmodel_pipeline.settings import DetectionSettings

INPUTS = (TensorSpec(name="images", dtype="float32", dims=(-1, 3, 64, 64)),)
OPTIONS = RuntimeOptions(threads=1)
CALIBRATION_IMAGES = 64


@dataclass(frozen=True)
class Detector:
    """The network in each precision, INT8 also in TensorRT's layout, and the images that judge it."""

    files: dict[Precision, bytes]
    symmetric: bytes
    images: NDArray[np.float32]
    gt_boxes: NDArray[np.float32]
    gt_labels: NDArray[np.int64]


class Images(CalibrationDataReader):  # type: ignore[misc]
    """One image after the other, as onnxruntime's quantizer asks for them."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._rest: Iterator[dict[str, Any]] = iter([{"images": image[None]} for image in images])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rest, None)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    trained = build() / "shapes"
    with np.load(trained / "evaluation.npz") as data:
        images, boxes, labels = data["input:images"], data["gt_boxes"], data["gt_labels"]
    source, folder = trained / "v2" / "model.onnx", tmp_path_factory.mktemp("int8")
    unsigned, symmetric = (
        _quantize(source, folder / f"{symmetric}.onnx", images[:CALIBRATION_IMAGES], symmetric=symmetric)
        for symmetric in (False, True)
    )
    files = {Precision.FP32: source.read_bytes(), Precision.INT8: unsigned}
    return Detector(files, symmetric, images, boxes, labels)


def _quantize(source: Path, target: Path, images: NDArray[np.float32], *, symmetric: bool) -> bytes:
    """Quantize the inputs and weights of convolutions; unsigned with a zero point, or as TensorRT wants it."""
    quantize_static(
        str(source),
        str(target),
        Images(images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv"],
        extra_options={
            "ActivationSymmetric": symmetric,
            "QuantizeBias": False,
            "AddQDQPairToWeight": True,
            "OpTypesToExcludeOutputQuantization": ["Conv"],
        },
    )
    return target.read_bytes()


def inputs_of(batch: int) -> Tensors:
    return random_inputs(INPUTS, batch=batch, seed=1)


def opened(detector: Detector, backend: Backend, precision: Precision) -> Run:
    return open_backend(backend, detector.files[precision], shown=f"{precision} {backend}", options=OPTIONS)


def map50(detector: Detector, run: Run) -> float:
    samples = ArraySamples({"images": detector.images}, None, detector.gt_boxes, detector.gt_labels)
    metric = Detection(DetectionPlan({"boxes": "boxes", "scores": "scores"}, DetectionSettings("Grid")))
    for batch in samples.batches(50):
        found = run(batch.tensors)
        metric.add(batch, found, found)
    return metric.measured()["map50"].value


def layers(detector: Detector, backend: Backend, precision: Precision) -> list[Layer]:
    model = detector.files[precision]
    if backend is Backend.OPENVINO:
        return executed_openvino(compile_openvino(model, shown="m", options=OPTIONS), inputs_of(1))
    return executed_onnxruntime(model, inputs_of(1), shown="m")


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_both_runtimes_give_the_same_answers(detector: Detector, precision: Precision) -> None:
    found = {backend: opened(detector, backend, precision)(inputs_of(8)) for backend in Backend}
    for name, expected in found[Backend.ONNX_RUNTIME].items():
        # A value on the border of two INT8 steps may fall on either side; the metric below says what that costs.
        tolerance = 1e-4 if precision is Precision.FP32 else 0.1 * float(np.abs(expected).max())
        np.testing.assert_allclose(found[Backend.OPENVINO][name], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("backend", list(Backend))
def test_int8_keeps_the_detectors_metric(detector: Detector, backend: Backend) -> None:
    values = {precision: map50(detector, opened(detector, backend, precision)) for precision in detector.files}
    print(backend, {precision.value: round(value, 4) for precision, value in values.items()})
    assert values[Precision.FP32] > 0.9
    assert values[Precision.INT8] > values[Precision.FP32] - 0.03


@pytest.mark.parametrize("backend", list(Backend))
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_promised_precision_is_executed(detector: Detector, backend: Backend, precision: Precision) -> None:
    found = layers(detector, backend, precision)
    share = precision_share(found, precision, runtime=str(backend))
    print(f"{share.layers:.0%} of {len(found)} layers, {share.compute:.1%} of the compute in {precision} on {backend}")
    assert len(found) == 6
    assert share.compute == pytest.approx(1.0, abs=0.01)
    refuse_missing_precision(share, found)


def test_tensorrt_layout_is_silent_fp32_in_onnxruntime_alone(detector: Detector) -> None:
    """Between convolution and Q there stays a ReLU, because a signed zero point of 0 does not make it redundant."""
    layout = replace(detector, files={Precision.INT8: detector.symmetric})
    shares = {}
    for backend in Backend:
        found = layers(layout, backend, Precision.INT8)
        shares[backend] = precision_share(found, Precision.INT8, runtime=str(backend))
    assert (shares[Backend.ONNX_RUNTIME].compute, shares[Backend.OPENVINO].compute) == (0.0, 1.0)
    with pytest.raises(ConversionFailure, match="int8 was promised, but ONNXRuntime ran only 0%"):
        refuse_missing_precision(shares[Backend.ONNX_RUNTIME])


def test_runtimes_count_the_same_multiplications(detector: Detector) -> None:
    counted = {backend: sum(one.macs for one in layers(detector, backend, Precision.INT8)) for backend in Backend}
    assert set(counted.values()) == {7_548_928}


@pytest.mark.parametrize("batch", [1, 8])
def test_speed_side_by_side(detector: Detector, batch: int) -> None:
    runs = {
        f"{backend} {precision}": opened(detector, backend, precision)
        for backend in Backend
        for precision in detector.files
    }
    compared = compare_speed(runs, inputs_of, batch=batch, clock=time.perf_counter)
    for name, one in compared.items():
        result = one.result
        print(
            f"batch {batch} {name}: p50 {result.p50_ms:.3f} ms, p99 {result.p99_ms:.3f} ms, {result.per_second:.0f}/s,"
            f" {one.ratio:.2f} of the first ({one.low:.2f} to {one.high:.2f})"
        )
    assert all(one.result.runs >= 20 and one.low <= one.ratio <= one.high for one in compared.values())
    alone = measure_speed(runs["ONNXRuntime fp32"], inputs_of, batch=batch, clock=time.perf_counter)
    assert alone.p50_ms <= alone.p90_ms <= alone.p95_ms <= alone.p99_ms


@pytest.mark.parametrize("backend", list(Backend))
def test_memory_grows_with_the_batch(detector: Detector, backend: Backend) -> None:
    ballast = bytearray(300 * 2**20)  # what this process holds must not be counted
    peaks = [
        measure_memory(
            detector.files[Precision.FP32], shown="m", backend=backend, inputs=INPUTS, batch=batch, threads=1
        ).host
        for batch in (1, 256)
    ]
    print(backend, [f"{peak / 2**20:.1f} MiB" for peak in peaks])
    input_bytes = 256 * 3 * 64 * 64 * 4
    assert len(ballast) > peaks[1] > peaks[0] + input_bytes
