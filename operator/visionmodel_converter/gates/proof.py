"""Prove the precision: what the runtime really executed, by layers and by multiply-accumulate operations.

The graph says what was asked, never what runs: on x86 onnxruntime casts FP16 convolutions back to FP32, and a Q/DQ
pair that the fusion missed runs in FP32 between two conversions. Both look right and are slow. For onnxruntime the
profile of one run is read and not the saved optimized graph: only the profile has the types and shapes that kernels
got, where the saved graph has layout operators whose shapes ONNX cannot infer.

Counted are convolutions and matrix products, which are nearly all arithmetic of a vision network. Attention that a
runtime fused into one operator, einsum and recurrent layers are not counted.
"""

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnxruntime

from visionmodel_contract.precision import Backend, Precision
from visionmodel_contract.report import PrecisionShare
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.graph.openvino import OpenVinoModel, compile_openvino
from visionmodel_converter.graph.session import (
    CPU_PROVIDER,
    Tensors,
    load_session,
    random_inputs,
    run_of,
    session_options,
)

DEFAULT_MINIMUM: Final = {Precision.FP32: 1.0, Precision.FP16: 0.9, Precision.INT8: 0.8}
"""Least share of the compute, by promise. FP32 is never lowered by anything we do, so all of it. FP16 leaves out what
overflows: a few layers by bisection. INT8 usually keeps the first and last layers and sensitive ones, which in common
networks are below a fifth; with less than that in INT8, Amdahl's law leaves little of the gain that was promised."""

Shape = Sequence[int]
Macs = Callable[[Sequence[Shape], Shape], int]
"""Multiply-accumulate operations from the shapes of the two factors and of the output."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One executed layer that multiplies; `type` is the runtime's own word for its factors' type."""

    name: str
    operator: str
    type: str
    precision: Precision | None
    macs: int


def conv_macs(factors: Sequence[Shape], output: Shape) -> int:
    """Each output value sums one filter: `|output| * |weights| / filters` (weights [filters, channels/groups, ...])."""
    weights = factors[1]
    return math.prod(output) * math.prod(weights[1:])


def transposed_conv_macs(factors: Sequence[Shape], _output: Shape) -> int:
    """Each input value is spread by its filters: `|input| * |weights| / channels` (weights [channels, ...])."""
    data, weights = factors
    return math.prod(data) * math.prod(weights[1:])


