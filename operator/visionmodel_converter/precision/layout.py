"""Where the Q/DQ pairs go: the two placements, and the edits on a quantised graph that they need.

There are two because the two backends recognise different patterns as one 8-bit kernel:

TENSORRT quantises the inputs and weights of what multiplies, symmetric and signed, zero point 0, no bias, no
outputs: the placement that ModelOpt asks onnxruntime for, and TensorRT's explicit quantisation demands. onnxruntime's
CPU provider finds no QLinearConv in it: a Relu between a convolution and a signed Q is not folded away, because the
signed Q does not cut at zero. Measured on the example detector with onnxruntime 1.31.1 and AVX512-VNNI: all six
convolutions ran in FP32, and a run took twice as long as without any Q/DQ.

CPU quantises every operator up to the last one that multiplies, activations unsigned with a zero point of 0 (or 128
where there are negative values). Q then does what Relu did, and five of six convolutions run as QLinearConv, in
0.6 to 0.7 of the FP32 time. Signed activations in the same places kept the Relus: 0.46 points of mAP50
less and a fifth slower. The weights stay signed and use all 8 bits, because VNNI adds the products of u8 and s8 without
saturating, and 7 bits (reduce_range) changed nothing here. A processor without VNNI can saturate: what a gate measured
on one kind of node holds for that kind.

In both the pair on a tensor is for all its readers, as quantize_static inserts it. So the addition behind a residual
branch reads in 8 bits what the first convolution of that branch reads, which TensorRT asks for to fuse the two.

Both leave the head alone: the results of the last multiplying nodes and the arithmetic on them. One 8-bit scale for
pixel coordinates beside scores cost the detector 4 points of mAP50.
"""

from collections.abc import Iterable, MutableSequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnxruntime.quantization import QuantType

from visionmodel_converter.precision.topology import (
    WEIGHTED,
    consumers,
    element_types,
    head_nodes,
    in_graph_order,
    producers,
    weight_array,
    without_unused_initializers,
)

CONVOLUTIONS: Final = ("Conv", "ConvTranspose")
SMALLEST_SIDE: Final = 16
"""A matrix product with fewer rows or columns fills no 8-bit tile (ModelOpt's limit): quantising it only costs."""


class Layout(StrEnum):
    """For whose kernels a graph is quantised."""

    CPU = "CPU"
    TENSORRT = "TensorRT"


ACTIVATION_TYPES: Final = {Layout.CPU: QuantType.QUInt8, Layout.TENSORRT: QuantType.QInt8}


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be quantised in one graph, by name.

    Attributes:
        weighted: multiplying nodes that become 8-bit, in the graph's order.
        excluded: nodes that keep their precision whatever their type.
        reasons: why a weighted node is among the excluded.
        tensors: activations that need a range.
        bare_outputs: tensors that must not end as 8-bit although the node that makes them is quantised.
    """

    layout: Layout
    weighted: tuple[str, ...]
    excluded: tuple[str, ...]
    reasons: dict[str, str]
    tensors: frozenset[str]
    bare_outputs: frozenset[str]

    @property
    def op_types(self) -> list[str]:
        """Operator types to hand to onnxruntime; empty stands for all that it can quantise."""
        return list(WEIGHTED) if self.layout is Layout.TENSORRT else []


def plan_of(model: ModelProto, layout: Layout) -> Plan:
    """Return what to quantise in an FP32 graph whose nodes all have names of their own."""
    graph = model.graph
    types = element_types(model)
    heads = head_nodes(graph)
    reasons = {node.name: why for node in graph.node if (why := _why_not(graph, node, types))}
    if layout is Layout.CPU:
        floating = (node.name for node in graph.node if node.name in heads and node.op_type in CONVOLUTIONS)
        reasons = dict.fromkeys(floating, "its results are not quantised, so no 8-bit kernel could run it") | reasons
    weighted = [node.name for node in graph.node if node.op_type in WEIGHTED and node.name not in reasons]
    if layout is Layout.TENSORRT:
        touched = [node for node in graph.node if node.name in weighted]
        tensors = {name for node in touched for name in node.input[:2]}
        return Plan(layout, tuple(weighted), tuple(reasons), reasons, frozenset(tensors), frozenset())
    arithmetic_head = {node.name for node in graph.node if node.name in heads and node.op_type not in WEIGHTED}
    excluded = in_graph_order(graph, arithmetic_head.union(reasons))
    touched = [node for node in graph.node if node.name not in excluded]
    tensors = {name for node in touched for name in (*node.input, *node.output)}
    bare = {name for node in graph.node if node.name in heads for name in node.output}
    return Plan(layout, tuple(weighted), excluded, reasons, frozenset(tensors), frozenset(bare))


def quantiser_options(plan: Plan, model: ModelProto) -> dict[str, Any]:
    """Return quantize_static's `extra_options`; their meaning is in its docstring."""
    if plan.layout is Layout.CPU:
        return {"ActivationRestrictedAsymmetric": True}
    return {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "AddQDQPairToWeight": True,
        "DedicatedQDQPair": False,
        "OpTypesToExcludeOutputQuantization": sorted({node.op_type for node in model.graph.node}),
    }


def _why_not(graph: GraphProto, node: NodeProto, types: dict[str, int]) -> str | None:
    """Return why a weighted node is not worth quantising, None where it is (or is no weighted node)."""
    if node.op_type not in WEIGHTED:
        return None
    if types.get(node.input[0]) != TensorProto.FLOAT:
        return "its input is not FP32"
    if node.op_type not in ("Gemm", "MatMul"):
        return None
    weight = weight_array(graph, node)
    if weight is not None and weight.ndim >= 2 and min(weight.shape[-2:]) < SMALLEST_SIDE:
        return f"its matrix has a side below {SMALLEST_SIDE}"
    return None


def remove_pairs(graph: GraphProto, tensors: Iterable[str]) -> None:
    """Take the Q/DQ pairs off these tensors, in place: their readers get the values themselves."""
    bare = set(tensors)
    outputs = {value.name for value in graph.output}
    readers, made_by = consumers(graph), producers(graph)
    for quantise in [node for node in graph.node if node.op_type == "QuantizeLinear"]:
        for dequantise in readers.get(quantise.output[0], ()):
            before, after = quantise.input[0], dequantise.output[0]
            if not bare.intersection((before, after)):
                continue
            graph.node.remove(dequantise)
            if after in outputs:  # the name outside is fixed, so what is inside takes it
                _rename(made_by[before].output, before, after)
                before, after = after, before
            for node in readers.get(after, ()):
                _rename(node.input, after, before)
    drop_unread_quantisers(graph)
    without_unused_initializers(graph)


def drop_unread_quantisers(graph: GraphProto) -> None:
    """Remove QuantizeLinear nodes, in place, whose result nobody reads any more."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "QuantizeLinear" and node.output[0] not in read]:
        graph.node.remove(node)


def _rename(names: MutableSequence[str], old: str, new: str) -> None:
    names[:] = [new if name == old else name for name in names]
