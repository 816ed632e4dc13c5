"""Trained parameters to ONNX: opset 17, IR 8, a symbolic batch axis called N.

Opset 17 and IR 8 are the oldest that hold what the models need, so every runtime of the last
years loads them; newer ones lift them themselves. Written with `onnx.helper`, checked before it
leaves: strict shape inference and the full checker.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from example_models.classifier import NETWORK as CLASSIFIER
from example_models.detector import CELL, CHANNELS, GRID, cell_origins
from example_models.detector import NETWORK as DETECTOR
from example_models.digits import CLASSES
from example_models.digits import SIZE as DIGIT_SIZE
from example_models.layers import Centre, Conv, Dense, GlobalAverage, Layer, Relu, Weights
from example_models.network import Network, Parameters
from example_models.shapes import CLASS_NAMES, SIZE

OPSET = 17
IR_VERSION = 8
INPUT = "images"
BOXES = "boxes"
SCORES = "scores"
LOGITS = "logits"
CELLS = GRID * GRID


@dataclass
class GraphParts:
    """Nodes and constants of a graph under construction, each under a name of its own."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Add an initializer and return its name."""
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output and return the name of that output."""
        made = helper.make_node(kind, inputs, [output], name=f"make_{output}", **attributes)
        self.nodes.append(made)
        return output


def detector_model(parameters: Parameters) -> onnx.ModelProto:
    """`images` [N, 3, 64, 64] to `boxes` [N, 64, 4] in pixels and `scores` [N, 64, 3]."""
    parts = GraphParts()
    _add_grid_head(parts, _add_network(parts, DETECTOR, parameters))
    outputs = [_float_info(BOXES, [CELLS, 4]), _float_info(SCORES, [CELLS, len(CLASS_NAMES)])]
    return _model("shapes", parts, _float_info(INPUT, [3, SIZE, SIZE]), outputs)


def classifier_model(parameters: Parameters) -> onnx.ModelProto:
    """`images` [N, 1, 32, 32] to `logits` [N, 10]."""
    parts = GraphParts()
    features = _add_network(parts, CLASSIFIER, parameters)
    parts.node("Identity", [features], LOGITS)
    source = _float_info(INPUT, [1, DIGIT_SIZE, DIGIT_SIZE])
    return _model("digits", parts, source, [_float_info(LOGITS, [CLASSES])])


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, or the checker's error: nothing leaves this package unchecked."""
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def _add_network(parts: GraphParts, network: Network, parameters: Parameters) -> str:
    tensor = INPUT
    for index, (layer, weights) in enumerate(zip(network.layers, parameters, strict=True)):
        tensor = _add_layer(parts, layer, weights, tensor, index)
    return tensor


def _add_layer(parts: GraphParts, layer: Layer, weights: Weights, x: str, index: int) -> str:
    match layer:
        case Centre(middle, gain):
            middle_name = parts.constant(f"middle_{index}", np.float32(middle))
            shifted = parts.node("Sub", [x, middle_name], f"shifted_{index}")
            gain_name = parts.constant(f"gain_{index}", np.float32(gain))
            return parts.node("Mul", [shifted, gain_name], f"centred_{index}")
        case Conv():
            return _add_conv(parts, layer, weights, x, index)
        case Relu():
            return parts.node("Relu", [x], f"relu_{index}")
        case GlobalAverage():
            pooled = parts.node("GlobalAveragePool", [x], f"pooled_{index}")
            return parts.node("Flatten", [pooled], f"features_{index}")
        case Dense():
            kernel = parts.constant(f"weight_{index}", weights[0])
            bias = parts.constant(f"bias_{index}", weights[1])
            return parts.node("Gemm", [x, kernel, bias], f"dense_{index}")
        case _:
            raise TypeError(f"no ONNX form is known for {layer!r}: add it to export._add_layer")


def _add_conv(parts: GraphParts, layer: Conv, weights: Weights, x: str, index: int) -> str:
    shape = (layer.kernel, layer.kernel, layer.inputs, layer.outputs)
    kernel = parts.constant(f"weight_{index}", weights[0].reshape(shape).transpose(3, 2, 0, 1))
    bias = parts.constant(f"bias_{index}", weights[1])
    return parts.node(
        "Conv",
        [x, kernel, bias],
        f"conv_{index}",
        kernel_shape=[layer.kernel] * 2,
        strides=[layer.stride] * 2,
        pads=[layer.padding] * 4,
    )


def _add_grid_head(parts: GraphParts, x: str) -> None:
    """[N, 7, 8, 8] to boxes and scores; the arithmetic of `detector.predict`."""
    last = parts.node("Transpose", [x], "channels_last", perm=[0, 2, 3, 1])
    shape = parts.constant("rows_shape", np.array([0, CELLS, CHANNELS], np.int64))
    rows = parts.node("Reshape", [last, shape], "rows")
    guess = parts.node("Sigmoid", [rows], "guess")
    sizes = parts.constant("split_sizes", np.array([2, 2, len(CLASS_NAMES)], np.int64))
    parts.nodes.append(
        helper.make_node("Split", [guess, sizes], ["offset", "extent", SCORES], name="make_parts", axis=2)
    )
    origins = parts.constant("cell_origins", cell_origins()[None])
    placed = parts.node("Add", ["offset", origins], "placed")
    centre = parts.node("Mul", [placed, parts.constant("cell", np.float32(CELL))], "centre")
    half_size = parts.constant("half_size", np.float32(SIZE / 2))
    half = parts.node("Mul", ["extent", half_size], "half")
    low = parts.node("Sub", [centre, half], "low")
    high = parts.node("Add", [centre, half], "high")
    parts.node("Concat", [low, high], BOXES, axis=2)


def _float_info(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])


def _model(
    name: str, parts: GraphParts, source: onnx.ValueInfoProto, outputs: list[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    graph = helper.make_graph(parts.nodes, name, [source], outputs, parts.constants)
    model = helper.make_model(
        graph,
        producer_name="example_models",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    return checked(model)
