"""Models that arrive quantised: what form it has, and which backend can run it.

Quantisation-aware training (torch, ModelOpt, neural-compressor, TF-MOT through tf2onnx) and other tools leave their
scales in the graph; those are used as they are or refused with the reason, never replaced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from visionmodel_contract.precision import Precision
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import CheckedModel, nodes_of
from visionmodel_converter.precision.layout import Layout
from visionmodel_converter.precision.topology import stored_tensors
from visionmodel_converter.precision.variant import Variant

OPERATOR_FORM: Final = ("QLinearConv", "QLinearMatMul")
DYNAMIC_FORM: Final = ("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
PAIRS: Final = ("QuantizeLinear", "DequantizeLinear")
CONVOLUTIONS: Final = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv")


class Form(StrEnum):
    """How a graph says that it is quantised."""

    NONE = "none"
    PAIRS = "Q/DQ pairs"
    OPERATORS = "QLinear operators"
    DYNAMIC = "dynamic quantisation"


@dataclass(frozen=True, slots=True)
class Quantization:
    """What a graph that arrived holds; the lists name nodes, in the graph's order.

    Attributes:
        form: the most binding form found: dynamic before operators before pairs.
        nodes: quantised operators, or pairs' nodes, that were counted.
        shifted: Q or DQ whose zero point is not 0, or is not stored.
        other_types: Q or DQ whose 8-bit type is not signed INT8 (a missing zero point means UINT8).
        integer_biases: DQ of an INT32 tensor: a quantised bias.
        convolutional: whether the network convolves.
    """

    form: Form
    nodes: int
    shifted: tuple[str, ...]
    other_types: tuple[str, ...]
    integer_biases: tuple[str, ...]
    convolutional: bool


def quantization_of(model: ModelProto) -> Quantization:
    """Return how a graph is quantised; subgraphs count too."""
    nodes = list(nodes_of(model))
    kinds = {node.op_type for node in nodes}
    form = next(
        (
            form
            for form, members in (
                (Form.DYNAMIC, DYNAMIC_FORM),
                (Form.OPERATORS, OPERATOR_FORM),
                (Form.PAIRS, PAIRS),
            )
            if kinds.intersection(members)
        ),
        Form.NONE,
    )
    pairs = [node for node in nodes if node.op_type in PAIRS]
    zero_points = _ZeroPoints(model)
    biases = [node for node in pairs if zero_points.type_of(node) == TensorProto.INT32]
    others = [node for node in pairs if zero_points.type_of(node) not in (TensorProto.INT8, TensorProto.INT32)]
    return Quantization(
        form=form,
        nodes=sum(node.op_type in (*DYNAMIC_FORM, *OPERATOR_FORM, *PAIRS) for node in nodes),
        shifted=_names(node for node in pairs if zero_points.is_shifted(node)),
        other_types=_names(others),
        integer_biases=_names(biases),
        convolutional=bool(kinds.intersection(CONVOLUTIONS)),
    )


def refusal(found: Quantization, layout: Layout) -> str | None:
    """Return why a backend cannot run (or should not be given) this quantisation, with the remedy; None if it can."""
    if found.form is Form.NONE:
        return None
    if found.form is Form.DYNAMIC and found.convolutional:
        return (
            "the network convolves and is quantised dynamically: its scales are computed anew for every request, "
            "which costs a convolution more than 8 bits gain; export it unquantised and ask for int8"
        )
    if layout is Layout.CPU:
        return None
    if found.form is not Form.PAIRS:
        return f"TensorRT has no {found.form}; export Q/DQ pairs (QuantFormat.QDQ), or unquantised and ask for int8"
    if found.integer_biases:
        return (
            f"TensorRT takes no INT32 bias, and {_first(found.integer_biases)} dequantises one; quantise again with "
            "QuantizeBias=False"
        )
    if found.other_types:
        return (
            f"TensorRT takes signed INT8 only, and {_first(found.other_types)} has another type; quantise activations "
            "as QInt8 (torch: qint8, neural-compressor: act_type int8)"
        )
    if found.shifted:
        return (
            f"TensorRT wants every zero point to be 0, and that of {_first(found.shifted)} is not; quantise "
            "symmetrically (ActivationSymmetric=True)"
        )
    return None


def arrived_variant(source: CheckedModel, *, layout: Layout, shown: str) -> Variant | None:
    """Return a source that arrived quantised as the INT8 variant it is, None where it is not quantised.

    Raises UnsupportedQuantization with the reason when the backend cannot run it.
    """
    found = quantization_of(source.proto)
    if found.form is Form.NONE:
        return None
    why = refusal(found, layout)
    if why:
        raise ConversionFailure(Reason.UNSUPPORTED_QUANTIZATION, f"{shown}: {why}")
    note = f"arrived quantised ({found.form}, {found.nodes} nodes); its scales were left as they are"
    return Variant(Precision.INT8, source, None, (), (note,))


def refuse_quantised(source: CheckedModel) -> None:
    """Raise UnsupportedQuantization when a graph that is to be quantised already is."""
    found = quantization_of(source.proto)
    if found.form is not Form.NONE:
        raise ConversionFailure(
            Reason.UNSUPPORTED_QUANTIZATION,
            f"the source is quantised already ({found.form}, {found.nodes} nodes) and cannot be calibrated again; "
            "serve it as it is, without calibration, or export it unquantised",
        )


class _ZeroPoints:
    """The zero points of a graph's Q and DQ nodes: their types by inference, their values where stored."""

    def __init__(self, model: ModelProto) -> None:
        graph = onnx.shape_inference.infer_shapes(model).graph
        self._stored = stored_tensors(graph)
        self._types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input)}
        self._types |= {name: tensor.data_type for name, tensor in self._stored.items()}

    def type_of(self, node: NodeProto) -> int:
        """Return the element type of the quantised side of a Q or DQ node."""
        side = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
        given = node.input[2] if len(node.input) > 2 else ""
        return int(self._types.get(given) or self._types.get(side) or TensorProto.UINT8)

    def is_shifted(self, node: NodeProto) -> bool:
        """Whether the zero point is anything but a stored 0."""
        if len(node.input) < 3 or not node.input[2]:
            return False
        tensor = self._stored.get(node.input[2])
        return tensor is None or bool(np.any(numpy_helper.to_array(tensor)))


def _names(nodes: Iterator[NodeProto] | list[NodeProto]) -> tuple[str, ...]:
    return tuple(node.name or f"the node that makes {node.output[0]!r}" for node in nodes)


def _first(names: tuple[str, ...]) -> str:
    rest = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"{names[0]}{rest}"
