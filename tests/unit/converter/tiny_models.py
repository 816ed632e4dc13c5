"""Small ONNX graphs for the converter's tests, written node by node so that each test sees what it needs."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

FEATURES, CLASSES = 4, 3


def weights(seed: int = 1) -> NDArray[np.float32]:
    """The classifier's weight matrix [FEATURES, CLASSES]."""
    return np.random.default_rng(seed).normal(size=(FEATURES, CLASSES)).astype(np.float32)


def model_of(
    nodes: Sequence[NodeProto],
    initializers: dict[str, NDArray[np.generic]],
    *,
    inputs: dict[str, list[int | str]],
    outputs: dict[str, list[int | str]],
    opset: int = 17,
    ir_version: int = 8,
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def classifier(
    matrix: NDArray[np.float32] | None = None,
    *,
    batch: int | str = "batch",
    opset: int = 17,
    ir_version: int = 8,
    extra: Sequence[NodeProto] = (),
) -> ModelProto:
    """x [batch, 4] -> logits [batch, 3], with an Identity that a simplifier removes."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"], name="same"),
        helper.make_node("MatMul", ["same", "w"], ["product"], name="project"),
        *(extra or [helper.make_node("Add", ["product", "b"], ["logits"], name="shift")]),
    ]
    return model_of(
        nodes,
        {"w": weights() if matrix is None else matrix, "b": np.arange(CLASSES, dtype=np.float32) / 10},
        inputs={"x": [batch, FEATURES]},
        outputs={"logits": [batch, CLASSES]},
        opset=opset,
        ir_version=ir_version,
    )


def detector(boxes: int = 2, classes: int = 2) -> ModelProto:
    """x [batch, K*(4+C)] -> boxes [batch, K, 4] and scores [batch, K, C]: the input holds what comes out."""
    width = boxes * (4 + classes)
    return model_of(
        [
            helper.make_node("Split", ["x", "sizes"], ["flat_boxes", "flat_scores"], axis=1, name="split"),
            helper.make_node("Reshape", ["flat_boxes", "boxes_shape"], ["boxes"], name="to_boxes"),
            helper.make_node("Reshape", ["flat_scores", "scores_shape"], ["scores"], name="to_scores"),
        ],
        {
            "sizes": np.array([boxes * 4, boxes * classes], np.int64),
            "boxes_shape": np.array([-1, boxes, 4], np.int64),
            "scores_shape": np.array([-1, boxes, classes], np.int64),
        },
        inputs={"x": ["batch", width]},
        outputs={"boxes": ["batch", boxes, 4], "scores": ["batch", boxes, classes]},
    )


def to_bytes(model: ModelProto) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


def with_nan_weights() -> ModelProto:
    matrix = weights().copy()
    matrix[1, 2] = np.nan
    return classifier(matrix)


def with_custom_operator() -> ModelProto:
    node = helper.make_node("Swish", ["product"], ["logits"], name="act/swish", domain="acme.ops")
    model = classifier(extra=[node])
    model.opset_import.append(helper.make_opsetid("acme.ops", 1))
    return model


def with_external_data(location: str, *, length: int | None = None) -> ModelProto:
    model = classifier()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
    if length is not None:
        tensor.external_data.append(onnx.StringStringEntryProto(key="length", value=str(length)))
    return model


def with_declared_size(*dims: int) -> ModelProto:
    """The first weights are declared to be so large and hold four numbers."""
    model = classifier()
    tensor = model.graph.initializer[0]
    tensor.dims[:] = dims
    tensor.raw_data = np.zeros(4, np.float32).tobytes()
    return model


def with_cycle() -> ModelProto:
    """Two nodes that wait for each other."""
    return model_of(
        [
            helper.make_node("Add", ["x", "back"], ["sum"], name="first"),
            helper.make_node("Relu", ["sum"], ["back"], name="second"),
            helper.make_node("Identity", ["back"], ["y"], name="out"),
        ],
        {},
        inputs={"x": ["batch", FEATURES]},
        outputs={"y": ["batch", FEATURES]},
    )


def with_zero_size_weights() -> ModelProto:
    return model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="project")],
        {"w": np.zeros((FEATURES, 0), np.float32)},
        inputs={"x": ["batch", FEATURES]},
        outputs={"y": ["batch", 0]},
    )


def of_pictures(side: int | str = 8) -> ModelProto:
    """images [batch, 3, side, side] -> logits [batch, 3]: the mean of each channel."""
    return model_of(
        [helper.make_node("ReduceMean", ["images"], ["logits"], name="mean", axes=[2, 3], keepdims=0)],
        {},
        inputs={"images": ["batch", 3, side, side]},
        outputs={"logits": ["batch", 3]},
    )


def with_zero_size_dimension() -> ModelProto:
    return model_of(
        [helper.make_node("Identity", ["x"], ["y"], name="copy")],
        {},
        inputs={"x": ["batch", 0, 3]},
        outputs={"y": ["batch", 0, 3]},
    )


def with_dangling_input() -> ModelProto:
    model = classifier()
    model.graph.node[1].input[1] = "no_such_weight"
    return model


def with_batch_lost() -> ModelProto:
    """The output's first axis is symbolic but is not the batch."""
    return model_of(
        [helper.make_node("Reshape", ["x", "shape"], ["y"], name="flatten")],
        {"shape": np.array([-1], np.int64)},
        inputs={"x": ["batch", FEATURES]},
        outputs={"y": ["flat"]},
    )


def with_nan_output() -> ModelProto:
    """Square root of a negative number for every input in [0, 1)."""
    return model_of(
        [
            helper.make_node("Sub", ["x", "two"], ["negative"], name="shift"),
            helper.make_node("Sqrt", ["negative"], ["y"], name="root"),
        ],
        {"two": np.full((1, FEATURES), 2, np.float32)},
        inputs={"x": ["batch", FEATURES]},
        outputs={"y": ["batch", FEATURES]},
    )


def npz(**arrays: Any) -> bytes:
    """A dataset file; `input_x` becomes the array `input:x`, which no keyword can be called."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name.replace("input_", "input:"): array for name, array in arrays.items()})
    return buffer.getvalue()
