"""The framework's own answers to random inputs, carried from the loader's process to ours and compared there.

They prove that the graph is a faithful conversion. They prove nothing against a hostile file: whoever controls the
loader's process controls both sides, and gains no more than by uploading the ONNX graph at once.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto

from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.formats.loaded import Loaded
from visionmodel_converter.graph.agreement import relative_difference

BATCHES: Final = (1, 3)
FREE_AXIS_SIZE: Final = 128
"""Stands for a free axis that the loader knows no size of: a multiple of every usual stride."""
SEED: Final = 20261124
MAX_DIFFERENCE: Final = 1e-3
"""Largest relative difference of an output: FP32 kernels of two frameworks differ by 1e-6 to 1e-5 on deep networks."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Inputs and outputs of one run, in the order of the graph."""

    batch: int
    inputs: tuple[NDArray[Any], ...]
    outputs: tuple[NDArray[Any], ...]


def make_references(loaded: Loaded) -> tuple[Reference, ...]:
    """Run the framework at each batch size; a graph without a free batch axis gives none and is refused later."""
    graph = onnx.load_from_string(loaded.model).graph
    free = [bool(_dims(value)) and _dims(value)[0] is None for value in graph.input]
    if not free or not all(free):
        return ()
    generator = np.random.default_rng(SEED)
    references = []
    for batch in BATCHES:
        inputs = tuple(_random_input(generator, value, batch, loaded.sizes.get(value.name)) for value in graph.input)
        try:
            outputs = tuple(np.asarray(array) for array in loaded.run(inputs))
        except ConversionFailure:
            raise
        except Exception as error:
            raise ConversionFailure(
                Reason.LOADER_REFUSES,
                f"the source does not run with a batch of {batch} and inputs {[list(one.shape) for one in inputs]}: "
                f"{first_line(error)}; export it with a batch axis that may be 1 and more",
            ) from error
        references.append(Reference(batch, inputs, outputs))
    return tuple(references)


def _dims(value: ValueInfoProto) -> list[int | None]:
    dims = value.type.tensor_type.shape.dim
    return [int(dim.dim_value) if dim.HasField("dim_value") else None for dim in dims]


def _random_input(
    generator: np.random.Generator, value: ValueInfoProto, batch: int, sizes: Sequence[int] | None
) -> NDArray[Any]:
    shape = [
        batch if axis == 0 else dim or (sizes[axis] if sizes else FREE_AXIS_SIZE)
        for axis, dim in enumerate(_dims(value))
    ]
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    if dtype.kind == "f":
        return generator.random(shape).astype(dtype)
    return generator.integers(0, 256 if dtype == np.uint8 else 2, shape).astype(dtype)


def write_references(references: Sequence[Reference], target: Path) -> None:
    """Write them as .npz, named by batch, role and place."""
    arrays = {
        f"{reference.batch}-{role}-{index}": array
        for reference in references
        for role, arrays in (("in", reference.inputs), ("out", reference.outputs))
        for index, array in enumerate(arrays)
    }
    with target.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_references(path: Path, *, inputs: int, outputs: int, max_bytes: int) -> tuple[Reference, ...]:
    """Read what another process wrote: nothing is unpickled, and nothing is larger than it may be.

    Raises ValueError, KeyError, OSError or BadZipFile when the file is not what `write_references` writes.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > max_bytes:
            raise ValueError(f"more than {max_bytes} bytes")
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(
            Reference(
                batch,
                tuple(arrays[f"{batch}-in-{index}"] for index in range(inputs)),
                tuple(arrays[f"{batch}-out-{index}"] for index in range(outputs)),
            )
            for batch in BATCHES
        )


def refuse_disagreement(
    proto: ModelProto, references: Sequence[Reference], actual: Sequence[Sequence[NDArray[Any]]], shown: str
) -> float:
    """Return the largest relative difference; raises LoaderDisagrees where an output differs by more than the limit.

    A NaN on either side is a difference.
    """
    worst = 0.0
    for reference, arrays in zip(references, actual, strict=True):
        for value, expected, found in zip(proto.graph.output, reference.outputs, arrays, strict=True):
            difference = relative_difference(expected, found)
            if not difference <= MAX_DIFFERENCE:
                raise ConversionFailure(
                    Reason.LOADER_DISAGREES,
                    f"{shown}: converted to ONNX, output {value.name!r} differs from the source's own by "
                    f"{difference:.2g} (limit {MAX_DIFFERENCE:g}) with a batch of {reference.batch}; export the model "
                    "to ONNX where it was trained and compare the outputs there",
                )
            worst = max(worst, difference)
    return worst
