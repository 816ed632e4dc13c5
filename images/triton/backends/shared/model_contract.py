"""What a model's configuration and its ONNX file must agree on, and how requests become one batch.

Kept apart from the `model.py` of each stand-in because it needs neither Triton nor a runtime: the unit tests import it
as it is. Names and error texts name the model, since Triton prints them as the reason why a model did not load.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_FILENAME = "model.onnx"
WILDCARD = -1
# What numpy can hold. BF16 and the 8-bit floats need more than numpy, TYPE_STRING needs its own encoding.
ONNX_TYPES: Mapping[str, str] = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
}
# OpenVINO's names of the same types.
OPENVINO_TYPES: Mapping[str, str] = {
    "boolean": "tensor(bool)",
    **{
        f"{sign}{bits}": f"tensor({word}{bits})"
        for sign, word in (("u", "uint"), ("i", "int"))
        for bits in (8, 16, 32, 64)
    },
    "f16": "tensor(float16)",
    "f32": "tensor(float)",
    "f64": "tensor(double)",
}
# Parameters that go to OpenVINO under their own names; the last one is read by the stand-in only.
OPENVINO_PARAMETERS = ("PERFORMANCE_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "INFERENCE_PRECISION_HINT")
# `optimization.graph.level` of the configuration, in the words of the vendor's backend, to onnxruntime's level names.
_GRAPH_LEVELS: Mapping[int, str] = {-1: "ORT_ENABLE_BASIC", 1: "ORT_ENABLE_EXTENDED", 2: "ORT_DISABLE_ALL"}


class ModelMismatch(Exception):
    """The model cannot be served as configured; the text says which tensor and what was expected."""


@dataclass(frozen=True)
class TensorContract:
    """A tensor with its full shape, the batch dimension included; WILDCARD where any size is accepted."""

    name: str
    onnx_type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SessionSettings:
    """Session options by onnxruntime's names; a thread count of 0 leaves the choice to onnxruntime."""

    intra_op_threads: int
    inter_op_threads: int
    parallel: bool
    graph_level: str


def model_file(config: Mapping[str, Any], version_dir: Path) -> Path:
    """The ONNX file of a version; a folder of that name holds the model beside its external data."""
    path = version_dir / (config.get("default_model_filename") or DEFAULT_FILENAME)
    if path.is_dir():
        path = path / DEFAULT_FILENAME
    if not path.is_file():
        raise ModelMismatch(f"model '{config['name']}': there is no file {path}")
    return path


def shape_of(dims: Sequence[int | str | None]) -> tuple[int, ...]:
    """Shape as onnxruntime gives it: a symbolic or unknown dimension is a wildcard."""
    return tuple(dim if isinstance(dim, int) and dim >= 0 else WILDCARD for dim in dims)


def configured_tensors(config: Mapping[str, Any], side: str) -> tuple[TensorContract, ...]:
    """The tensors of `side` ("input" or "output") as config.pbtxt declares them."""
    return tuple(_configured(config, tensor) for tensor in config.get(side, ()))


def configured_names(config: Mapping[str, Any], side: str) -> tuple[str, ...]:
    """The names alone, whatever the tensors are."""
    return tuple(tensor["name"] for tensor in config.get(side, ()))


def _configured(config: Mapping[str, Any], tensor: Mapping[str, Any]) -> TensorContract:
    where = f"model '{config['name']}', tensor '{tensor['name']}'"
    onnx_type = ONNX_TYPES.get(tensor["data_type"])
    if onnx_type is None:
        raise ModelMismatch(f"{where}: {tensor['data_type']} is not supported by this backend")
    for feature in ("reshape", "allow_ragged_batch", "optional"):
        if tensor.get(feature):
            raise ModelMismatch(f"{where}: '{feature}' is not supported by this backend")
    batch = (WILDCARD,) if max_batch_size(config) else ()
    return TensorContract(tensor["name"], onnx_type, (*batch, *(int(dim) for dim in tensor["dims"])))


def max_batch_size(config: Mapping[str, Any]) -> int:
    """Largest batch in images; 0 means that the model's first dimension is no batch."""
    return int(config.get("max_batch_size", 0))


