"""FP16 as part of the graph: weights and arithmetic in half precision, inputs and outputs as they were.

TensorRT 11 builds what the graph says and nothing else, and onnxruntime inserts casts where it lacks a kernel, so
the same file serves both. On the CPU it lacks nearly all and runs the whole graph in FP32 between the outermost
casts (measured with 1.31.1): neither faster nor any less exact, and no proof that values fit into FP16. That is what
`overflow` is for. Which nodes stay in FP32 is decided here, node by node and for a stated reason, instead
of by the library's block list: that one keeps Resize, Min, Max and TopK in FP32, which TensorRT runs in FP16, and
each such node costs two casts and an FP32 layer in a strongly typed engine.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnxconverter_common.float16 import convert_float_to_float16

from visionmodel_contract.precision import Precision
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.graph.onnx_model import CheckedModel, default_opset
from visionmodel_converter.precision import fp16_fixups
from visionmodel_converter.precision.topology import (
    CONTROL_FLOW,
    WEIGHTED,
    element_types,
    in_graph_order,
    listed,
    named,
    stored_tensors,
)
from visionmodel_converter.precision.variant import Variant, library_output_on_stderr, proven

MAX_HALF: Final = 65504.0
"""Largest finite FP16 number. Passed on purpose: the library's own limit would cut weights at 10000."""
SMALLEST_HALF: Final = 2.0**-24
"""Smallest positive FP16 number. What is below becomes this, with its sign, and not zero: it may be divided by."""
SMALLEST_NORMAL_HALF: Final = 2.0**-14
"""About 6.1e-5; FP16 numbers below it lose bits one by one (IEEE 754-2008, table 3.5)."""
NARROW_TYPES: Final = (TensorProto.UINT8, TensorProto.INT8, TensorProto.BOOL, TensorProto.FLOAT16)
"""Element types whose every value is exact in FP16 (whole numbers up to 2048 are)."""
MAX_TRIALS: Final = 32


@dataclass(frozen=True, slots=True)
class HalfGraph:
    """A converted graph, the nodes that stayed in FP32 and, in sentences, why."""

    model: ModelProto
    kept: tuple[str, ...]
    notes: tuple[str, ...]


def fp16_variant(source: CheckedModel, *, kept: frozenset[str] = frozenset(), threads: int = 1) -> Variant:
    """Return the source in FP16, with the nodes named in `kept` in FP32 (names as `topology.named` gives them).

    Raises PrecisionImpossible when the source holds FP16 tensors besides FP32 ones, or its graph does not survive.
    """
    if _is_half_already(source):
        note = "the source is in FP16 already and was left as it is"
        return Variant(Precision.FP16, source, None, (), (note,))
    half = half_graph(named(source.proto), dict.fromkeys(kept, "the caller asked for it"))
    model = proven(half.model, source, what="the FP16 graph", threads=threads)
    return Variant(Precision.FP16, model, None, half.kept, half.notes)