def product_macs(factors: Sequence[Shape], output: Shape) -> int:
    """Each output value sums over the inner dimension, which is what the left factor has beside the output's rows."""
    left = factors[0]
    if len(left) < 2 or len(output) < 2:
        return math.prod(output) * left[-1]
    return math.prod(output) * (left[-2] * left[-1] // output[-2] if output[-2] else 0)


@dataclass(frozen=True, slots=True)
class Operator:
    """How to read one operator of onnxruntime: where its factors are, and how much it multiplies."""

    macs: Macs
    factors: tuple[int, int] = (0, 1)
    quantizes_itself: bool = False


QUANTIZED_FACTORS: Final = (0, 3)
ONNXRUNTIME_OPERATORS: Final[Mapping[str, Operator]] = {
    "Conv": Operator(conv_macs),
    "FusedConv": Operator(conv_macs),
    "NhwcFusedConv": Operator(conv_macs),
    "ConvInteger": Operator(conv_macs),
    "QLinearConv": Operator(conv_macs, QUANTIZED_FACTORS),
    "ConvTranspose": Operator(transposed_conv_macs),
    "MatMul": Operator(product_macs),
    "FusedMatMul": Operator(product_macs),
    "Gemm": Operator(product_macs),
    "FusedGemm": Operator(product_macs),
    "MatMulInteger": Operator(product_macs),
    "MatMulIntegerToFloat": Operator(product_macs),
    "DynamicQuantizeMatMul": Operator(product_macs, quantizes_itself=True),
    "QLinearMatMul": Operator(product_macs, QUANTIZED_FACTORS),
    "QGemm": Operator(product_macs, QUANTIZED_FACTORS),
}
PRECISIONS: Final[Mapping[str, Precision]] = {
    **dict.fromkeys(("float", "double", "f32", "f64"), Precision.FP32),
    **dict.fromkeys(("float16", "f16"), Precision.FP16),
    **dict.fromkeys(("int8", "uint8", "i8", "u8"), Precision.INT8),
}
"""Types in the words of both runtimes; whatever is not here (BF16, 4 bits) is no promised precision."""


def executed_onnxruntime(model: bytes, inputs: Tensors, *, shown: str, provider: str = CPU_PROVIDER) -> list[Layer]:
    """Run a serialized model once and return the layers that multiplied, as the profile has them."""
    settings = session_options(RuntimeOptions(threads=1))
    # Otherwise weights that were packed when the model was loaded are missing in the profile; the kernels stay.
    settings.add_session_config_entry("session.disable_prepacking", "1")
    settings.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        settings.profile_file_prefix = str(Path(folder) / "run")
        session = load_session(model, settings, shown=shown, provider=provider)
        run_of(session, shown)(inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return layers_of_profile(events)


def layers_of_profile(events: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """Return the multiplying layers of a profile of onnxruntime; a layer in a loop counts each time it ran."""
    found = []
    for event in events:
        arguments = event.get("args", {})
        operator = ONNXRUNTIME_OPERATORS.get(str(arguments.get("op_name")))
        if event.get("cat") == "Node" and operator is not None and "output_type_shape" in arguments:
            found.append(_profiled_layer(str(event["name"]), operator, arguments))
    return found


def _profiled_layer(name: str, operator: Operator, arguments: Mapping[str, Any]) -> Layer:
    factors = [next(iter(arguments["input_type_shape"][index].items())) for index in operator.factors]
    output = next(iter(arguments["output_type_shape"][0].values()))
    types = [kind for kind, _ in factors]
    precisions = {PRECISIONS.get(kind) for kind in types[1:] if operator.quantizes_itself} or {
        PRECISIONS.get(kind) for kind in types
    }
    return Layer(
        name=name.removesuffix("_kernel_time"),
        operator=str(arguments["op_name"]),
        type=" x ".join(dict.fromkeys(types)),
        precision=precisions.pop() if len(precisions) == 1 else None,
        macs=operator.macs([shape for _, shape in factors], output),
    )


def _openvino_conv_macs(factors: Sequence[Shape], output: Shape) -> int:
    """As `conv_macs`; OpenVINO's weights have an axis more where there are groups, but as many values."""
    return math.prod(output) * math.prod(factors[1]) // output[1]


def _openvino_transposed_conv_macs(factors: Sequence[Shape], _output: Shape) -> int:
    data, weights = factors
    return math.prod(data) * math.prod(weights) // data[1]


OPENVINO_LAYERS: Final[Mapping[str, Macs]] = {
    "Convolution": _openvino_conv_macs,
    "Deconvolution": _openvino_transposed_conv_macs,
    "FullyConnected": product_macs,
    "MatMul": product_macs,
}


def executed_openvino(model: OpenVinoModel, inputs: Tensors) -> list[Layer]:
    """Run a compiled model once and return the layers that multiplied, as its runtime model has them."""
    model.run(inputs)
    found = []
    for node, facts in model.executed():
        macs = OPENVINO_LAYERS.get(facts["layerType"])
        if macs is not None:
            factors = [tuple(node.get_input_shape(index)) for index in (0, 1)]
            kind = facts["runtimePrecision"]
            found.append(
                Layer(
                    name=node.get_friendly_name(),
                    operator=facts["layerType"],
                    type=kind,
                    precision=PRECISIONS.get(kind),
                    macs=macs(factors, tuple(node.get_output_shape(0))),
                )
            )
    return found


def onnxruntime_words(provider: str = CPU_PROVIDER) -> str:
    """Return the runtime's name in a share: version and provider."""
    return f"onnxruntime {onnxruntime.__version__} {provider}"


def precision_share(layers: Sequence[Layer], promised: Precision, *, runtime: str) -> PrecisionShare:
    """Return the share of layers and of multiply-accumulates that ran in the promised precision.

    A graph in which nothing multiplies has all of it in FP32 and none of it in anything lower.
    """
    if not layers:
        whole = 1.0 if promised is Precision.FP32 else 0.0
        return PrecisionShare(precision=promised, layers=whole, compute=whole, runtime=runtime)
    kept = [layer for layer in layers if layer.precision is promised]
    total = sum(layer.macs for layer in layers)
    return PrecisionShare(
        precision=promised,
        layers=len(kept) / len(layers),
        compute=sum(layer.macs for layer in kept) / total if total else len(kept) / len(layers),
        runtime=runtime,
    )


def refuse_missing_precision(
    share: PrecisionShare,
    layers: Sequence[Layer] = (),
    *,
    minimum: float | None = None,
    remedies: Mapping[Precision, str] | None = None,
) -> None:
    """Raise PrecisionNotReached unless enough of the compute ran in the promised precision; NaN never is enough.

    `layers` are named in the sentence, largest first; `minimum` is DEFAULT_MINIMUM of the precision when unset, and
    `remedies` are those for CPUs.
    """
    wanted = DEFAULT_MINIMUM[share.precision] if minimum is None else minimum
    if share.compute >= wanted:
        return
    others = sorted((layer for layer in layers if layer.precision is not share.precision), key=lambda one: -one.macs)
    named = ", ".join(f"{layer.name!r} ({layer.operator}, {layer.type})" for layer in others[:3])
    raise ConversionFailure(
        Reason.PRECISION_NOT_REACHED,
        f"{share.precision} was promised, but {share.runtime} ran only {share.compute:.0%} of the multiplications "
        f"({share.layers:.0%} of the layers) in it, {wanted:.0%} must be{f'; not in it ran {named}' if named else ''}: "
        f"{(REMEDIES if remedies is None else remedies)[share.precision]}",
    )


REMEDIES: Final[Mapping[Precision, str]] = {
    Precision.FP32: "the graph holds lower precisions already; ask for int8 or fp16, or export the FP32 model",
    Precision.FP16: "CPUs of the x86 family compute FP16 graphs in FP32 or BF16, which gains no speed; ask for int8 "
    "or fp32 there, or serve on a GPU",
    Precision.INT8: "a runtime fuses a layer with the Q/DQ pairs around it only in the layout it knows (ONNX Runtime: "
    "FP32 scales, and after a ReLU unsigned activations with a zero point; OpenVINO takes TensorRT's symmetric layout "
    "too); quantize for this backend, use the other one, or ask for fp32",
}


def prove_precision(backend: Backend, model: CheckedModel, precision: Precision, *, seed: int) -> PrecisionShare:
    """Run a model once where it will be served and return the share that ran as promised.

    Raises PrecisionNotReached, and what opening the model in that runtime raises.
    """
    inputs = random_inputs(model.inputs, batch=1, seed=seed)
    shown = f"the {precision} graph"
    match backend:
        case Backend.ONNX_RUNTIME | Backend.TENSORRT:
            layers = executed_onnxruntime(model.serialized(), inputs, shown=shown)
            runtime = onnxruntime_words()
        case Backend.OPENVINO:
            compiled = compile_openvino(model.serialized(), shown=shown, options=RuntimeOptions(threads=1))
            layers, runtime = executed_openvino(compiled, inputs), compiled.version
    share = precision_share(layers, precision, runtime=runtime)
    refuse_missing_precision(share, layers)
    return share
