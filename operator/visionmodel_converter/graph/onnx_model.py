"""Turn untrusted bytes into an ONNX graph that is known to be whole, self-contained and runnable, or say why not.

Order matters: nothing follows a reference of the file (external data) before all references were looked at, and
shape inference runs on a graph whose operators and opset are known. Called by the Check stage; no network.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.graph.defects import node_name, refuse_cycles, refuse_wrong_sizes
from visionmodel_converter.graph.limits import MIN_OPSET, RAISED_IR_VERSION, RuntimeLimits

FREE: Final = -1
STANDARD_DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml")
MAX_SPEC_JSON_BYTES: Final = 1536
"""Inputs and outputs travel in the 3 KiB summary and become Triton's configuration: they are never shortened."""
INTEGER_DTYPES: Final = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
SERVABLE_DTYPES: Final = frozenset(("float16", "float32", "float64", "bool", *INTEGER_DTYPES))
FLOAT_TYPES: Final = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
SIGNATURES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"<", "an HTML or XML page (often a login or error page)"),
    (b"{", "a JSON document"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull` before uploading"),
    (b"PK\x03\x04", "a zip archive (a PyTorch .pt file or an .npz); export the model to ONNX first"),
    (b"\x80\x02", "a Python pickle; export the model to ONNX first"),
    (b"\x80\x04", "a Python pickle; export the model to ONNX first"),
    (b"\x1f\x8b", "a gzip file; upload the unpacked .onnx"),
    (b"\x89HDF", "an HDF5 (Keras) file; export the model to ONNX first"),
)


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A graph that passed every structural check, with its real tensors; treat `proto` as read-only."""

    proto: ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    nodes: int
    parameters: int

    def serialized(self) -> bytes:
        """Return the same bytes for the same graph, on every run."""
        return bytes(self.proto.SerializeToString(deterministic=True))


def load_checked(path: Path, *, shown: str, limits: RuntimeLimits) -> CheckedModel:
    """Read, check and normalise a model file; `shown` is the name used in messages.

    Raises ConversionFailure with EmptySource, NotOnnx, ExternalData, TensorSizeMismatch, CyclicGraph,
    UnsupportedOpset, UnsupportedIRVersion, CustomOperator, InvalidGraph, NonFiniteWeights, StaticBatch,
    ZeroSizeDimension or UnsupportedTensor.
    """
    model = parse_model(path, shown)
    refuse_external_data(model, shown)
    refuse_wrong_sizes(tensors_of(model), shown)
    refuse_cycles(model, shown)
    check_versions(model, shown, limits)
    refuse_custom_operators(model, shown)
    return checked(normalised(model), shown)


def checked(model: ModelProto, shown: str) -> CheckedModel:
    """Run the checker and strict shape inference over a parsed graph and read its tensors."""
    refuse_non_finite(model, shown)
    inferred = infer_strictly(model, shown)
    inputs = tuple(_tensor_spec(value, "input", shown) for value in inferred.graph.input)
    outputs = tuple(_tensor_spec(value, "output", shown) for value in inferred.graph.output)
    if not inputs or not outputs:
        raise ConversionFailure(
            Reason.INVALID_GRAPH, f"{shown} has no inputs or no outputs; export the network, not a constant"
        )
    _refuse_long_specs(inputs + outputs, shown)
    return CheckedModel(
        proto=model,
        inputs=inputs,
        outputs=outputs,
        opset=default_opset(model),
        nodes=sum(1 for _ in nodes_of(model)),
        parameters=sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer),
    )


def parse_model(path: Path, shown: str) -> ModelProto:
    """Parse the file; what it looks like instead is named when it is no ONNX model."""
    data = path.read_bytes()
    if not data:
        raise ConversionFailure(
            Reason.EMPTY_SOURCE, f"{shown} is an empty file; upload it again and check the size there"
        )
    for signature, meaning in SIGNATURES:
        if data.lstrip()[: len(signature)] == signature:
            raise ConversionFailure(Reason.NOT_ONNX, f"{shown} is not an ONNX model but looks like {meaning}")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ConversionFailure(
            Reason.NOT_ONNX,
            f"{shown} ({len(data)} bytes) cannot be read as ONNX: it is truncated or another format; compare its "
            "size and sha256 with the original and upload it again",
        ) from error
    if not model.ir_version or not model.HasField("graph") or not model.graph.node:
        raise ConversionFailure(
            Reason.NOT_ONNX, f"{shown} ({len(data)} bytes) holds no ONNX graph; upload the exported .onnx file"
        )
    return model


def refuse_external_data(model: ModelProto, shown: str) -> None:
    """External tensors are read from paths the file chooses: refused, whatever the path looks like."""
    for tensor in tensors_of(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "?")
            raise ConversionFailure(
                Reason.EXTERNAL_DATA,
                f"{shown}: tensor {tensor.name!r} keeps its data in another file ({location[:100]!r}); save the "
                "model as a single file (onnx.save with save_as_external_data=False)",
            )


def default_opset(model: ModelProto) -> int:
    """Return the version of the default operator set, 0 when it is not declared."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def check_versions(model: ModelProto, shown: str, limits: RuntimeLimits) -> None:
    """Refuse opsets and IR versions that the serving runtime cannot load."""
    opset = default_opset(model)
    if not MIN_OPSET <= opset <= limits.opset:
        raise ConversionFailure(
            Reason.UNSUPPORTED_OPSET,
            f"{shown} uses opset {opset}; supported are {MIN_OPSET} to {limits.opset}; export it with "
            f"opset_version={min(max(opset, 17), limits.opset)} (17 is a good choice)",
        )
    if model.ir_version > limits.ir_version:
        raise ConversionFailure(
            Reason.UNSUPPORTED_IR_VERSION,
            f"{shown} has IR version {model.ir_version}; the runtime reads up to {limits.ir_version}; set "
            f"model.ir_version = {RAISED_IR_VERSION} before saving, or export with an older onnx package",
        )


def refuse_custom_operators(model: ModelProto, shown: str) -> None:
    """Operators outside ONNX need a library inside the server, which this version does not carry."""
    local = {(function.domain, function.name) for function in model.functions}
    for node in nodes_of(model):
        if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in local:
            raise ConversionFailure(
                Reason.CUSTOM_OPERATOR,
                f"{shown}: node {node_name(node)} is the custom operator {node.domain}::{node.op_type}, which the "
                "runtime does not have; export with standard ONNX operators",
            )


def normalised(model: ModelProto) -> ModelProto:
    """Return a copy with local functions inlined, IR raised and constants no longer listed as inputs."""
    copy = ModelProto()
    copy.CopyFrom(onnx.inliner.inline_local_functions(model) if model.functions else model)
    copy.ir_version = max(copy.ir_version, RAISED_IR_VERSION)
    constants = {tensor.name for tensor in copy.graph.initializer}
    inputs = [value for value in copy.graph.input if value.name not in constants]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    return copy


def refuse_non_finite(model: ModelProto, shown: str) -> None:
    """NaN anywhere and infinity in more than a scalar are a failed training run, not weights.

    A scalar infinity is legal: exporters write it as a bound or a mask's fill value.
    """
    for tensor in tensors_of(model):
        if tensor.data_type not in FLOAT_TYPES:
            continue
        values = numpy_helper.to_array(tensor).astype(np.float64, copy=False)
        bad = np.isnan(values) if values.size <= 1 else ~np.isfinite(values)
        if bad.any():
            raise ConversionFailure(
                Reason.NON_FINITE_WEIGHTS,
                f"{shown}: tensor {tensor.name!r} holds {int(bad.sum())} NaN or infinite value(s) of {values.size}; "
                "the checkpoint is damaged or training diverged: export an earlier one",
            )


def infer_strictly(model: ModelProto, shown: str) -> ModelProto:
    """Run the full check and strict shape inference; the checker's first line names the node."""
    try:
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ConversionFailure(
            Reason.INVALID_GRAPH,
            f"{shown} is refused by the ONNX checker: {_checker_words(error)}; export the model again and run "
            "onnx.checker.check_model(path, full_check=True) on it",
        ) from error


def _checker_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    context = next((line for line in lines[1:] if "node" in line.lower() or "name" in line.lower()), "")
    return " ".join(dict.fromkeys((first_line(error), context[:200]))).strip()


def _tensor_spec(value: ValueInfoProto, role: str, shown: str) -> TensorSpec:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise ConversionFailure(
            Reason.UNSUPPORTED_TENSOR,
            f"{shown}: {role} {value.name!r} is no tensor of known rank; export with fixed ranks",
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name if kind.elem_type else "undefined"
    if dtype not in SERVABLE_DTYPES:
        raise ConversionFailure(
            Reason.UNSUPPORTED_TENSOR,
            f"{shown}: {role} {value.name!r} has type {dtype}; inputs and outputs may be "
            f"{', '.join(sorted(SERVABLE_DTYPES))}",
        )
    dims = tuple(int(dim.dim_value) if dim.HasField("dim_value") else FREE for dim in kind.shape.dim)
    if 0 in dims or any(dim < FREE for dim in dims):
        raise ConversionFailure(
            Reason.ZERO_SIZE_DIMENSION,
            f"{shown}: {role} {value.name!r} has a dimension of size 0 or below in {list(dims)}; export with real "
            "sizes and a symbolic batch axis",
        )
    if not dims or dims[0] != FREE:
        raise ConversionFailure(
            Reason.STATIC_BATCH,
            f"{shown}: {role} {value.name!r} has shape {list(dims)}, but the first axis must be a symbolic batch; "
            "export with dynamic_axes={name: {0: 'batch'}} (or dynamic_shapes) for every input and output",
        )
    return TensorSpec(name=value.name, dtype=dtype, dims=dims)


def _refuse_long_specs(specs: tuple[TensorSpec, ...], shown: str) -> None:
    size = sum(len(spec.to_json()) + 1 for spec in specs)
    if size > MAX_SPEC_JSON_BYTES:
        raise ConversionFailure(
            Reason.UNSUPPORTED_TENSOR,
            f"{shown} has {len(specs)} inputs and outputs whose names and shapes take {size} bytes, the limit is "
            f"{MAX_SPEC_JSON_BYTES}; export with fewer outputs or shorter names",
        )


def nodes_of(model: ModelProto) -> Iterator[NodeProto]:
    """Yield every node: main graph, subgraphs of control flow, bodies of local functions."""
    yield from _nodes(list(model.graph.node))
    for function in model.functions:
        yield from _nodes(list(function.node))


def _nodes(nodes: list[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in _graphs(attribute):
                yield from _nodes(list(graph.node))


def _graphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def tensors_of(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every stored tensor: initializers (also sparse, also of subgraphs) and tensors in attributes."""
    yield from _graph_tensors(model.graph)
    for node in nodes_of(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in [
                *attribute.sparse_tensors,
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            ]:
                yield from (sparse.values, sparse.indices)
            for graph in _graphs(attribute):
                yield from _graph_tensors(graph)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
