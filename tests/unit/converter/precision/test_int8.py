"""What an INT8 graph must look like for each backend, and how a conversion without one ends."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from unit.converter.precision import nets
from unit.converter.precision.nets import node
from visionmodel_contract.precision import CalibrationMethod, Precision
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.agreement import relative_difference
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.precision.int8 import calibrated, int8_variants, quantised
from visionmodel_converter.precision.layout import Layout
from visionmodel_converter.precision.variant import Variant

RESIDUAL = nets.residual_net()
SAMPLES = [{"images": nets.images(32, seed=8)}]
IMAGES = {"images": nets.images()}
MIN_MAX, PERCENTILE = CalibrationMethod.MIN_MAX, CalibrationMethod.PERCENTILE
PAIRS = ("QuantizeLinear", "DequantizeLinear")


def made(net: CheckedModel = RESIDUAL, layout: Layout = Layout.TENSORRT, **options: Any) -> Variant:
    samples = options.pop("samples", SAMPLES)
    (variant,) = int8_variants(net, samples, [MIN_MAX], layout=layout, threads=1, **options)
    return variant


def zero_points(model: ModelProto) -> list[np.ndarray[Any, Any]]:
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [stored[made.input[2]] for made in model.graph.node if made.op_type in PAIRS]


def counts(model: ModelProto) -> Counter[str]:
    return Counter(made.op_type for made in model.graph.node)


def test_tensorrt_layout_is_what_its_explicit_quantisation_demands() -> None:
    variant = made()
    proto = variant.model.proto
    assert (variant.precision, variant.method, variant.kept_fp32) == (Precision.INT8, MIN_MAX, ())
    assert counts(proto)["QuantizeLinear"] == counts(proto)["DequantizeLinear"] == 8  # 4 inputs, 4 weights
    assert {zero.dtype.name for zero in zero_points(proto)} == {"int8"}
    assert not any(zero.any() for zero in zero_points(proto))
    assert variant.model.opset == 19
    assert (variant.model.inputs, variant.model.outputs) == (RESIDUAL.inputs, RESIDUAL.outputs)
    assert TensorProto.INT32 not in {tensor.data_type for tensor in proto.graph.initializer}


def test_tensorrt_weights_have_a_scale_per_channel_and_keep_their_values() -> None:
    proto = made().model.proto
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    shapes = {
        made.input[0]: stored[made.input[1]].shape for made in proto.graph.node if made.op_type == "QuantizeLinear"
    }
    assert (shapes["w0"], shapes["w3"], shapes["images"]) == ((16,), (20,), ())
    assert stored["w1"].dtype == np.float32


def test_tensorrt_reads_the_residual_in_eight_bits() -> None:
    total = next(found for found in made().model.proto.graph.node if found.name == "make_sum")
    assert list(total.input) == ["branch", "trunk_DequantizeLinear_Output"]


def test_cpu_layout_stores_eight_bits_and_leaves_the_head() -> None:
    variant = made(layout=Layout.CPU)
    stored = {tensor.name: tensor for tensor in variant.model.proto.graph.initializer}
    weights = [tensor for name, tensor in stored.items() if name.startswith("w") and "quantized" in name]
    assert {tensor.data_type for tensor in weights} == {TensorProto.INT8}
    assert len(weights) == 4
    assert len(variant.model.serialized()) < 0.6 * len(RESIDUAL.serialized())
    assert variant.model.proto.graph.node[-1].output[0] == "logits"
    assert variant.model.proto.graph.node[-1].op_type == "Gemm"
    activations = {zero.dtype.name: set() for zero in zero_points(variant.model.proto)}  # type: ignore[var-annotated]
    for zero in zero_points(variant.model.proto):
        activations[zero.dtype.name].update(zero.ravel().tolist())
    assert activations == {"uint8": {0, 128}, "int8": {0}, "int32": {0}}


@pytest.mark.parametrize("layout", Layout)
def test_result_is_near_the_source(layout: Layout) -> None:
    expected, actual = nets.output_of(RESIDUAL, IMAGES), nets.output_of(made(layout=layout).model, IMAGES)
    assert 0 < relative_difference(expected, actual) < 0.05


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("opset", [11, 13, 17, 20, 22], ids=lambda opset: f"opset{opset}")
def test_any_opset_from_11(opset: int, layout: Layout) -> None:
    variant = made(nets.residual_net(opset), layout)
    assert variant.model.opset == max(opset, 19 if layout is Layout.TENSORRT else 13)
    assert variant.model.proto.ir_version == 8


def test_rest_becomes_fp16_scales_too() -> None:
    variant = made(fp16=True)
    proto = variant.model.proto
    assert {tensor.data_type for tensor in proto.graph.initializer} == {TensorProto.FLOAT16, TensorProto.INT8}
    assert variant.model.inputs == RESIDUAL.inputs
    difference = relative_difference(nets.output_of(RESIDUAL, IMAGES), nets.output_of(variant.model, IMAGES))
    assert 0 < difference < 0.05


def test_scale_that_fp16_cannot_hold_stays_fp32() -> None:
    faint = [{"images": SAMPLES[0]["images"] / 1000}]
    variant = made(fp16=True, samples=faint)
    assert {"images_QuantizeLinear", "images_DequantizeLinear", "make_stem"} <= set(variant.kept_fp32)
    assert any("scale is below 6.1e-05" in note for note in variant.notes)


def test_values_that_fp16_cannot_hold_stay_fp32() -> None:
    glaring = [{"images": SAMPLES[0]["images"] * 20_000}]
    variant = made(fp16=True, samples=glaring)
    assert "make_stem" in variant.kept_fp32
    assert any("FP16's range" in note for note in variant.notes)


def test_fp16_beside_int8_is_for_tensorrt() -> None:
    with pytest.raises(ValueError, match="TensorRT"):
        made(layout=Layout.CPU, fp16=True)


def test_kept_nodes_have_no_pairs() -> None:
    ready = calibrated(RESIDUAL, SAMPLES, MIN_MAX, layout=Layout.TENSORRT, threads=1)
    variant = quantised(ready, kept=frozenset(["make_inner"]))
    inner = next(made for made in variant.model.proto.graph.node if made.name == "make_inner")
    assert list(inner.input) == ["trunk", "w1", "b0"]
    assert variant.kept_fp32 == ("make_inner",)
    assert variant.notes[0].startswith("3 of 4 multiplying nodes are INT8 in the layout for TensorRT")


def test_notes_tell_of_few_samples() -> None:
    assert any("32 calibration samples are few" in note for note in made().notes)


@pytest.mark.parametrize("layout", Layout)
def test_same_bytes_twice_and_source_untouched(layout: Layout) -> None:
    before = RESIDUAL.serialized()
    assert made(layout=layout).model.serialized() == made(layout=layout).model.serialized()
    assert RESIDUAL.serialized() == before


def test_one_variant_per_method_in_order() -> None:
    variants = int8_variants(RESIDUAL, SAMPLES, [PERCENTILE, MIN_MAX], layout=Layout.TENSORRT, threads=1)
    assert [variant.method for variant in variants] == [PERCENTILE, MIN_MAX]


def test_nothing_reaches_the_progress_stream(capfd: pytest.CaptureFixture[str]) -> None:
    made_variants = int8_variants(RESIDUAL, SAMPLES, [PERCENTILE], layout=Layout.TENSORRT, threads=1)
    assert made_variants
    assert capfd.readouterr().out == ""


def test_network_without_anything_to_quantise() -> None:
    net = nets.vector_net([node("Relu", ["x"], "y")])
    with pytest.raises(ConversionFailure, match="nothing to quantise") as caught:
        made(net, samples=[{"x": np.ones((4, 4), np.float32)}])
    assert caught.value.reason is Reason.PRECISION_IMPOSSIBLE


def test_quantised_source_is_refused() -> None:
    with pytest.raises(ConversionFailure, match="already") as caught:
        made(made().model)
    assert caught.value.reason is Reason.UNSUPPORTED_QUANTIZATION


def test_activation_without_end_is_named() -> None:
    net = nets.vector_net(
        [node("Exp", ["x"], "wild"), node("MatMul", ["wild", "w"], "y")],
        {"w": np.ones((16, 16), np.float32)},
        dims=["batch", 16],
        out_dims=["batch", 16],
    )
    with pytest.raises(ConversionFailure, match="tensor 'wild'") as caught:
        made(net, samples=[{"x": np.full((4, 16), 1000, np.float32)}])
    assert caught.value.reason is Reason.CALIBRATION_INVALID
