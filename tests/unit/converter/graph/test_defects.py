"""Tensors that hold what they declare, in every way that ONNX stores them; and graphs that run from front to back."""

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from unit.converter import tiny_models
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.defects import bytes_of, refuse_cycles, refuse_wrong_sizes

VALUES = [1, 0, 1]
WIDTHS = {
    TensorProto.FLOAT: 12,
    TensorProto.FLOAT16: 6,
    TensorProto.BFLOAT16: 6,
    TensorProto.DOUBLE: 24,
    TensorProto.INT8: 3,
    TensorProto.BOOL: 3,
    TensorProto.INT32: 12,
    TensorProto.INT64: 24,
    TensorProto.UINT64: 24,
    TensorProto.FLOAT8E4M3FN: 3,
    TensorProto.COMPLEX64: 24,
    TensorProto.COMPLEX128: 48,
    TensorProto.INT4: 2,
    TensorProto.UINT4: 2,
}


@pytest.mark.parametrize(("dtype", "width"), WIDTHS.items(), ids=[TensorProto.DataType.Name(one) for one in WIDTHS])
def test_whole_tensors_pass_and_others_are_named(dtype: int, width: int) -> None:
    typed = helper.make_tensor("t", dtype, [3], VALUES)
    raw = TensorProto(name="t", data_type=dtype, dims=[3], raw_data=bytes(width))
    assert bytes_of(typed) == width
    refuse_wrong_sizes([typed, raw], "m")
    for tensor in (typed, raw):
        tensor.dims[0] = 30
        with pytest.raises(ConversionFailure, match=r"m: tensor 't' is declared as \w+ \[30\]") as caught:
            refuse_wrong_sizes([tensor], "m")
        assert caught.value.reason is Reason.TENSOR_SIZE_MISMATCH


def test_what_has_no_fixed_width_is_left_to_the_checker() -> None:
    texts = TensorProto(name="t", data_type=TensorProto.STRING, dims=[2], string_data=[b"a", b"b"])
    untyped = TensorProto(name="u", dims=[3])
    backwards = TensorProto(name="b", data_type=TensorProto.FLOAT, dims=[-1])
    assert [bytes_of(one) for one in (texts, untyped, backwards)] == [None] * 3
    refuse_wrong_sizes([texts, untyped, backwards], "m")


def body(*nodes: NodeProto) -> GraphProto:
    made = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["batch", 4])
    return helper.make_graph(list(nodes), "body", [], [made])


def branching(then: GraphProto, *nodes: NodeProto) -> ModelProto:
    other = body(helper.make_node("Identity", ["x"], ["kept"], name="keep"))
    node = helper.make_node("If", ["c"], ["y"], name="branch", then_branch=then, else_branch=other)
    return tiny_models.model_of(
        [*nodes, node], {"c": np.array(True)}, inputs={"x": ["batch", 4]}, outputs={"y": ["batch", 4]}
    )


ADD = helper.make_node("Add", ["q", "x"], ["p"], name="in1")
CYCLES = {
    "in the graph": (tiny_models.with_cycle(), "'first' -> 'second' -> 'first'"),
    "in a subgraph": (
        branching(body(ADD, helper.make_node("Relu", ["p"], ["q"], name="in2"))),
        "'in1' -> 'in2' -> 'in1'",
    ),
    "through what a subgraph reads": (
        branching(body(ADD), helper.make_node("Relu", ["y"], ["q"], name="outer")),
        "'outer' -> 'branch' -> 'outer'",
    ),
}


@pytest.mark.parametrize(("model", "path"), CYCLES.values(), ids=CYCLES.keys())
def test_cycle_is_named_by_its_nodes(model: ModelProto, path: str) -> None:
    with pytest.raises(ConversionFailure) as caught:
        refuse_cycles(model, "m")
    assert caught.value.reason is Reason.CYCLIC_GRAPH
    assert path in caught.value.message


def test_graphs_without_a_cycle() -> None:
    unsorted = tiny_models.classifier()
    unsorted.graph.node.reverse()
    for model in (tiny_models.classifier(), unsorted, branching(body(ADD), helper.make_node("Relu", ["x"], ["q"]))):
        refuse_cycles(model, "m")
