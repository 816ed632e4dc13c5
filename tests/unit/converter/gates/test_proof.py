"""Multiplications counted from shapes, types turned into precisions, and the sentence when a promise is broken."""

import platform
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from unit.converter import tiny_models
from visionmodel_contract.precision import Precision
from visionmodel_contract.report import PrecisionShare
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.proof import (
    Layer,
    conv_macs,
    executed_onnxruntime,
    layers_of_profile,
    precision_share,
    product_macs,
    refuse_missing_precision,
    transposed_conv_macs,
)


@pytest.mark.parametrize(
    ("macs", "factors", "output", "expected"),
    [
        pytest.param(conv_macs, [(2, 3, 8, 8), (16, 3, 3, 3)], (2, 16, 6, 6), 2 * 16 * 36 * 27, id="convolution"),
        pytest.param(conv_macs, [(1, 8, 4, 4), (8, 1, 3, 3)], (1, 8, 4, 4), 8 * 16 * 9, id="depthwise"),
        pytest.param(conv_macs, [(1, 4, 9), (5, 4, 3)], (1, 5, 7), 5 * 7 * 12, id="one spatial axis"),
        pytest.param(transposed_conv_macs, [(1, 8, 4, 4), (8, 4, 2, 2)], (1, 4, 8, 8), 128 * 16, id="transposed"),
        pytest.param(product_macs, [(2, 5), (5, 7)], (2, 7), 2 * 5 * 7, id="matrices"),
        pytest.param(product_macs, [(5, 2), (5, 7)], (2, 7), 2 * 5 * 7, id="left is transposed"),
        pytest.param(product_macs, [(3, 2, 5), (5, 7)], (3, 2, 7), 3 * 2 * 5 * 7, id="stacked"),
        pytest.param(product_macs, [(5,), (5, 7)], (7,), 35, id="vector"),
        pytest.param(product_macs, [(2, 5), (5,)], (2,), 10, id="by a vector"),
        pytest.param(product_macs, [(0, 5), (5, 7)], (0, 7), 0, id="empty"),
    ],
)
def test_multiply_accumulates(macs: Any, factors: Any, output: Any, expected: int) -> None:
    assert macs(factors, output) == expected


def profiled(operator: str, inputs: list[dict[str, list[int]]], output: list[int]) -> dict[str, Any]:
    arguments = {"op_name": operator, "input_type_shape": inputs, "output_type_shape": [{"float": output}]}
    return {"cat": "Node", "name": "layer_kernel_time", "args": arguments}


SCALES: list[dict[str, list[int]]] = [{"float": []}, {"uint8": []}]


@pytest.mark.parametrize(
    ("event", "precision", "macs"),
    [
        pytest.param(profiled("Conv", [{"float": [1, 2, 4, 4]}, {"float": [3, 2, 1, 1]}], [1, 3, 4, 4]), "fp32", 96),
        pytest.param(profiled("Gemm", [{"float16": [2, 3]}, {"float16": [3, 4]}], [2, 4]), "fp16", 24),
        pytest.param(profiled("Gemm", [{"float16": [2, 3]}, {"float": [3, 4]}], [2, 4]), None, 24, id="mixed"),
        pytest.param(profiled("MatMul", [{"bfloat16": [2, 3]}, {"bfloat16": [3, 4]}], [2, 4]), None, 24, id="bfloat16"),
        pytest.param(
            profiled("QLinearConv", [{"uint8": [1, 4, 4, 2]}, *SCALES, {"int8": [3, 2, 1, 1]}], [1, 4, 4, 3]),
            "int8",
            96,
            id="quantized, channels last",
        ),
        pytest.param(profiled("MatMulInteger", [{"uint8": [2, 3]}, {"int8": [3, 4]}], [2, 4]), "int8", 24),
        pytest.param(
            profiled("DynamicQuantizeMatMul", [{"float": [2, 3]}, {"int8": [3, 4]}], [2, 4]),
            "int8",
            24,
            id="quantizes its input itself",
        ),
    ],
)
def test_layers_of_a_profile(event: dict[str, Any], precision: str | None, macs: int) -> None:
    (layer,) = layers_of_profile([event])
    assert (layer.name, layer.precision, layer.macs) == ("layer", precision and Precision(precision), macs)


def test_what_does_not_multiply_is_no_layer() -> None:
    session = {"cat": "Session", "name": "model_run", "args": {}}
    fence = {"cat": "Node", "name": "conv_fence_before", "args": {"op_name": "Conv"}}
    assert layers_of_profile([session, fence, profiled("Relu", [{"float": [1]}], [1])]) == []


def layer(precision: Precision | None, macs: int, name: str = "a") -> Layer:
    return Layer(name, "Conv", precision or "bf16", precision, macs)


def share(layers: list[Layer], promised: Precision) -> tuple[float, float]:
    found = precision_share(layers, promised, runtime="r 1")
    return found.layers, found.compute


