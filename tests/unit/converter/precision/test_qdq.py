"""Models as QAT tools leave them: recognised, and taken or refused per backend with the reason."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import NodeProto, TensorProto

from unit.converter.precision import nets
from unit.converter.precision.nets import node
from visionmodel_contract.precision import Precision
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.precision.layout import Layout
from visionmodel_converter.precision.qdq import Form, arrived_variant, quantization_of

SCALE = np.array(0.05, np.float32)


def pairs(zero: np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None = None, *, bias: bool = False) -> CheckedModel:
    """A product with a pair on its input and one on its weight; optionally an INT32 bias."""
    given = ["z"] if zero is not None else []
    nodes = [
        node("QuantizeLinear", ["x", "s", *given], "x_8"),
        node("DequantizeLinear", ["x_8", "s", *given], "x_back"),
        node("DequantizeLinear", ["w_8", "s", "z_w"], "w"),
    ]
    stored: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {
        "s": SCALE,
        "w_8": np.eye(4, dtype=np.int8),
        "z_w": np.array(0, np.int8),
    }
    if zero is not None:
        stored["z"] = zero
    operands = ["x_back", "w"]
    if bias:
        nodes.append(node("DequantizeLinear", ["b_32", "s"], "b"))
        stored["b_32"] = np.arange(4, dtype=np.int32)
        operands.append("b")
    return nets.vector_net([*nodes, node("Gemm", operands, "y")], stored)


def operators() -> CheckedModel:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "x_8"),
        node("QLinearMatMul", ["x_8", "s", "z", "w_8", "s", "z", "s", "z"], "y_8"),
        node("DequantizeLinear", ["y_8", "s", "z"], "y"),
    ]
    return nets.vector_net(nodes, {"s": SCALE, "z": np.array(0, np.int8), "w_8": np.eye(4, dtype=np.int8)})


def dynamic(*, convolution: bool) -> CheckedModel:
    quantise = NodeProto(
        op_type="DynamicQuantizeLinear", name="make_x_8", input=["x"], output=["x_8", "x_scale", "x_zero"]
    )
    operation = "ConvInteger" if convolution else "MatMulInteger"
    dims: tuple[int | str, ...] = ("batch", 4, 2, 2) if convolution else ("batch", 4)
    weight = np.ones((4, 4, 1, 1) if convolution else (4, 4), np.uint8)
    return nets.vector_net(
        [
            quantise,
            node(operation, ["x_8", "w_8", "x_zero"], "whole"),
            node("Cast", ["whole"], "real", to=TensorProto.FLOAT),
            node("Mul", ["real", "x_scale"], "y"),
        ],
        {"w_8": weight},
        dims=dims,
        out_dims=dims,
    )


def per_channel() -> CheckedModel:
    """As ModelOpt and pytorch-quantization write it: signed, zero point 0, one scale per output channel."""
    return nets.vector_net(
        [
            node("QuantizeLinear", ["x", "s", "z"], "x_8"),
            node("DequantizeLinear", ["x_8", "s", "z"], "x_back"),
            node("QuantizeLinear", ["w", "s_w", "z_w"], "w_8", axis=1),
            node("DequantizeLinear", ["w_8", "s_w", "z_w"], "w_back", axis=1),
            node("MatMul", ["x_back", "w_back"], "y"),
        ],
        {
            "s": SCALE,
            "z": np.array(0, np.int8),
            "w": np.eye(4, dtype=np.float32),
            "s_w": np.full(4, 0.01, np.float32),
            "z_w": np.zeros(4, np.int8),
        },
    )


ARRIVALS: dict[str, tuple[Callable[[], CheckedModel], Form, str | None, str | None]] = {
    "modelopt": (per_channel, Form.PAIRS, None, None),
    "symmetric-int8": (lambda: pairs(np.array(0, np.int8)), Form.PAIRS, None, None),
    "torch-quint8": (lambda: pairs(np.array(0, np.uint8)), Form.PAIRS, None, "signed INT8 only, and make_x_8"),
    "no-zero-point-is-uint8": (lambda: pairs(), Form.PAIRS, None, "signed INT8 only, and make_x_8"),
    "tf-mot": (lambda: pairs(np.array(-128, np.int8)), Form.PAIRS, None, "zero point to be 0"),
    "integer-bias": (
        lambda: pairs(np.array(0, np.int8), bias=True),
        Form.PAIRS,
        None,
        "no INT32 bias, and make_b dequantises one",
    ),
    "operators": (operators, Form.OPERATORS, None, "no QLinear operators"),
    "dynamic-matmul": (lambda: dynamic(convolution=False), Form.DYNAMIC, None, "no dynamic quantisation"),
    "dynamic-conv": (
        lambda: dynamic(convolution=True),
        Form.DYNAMIC,
        "convolves and is quantised dynamically",
        "convolves and is quantised dynamically",
    ),
}


@pytest.mark.parametrize(("build", "form", "on_cpu", "on_tensorrt"), ARRIVALS.values(), ids=ARRIVALS)
def test_arrival_is_taken_or_refused(
    build: Callable[[], CheckedModel], form: Form, on_cpu: str | None, on_tensorrt: str | None
) -> None:
    source = build()
    assert quantization_of(source.proto).form is form
    for layout, reason in ((Layout.CPU, on_cpu), (Layout.TENSORRT, on_tensorrt)):
        if reason is None:
            variant = arrived_variant(source, layout=layout, shown="m.onnx")
            assert variant is not None
            assert variant.model is source
            assert (variant.precision, variant.method) == (Precision.INT8, None)
            assert form.value in variant.notes[0]
            continue
        with pytest.raises(ConversionFailure) as caught:
            arrived_variant(source, layout=layout, shown="m.onnx")
        assert caught.value.reason is Reason.UNSUPPORTED_QUANTIZATION
        assert caught.value.message.startswith("m.onnx: ")
        assert reason in caught.value.message


def test_float_model_is_no_arrival() -> None:
    assert arrived_variant(nets.residual_net(), layout=Layout.TENSORRT, shown="m.onnx") is None


def test_no_two_refusals_are_the_same_sentence() -> None:
    said = set()
    for build, _, _, reason in ARRIVALS.values():
        if reason:
            with pytest.raises(ConversionFailure) as caught:
                arrived_variant(build(), layout=Layout.TENSORRT, shown="m.onnx")
            said.add(caught.value.message)
    assert len(said) == sum(bool(reason) for *_, reason in ARRIVALS.values()) - 1  # the two of UINT8 name one node
