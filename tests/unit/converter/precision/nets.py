"""Small float networks for the precision tests, each with the one thing its test is about."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from visionmodel_converter.graph.onnx_model import CheckedModel, checked
from visionmodel_converter.graph.session import Tensors, open_session

CHANNELS, SIZE = 16, 8


def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    """A node that is called after what it makes."""
    return helper.make_node(kind, list(inputs), [output], name=f"make_{output}", **attributes)


def model(
    nodes: Sequence[NodeProto],
    stored: dict[str, NDArray[Any]],
    *,
    inputs: dict[str, tuple[int, list[int | str]]],
    outputs: dict[str, tuple[int, list[int | str]]],
    opset: int = 17,
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def vector_net(
    nodes: Sequence[NodeProto],
    stored: dict[str, NDArray[Any]] | None = None,
    *,
    kind: int = TensorProto.FLOAT,
    out_kind: int = TensorProto.FLOAT,
    dims: Sequence[int | str] = ("batch", 4),
    out_dims: Sequence[int | str] = ("batch", 4),
    opset: int = 17,
) -> CheckedModel:
    """x to y, checked."""
    made = model(
        nodes, stored or {}, inputs={"x": (kind, list(dims))}, outputs={"y": (out_kind, list(out_dims))}, opset=opset
    )
    return checked(made, "the test net")


def residual_net(opset: int = 17) -> CheckedModel:
    """images [batch, 4, 8, 8] through three convolutions, one skipped by a residual, to logits [batch, 20]."""
    rng = np.random.default_rng(1)

    def weights(*shape: int) -> NDArray[np.float32]:
        drawn: NDArray[np.float64] = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        return drawn.astype(np.float32)

    nodes = [
        node("Conv", ["images", "w0", "b0"], "stem", kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", ["stem"], "trunk"),
        node("Conv", ["trunk", "w1", "b0"], "inner", kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", ["inner"], "inner_relu"),
        node("Conv", ["inner_relu", "w2", "b0"], "branch", kernel_shape=[3, 3], pads=[1] * 4),
        node("Add", ["branch", "trunk"], "sum"),
        node("Relu", ["sum"], "features"),
        node("GlobalAveragePool", ["features"], "pooled"),
        node("Flatten", ["pooled"], "flat"),
        node("Gemm", ["flat", "w3", "b3"], "logits"),
    ]
    stored = {
        "w0": weights(CHANNELS, 4, 3, 3),
        "w1": weights(CHANNELS, CHANNELS, 3, 3),
        "w2": weights(CHANNELS, CHANNELS, 3, 3),
        "b0": weights(CHANNELS, 1)[:, 0],
        "w3": weights(CHANNELS, 20),
        "b3": weights(20, 1)[:, 0],
    }
    made = model(
        nodes,
        stored,
        inputs={"images": (TensorProto.FLOAT, ["batch", 4, SIZE, SIZE])},
        outputs={"logits": (TensorProto.FLOAT, ["batch", 20])},
        opset=opset,
    )
    return checked(made, "the test net")


def images(count: int = 16, seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 4, SIZE, SIZE)).astype(np.float32)


def output_of(net: CheckedModel, inputs: Tensors) -> NDArray[Any]:
    return next(iter(open_session(net.serialized(), shown="net", threads=1)(inputs).values()))
