"""Make what was asked for of an artifact, hold it against the artifact in its own runtime, and publish it beside it.

An export that was asked for and cannot be made or disagrees is the conversion's failure, like a missed goal: a file
that somebody ships to phones must not be missing, or wrong, in silence (ADR 0017).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from visionmodel_contract.keys import export_key
from visionmodel_contract.precision import ExportFormat, Precision
from visionmodel_contract.report import ExportInfo
from visionmodel_converter.exports import openvino_ir, ort_format, tflite
from visionmodel_converter.exports.made import Made, Source
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.graph.agreement import are_whole, relative_difference
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.graph.openvino import openvino_library
from visionmodel_converter.graph.session import Run, Tensors, random_inputs
from visionmodel_converter.report import ExportRecord
from visionmodel_converter.store.entries import EXPORT
from visionmodel_converter.store.image import sha256_of, sha256_of_file
from visionmodel_converter.store.port import ArtifactStore
from visionmodel_converter.store.published import StoredFiles

RECORD_FILE: Final = "export.json"
FILES: Final[Mapping[ExportFormat, tuple[str, ...]]] = {
    ExportFormat.OPENVINO: openvino_ir.FILES,
    ExportFormat.ORT: (ort_format.FILE,),
    ExportFormat.TFLITE: (tflite.FILE,),
}
TOLERANCES: Final[Mapping[Precision, float]] = {Precision.FP32: 1e-4, Precision.FP16: 1e-2, Precision.INT8: 5e-2}
"""Largest difference, relative to the largest value of an output; of whole numbers the share that differs. FP32 and
FP16 as in the parity gate. INT8: another runtime rounds a tie to the other side, and one step of 8 bits is 1/127 of a
tensor's range."""
RANDOM_BATCHES: Final = (1, 3)
REAL_BATCHES: Final = 2


