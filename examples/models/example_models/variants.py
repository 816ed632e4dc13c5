"""Two models that pass every check made before serving and are bad when served.

Both come from the good detector by graph surgery and give its outputs bit for bit whenever they
give any. Each tells a story that happens: a lookup table too short for the light outdoors, and a
refinement loop that goes on long after nothing changes. Nothing outside the graph knows.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from example_models.export import INPUT, SCORES, GraphParts, checked
from example_models.shapes import SIZE

# One table entry per step of mean brightness. Entries end below BRIGHT_LIMIT (0.70) and above
# DIM_LIMIT (0.55), with a step to spare for the rounding of FP16 and INT8.
STOPS = 16
TABLE_LENGTH = 10
# About 50 ms for one image on one core of 2025, over twenty times the good model's answer time: a
# judge whose floor is 15 ms must see it on a core that is twice as fast, too.
SLOW_TURNS = 1000


def failing_variant(model: onnx.ModelProto) -> onnx.ModelProto:
    """Scores times an exposure gain, looked up by the picture's own brightness.

    A mean brightness of TABLE_LENGTH / STOPS (0.625) or more reads past the end of the table.
    ONNX Runtime's CPU provider then fails the whole run: every request of a dynamic batch fails
    with the bright one. TensorRT and CUDA do not check the index, so this one is for CPU serving.
    """
    parts = GraphParts()
    pooled = parts.node("GlobalAveragePool", [INPUT], "exposure_channels")
    flat = parts.node("Flatten", [pooled], "exposure_flat")
    weights = parts.constant("exposure_weights", np.full((3, 1), STOPS / 3, np.float32))
    stops = parts.node("MatMul", [flat, weights], "exposure_stops")
    index = parts.node("Cast", [stops], "exposure_index", to=TensorProto.INT64)
    table = parts.constant("exposure_table", np.ones((TABLE_LENGTH, 1), np.float32))
    gain = parts.node("Gather", [table, index], "exposure_gain", axis=0)  # [N, 1, 1]
    return _with_scores(model, parts, "Mul", gain)


def slow_variant(model: onnx.ModelProto, turns: int = SLOW_TURNS) -> onnx.ModelProto:
    """Scores plus what is left of the picture after `turns` smoothing steps: exactly nothing.

    Each turn convolves and keeps what is above zero of a number that never is. An optimiser would
    have to prove that to drop the loop, and none does. The cost grows with the batch, so dynamic
    batching does not hide it.
    """
    parts = GraphParts()
    count = parts.constant("refine_turns", np.array(turns, np.int64))
    go_on = parts.constant("refine_go_on", np.array(True))
    rest = parts.node("Loop", [count, go_on, INPUT], "refine_rest", body=_refine_body())
    peak = parts.node("GlobalMaxPool", [rest], "refine_peak")
    flat = parts.node("Flatten", [peak], "refine_flat")
    weights = parts.constant("refine_weights", np.ones((3, 1), np.float32))
    total = parts.node("MatMul", [flat, weights], "refine_total")
    shape = parts.constant("refine_shape", np.array([0, 1, 1], np.int64))
    residue = parts.node("Reshape", [total, shape], "refine_residue")
    return _with_scores(model, parts, "Add", residue)


def _refine_body() -> onnx.GraphProto:
    kernel = np.full((3, 3, 3, 3), 1 / 27, np.float32)
    nodes = [
        helper.make_node("Identity", ["turn_go_on"], ["turn_go_on_next"]),
        helper.make_node("Conv", ["turn_state", "turn_kernel"], ["turn_smooth"], pads=[1] * 4),
        helper.make_node("Abs", ["turn_smooth"], ["turn_size"]),
        helper.make_node("Neg", ["turn_size"], ["turn_below"]),
        helper.make_node("Relu", ["turn_below"], ["turn_state_next"]),
    ]
    shape: list[str | int | None] = ["N", 3, SIZE, SIZE]
    return helper.make_graph(
        nodes,
        "refine",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("turn_go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("turn_state", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("turn_go_on_next", TensorProto.BOOL, []),
            helper.make_tensor_value_info("turn_state_next", TensorProto.FLOAT, shape),
        ],
        [numpy_helper.from_array(kernel, "turn_kernel")],
    )


def _with_scores(model: onnx.ModelProto, parts: GraphParts, kind: str, operand: str) -> onnx.ModelProto:
    """A copy of the model whose scores are `kind(scores, operand)`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    plain = f"{SCORES}_plain"
    for node in copy.graph.node:
        node.output[:] = [plain if name == SCORES else name for name in node.output]
    parts.node(kind, [plain, operand], SCORES)
    copy.graph.node.extend(parts.nodes)
    copy.graph.initializer.extend(parts.constants)
    return checked(copy)
