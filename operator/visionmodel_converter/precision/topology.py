"""Who feeds whom in a graph, and which nodes do the work: what every precision asks of a model first.

Precision is given node by node and nodes are told apart by name, so names come first: exporters may leave them
empty or repeat them.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from visionmodel_converter.graph.onnx_model import nodes_of

WEIGHTED: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""The operators that multiply: nearly all of a vision network's time, and what 8-bit hardware is built for."""
CONTROL_FLOW: Final = ("If", "Loop", "Scan", "SequenceMap")


def named(model: ModelProto) -> ModelProto:
    """Return a copy in which every node has a name of its own; given names stay, the same graph gets the same ones."""
    copy = ModelProto()
    copy.CopyFrom(model)
    given = {node.name for node in nodes_of(copy)}
    seen: set[str] = set()
    for index, node in enumerate(nodes_of(copy)):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{index}"
            while name in given:
                name += "_"
            given.add(name)
            node.name = name
        seen.add(node.name)
    return copy


def consumers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Return the nodes that read each tensor, in the graph's (topological) order; subgraphs are not looked into."""
    found: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            found[name].append(node)
    return found


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    """Return the node that makes each tensor."""
    return {name: node for node in graph.node for name in node.output if name}


def stored_tensors(graph: GraphProto) -> dict[str, TensorProto]:
    """Return every tensor whose value is in the file: initializers and the values of Constant nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def weight_array(graph: GraphProto, node: NodeProto) -> NDArray[np.generic] | None:
    """Return the stored second operand of a weighted node, None where it is computed."""
    tensor = next((tensor for tensor in graph.initializer if tensor.name == node.input[1]), None)
    return None if tensor is None else numpy_helper.to_array(tensor)


def element_types(model: ModelProto) -> dict[str, int]:
    """Return the element type of every tensor of the main graph, by shape inference."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {
        value.name: int(value.type.tensor_type.elem_type) for value in (*graph.input, *graph.output, *graph.value_info)
    }
    return types | {tensor.name: int(tensor.data_type) for tensor in graph.initializer}


def head_nodes(graph: GraphProto) -> frozenset[str]:
    """Return the names of the nodes after which no weighted node comes.

    The last weighted ones are among them, and all arithmetic on their results (boxes, scores), where one 8-bit scale
    for values of different kinds does most harm.
    """
    readers = consumers(graph)
    leads_to_weights: dict[str, bool] = {}
    for node in reversed(graph.node):
        after = [reader for name in node.output for reader in readers.get(name, ())]
        leads_to_weights[node.name] = any(
            reader.op_type in WEIGHTED or leads_to_weights.get(reader.name, False) for reader in after
        )
    return frozenset(name for name, leads in leads_to_weights.items() if not leads)


def without_unused_initializers(graph: GraphProto) -> None:
    """Drop, in place, every initializer that no node (of any subgraph) and no output refers to."""
    wrapper = ModelProto(graph=graph)
    used = {name for node in nodes_of(wrapper) for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def in_graph_order(graph: GraphProto, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that the graph's nodes carry, in its order."""
    wanted = set(names)
    return tuple(node.name for node in graph.node if node.name in wanted)


def listed(names: Iterable[str], limit: int = 5) -> str:
    """Return names for a sentence: the first few and how many more there are."""
    all_names = list(names)
    rest = len(all_names) - limit
    return ", ".join(all_names[:limit]) + (f" and {rest} more" if rest > 0 else "")
