"""What onnxconverter-common 1.16 leaves wrong in a converted graph, repaired before and after it.

Each function names one fault, all seen on real graphs: without these the full check or onnxruntime refuses the
result, or a node kept in FP32 still gets its values through FP16. Called by `fp16` alone; they edit in place.
"""

from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from visionmodel_converter.graph.onnx_model import nodes_of
from visionmodel_converter.precision.topology import consumers, producers, stored_tensors

FLOAT_ONLY_INPUTS: Final = {"Resize": 2}
"""Operators with an input that stays FP32 by the standard while the others may be FP16, and its position."""


def cast_target(node: NodeProto) -> int:
    """Return the element type that a Cast node casts to, 0 for any other node."""
    return next((attribute.i for attribute in node.attribute if attribute.name == "to"), 0) * (node.op_type == "Cast")


def neutralise_idle_casts(graph: GraphProto, types: dict[str, int]) -> None:
    """Make Identity of a Cast from FP32 to FP32: the converter would take it for one of its own and cut it out."""
    for node in graph.node:
        if cast_target(node) == TensorProto.FLOAT and types.get(node.input[0]) == TensorProto.FLOAT:
            node.op_type = "Identity"
            del node.attribute[:]


def unshare_initializers(graph: GraphProto, kept: frozenset[str]) -> None:
    """Give kept nodes FP32 initializers of their own.

    The converter leaves an initializer in FP32 for all its readers as soon as one of them is kept.
    """
    readers = consumers(graph)
    for tensor in list(graph.initializer):
        mine = [node for node in readers.get(tensor.name, ()) if node.name in kept]
        if tensor.data_type != TensorProto.FLOAT or not mine or len(mine) == len(readers[tensor.name]):
            continue
        own = TensorProto()
        own.CopyFrom(tensor)
        own.name = f"{tensor.name}_fp32"
        graph.initializer.append(own)
        for node in mine:
            _replace_input(node, tensor.name, own.name)


def retarget_casts(graph: GraphProto, kept: frozenset[str], before: frozenset[str]) -> None:
    """Let a Cast of the source that promised FP32 give the FP16 its output is declared as; `before` names those."""
    for node in graph.node:
        if node.name in before and node.name not in kept and cast_target(node) == TensorProto.FLOAT:
            next(attribute for attribute in node.attribute if attribute.name == "to").i = TensorProto.FLOAT16


def restore_float_inputs(graph: GraphProto, source: GraphProto, kept: frozenset[str]) -> None:
    """Put back the FP32 value of inputs that may not be FP16 (the scales of Resize)."""
    originals = stored_tensors(source)
    for node in graph.node:
        position = FLOAT_ONLY_INPUTS.get(node.op_type, len(node.input))
        if node.name in kept or position >= len(node.input) or node.input[position] not in originals:
            continue
        own = TensorProto()
        own.CopyFrom(originals[node.input[position]])
        own.name = f"{node.name}_input_{position}_fp32"
        if own.data_type == TensorProto.FLOAT:
            graph.initializer.append(own)
            node.input[position] = own.name


def restore_output_types(model: ModelProto, source: GraphProto) -> None:
    """Let a kept node that makes a graph output write it in FP32; the converter would make the output FP16."""
    graph = model.graph
    declared = {value.name: value.type.tensor_type.elem_type for value in source.output}
    for value in graph.output:
        if value.type.tensor_type.elem_type == declared[value.name]:
            continue
        value.type.tensor_type.elem_type = declared[value.name]
        cast = producers(graph)[value.name]
        wide, half = cast.input[0], f"{value.name}_half"
        for node in graph.node:
            _replace_input(node, value.name, half)
            _replace_input(node, wide, value.name)
            node.output[:] = [value.name if name == wide else name for name in node.output]
        cast.output[0] = half


def shorten_cast_chains(graph: GraphProto, before: frozenset[str]) -> None:
    """Read the FP32 value itself where it is cast to FP16 and back between two kept nodes; drop idle casts.

    Only casts that the converter inserted are touched: their names are not in `before`, the source's.
    """
    made_by = producers(graph)
    for node in graph.node:
        for position, name in enumerate(node.input):
            back = made_by.get(name)
            there = made_by.get(back.input[0]) if back is not None and back.name not in before else None
            if there is None or there.name in before or cast_target(there) != TensorProto.FLOAT16:
                continue
            node.input[position] = there.input[0]
    drop_unread(graph, before)


def drop_unread(graph: GraphProto, before: frozenset[str]) -> None:
    """Remove inserted nodes whose results nobody reads."""
    captured = {name for node in nodes_of(ModelProto(graph=graph)) if node.name in before for name in node.input}
    wanted = captured | {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if node.name not in before and not wanted.intersection(node.output):
            graph.node.remove(node)
        else:
            wanted.update(node.input)


def _replace_input(node: NodeProto, old: str, new: str) -> None:
    if old in node.input:
        node.input[:] = [new if name == old else name for name in node.input]
