"""TorchScript to ONNX, by torch's TorchScript-based exporter.

It is the only exporter that takes a loaded ScriptModule: torch 2.15 still has it (`dynamo=False`, deprecated since
2.9), and its successor fails on one. So the `torch` extra is pinned below the first version without it. Input shapes
come from the request, because a saved script has none. Runs in the child.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visionmodel_contract.conversion import SourceInput
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.formats.loaded import OPSET, Loaded
from visionmodel_converter.formats.torch_tensors import Arrays, cause_of, flat_tensors, tensor_of

EXAMPLE_BATCH = 2
EXAMPLE_SIZE = 128


def load(source: Path, inputs: Sequence[SourceInput]) -> Loaded:
    """Return the graph of a script. Raises ConversionFailure: LoaderRefuses or ExportFailed."""
    import torch

    try:
        module = torch.jit.load(str(source), map_location="cpu").eval()
        examples = tuple(tensor_of(_example(declared)) for declared in inputs)
        with torch.no_grad():
            outputs = flat_tensors(module(*examples))
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ConversionFailure(
            Reason.LOADER_REFUSES,
            f"torch {torch.__version__} cannot load or run it with the inputs of spec.model.inputs: "
            f"{cause_of(error)}; check their shapes, types and order, or export with torch.export instead",
        ) from error

    def run(arrays: Arrays) -> Arrays:
        with torch.no_grad():
            return [tensor.numpy() for tensor in flat_tensors(module(*map(tensor_of, arrays)))]

    names = [f"output_{index}" for index in range(len(outputs))] if len(outputs) > 1 else ["output"]
    axes = {one.name: _free_axes(one) for one in inputs} | {name: {0: "batch"} for name in names}
    buffer = io.BytesIO()
    try:
        torch.onnx.export(
            module,
            examples,
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=[one.name for one in inputs],
            output_names=names,
            dynamic_axes=axes,
        )
    except Exception as error:  # the exporter's errors share no base class
        raise ConversionFailure(
            Reason.EXPORT_FAILED,
            f"torch {torch.__version__} cannot express it in ONNX opset {OPSET}: {cause_of(error)}; export the "
            "network with torch.export (.pt2) or to ONNX where it was trained",
        ) from error
    return Loaded(buffer.getvalue(), run)


def _example(declared: SourceInput) -> np.ndarray:
    shape = [EXAMPLE_BATCH if axis == 0 else EXAMPLE_SIZE if dim < 0 else dim for axis, dim in enumerate(declared.dims)]
    return np.ones(shape, np.dtype(declared.dtype))


def _free_axes(declared: SourceInput) -> dict[int, str]:
    return {
        axis: "batch" if axis == 0 else f"{declared.name}_{axis}" for axis, dim in enumerate(declared.dims) if dim < 0
    }