def fp16_within(
    source: CheckedModel,
    accepts: Callable[[Variant], bool],
    *,
    max_trials: int = MAX_TRIALS,
    threads: int = 1,
) -> Variant | None:
    """Return an FP16 variant that `accepts` takes, with as few nodes in FP32 as the trials find; None without one.

    The first trial is plain FP16. After it, runs of neighbouring nodes are tried in FP16 on top of what already
    passed, the longest run first, and a run that fails is halved: the search of onnxconverter-common's
    auto_mixed_precision, which itself converts with fixed limits (it cuts weights at 10000) and so cannot be
    called. Deterministic; an accepted variant stays accepted when the trials run out. A variant in which no
    weighted node is FP16 would gain nothing and counts as none.
    """
    candidates = _float_nodes(source)
    kept = set(candidates)
    runs = [candidates]
    best: Variant | None = None
    for _ in range(max_trials):
        if not runs:
            break
        run = max(runs, key=len)
        runs.remove(run)
        attempt = _accepted(source, frozenset(kept.difference(run)), accepts, threads)
        if attempt is not None:
            best = attempt
            kept.difference_update(run)
        elif len(run) > 1:
            runs += [run[: len(run) // 2], run[len(run) // 2 :]]
    return best if best is not None and _gains(best) else None


def half_graph(source: ModelProto, kept: Mapping[str, str]) -> HalfGraph:
    """Convert a graph whose nodes all have names of their own.

    What FP16 cannot hold stays in FP32, and so do the nodes of `kept`, each with its reason as a clause ("because
    ..."). Also called for the rest of an INT8 graph. Raises PrecisionImpossible.
    """
    model = ModelProto()
    model.CopyFrom(source)
    types = element_types(model)
    fp16_fixups.neutralise_idle_casts(model.graph, types)
    reasons = {**kept, **_needs_fp32(model, types)}
    stay = frozenset(reasons)
    before = frozenset(node.name for node in model.graph.node)
    fp16_fixups.unshare_initializers(model.graph, stay)
    converted = _converted(model, stay)
    fp16_fixups.retarget_casts(converted.graph, stay, before)
    fp16_fixups.restore_float_inputs(converted.graph, model.graph, stay)
    fp16_fixups.restore_output_types(converted, source.graph)
    fp16_fixups.shorten_cast_chains(converted.graph, before)
    del converted.graph.value_info[:]
    converted.ir_version = source.ir_version
    kept_names = in_graph_order(source.graph, stay.intersection(_touching_float(model.graph, types)))
    return HalfGraph(converted, kept_names, _notes(kept_names, reasons))


def _converted(model: ModelProto, stay: frozenset[str]) -> ModelProto:
    try:
        with library_output_on_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values near the limits; those nodes were found before
            return convert_float_to_float16(  # type: ignore[no-any-return]
                model,
                min_positive_val=SMALLEST_HALF,
                max_finite_val=MAX_HALF,
                keep_io_types=True,
                op_block_list=[],
                node_block_list=sorted(stay),
                check_fp16_ready=False,
            )
    except Exception as error:  # third-party code over a stranger's graph may raise anything
        raise ConversionFailure(
            Reason.PRECISION_IMPOSSIBLE,
            f"onnxconverter-common could not convert the graph to FP16: {first_line(error)}; keep fp32, or export "
            "the model with other operators",
        ) from error


def _is_half_already(source: CheckedModel) -> bool:
    stored = {tensor.data_type for tensor in stored_tensors(source.proto.graph).values()}
    if TensorProto.FLOAT16 not in stored:
        return False
    if TensorProto.FLOAT in stored:
        raise ConversionFailure(
            Reason.PRECISION_IMPOSSIBLE,
            "the source mixes FP16 and FP32 weights, so somebody chose its precisions node by node; keep fp32 to "
            "serve it as it is, or export it in FP32 to have it converted here",
        )
    return True


def _needs_fp32(model: ModelProto, types: dict[str, int]) -> dict[str, str]:
    """Return the nodes that must not run in FP16, each with the reason, as a clause for the report."""
    stored = stored_tensors(model.graph)
    too_large = {name for name, tensor in stored.items() if _overflows(tensor)}
    too_small = {name for name, tensor in stored.items() if _is_denormal(tensor)}
    shape_only = _shape_only_nodes(model.graph)
    opset = default_opset(model)
    reasons: dict[str, str] = {}
    for node in model.graph.node:
        tensors = {*node.input, *node.output}
        if node.op_type in CONTROL_FLOW:
            reasons[node.name] = "control flow: its bodies would have to change with it"
        elif node.name in shape_only:
            reasons[node.name] = "they compute shapes, and FP16 counts exactly to 2048 only"
        elif _casts_wide_integers(node, types):
            reasons[node.name] = "they take over integers that FP16 cannot hold exactly"
        elif not _has_half_form(node, types, stored, opset):
            reasons[node.name] = "ONNX defines no FP16 form of them"
        elif node.op_type == "RoiAlign":
            reasons[node.name] = "coordinates beyond 1024 pixels are off by half a pixel or more in FP16"
        elif tensors & too_large:
            reasons[node.name] = f"a stored value exceeds {MAX_HALF:g}, FP16's largest number"
        elif too_small.intersection(_factors(node)):
            reasons[node.name] = f"all stored values are below {SMALLEST_NORMAL_HALF:.1e}, where FP16 loses bits"
    return reasons


def _factors(node: NodeProto) -> list[str]:
    """Return the tensors whose relative error matters: all but a bias, which is added to far larger numbers."""
    return [*(node.input[:2] if node.op_type in WEIGHTED else node.input), *node.output]


def _overflows(tensor: TensorProto) -> bool:
    values = _float_values(tensor)
    return bool(np.any(np.isfinite(values) & (np.abs(values) > MAX_HALF)))


def _is_denormal(tensor: TensorProto) -> bool:
    """Whether the largest magnitude is below FP16's normal numbers: an epsilon, or weights that would fade."""
    values = np.abs(_float_values(tensor))
    largest = float(np.max(values)) if values.size else 0.0
    return 0.0 < largest < SMALLEST_NORMAL_HALF


def _float_values(tensor: TensorProto) -> np.typing.NDArray[np.float32]:
    if tensor.data_type != TensorProto.FLOAT:
        return np.empty(0, np.float32)
    return numpy_helper.to_array(tensor)


def _casts_wide_integers(node: NodeProto, types: dict[str, int]) -> bool:
    """Whether a Cast turns integers (or doubles) into FP32 that need not be exact in FP16."""
    return fp16_fixups.cast_target(node) == TensorProto.FLOAT and types.get(node.input[0]) not in (
        *NARROW_TYPES,
        TensorProto.FLOAT,
    )


def _shape_only_nodes(graph: GraphProto) -> frozenset[str]:
    """Return the nodes whose inputs are all sizes of tensors or stored: the arithmetic behind Reshape and Resize."""
    fixed = {tensor.name for tensor in graph.initializer} | {""}
    sizes: set[str] = set()
    found: set[str] = set()
    for node in graph.node:
        if node.op_type in ("Shape", "Size"):
            sizes.update(node.output)
        elif node.op_type == "Constant":
            fixed.update(node.output)
        elif sizes.intersection(node.input) and sizes.union(fixed).issuperset(node.input):
            sizes.update(node.output)
            found.add(node.name)
    return frozenset(found)


def _has_half_form(node: NodeProto, types: dict[str, int], stored: dict[str, TensorProto], opset: int) -> bool:
    if not onnx.defs.has(node.op_type, opset, node.domain):
        return False
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    exempt = fp16_fixups.FLOAT_ONLY_INPUTS.get(node.op_type)
    if exempt is not None and len(node.input) > exempt and node.input[exempt] not in {"", *stored}:
        return False  # the computed value would arrive in FP16
    inputs = [name for position, name in enumerate(node.input) if position != exempt]
    formal_inputs = [formal for position, formal in enumerate(schema.inputs) if position != exempt]
    return all(
        "tensor(float16)" in formal[min(position, len(formal) - 1)].types
        for names, formal in ((inputs, formal_inputs), (node.output, schema.outputs))
        for position, name in enumerate(names)
        if types.get(name) == TensorProto.FLOAT
    )


def _touching_float(graph: GraphProto, types: dict[str, int]) -> set[str]:
    return {
        node.name
        for node in graph.node
        if any(types.get(name) == TensorProto.FLOAT for name in (*node.input, *node.output))
    }


def _float_nodes(source: CheckedModel) -> list[str]:
    """Return the nodes that could change to FP16, in the graph's order."""
    model = named(source.proto)
    types = element_types(model)
    can_change = _touching_float(model.graph, types).difference(_needs_fp32(model, types))
    return list(in_graph_order(model.graph, can_change))


def _accepted(
    source: CheckedModel, kept: frozenset[str], accepts: Callable[[Variant], bool], threads: int
) -> Variant | None:
    try:
        variant = fp16_variant(source, kept=kept, threads=threads)
    except ConversionFailure:
        return None
    return variant if accepts(variant) else None


def _gains(variant: Variant) -> bool:
    return any(
        node.op_type in WEIGHTED and node.name not in variant.kept_fp32 for node in variant.model.proto.graph.node
    )


def _notes(kept: tuple[str, ...], reasons: dict[str, str]) -> tuple[str, ...]:
    return tuple(
        f"kept in FP32, because {reason}: {listed(name for name in kept if reasons[name] == reason)}"
        for reason in dict.fromkeys(reasons[name] for name in kept)
    )
