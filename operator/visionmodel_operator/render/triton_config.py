"""config.pbtxt of one revision: dims and types as the report measured them, batching and instances as the spec asks.

The report wins over the spec because the file that Triton loads is the one that was converted, whatever was hoped.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from visionmodel_contract.artifact import MODEL_FILES
from visionmodel_contract.precision import Backend
from visionmodel_contract.report import ArtifactInfo, TensorSpec
from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import Batching, VisionModelSpec
from visionmodel_operator.core.snapshot import Platform
from visionmodel_operator.core.threads import instance_options
from visionmodel_operator.errors import UserError
from visionmodel_operator.render.text import render_text

BACKENDS: Final = {
    Backend.ONNX_RUNTIME: "onnxruntime",
    Backend.OPENVINO: "openvino",
    Backend.TENSORRT: "tensorrt",
}
"""The API's names of what executes the artifact in Triton's words."""
VERSION_HEX_DIGITS: Final = 7

DATA_TYPES: Final = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
}
"""The converter's type names (numpy's) in Triton's words."""


@dataclass(frozen=True)
class Tensor:
    """One tensor as config.pbtxt declares it.

    Attributes:
        dims: without the batch axis when Triton batches; [1] stands for no axis at all where `is_scalar`.
    """

    name: str
    data_type: str
    dims: tuple[int, ...]
    is_scalar: bool = False


def model_version(revision: str) -> int:
    """Return the Triton version of a revision, at least 1 and below 2^28 + 1.

    Each revision has its own, because Triton's cache key is model name, version and input: two revisions under one
    number could answer for each other from a shared cache.
    """
    return 1 + int(revision[:VERSION_HEX_DIGITS], 16)


def config_pbtxt(
    name: str,
    revision: str,
    spec: VisionModelSpec,
    artifact: ArtifactInfo,
    platform: Platform,
    *,
    input_dims: tuple[int, ...] | None = None,
) -> str:
    """Return the text of the network's config.pbtxt.

    `input_dims` is the shape of the only input without its batch axis, where its free axes are known by now.

    Raises:
        UserError: the batching asked for does not fit the artifact or itself.
    """
    batching = _checked(spec.serving.batching)
    inputs = tuple(configured_tensor(tensor, batching.max_batch_size) for tensor in artifact.inputs)
    if input_dims is not None:
        inputs = tuple(replace(tensor, dims=input_dims) for tensor in inputs)
    return render_text(
        "config.pbtxt.j2",
        name=name,
        backend=BACKENDS[spec.conversion.backend],
        model_file=MODEL_FILES[spec.conversion.backend],
        max_batch_size=batching.max_batch_size,
        version=model_version(revision),
        inputs=inputs,
        outputs=tuple(configured_tensor(tensor, batching.max_batch_size) for tensor in artifact.outputs),
        instances=spec.serving.instances,
        instance_kind=_instance_kind(spec, platform),
        dynamic_batching=_dynamic_batching(batching),
        parameters=instance_options(spec).parameters(spec.conversion.backend),
        warmup_batch_sizes=_warmup_batch_sizes(spec, inputs),
    )


def _instance_kind(spec: VisionModelSpec, platform: Platform) -> str:
    """Return where instances run; an engine runs on its device or nowhere."""
    is_simulated = platform.simulated_accelerators and spec.conversion.backend is not Backend.TENSORRT
    return "KIND_GPU" if spec.accelerators and not is_simulated else "KIND_CPU"


def _checked(batching: Batching) -> Batching:
    too_large = [size for size in batching.preferred_batch_sizes if size > batching.max_batch_size]
    if too_large:
        raise UserError(
            Reason.INVALID_SPEC,
            f"serving.batching.preferredBatchSizes {too_large} are larger than maxBatchSize"
            f" {batching.max_batch_size}; lower them or raise maxBatchSize",
        )
    return batching


def configured_tensor(tensor: TensorSpec, max_batch_size: int) -> Tensor:
    """Return a tensor of the report as config.pbtxt declares it. Raises UserError where that is impossible."""
    data_type = DATA_TYPES.get(tensor.dtype)
    if data_type is None:
        raise UserError(
            Reason.INVALID_SPEC,
            f"tensor {tensor.name!r} has type {tensor.dtype}, which cannot be served; export it as one of"
            f" {', '.join(DATA_TYPES)}",
        )
    if max_batch_size == 0:
        return Tensor(tensor.name, data_type, tensor.dims or (1,), is_scalar=not tensor.dims)
    if not tensor.dims or tensor.dims[0] != -1:
        raise UserError(
            Reason.INVALID_SPEC,
            f"tensor {tensor.name!r} has shape {list(tensor.dims)} and so no free batch axis; set"
            " serving.batching.maxBatchSize to 0 or export the model with one",
        )
    dims = tensor.dims[1:]
    return Tensor(tensor.name, data_type, dims or (1,), is_scalar=not dims)


def _dynamic_batching(batching: Batching) -> dict[str, Any] | None:
    """Return the batcher's values; a model without batch axis gets one only for its queue limits.

    Triton's queue belongs to the batcher, so the limits need it; it then runs one request at a time.
    """
    limits = batching.max_queue_size > 0 or duration_seconds(batching.queue_timeout) > 0
    if batching.max_batch_size == 0 and not limits:
        return None
    return {
        "preferred_batch_sizes": tuple(batching.preferred_batch_sizes),
        "max_queue_delay_us": _microseconds(batching.max_queue_delay) if batching.max_batch_size else 0,
        "max_queue_size": batching.max_queue_size,
        "queue_timeout_us": _microseconds(batching.queue_timeout),
    }


def _microseconds(duration: str) -> int:
    return round(duration_seconds(duration) * 1_000_000)


def _warmup_batch_sizes(spec: VisionModelSpec, inputs: tuple[Tensor, ...]) -> tuple[int, ...]:
    """Return the batch sizes to run before a pod is ready: the smallest and the largest.

    Zeros, because random bytes make NaN and denormals of floats, and wild indices of integers. Free axes have no
    size to choose, so such models start cold.
    """
    largest = spec.serving.batching.max_batch_size
    is_fixed = all(dim > 0 for tensor in inputs for dim in tensor.dims)
    if not spec.serving.warmup or largest == 0 or not is_fixed:
        return ()
    return tuple(sorted({1, largest}))
