"""What an engine really computes in: the layers as TensorRT's inspector tells them, as a share of precision; pure.

The inspector's JSON has changed: up to 10.x a tensor says "Format/Datatype": "... Int8 format", from 11 on it has
"DataType": "Int8" and a "Format" of its own (docs.nvidia.com, Migrating IEngineInspector Usage from 10.x to 11.x).
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from visionmodel_contract.precision import Precision
from visionmodel_contract.report import PrecisionShare
from visionmodel_converter.failures import ConversionFailure, Reason

MULTIPLYING: Final = ("convolution", "deconvolution", "matrixmultiply", "matrix_multiply", "gemm", "fullyconnected")
"""Parts of the layer and parameter types that multiply; everything else moves or maps values."""
WORDS: Final[tuple[tuple[str, Precision], ...]] = (
    (r"\bint8\b", Precision.INT8),
    (r"\b(half|fp16)\b", Precision.FP16),
    (r"\b(float|fp32)\b", Precision.FP32),
)
TENSOR_TYPE_FIELDS: Final = ("DataType", "Format/Datatype", "Format/DataType")


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """A layer that multiplies.

    Attributes:
        precision: of its first input, which decides the kernel; None where the inspector does not say.
        operations: multiply-accumulates of one run at the shapes the inspector shows; free axes count as one.
    """

    name: str
    precision: Precision | None
    operations: int


def multiplying_layers(information: str) -> tuple[EngineLayer, ...]:
    """Return the layers that multiply, from the inspector's JSON of a whole engine.

    Raises ConversionFailure PrecisionNotReached when the JSON holds no detail, because then nothing is proven.
    """
    try:
        layers = json.loads(information)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConversionFailure(
            Reason.PRECISION_NOT_REACHED,
            "TensorRT's inspector gave no list of layers: its precision is unproven",
        ) from error
    if any(not isinstance(layer, Mapping) for layer in layers):
        raise ConversionFailure(
            Reason.PRECISION_NOT_REACHED,
            "TensorRT's inspector names layers only; the engine must be built with detailed profiling verbosity",
        )
    return tuple(_layer(layer) for layer in layers if _multiplies(layer))


def engine_share(information: str, precision: Precision, *, version: str) -> PrecisionShare:
    """Return which share of an engine's multiplying layers runs in a precision.

    INT8 layers count for FP16 too: what was asked to be at most so wide is narrower there. Where nothing multiplies,
    all of it runs in FP32 and none of it in anything lower.
    """
    layers = multiplying_layers(information)
    if not layers:
        whole = 1.0 if precision is Precision.FP32 else 0.0
        return PrecisionShare(precision=precision, layers=whole, compute=whole, runtime=f"tensorrt {version}")
    narrow = list(Precision)[list(Precision).index(precision) :]
    reached = [layer for layer in layers if layer.precision in narrow]
    total = sum(layer.operations for layer in layers)
    return PrecisionShare(
        precision=precision,
        layers=len(reached) / len(layers),
        compute=sum(layer.operations for layer in reached) / total if total else len(reached) / len(layers),
        runtime=f"tensorrt {version}",
    )


def _multiplies(layer: Mapping[str, Any]) -> bool:
    kinds = f"{layer.get('LayerType', '')} {layer.get('ParameterType', '')}".lower().replace(" ", "")
    return any(kind in kinds for kind in MULTIPLYING)


def _layer(layer: Mapping[str, Any]) -> EngineLayer:
    inputs = layer.get("Inputs") or []
    return EngineLayer(
        name=str(layer.get("Name", "")),
        precision=next(_precisions(inputs[0]), None) if inputs else None,
        operations=_operations(layer, inputs),
    )


def _precisions(tensor: Mapping[str, Any]) -> Iterator[Precision]:
    text = " ".join(str(tensor[field]) for field in TENSOR_TYPE_FIELDS if field in tensor).lower()
    return (precision for pattern, precision in WORDS if re.search(pattern, text))


def _operations(layer: Mapping[str, Any], inputs: list[Mapping[str, Any]]) -> int:
    """A convolution uses each weight once per output position; a product of matrices each output once per column."""
    outputs = layer.get("Outputs") or []
    output = [max(1, int(length)) for length in outputs[0].get("Dimensions", ())] if outputs else []
    weights = layer.get("Weights")
    if isinstance(weights, Mapping) and int(weights.get("Count", 0)) > 0:
        return int(weights["Count"]) * math.prod(output[2:])
    columns = [max(1, int(length)) for length in inputs[0].get("Dimensions", ())][-1:] if inputs else []
    return math.prod(output) * math.prod(columns)