@dataclass(frozen=True, slots=True)
class Artifact:
    """What exports are made of: the published graph and how it runs where it serves."""

    model: CheckedModel
    precision: Precision
    run: Run
    samples: Iterable[Tensors]
    seed: int


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where exports are made and kept."""

    store: ArtifactStore
    work: Path
    threads: int
    onnx2tf_python: Path


def refuse_impossible_exports(
    wanted: Sequence[ExportFormat], precisions: Sequence[Precision], onnx2tf_python: Path
) -> None:
    """Raise, before anything is fetched, for exports that this image, or anybody, cannot make."""
    if ExportFormat.OPENVINO in wanted:
        openvino_library()
    if ExportFormat.TFLITE in wanted:
        tflite.refuse_without_fp32(precisions)
        tflite.refuse_missing_onnx2tf(onnx2tf_python)


def exported(wanted: ExportFormat, artifact: Artifact, workshop: Workshop) -> ExportInfo:
    """Return the export of an artifact, made now or found in the store.

    Raises:
        ConversionFailure: EdgeExportFailed, EdgeExportDisagrees, or what the store raises.
    """
    data = artifact.model.serialized()
    key = export_key(sha256_of(data), wanted)
    known = workshop.store.find_files(
        EXPORT.name(key), (RECORD_FILE, *FILES[wanted]), workshop.work / f"known-{wanted}"
    )
    if known is None:
        known = _published(wanted, artifact, workshop, key)
    record = _record_of(known, key)
    return ExportInfo(
        format=wanted,
        image=known.image,
        digest=known.digest,
        size_bytes=record.size_bytes,
        difference=record.difference,
        runtime=record.runtime,
    )


def _published(wanted: ExportFormat, artifact: Artifact, workshop: Workshop, key: str) -> StoredFiles:
    folder = workshop.work / f"export-{wanted}"
    folder.mkdir(parents=True)
    inputs = _inputs(artifact)
    made = _made(
        wanted, Source(artifact.model, artifact.precision, inputs, folder, workshop.threads), artifact, workshop
    )
    difference = disagreement([artifact.run(batch) for batch in inputs], made.outputs)
    refuse_disagreement(wanted, difference, artifact.precision, made)
    record = ExportRecord(
        key=key,
        format=wanted,
        model_digest=sha256_of(artifact.model.serialized()),
        files={name: sha256_of_file(path) for name, path in made.files.items()},
        size_bytes=sum(path.stat().st_size for path in made.files.values()),
        difference=difference,
        samples=sum(len(next(iter(batch.values()))) for batch in inputs),
        runtime=made.runtime,
        notes=made.notes,
    )
    record_file = folder / RECORD_FILE
    record_file.write_text(record.to_json(), encoding="utf-8")
    return workshop.store.publish_files(EXPORT.name(key), {RECORD_FILE: record_file, **made.files}, folder)


def _made(wanted: ExportFormat, source: Source, artifact: Artifact, workshop: Workshop) -> Made:
    match wanted:
        case ExportFormat.OPENVINO:
            return openvino_ir.export_openvino(source)
        case ExportFormat.ORT:
            return ort_format.export_ort(source)
        case ExportFormat.TFLITE:
            return tflite.export_tflite(source, artifact.run, workshop.onnx2tf_python)


def _inputs(artifact: Artifact) -> list[Tensors]:
    """Return noise at two batch sizes, and the first samples where there is data."""
    specs, seed = artifact.model.inputs, artifact.seed
    noise = [random_inputs(specs, batch=batch, seed=seed + batch) for batch in RANDOM_BATCHES]
    return [*noise, *islice(artifact.samples, REAL_BATCHES)]


def disagreement(expected: Sequence[Mapping[str, NDArray[Any]]], actual: Sequence[Mapping[str, NDArray[Any]]]) -> float:
    """Return the largest difference of any output in any batch, relative to the largest value of that output.

    Of whole numbers it is the share that differs over all batches together: a single tie would be much of a small one.
    NaN where either side holds one, inf where shapes differ.
    """
    found = [
        _difference([outputs[name] for outputs in expected], [answers[name] for answers in actual])
        for name in expected[0]
    ]
    return float(np.max(found))


def _difference(expected: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]]) -> float:
    pairs = list(zip(expected, actual, strict=True))
    differences = [relative_difference(*pair) for pair in pairs]
    sizes = [array.size for array in expected]
    if any(sizes) and np.isfinite(differences).all() and all(are_whole(*pair) for pair in pairs):
        return float(np.average(differences, weights=sizes))
    return float(np.max(differences))


def refuse_disagreement(wanted: ExportFormat, difference: float, precision: Precision, made: Made) -> None:
    """Raise EdgeExportDisagrees unless the difference is within what another runtime may differ by."""
    if difference <= TOLERANCES[precision]:
        return
    raise ConversionFailure(
        Reason.EDGE_EXPORT_DISAGREES,
        f"export {wanted}: in {made.runtime} its outputs differ from the artifact's by {difference:.3g} of the largest"
        f" one, {TOLERANCES[precision]:g} is allowed for {precision}; it was not published: take it out of exports, or"
        " export the network without the operators that the runtimes define differently (such as Resize)",
    )


def _record_of(stored: StoredFiles, key: str) -> ExportRecord:
    """Return what is known of a stored export, once its files are those that it names. Raises ArtifactCorrupt."""
    try:
        record = ExportRecord.model_validate_json(stored.files[RECORD_FILE].read_bytes())
    except ValidationError as error:
        raise _corrupt(stored, f"holds an {RECORD_FILE} that cannot be read: {first_line(error)}") from error
    if record.key != key:
        raise _corrupt(stored, f"holds another export ({record.key})")
    for name, digest in record.files.items():
        if sha256_of_file(stored.files[name]) != digest:
            raise _corrupt(stored, f"holds another {name} than its {RECORD_FILE} names")
    return record


def _corrupt(stored: StoredFiles, what: str) -> ConversionFailure:
    return ConversionFailure(Reason.ARTIFACT_CORRUPT, f"{stored.image} {what}; delete it and convert again")
