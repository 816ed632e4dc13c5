"""Which nodes get Q/DQ pairs, per backend, and the two edits on a quantised graph."""

import numpy as np
import pytest

from unit.converter.precision import nets
from unit.converter.precision.nets import node
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.precision.layout import Layout, plan_of, remove_pairs

RESIDUAL = nets.residual_net()


def product(rows: int, columns: int, *, transposed: bool = False) -> CheckedModel:
    shape = (columns, rows) if transposed else (rows, columns)
    return nets.vector_net(
        [node("Gemm", ["x", "w"], "y", transB=int(transposed))],
        {"w": np.ones(shape, np.float32)},
        dims=["batch", rows],
        out_dims=["batch", columns],
    )


def test_tensorrt_takes_inputs_of_what_multiplies() -> None:
    plan = plan_of(RESIDUAL.proto, Layout.TENSORRT)
    assert plan.weighted == ("make_stem", "make_inner", "make_branch", "make_logits")
    assert plan.tensors == {"images", "trunk", "inner_relu", "flat", "w0", "w1", "w2", "w3"}
    assert (plan.excluded, plan.bare_outputs) == ((), frozenset())


def test_cpu_takes_everything_up_to_the_head() -> None:
    proto = nets.residual_net().proto
    proto.graph.node.append(node("Sigmoid", ["logits"], "scores"))
    plan = plan_of(proto, Layout.CPU)
    assert plan.weighted == ("make_stem", "make_inner", "make_branch", "make_logits")
    assert plan.excluded == ("make_scores",)
    assert plan.bare_outputs == {"logits", "scores"}
    assert {"stem", "sum", "features", "pooled"} < plan.tensors


def test_convolution_in_the_head_has_no_kernel_on_the_cpu() -> None:
    net = nets.vector_net(
        [node("Conv", ["x", "w"], "hidden"), node("Conv", ["hidden", "w"], "y")],
        {"w": np.ones((16, 16, 1, 1), np.float32)},
        dims=["batch", 16, 4, 4],
        out_dims=["batch", 16, 4, 4],
    )
    assert plan_of(net.proto, Layout.CPU).weighted == ("make_hidden",)
    assert "no 8-bit kernel" in plan_of(net.proto, Layout.CPU).reasons["make_y"]
    assert plan_of(net.proto, Layout.TENSORRT).weighted == ("make_hidden", "make_y")


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize(
    ("net", "quantised"),
    [
        (product(16, 16), True),
        (product(15, 64), False),
        (product(64, 15), False),
        (product(64, 15, transposed=True), False),
    ],
    ids=["16x16", "K=15", "N=15", "N=15-transposed"],
)
def test_small_products_are_left_alone(net: CheckedModel, quantised: bool, layout: Layout) -> None:
    plan = plan_of(net.proto, layout)
    assert plan.weighted == (("make_y",) if quantised else ())
    assert bool(plan.reasons) is not quantised


def quantised_by_hand() -> CheckedModel:
    """x through a pair into two products; one reads x itself as well."""
    return nets.vector_net(
        [
            node("QuantizeLinear", ["x", "s", "z"], "x_8"),
            node("DequantizeLinear", ["x_8", "s", "z"], "x_back"),
            node("MatMul", ["x_back", "w"], "product"),
            node("Add", ["product", "x"], "y"),
        ],
        {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8), "w": np.eye(4, dtype=np.float32)},
    )


def test_pair_is_taken_off_with_what_it_needed() -> None:
    graph = quantised_by_hand().proto.graph
    remove_pairs(graph, ["x"])
    assert [made.op_type for made in graph.node] == ["MatMul", "Add"]
    assert graph.node[0].input[0] == "x"
    assert [tensor.name for tensor in graph.initializer] == ["w"]


def test_other_pairs_stay() -> None:
    graph = quantised_by_hand().proto.graph
    before = graph.SerializeToString()
    remove_pairs(graph, ["product"])
    assert graph.SerializeToString() == before


def test_graph_output_keeps_its_name_without_the_pair() -> None:
    net = nets.vector_net(
        [
            node("MatMul", ["x", "w"], "inside"),
            node("QuantizeLinear", ["inside", "s", "z"], "y_8"),
            node("DequantizeLinear", ["y_8", "s", "z"], "y"),
        ],
        {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8), "w": np.eye(4, dtype=np.float32)},
    )
    remove_pairs(net.proto.graph, ["y"])
    assert [(made.op_type, list(made.output)) for made in net.proto.graph.node] == [("MatMul", ["y"])]
