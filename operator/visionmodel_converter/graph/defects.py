"""What no library survives or explains: tensors that do not hold what they declare, and nodes that feed each other.

Looked at before a tensor is read or a graph is walked, with arithmetic on what the file says of itself alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from math import prod
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from visionmodel_converter.failures import ConversionFailure, Reason

BITS: Final[dict[int, int]] = {
    TensorProto.INT2: 2,
    TensorProto.UINT2: 2,
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
    TensorProto.FLOAT4E2M1: 4,
}
"""Types that are packed below a byte; all others are as wide as numpy's."""
COMPLEX: Final = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)
SHOWN_NODES: Final = 6


def bytes_of(tensor: TensorProto) -> int | None:
    """Return how many bytes type and shape of a tensor need; None for a type without a fixed width, or no shape."""
    if tensor.data_type == TensorProto.STRING or any(dim < 0 for dim in tensor.dims):
        return None
    try:
        bits: int = BITS.get(tensor.data_type) or 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError, TypeError):
        return None
    return int(prod(tensor.dims) * bits + 7) // 8


def refuse_wrong_sizes(tensors: Iterable[TensorProto], shown: str) -> None:
    """Raise TensorSizeMismatch for a tensor whose data in the file are more or fewer than its shape and type need."""
    for tensor in tensors:
        needed = bytes_of(tensor)
        if needed is None:  # a text, or what the checker refuses with better words
            continue
        held = _bytes_held(tensor)
        if held != needed:
            dtype = TensorProto.DataType.Name(tensor.data_type).lower()
            raise ConversionFailure(
                Reason.TENSOR_SIZE_MISMATCH,
                f"{shown}: tensor {tensor.name[:100]!r} is declared as {dtype} {list(tensor.dims)}, which takes "
                f"{needed} bytes, and the file holds {held} of them; the file was cut or edited: export it again",
            )


def _bytes_held(tensor: TensorProto) -> int:
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    values = len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))
    if tensor.data_type in BITS:  # a byte of packed values per entry
        return values
    width: int = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return values * width // (2 if tensor.data_type in COMPLEX else 1)


def refuse_cycles(model: ModelProto, shown: str) -> None:
    """Raise CyclicGraph with the nodes of the first cycle, in the graph, a subgraph or a function."""
    bodies = (list(model.graph.node), *(list(function.node) for function in model.functions))
    for nodes in (scope for body in bodies for scope in _scopes(body)):
        makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
        waits = {
            index: {makers[name] for name in _consumed(node) if name in makers} for index, node in enumerate(nodes)
        }
        try:
            TopologicalSorter(waits).prepare()
        except CycleError as error:
            cycle = [node_name(nodes[index]) for index in error.args[1]]
            path = " -> ".join((*cycle[:SHOWN_NODES], *(["..."] if len(cycle) > SHOWN_NODES else [])))
            raise ConversionFailure(
                Reason.CYCLIC_GRAPH,
                f"{shown}: its nodes wait for each other's results: {path}; a graph must run from its inputs to its "
                "outputs: unroll the recurrence before the export, or export it as an ONNX Loop",
            ) from error


def node_name(node: NodeProto) -> str:
    """Return how messages call a node."""
    return repr(node.name) if node.name else f"without a name that makes {list(node.output)[:1]}"


def _scopes(nodes: Sequence[NodeProto]) -> Iterator[Sequence[NodeProto]]:
    yield nodes
    for graph in (graph for node in nodes for graph in _subgraphs(node)):
        yield from _scopes(list(graph.node))


def _consumed(node: NodeProto) -> Iterator[str]:
    """Yield what a node reads, what its subgraphs read from outside among it."""
    yield from node.input
    for graph in _subgraphs(node):
        for inner in graph.node:
            yield from _consumed(inner)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
