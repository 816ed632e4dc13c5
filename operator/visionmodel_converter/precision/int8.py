"""INT8 as Q/DQ pairs in the graph, by onnxruntime's quantize_static, in the layout that the backend's kernels need.

quantize_static itself cannot run real entropy calibration, so the ranges are made by `calibration` and handed over
as its calibration cache; that also lets sensitivity analysis quantise the same graph many times over.
"""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import onnx.version_converter
from onnx import GraphProto, ModelProto, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import save_tensors_data

from visionmodel_contract.precision import CalibrationMethod, Precision
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.graph.onnx_model import CheckedModel, default_opset
from visionmodel_converter.graph.session import Tensors
from visionmodel_converter.precision.calibration import (
    FEW_SAMPLES,
    Ranges,
    calibrate,
    methods_of,
    refuse_unfit_samples,
)
from visionmodel_converter.precision.fp16 import SMALLEST_NORMAL_HALF, half_graph
from visionmodel_converter.precision.layout import (
    ACTIVATION_TYPES,
    Layout,
    Plan,
    plan_of,
    quantiser_options,
    remove_pairs,
)
from visionmodel_converter.precision.overflow import wide_nodes
from visionmodel_converter.precision.qdq import refuse_quantised
from visionmodel_converter.precision.topology import consumers, in_graph_order, listed, named
from visionmodel_converter.precision.variant import Variant, library_output_on_stderr, proven

