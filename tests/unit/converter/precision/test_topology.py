"""Names, order and the head of a graph."""

import pytest

from unit.converter.precision import nets
from visionmodel_converter.graph.onnx_model import nodes_of
from visionmodel_converter.precision.topology import (
    head_nodes,
    in_graph_order,
    listed,
    named,
    without_unused_initializers,
)


def test_every_node_gets_a_name_of_its_own_and_given_ones_stay() -> None:
    source = nets.residual_net().proto
    source.graph.node[0].name = ""
    source.graph.node[1].name = "make_sum"  # twice in the graph now
    source.graph.node[2].name = "Conv_0"  # what the first would be called
    names = [node.name for node in nodes_of(named(source))]
    assert names[:3] == ["Conv_0_", "make_sum", "Conv_0"]
    assert len(set(names)) == len(names)
    assert names == [node.name for node in nodes_of(named(source))]
    assert source.graph.node[0].name == ""


def test_head_is_what_no_multiplying_node_follows() -> None:
    net = nets.residual_net().proto
    assert head_nodes(net.graph) == {"make_logits"}
    net.graph.node.append(nets.node("Sigmoid", ["logits"], "scores"))
    assert head_nodes(net.graph) == {"make_logits", "make_scores"}


def test_order_is_the_graphs() -> None:
    graph = nets.residual_net().proto.graph
    assert in_graph_order(graph, ["make_sum", "absent", "make_stem"]) == ("make_stem", "make_sum")


def test_unused_initializers_go_and_used_ones_stay() -> None:
    graph = nets.residual_net().proto.graph
    del graph.node[-1]
    graph.output[0].name = "flat"
    without_unused_initializers(graph)
    assert [tensor.name for tensor in graph.initializer] == ["w0", "w1", "w2", "b0"]


@pytest.mark.parametrize(
    ("names", "sentence"), [([], ""), (["a", "b"], "a, b"), (list("abcdefg"), "a, b, c, d, e and 2 more")]
)
def test_long_lists_are_cut(names: list[str], sentence: str) -> None:
    assert listed(names) == sentence
