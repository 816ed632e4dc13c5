"""A network of ResNet-50's size, for what time and memory of a conversion depend on.

Topology and sizes of K. He et al., Deep Residual Learning for Image Recognition (CVPR 2016), table 1, 50 layers, with
the normalisation folded into the convolutions. The weights are seeded noise of He's scale, so its answers mean nothing.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 224
CLASSES = 1000
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Inner width and number of bottleneck blocks."""
EXPANSION = 4
DAMPING = 0.2
"""Of each block's last convolution: without normalisation the residual sum would grow from block to block."""


class _Builder:
    """Nodes and weights of a chain of convolutions."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def conv(self, source: str, channels: tuple[int, int], kernel: int, stride: int = 1, scale: float = 1.0) -> str:
        """Add a convolution with a bias; returns its output's name."""
        inner, outer = channels
        name = f"conv{len(self.nodes)}"
        spread = scale * np.sqrt(2.0 / (inner * kernel * kernel))
        weight = self.rng.normal(0.0, spread, (outer, inner, kernel, kernel)).astype(np.float32)
        self.weights += [
            numpy_helper.from_array(weight, f"{name}.w"),
            numpy_helper.from_array(np.zeros(outer, np.float32), f"{name}.b"),
        ]
        pads = [kernel // 2] * 4
        inputs = [source, f"{name}.w", f"{name}.b"]
        return self.add("Conv", inputs, name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def add(self, operator: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        """Add a node; returns its output's name."""
        name = name or f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [f"{name}:0"], name=name, **attributes))
        return f"{name}:0"

    def block(self, source: str, inner: int, width: int, stride: int) -> str:
        """Add a bottleneck block."""
        outer = width * EXPANSION
        left = self.add("Relu", [self.conv(source, (inner, width), 1)])
        left = self.add("Relu", [self.conv(left, (width, width), 3, stride)])
        left = self.conv(left, (width, outer), 1, scale=DAMPING)
        right = source if inner == outer else self.conv(source, (inner, outer), 1, stride)
        return self.add("Relu", [self.add("Add", [left, right])])


def write_resnet50(path: Path, seed: int = 0) -> Path:
    """Write the network as ONNX, opset 17, with a free batch axis; returns the path."""
    builder = _Builder(seed)
    flow = builder.add("Relu", [builder.conv("images", (3, 64), 7, 2)])
    flow = builder.add("MaxPool", [flow], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    inner = 64
    for stage, (width, count) in enumerate(STAGES):
        for block in range(count):
            flow = builder.block(flow, inner, width, 2 if stage and not block else 1)
            inner = width * EXPANSION
    flow = builder.add("Flatten", [builder.add("GlobalAveragePool", [flow])])
    head = builder.rng.normal(0.0, np.sqrt(1.0 / inner), (CLASSES, inner)).astype(np.float32)
    builder.weights += [
        numpy_helper.from_array(head, "head.w"),
        numpy_helper.from_array(np.zeros(CLASSES, np.float32), "head.b"),
    ]
    builder.nodes.append(helper.make_node("Gemm", [flow, "head.w", "head.b"], ["logits"], name="head", transB=1))
    graph = helper.make_graph(
        builder.nodes,
        "resnet50",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        builder.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def write_calibration(path: Path, count: int = 64, seed: int = 1) -> Path:
    """Write smooth random pictures as calibration samples; returns the path."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 3, 7, 7), dtype=np.float32)
    images = np.repeat(np.repeat(coarse, SIDE // 7, axis=2), SIDE // 7, axis=3)
    arrays: dict[str, Any] = {"input:images": images}
    np.savez(path, **arrays)
    return path