def check_tensors(
    config: Mapping[str, Any], side: str, configured: Sequence[TensorContract], provided: Sequence[TensorContract]
) -> None:
    """Refuse a configuration that the ONNX file cannot honour.

    All of the model's inputs must be configured, since each is needed to run; outputs may be left out.
    """
    by_name = {tensor.name: tensor for tensor in provided}
    model = f"model '{config['name']}'"
    unknown = sorted({tensor.name for tensor in configured} - by_name.keys())
    if unknown:
        raise ModelMismatch(f"{model}: unknown {side} {unknown}, the ONNX file has {sorted(by_name)}")
    missing = sorted(by_name.keys() - {tensor.name for tensor in configured})
    if missing and side == "input":
        raise ModelMismatch(f"{model}: input {missing} of the ONNX file is not configured")
    for tensor in configured:
        _check_tensor(f"{model}, {side} '{tensor.name}'", tensor, by_name[tensor.name], bool(max_batch_size(config)))


def _check_tensor(where: str, configured: TensorContract, provided: TensorContract, batched: bool) -> None:
    if configured.onnx_type != provided.onnx_type:
        raise ModelMismatch(f"{where}: configured as {configured.onnx_type}, the ONNX file has {provided.onnx_type}")
    if batched and (not provided.shape or provided.shape[0] != WILDCARD):
        raise ModelMismatch(
            f"{where}: max_batch_size > 0 needs a dynamic first dimension, the ONNX file has {list(provided.shape)}"
        )
    if not _fits(configured.shape, provided.shape):
        raise ModelMismatch(
            f"{where}: configured with shape {list(configured.shape)}, the ONNX file has {list(provided.shape)}"
        )


def _fits(configured: Sequence[int], provided: Sequence[int]) -> bool:
    """Whether every fixed dimension of the model is configured as exactly that size."""
    if len(configured) != len(provided):
        return False
    return all(model in (WILDCARD, dim) for dim, model in zip(configured, provided, strict=True))


def session_settings(config: Mapping[str, Any]) -> SessionSettings:
    """Session options from the parameters that the vendor's onnxruntime backend reads."""
    execution_mode = _integer(config, "execution_mode")
    if execution_mode not in (0, 1):
        raise ModelMismatch(f"model '{config['name']}': execution_mode is {execution_mode}, not 0 or 1")
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    return SessionSettings(
        intra_op_threads=_integer(config, "intra_op_thread_count"),
        inter_op_threads=_integer(config, "inter_op_thread_count"),
        parallel=execution_mode == 1,
        graph_level=_GRAPH_LEVELS.get(level, "ORT_ENABLE_ALL"),
    )


def check_providers(config: Mapping[str, Any], asked: str, active: Sequence[str]) -> None:
    """Refuse a session that does not run where it was told to: onnxruntime goes on with the CPU instead of failing."""
    if list(active) != [asked]:
        raise ModelMismatch(f"model '{config['name']}': asked for {asked}, the session runs on {', '.join(active)}")


def openvino_properties(config: Mapping[str, Any]) -> dict[str, str]:
    """Properties of OpenVINO from the parameters that the vendor's openvino backend reads."""
    given = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    found = {key: given[key].upper() for key in OPENVINO_PARAMETERS if key in given}
    for key, words in (("INFERENCE_NUM_THREADS", ()), ("NUM_STREAMS", ("AUTO", "NUMA"))):
        if key in found and not found[key].isdigit() and found[key] not in words:
            raise ModelMismatch(f"model '{config['name']}': parameter {key} is {given[key]!r}, not a number")
    if "INFERENCE_PRECISION_HINT" in found:
        found["INFERENCE_PRECISION_HINT"] = found["INFERENCE_PRECISION_HINT"].lower()
    return found


def _integer(config: Mapping[str, Any], key: str) -> int:
    value = config.get("parameters", {}).get(key, {}).get("string_value", "0")
    try:
        return max(0, int(value))
    except ValueError:
        raise ModelMismatch(f"model '{config['name']}': parameter {key} is {value!r}, not an integer") from None


def slices_of(sizes: Sequence[int]) -> tuple[slice, ...]:
    """Where each request's rows are in the joined batch; `sizes` are the requests' own batch sizes."""
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return tuple(slice(end - size, end) for size, end in zip(sizes, ends, strict=True))


def error_text(message: str) -> str:
    """The text of a failed run: the number and words of onnxruntime as the vendor's backend puts them."""
    # onnxruntime's Python binding writes "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : text".
    parts = message.split(" : ", 3)
    if len(parts) == 4 and parts[0] == "[ONNXRuntimeError]" and parts[1].isdigit():
        return f"onnx runtime error {parts[1]}: {parts[3]}"
    return f"onnx runtime error: {message}"


def openvino_error_text(message: str) -> str:
    """The text of a failed run without the lines that say where in OpenVINO's sources it was raised."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith(("Exception from ", "Check '"))]
    return f"openvino error: {(causes or lines or ['unknown'])[0]}"
