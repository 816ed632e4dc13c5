"""A torch.export program (.pt2) to ONNX, by torch's exporter for exported programs; dynamic axes stay dynamic.

Opset 18 and not 17: the exporter implements nothing older, and its own down-conversion fails on ReduceMean already.
Runs in the child, where torch.load is forced to the safe unpickler.
"""

import json
import pickle
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from visionmodel_contract.conversion import SourceInput
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.formats.loaded import Loaded
from visionmodel_converter.formats.torch_tensors import Arrays, cause_of, flat_tensors, tensor_of

EXPORTER_OPSET: Final = 18
MODEL_DOCUMENT: Final = re.compile(r"(^|/)models/[^/]+\.json$")


def load(source: Path, inputs: Sequence[SourceInput]) -> Loaded:
    """Return the graph of a program. Raises ConversionFailure: UnsupportedProgram, LoaderRefuses or ExportFailed."""
    import torch
    from torch.utils import _pytree as pytree

    program = _program(source)
    leaves, structure = pytree.tree_flatten(program.example_inputs)
    module = program.module()

    def run(arrays: Arrays) -> Arrays:
        left = iter(arrays)
        given = [tensor_of(next(left)) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        arguments, keywords = pytree.tree_unflatten(given, structure)
        with torch.no_grad():
            return [tensor.numpy() for tensor in flat_tensors(module(*arguments, **keywords))]

    try:
        exported = torch.onnx.export(program, (), dynamo=True, opset_version=EXPORTER_OPSET, external_data=False)
        model = exported.model_proto
    except Exception as error:  # the exporter's errors share no base class
        raise ConversionFailure(
            Reason.EXPORT_FAILED,
            f"torch {torch.__version__} cannot express it in ONNX opset {EXPORTER_OPSET}: {cause_of(error)}; replace "
            "the operator, or export to ONNX where it was trained",
        ) from error
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    sizes = {value.name: tuple(one.shape) for value, one in zip(model.graph.input, tensors, strict=False)}
    return Loaded(model.SerializeToString(), run, sizes)


def _program(source: Path) -> Any:
    import torch

    _refuse_other_schema(source)
    try:
        program = torch.export.load(str(source))
    except pickle.UnpicklingError as error:
        raise ConversionFailure(
            Reason.UNSAFE_PICKLE,
            "a tensor or the example inputs in it are a pickle that calls something else than tensors do; it was not "
            "run; save the program again with torch.export.save, with tensors alone as example inputs",
        ) from error
    except Exception as error:  # whatever the reading of a zip of JSON and tensors provokes
        raise ConversionFailure(
            Reason.LOADER_REFUSES,
            f"torch {torch.__version__} cannot read the program: {cause_of(error)}; save it again with "
            "torch.export.save",
        ) from error
    if program.example_inputs is None:
        raise ConversionFailure(
            Reason.INPUT_SHAPES_NEEDED,
            "the program was saved without its example inputs; save it again with torch.export.save, which keeps them",
        )
    return program


def _refuse_other_schema(source: Path) -> None:
    """Torch writes a mismatch into its log only, and then complains of something else."""
    import torch
    from torch._export.serde.schema import SCHEMA_VERSION

    with zipfile.ZipFile(source) as archive:
        name = next((name for name in archive.namelist() if MODEL_DOCUMENT.search(name)), None)
        found = json.loads(archive.read(name)).get("schema_version", {}).get("major") if name else "of torch 2.7"
    if found != SCHEMA_VERSION[0]:
        raise ConversionFailure(
            Reason.UNSUPPORTED_PROGRAM,
            f"the program has schema {found}, and torch {torch.__version__} of this image reads {SCHEMA_VERSION[0]}; "
            "save it with that version of torch, or export it to ONNX where it was made",
        )
