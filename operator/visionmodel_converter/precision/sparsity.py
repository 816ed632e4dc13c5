"""2:4 structured sparsity: found in weights that were trained for it, made by magnitude where that is asked.

Of four neighbouring input channels at most two are not zero: the one pattern for which NVIDIA's sparse tensor cores
have kernels (A. Mishra et al., Accelerating Sparse Deep Neural Networks, arXiv 2104.08378, section 3).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import CheckedModel, checked
from visionmodel_converter.precision.topology import named

GROUP: Final = 4
KEPT: Final = 2


@dataclass(frozen=True, slots=True)
class WeightSparsity:
    """One weight that could be 2:4 sparse: input channels in fours.

    Attributes:
        node: the node that multiplies by it; `tensor` its name.
        parameters: how many numbers it holds.
        zero_share: how many of them are 0, as a share of 1.
        is_2_4: whether the whole tensor has the pattern.
    """

    node: str
    tensor: str
    parameters: int
    zero_share: float
    is_2_4: bool


@dataclass(frozen=True, slots=True)
class SparsityReport:
    """What sparse kernels could use of a model."""

    weights: tuple[WeightSparsity, ...]
    share: float
    """Parameters in 2:4 tensors, as a share of the parameters of all multiplying nodes; 0 to 1."""


def sparsity_of(source: CheckedModel) -> SparsityReport:
    """Return which weights have the 2:4 pattern along their input channels."""
    found, total = [], 0
    for node, tensor, values in _weights(named(source.proto)):
        total += values.size
        groups = _groups(node, values)
        if groups is None:
            continue
        zero_share = float(np.mean(values == 0))
        pattern = bool((np.count_nonzero(groups, axis=-1) <= KEPT).all())
        found.append(WeightSparsity(node.name, tensor, values.size, zero_share, pattern))
    sparse = sum(weight.parameters for weight in found if weight.is_2_4)
    return SparsityReport(tuple(found), sparse / total if total else 0.0)


def pruned_2_4(source: CheckedModel) -> CheckedModel:
    """Return the source with the two smallest of every four input channels' weights set to 0, in one shot.

    Opt-in only: without training after it a small network is destroyed (the example detector falls from 0.95 to
    about 0.1 mAP50), so what comes back must pass the same gate as everything else. Raises PrecisionImpossible when
    no weight has its input channels in fours.
    """
    model = ModelProto()
    model.CopyFrom(source.proto)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    pruned: set[str] = set()
    for node, name, values in _weights(model):
        groups = _groups(node, values)
        if groups is None or name in pruned:
            continue
        kept = np.argsort(-np.abs(groups), axis=-1, kind="stable")[..., :KEPT]
        mask = np.zeros(groups.shape, np.bool_)
        np.put_along_axis(mask, kept, True, axis=-1)
        result = _ungrouped(node, np.where(mask, groups, 0).astype(values.dtype), values.shape)
        initializers[name].CopyFrom(numpy_helper.from_array(result, name))
        pruned.add(name)
    if not pruned:
        raise ConversionFailure(
            Reason.PRECISION_IMPOSSIBLE,
            "nothing can be pruned to 2:4: no Conv, Gemm or MatMul has a stored weight with input channels in fours; "
            "leave pruning out",
        )
    return checked(model, "the pruned graph")


def _weights(model: ModelProto) -> list[tuple[NodeProto, str, NDArray[Any]]]:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    return [
        (node, node.input[1], numpy_helper.to_array(stored[node.input[1]]))
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in stored
    ]


def _input_axis(node: NodeProto, rank: int) -> int:
    """Return the axis of the input channels: 1 of Conv [out, in, ...], the K of a matrix product."""
    if node.op_type == "Conv":
        return 1
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return rank - 1 if transposed else rank - 2


def _groups(node: NodeProto, values: NDArray[Any]) -> NDArray[Any] | None:
    """Return the weight with the input channels last and in fours [..., c / 4, 4], None where they are not."""
    if values.ndim < 2 or values.shape[_input_axis(node, values.ndim)] % GROUP:
        return None
    moved = np.moveaxis(values, _input_axis(node, values.ndim), -1)
    return moved.reshape(*moved.shape[:-1], -1, GROUP)


def _ungrouped(node: NodeProto, groups: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    flat = groups.reshape(*groups.shape[:-2], -1)
    return np.ascontiguousarray(np.moveaxis(flat, -1, _input_axis(node, len(shape))))
