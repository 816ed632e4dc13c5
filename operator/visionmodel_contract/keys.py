"""The keys of the content-addressed cache, computed by both sides from the same bytes.

A key names what goes in (digests of source and data, options, pipeline version), never who asked or where it lay;
gate verdicts have a key of their own, so that changed goals rerun the gates and not the conversion. What has no digest
yet has no key: the Job reads it and finds its digest out (ADR 0013).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from visionmodel_contract.build import BUILD_VERSION, EngineOptions, EngineTarget
from visionmodel_contract.conversion import (
    EXPORT_VERSION,
    PIPELINE_VERSION,
    ContractModel,
    ConversionOptions,
    GatesRequest,
    ImageTask,
    SourceInput,
)
from visionmodel_contract.precision import ExportFormat, Precision, Quantizer

KEY_HEX_DIGITS = 32
NO_GATES: Final = GatesRequest()
EXACT: Final = (Precision.FP32,)
"""What is made without looking at data; every other precision is searched until the goals are met."""


def canonical_json(value: Any) -> bytes:
    """Return the one byte string that stands for a JSON value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value's canonical form, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def is_keyed(options: ConversionOptions, gates: GatesRequest) -> bool:
    """Return whether all data that the prepare key depends on have digests: calibration, and what is searched on."""
    is_searched = options.precisions != EXACT
    return (options.calibration is None or options.calibration.digest is not None) and (
        not is_searched or is_judged_by_digest(gates)
    )


def is_judged_by_digest(gates: GatesRequest) -> bool:
    """Return whether the gates name content: a verdict under their key holds wherever the same key is asked for."""
    return gates.parity.dataset_uri is None or gates.parity.dataset_digest is not None


def prepare_key(
    source_digest: str,
    options: ConversionOptions,
    *,
    inputs: Sequence[SourceInput] = (),
    task: ImageTask | None = None,
    gates: GatesRequest = NO_GATES,
) -> str:
    """Return the artifact key of a prepare conversion.

    Declared inputs enter where there are any; the format does not, because the content shows it. Goals and task enter
    with every precision below FP32: which scales are taken and which nodes stay in FP32 is searched on the data until
    the goals are met, so other goals may make another artifact. Raises ValueError for data without a digest.
    """
    if not is_keyed(options, gates):
        raise ValueError("data without a digest has no key; resolve it first")
    document = {
        "kind": "prepare",
        "pipelineVersion": PIPELINE_VERSION,
        "source": source_digest,
        "options": _options(options),
    }
    if inputs:
        document["inputs"] = [_wire(declared) for declared in inputs]
    if options.precisions != EXACT:
        document |= {"gates": _gates(gates), "task": _wire(task)}
    return digest_of(document)[:KEY_HEX_DIGITS]


def build_key(
    prepare_key: str,
    options: EngineOptions,
    *,
    product: str,
    resource_name: str,
    node_selector: Mapping[str, str],
    image: str,
) -> str:
    """Return the key under which the operator remembers what a build Job answered.

    Made of what the operator knows before the Job runs: everything by which it asks for a device, and the Job's image,
    which stands for the TensorRT and the CUDA in it. The Job finds out the exact device and versions and publishes
    under `engine_key`; another image or node label that leads to the same ones asks again and finds the engine there.
    """
    document = {
        "kind": "build",
        "buildVersion": BUILD_VERSION,
        "prepareKey": prepare_key,
        "options": _wire(options),
        "product": product,
        "resourceName": resource_name,
        "nodeSelector": dict(node_selector),
        "image": image,
    }
    return digest_of(document)[:KEY_HEX_DIGITS]


def engine_key(model_digest: str, options: EngineOptions, target: EngineTarget) -> str:
    """Return the key of an engine in the store: the ONNX file, every build option, and what the engine is bound to."""
    document = {
        "kind": "engine",
        "buildVersion": BUILD_VERSION,
        "model": model_digest,
        "options": _wire(options),
        "target": _wire(target),
    }
    return digest_of(document)[:KEY_HEX_DIGITS]


def timing_key(target: EngineTarget) -> str:
    """Return the key of the timings that all builds for a target share: TensorRT takes them for this target alone."""
    return digest_of({"kind": "timing", "target": _wire(target)})[:KEY_HEX_DIGITS]


def gate_key(
    artifact_key: str,
    gates: GatesRequest,
    *,
    task: ImageTask | None = None,
    exports: Sequence[ExportFormat] = (),
) -> str:
    """Return the key of a gate verdict over one artifact.

    The task enters, by which odd images are tried too, and so do the exports that were asked for, in any order: an
    export that fails is a verdict on the artifact (ADR 0017). A dataset without a digest enters by its URI: such a key
    tells one question from another, and no verdict is kept under it (`is_judged_by_digest`).
    """
    document = {"artifact": artifact_key, "gates": _gates(gates)}
    if task is not None:
        document["task"] = _wire(task)
    if exports:
        document["exports"] = sorted(exports)
    return digest_of(document)[:KEY_HEX_DIGITS]


def _gates(gates: GatesRequest) -> Any:
    return _by_digest(_wire(gates), "parity", "datasetDigest")


def _by_digest(document: Any, field: str, digest: str) -> Any:
    """Let the data of a field be named by digest alone, by URI where there is no digest."""
    data = document[field]
    if data is not None:
        del data["datasetUri" if data[digest] is not None else digest]
    return document


def export_key(model_digest: str, wanted: ExportFormat) -> str:
    """Return the key of an export: of the final ONNX file's digest, for nothing else goes into it."""
    document = {"kind": "export", "exportVersion": EXPORT_VERSION, "model": model_digest, "format": wanted}
    return digest_of(document)[:KEY_HEX_DIGITS]


def _options(options: ConversionOptions) -> Any:
    """Return the options without those that came later and say what was so before, so that earlier keys stay."""
    document = _by_digest(_wire(options), "calibration", "digest")
    if options.pruning is None:
        del document["pruning"]
    if options.calibration is not None and options.calibration.quantizer is Quantizer.ONNX_RUNTIME:
        del document["calibration"]["quantizer"]
    return document


def _wire(model: ContractModel | None) -> Any:
    return None if model is None else model.model_dump(mode="json", by_alias=True)
