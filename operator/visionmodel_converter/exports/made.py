"""What every exporter is given and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from visionmodel_contract.precision import ExportFormat, Precision
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.graph.session import Tensors


@dataclass(frozen=True, slots=True)
class Source:
    """What exports are made of.

    Attributes:
        model: the artifact's graph.
        inputs: batches that the export has to be run on.
        folder: where files may be written; empty, one per export.
    """

    model: CheckedModel
    precision: Precision
    inputs: Sequence[Tensors]
    folder: Path
    threads: int


@dataclass(frozen=True, slots=True)
class Made:
    """The files of an export by the names they are published under, and what they answered in their own runtime.

    Attributes:
        outputs: by name, one mapping per batch of the source's inputs.
        runtime: what ran the files, with its version.
        notes: what a user of the files must know, such as another layout.
    """

    files: Mapping[str, Path]
    outputs: Sequence[Mapping[str, NDArray[Any]]]
    runtime: str
    notes: tuple[str, ...] = ()


def export_failure(wanted: ExportFormat, what: str, remedy: str) -> ConversionFailure:
    """Return the failure of an export that cannot be made."""
    return ConversionFailure(Reason.EDGE_EXPORT_FAILED, f"export {wanted}: {what}; {remedy}, or take it out of exports")