@pytest.mark.parametrize(
    ("layers", "promised", "expected"),
    [
        pytest.param(
            [layer(Precision.INT8, 9), layer(Precision.FP32, 1)], Precision.INT8, (0.5, 0.9), id="both counts"
        ),
        pytest.param([layer(None, 1)], Precision.FP16, (0.0, 0.0), id="another type"),
        pytest.param([], Precision.FP32, (1.0, 1.0), id="nothing multiplies, FP32"),
        pytest.param([], Precision.INT8, (0.0, 0.0), id="nothing multiplies, INT8"),
        pytest.param([layer(Precision.INT8, 0), layer(None, 0)], Precision.INT8, (0.5, 0.5), id="empty batch"),
    ],
)
def test_share(layers: list[Layer], promised: Precision, expected: tuple[float, float]) -> None:
    assert share(layers, promised) == expected


@given(st.lists(st.builds(layer, st.sampled_from([*Precision, None]), st.integers(0, 10**12))))
def test_shares_are_shares(layers: list[Layer]) -> None:
    shares = [share(layers, promised) for promised in Precision]
    assert all(0 <= value <= 1 for pair in shares for value in pair)
    assert sum(pair[1] for pair in shares) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("promised", "compute", "minimum", "passes"),
    [
        (Precision.FP32, 1.0, None, True),
        (Precision.FP32, 0.999, None, False),
        (Precision.FP16, 0.9, None, True),
        (Precision.INT8, 0.79, None, False),
        (Precision.INT8, 0.79, 0.5, True),
        (Precision.INT8, float("nan"), 0.0, False),
    ],
)
def test_minimum(promised: Precision, compute: float, minimum: float | None, passes: bool) -> None:
    found = PrecisionShare(precision=promised, layers=1.0, compute=compute, runtime="r 1")
    if passes:
        refuse_missing_precision(found, minimum=minimum)
        return
    with pytest.raises(ConversionFailure) as caught:
        refuse_missing_precision(found, minimum=minimum)
    assert caught.value.reason is Reason.PRECISION_NOT_REACHED


def test_sentence_names_the_largest_layers_and_the_remedy() -> None:
    layers = [layer(Precision.INT8, 1, "q"), layer(None, 2, "small"), layer(None, 7, "large")]
    with pytest.raises(ConversionFailure) as caught:
        refuse_missing_precision(precision_share(layers, Precision.INT8, runtime="r 1"), layers)
    assert caught.value.message.startswith(
        "int8 was promised, but r 1 ran only 10% of the multiplications (33% of the layers) in it, 80% must be; not in "
        "it ran 'large' (Conv, bf16), 'small' (Conv, bf16): "
    )


def test_a_real_run_is_read() -> None:
    """x [2,8,6,6] -> depthwise 3x3, transposed 2x2 to 4 channels, and a product of the flattened input."""
    rng = np.random.default_rng(1)
    model = tiny_models.model_of(
        [
            helper.make_node("Conv", ["x", "depthwise"], ["c"], name="conv", group=8, pads=[1] * 4),
            helper.make_node("ConvTranspose", ["c", "spread"], ["t"], name="spread", strides=[2, 2]),
            helper.make_node("Flatten", ["x"], ["flat"], name="flatten"),
            helper.make_node("Gemm", ["flat", "w"], ["y"], name="gemm", transB=1),
        ],
        {
            "depthwise": rng.normal(size=(8, 1, 3, 3)).astype(np.float32),
            "spread": rng.normal(size=(8, 4, 2, 2)).astype(np.float32),
            "w": rng.normal(size=(5, 288)).astype(np.float32),
        },
        inputs={"x": ["batch", 8, 6, 6]},
        outputs={"t": ["batch", 4, 12, 12], "y": ["batch", 5]},
    )
    x = rng.normal(size=(2, 8, 6, 6)).astype(np.float32)
    layers = executed_onnxruntime(tiny_models.to_bytes(model), {"x": x}, shown="m.onnx")
    found = {one.operator: (one.precision, one.macs) for one in layers}
    assert found.keys() == {"Conv", "ConvTranspose", "Gemm"}
    assert found["ConvTranspose"] == (Precision.FP32, 2 * 8 * 36 * 16)
    assert found["Gemm"] == (Precision.FP32, 2 * 5 * 288)
    # The kernel may work on channels padded to a multiple of the vector's width: that is what it multiplies.
    assert found["Conv"][1] in (2 * 8 * 36 * 9, 2 * 16 * 36 * 9)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have FP16 convolutions")
def test_fp16_on_x86_is_found_out() -> None:
    """The graph is FP16 throughout; onnxruntime casts it back, and only the profile shows that."""
    weights = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float16)
    model = tiny_models.model_of(
        [
            helper.make_node("Cast", ["x"], ["half"], name="lower", to=TensorProto.FLOAT16),
            helper.make_node("Conv", ["half", "w"], ["c"], name="conv"),
            helper.make_node("Cast", ["c"], ["y"], name="raise", to=TensorProto.FLOAT),
        ],
        {"w": weights},
        inputs={"x": ["batch", 3, 8, 8]},
        outputs={"y": ["batch", 4, 6, 6]},
    )
    x = np.ones((1, 3, 8, 8), np.float32)
    layers = executed_onnxruntime(tiny_models.to_bytes(model), {"x": x}, shown="m.onnx")
    found = precision_share(layers, Precision.FP16, runtime="onnxruntime")
    assert (found.layers, found.compute) == (0.0, 0.0)
    with pytest.raises(ConversionFailure, match="ask for int8 or fp32 there, or serve on a GPU"):
        refuse_missing_precision(found, layers)
