"""Run a graph in OpenVINO on the CPU, as Triton's openvino backend does; the wheel is an optional extra.

The artifact stays `model.onnx`: OpenVINO's runtime and Triton's backend read it as it is, Q/DQ pairs included.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from numpy.typing import NDArray
from onnx import GraphProto

from visionmodel_contract.precision import Backend
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.graph.session import Run, Tensors

DEVICE: Final = "CPU"


@dataclass(frozen=True, slots=True)
class OpenVinoModel:
    """A compiled model: how to run it, and the graph that really runs."""

    run: Run
    compiled: Any
    version: str

    def executed(self) -> Iterator[tuple[Any, Mapping[str, str]]]:
        """Yield each node of the executed graph with its facts (`layerType`, `runtimePrecision`, ...).

        Shapes are known after a run only where the model has free axes.
        """
        for node in self.compiled.get_runtime_model().get_ordered_ops():
            yield node, {name: value.astype(str) for name, value in node.get_rt_info().items()}


def open_openvino(model: bytes, *, shown: str, threads: int) -> Run:
    """Load a serialized ONNX model and return a function that runs it.

    Raises:
        ConversionFailure: RuntimeRefuses, or BackendNotInstalled without the extra `openvino`.
    """
    return compile_openvino(model, shown=shown, options=RuntimeOptions(threads)).run


def compile_openvino(model: bytes, *, shown: str, options: RuntimeOptions) -> OpenVinoModel:
    """Load a serialized ONNX model; raises as `open_openvino`."""
    return _compiled(model, onnx.load_from_string(model).graph, shown=shown, options=options)


def save_ir(model: bytes, target: Path, *, shown: str) -> None:
    """Write a serialized ONNX model as OpenVINO's own graph `target` (.xml) with the weights beside it (.bin).

    Weights keep their type: FP16 is a precision to be asked for and proven, not a way of storing.
    Raises as `open_openvino`.
    """
    openvino = openvino_library()
    try:
        openvino.save_model(openvino.Core().read_model(model), target, compress_to_fp16=False)
    except Exception as error:
        raise _refusal(openvino, shown, "load", error) from error


def compile_ir(graph: Path, source: GraphProto, *, shown: str, options: RuntimeOptions) -> OpenVinoModel:
    """Load what `save_ir` wrote, with the inputs and outputs of its ONNX source; raises as `open_openvino`."""
    return _compiled(graph, source, shown=shown, options=options)


def _compiled(model: bytes | Path, graph: GraphProto, *, shown: str, options: RuntimeOptions) -> OpenVinoModel:
    openvino = openvino_library()
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(model), DEVICE, options.parameters(Backend.OPENVINO))
        request = compiled.create_infer_request()
        # By ONNX's names: OpenVINO gives a tensor those of every Identity around it as well.
        ports = {tensor.name: compiled.input(tensor.name) for tensor in graph.input}
        outputs = {tensor.name: compiled.output(tensor.name) for tensor in graph.output}
    except Exception as error:  # OpenVINO raises RuntimeError, TypeError and classes of its own
        raise _refusal(openvino, shown, "load", error) from error

    def run(inputs: Tensors) -> dict[str, NDArray[Any]]:
        try:
            _refuse_misfit(openvino, ports, inputs)
            found = request.infer(dict(inputs))
            return {name: found[output] for name, output in outputs.items()}
        except Exception as error:
            shapes = {name: list(array.shape) for name, array in inputs.items()}
            raise _refusal(openvino, shown, f"run with inputs {shapes}", error) from error

    return OpenVinoModel(run, compiled, f"openvino {_version(openvino)}")


def _refuse_misfit(openvino: Any, ports: Mapping[str, Any], inputs: Tensors) -> None:
    """Refuse what OpenVINO answers with an empty output (a wrong shape) or silently converts (another type)."""
    for name, port in ports.items():
        if name not in inputs:
            raise ValueError(f"input {name!r} is missing")
        array, dtype, shape = inputs[name], port.get_element_type().to_dtype(), port.get_partial_shape()
        if array.dtype != dtype or not shape.compatible(openvino.PartialShape(list(array.shape))):
            raise ValueError(f"input {name!r} is {array.dtype} {list(array.shape)}, the model wants {dtype} {shape}")


def openvino_library() -> Any:
    """Import the wheel late: the image without it has everything else, and its import takes 0.3 s."""
    # Its reporting is switched off by making the package it reports through absent; the wheel has a stub for that.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    except ModuleNotFoundError as error:
        raise ConversionFailure(
            Reason.BACKEND_NOT_INSTALLED,
            "OpenVINO was asked for, but this converter has no openvino package; set the Helm value "
            "converter.openvinoImage to the image converter-openvino, or install "
            "visionmodel-operator[converter,openvino]",
        ) from error


def _version(openvino: Any) -> str:
    return str(openvino.__version__).partition("-")[0]


def _refusal(openvino: Any, shown: str, action: str, error: Exception) -> ConversionFailure:
    return ConversionFailure(
        Reason.RUNTIME_REFUSES,
        f"{shown}: openvino {_version(openvino)} could not {action}: {_words(error)}; the graph passed the checker, so "
        "an operator, type or shape is not supported there: change it in the export, or use backend ONNXRuntime",
    )


NOISE: Final = ("Exception from ", "Check '", "FrontEnd API failed", "Model wasn't fully converted", "Summary:")
"""Lines that say where in OpenVINO's own sources an error was raised, before the one that says what is wrong."""


def _words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("-- ") for line in lines if not line.startswith(NOISE)]
    return causes[0][:300] if causes else first_line(error)