MIN_QDQ_OPSET: Final = 13
"""The first operator set with one scale per channel."""
TENSORRT_OPSET: Final = 19
"""The first in which scales may be FP16. Lifted to after quantising: earlier releases of quantize_static failed on
signed activations from 21 on."""
PREPROCESSED: Final = onnx.StringStringEntryProto(key="onnx.quant.pre_process", value="onnxruntime.quant")
"""Tells quantize_static that the graph was simplified before; without it the log is full of advice to do so."""
WORK_METADATA: Final = (PREPROCESSED.key, "onnx.infer")


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A source made ready to be quantised any number of times: names, plan and ranges.

    Attributes:
        wide: nodes whose values leave FP16's range over the samples; known in the layout for TensorRT only.
    """

    source: CheckedModel
    model: ModelProto
    plan: Plan
    ranges: Ranges
    wide: frozenset[str]
    threads: int


def int8_variants(
    source: CheckedModel,
    samples: Sequence[Tensors],
    methods: Sequence[CalibrationMethod],
    *,
    layout: Layout,
    threads: int,
    fp16: bool = False,
) -> tuple[Variant, ...]:
    """Return one INT8 variant per calibration method, in the order of `methods`.

    Args:
        source: an FP32 graph.
        samples: batches {input name: array [n, ...]} that went through the serving pre-processing.
        methods: MinMax, Percentile, Entropy; Auto is all three.
        layout: whose kernels the pairs are placed for.
        threads: of the calibration and of the run that proves the result.
        fp16: what is not INT8 becomes FP16 instead of FP32; for TensorRT only.

    Raises CalibrationInvalid, UnsupportedQuantization (the source is quantised already) or PrecisionImpossible.
    """
    tried = dict.fromkeys(method for asked in methods for method in methods_of(asked))
    return tuple(
        quantised(calibrated(source, samples, method, layout=layout, threads=threads), fp16=fp16) for method in tried
    )


def calibrated(
    source: CheckedModel,
    samples: Sequence[Tensors],
    method: CalibrationMethod,
    *,
    layout: Layout,
    threads: int,
) -> Calibrated:
    """Return the source ready to be quantised: opset, names, plan, and ranges over the samples."""
    refuse_quantised(source)
    refuse_unfit_samples(samples, source.inputs)
    model = named(_with_opset(source.proto, MIN_QDQ_OPSET))
    plan = plan_of(model, layout)
    if not plan.weighted:
        raise ConversionFailure(
            Reason.PRECISION_IMPOSSIBLE,
            "there is nothing to quantise: no Conv, ConvTranspose, Gemm or MatMul with FP32 input and sides of 16 or "
            "more; ask for fp16 or fp32",
        )
    ranges = calibrate(model, samples, method, plan, threads=threads)
    wide = wide_nodes(model, samples, threads=threads) if layout is Layout.TENSORRT else frozenset()
    return Calibrated(source, model, plan, ranges, wide, threads)


def quantised(ready: Calibrated, *, kept: frozenset[str] = frozenset(), fp16: bool = False) -> Variant:
    """Return the INT8 variant in which the weighted nodes named in `kept` are not quantised."""
    if fp16 and ready.plan.layout is not Layout.TENSORRT:
        raise ValueError("FP16 beside INT8 is for TensorRT; the CPU has no FP16 kernels worth it")
    model = quantised_graph(ready, exclude=kept)
    notes = list(_plan_notes(ready, kept))
    if ready.plan.layout is Layout.TENSORRT:
        model = named(_with_opset(model, TENSORRT_OPSET))
    plain = [node.name for node in ready.model.graph.node if node.name in kept.union(ready.plan.reasons)]
    if fp16:
        wide = dict.fromkeys(ready.wide, "their values exceed FP16's range over the calibration samples")
        half = half_graph(model, wide | _nodes_with_fine_scales(model.graph))
        model, plain = half.model, list(half.kept)
        notes += half.notes
    model.ir_version = ready.source.proto.ir_version
    checked = proven(model, ready.source, what=f"the INT8 graph ({ready.ranges.method})", threads=ready.threads)
    return Variant(Precision.INT8, checked, ready.ranges.method, tuple(plain), tuple(notes))


def quantised_graph(ready: Calibrated, *, exclude: Iterable[str] = (), only: Iterable[str] = ()) -> ModelProto:
    """Return the graph with Q/DQ pairs, unproven; with `only`, no other node is quantised."""
    handed = ModelProto()
    handed.CopyFrom(ready.model)
    handed.metadata_props.append(PREPROCESSED)
    with tempfile.TemporaryDirectory(prefix="quantise-") as folder, library_output_on_stderr():
        cache, output = Path(folder) / "ranges.json", Path(folder) / "quantised.onnx"
        save_tensors_data(ready.ranges.data, cache)
        try:
            quantize_static(
                handed,
                output,
                None,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=ready.plan.op_types,
                per_channel=True,
                activation_type=ACTIVATION_TYPES[ready.plan.layout],
                weight_type=QuantType.QInt8,
                nodes_to_quantize=sorted(only),
                nodes_to_exclude=sorted({*ready.plan.excluded, *exclude}),
                calibrate_method=ready.ranges.data.calibration_method,
                calibration_cache_path=cache,
                extra_options=quantiser_options(ready.plan, ready.model),
            )
        except Exception as error:  # third-party code over a stranger's graph may raise anything
            raise ConversionFailure(
                Reason.PRECISION_IMPOSSIBLE,
                f"onnxruntime could not quantise the graph: {first_line(error)}; ask for fp16 or fp32",
            ) from error
        model = onnx.load(output)
    remove_pairs(model.graph, ready.plan.bare_outputs)
    return _tidied(model, ready.model)


def _tidied(model: ModelProto, source: ModelProto) -> ModelProto:
    """Take off what quantize_static adds besides the pairs, so that the bytes depend on the source alone."""
    kept = [entry for entry in model.metadata_props if entry.key not in WORK_METADATA]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    del model.graph.value_info[:]
    del model.opset_import[:]
    model.opset_import.extend(source.opset_import)
    return model


def _with_opset(model: ModelProto, opset: int) -> ModelProto:
    """Return the graph in an operator set not older than `opset`; raises PrecisionImpossible."""
    if default_opset(model) >= opset:
        return model
    try:
        lifted: ModelProto = onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # the C++ converter raises RuntimeError and its own ConvertError
        raise ConversionFailure(
            Reason.PRECISION_IMPOSSIBLE,
            f"opset {default_opset(model)} cannot be lifted to {opset}, which INT8 needs: {first_line(error)}; export "
            f"with opset_version={max(opset, 17)} or later",
        ) from error
    lifted.ir_version = model.ir_version
    return lifted


def _nodes_with_fine_scales(graph: GraphProto) -> dict[str, str]:
    """Return Q, DQ and the nodes behind them whose scale would lose bits in FP16."""
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = consumers(graph)
    fine: set[str] = set()
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale = scales.get(node.input[1])
        if scale is None or not (scale < SMALLEST_NORMAL_HALF).any():
            continue
        fine.add(node.name)
        fine.update(reader.name for reader in readers.get(node.output[0], ()))
    because = f"their INT8 scale is below {SMALLEST_NORMAL_HALF:.1e}, where FP16 loses bits"
    return dict.fromkeys(in_graph_order(graph, fine), because)


def _plan_notes(ready: Calibrated, kept: frozenset[str]) -> Iterable[str]:
    plan, ranges = ready.plan, ready.ranges
    total = len(plan.weighted) + len(plan.reasons)
    inside = [name for name in plan.weighted if name not in kept]
    yield (
        f"{len(inside)} of {total} multiplying nodes are INT8 in the layout for {plan.layout}, ranges by "
        f"{ranges.method} over {ranges.samples} samples"
    )
    if ranges.samples < FEW_SAMPLES:
        yield f"{ranges.samples} calibration samples are few: {FEW_SAMPLES} or more give steadier ranges"
    for reason in dict.fromkeys(plan.reasons.values()):
        yield f"not quantised, because {reason}: {listed(n for n, why in plan.reasons.items() if why == reason)}"
    if kept:
        yield f"not quantised, because they are sensitive: {listed(in_graph_order(ready.model.graph, kept))}"
