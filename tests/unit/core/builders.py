"""Specs, reports and platforms of the core's tests; a whole rollout takes two minutes of their time."""

import json
from datetime import UTC, datetime
from typing import Any

from visionmodel_contract.build import BuildRequest, EngineTarget
from visionmodel_contract.conversion import ConversionRequest
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.keys import digest_of, gate_key, is_judged_by_digest, prepare_key
from visionmodel_contract.precision import ExportFormat, Goal, Precision
from visionmodel_contract.report import (
    ArtifactInfo,
    EngineInfo,
    ExportInfo,
    Failure,
    GateResult,
    PrecisionShare,
    ReportSummary,
    TensorSpec,
)
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.snapshot import ObjectRef, Platform, Runtime

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
REF = ObjectRef("vision", "shapes", "6f6f0a3e-9f7e-4a39-9d5e-6f1f2b8f0c11")
PLATFORM = Platform(
    runtimes={
        "26.07": Runtime(
            "26.07",
            "registry.example/triton:26.07",
            "2.71.0",
            tensorrt_converter_image="registry.example/tensorrt:1",
        )
    },
    default_runtime="26.07",
    converter_image="registry.example/converter:1",
    artifact_repository="registry.example/artifacts",
)
GATEWAY = {"name": "vision", "namespace": "gateways", "sectionName": "http"}

ANALYSIS: dict[str, Any] = {
    "interval": "5s",
    "minSamples": 20,
    "warmup": "5s",
    "metricsGrace": "30s",
    "metricsDeadline": "60s",
    "maxStepDuration": "120s",
}
TENSORRT: dict[str, Any] = {
    "conversion": {"backend": "TensorRT"},
    "accelerators": [{"product": "NVIDIA-L4"}, {"product": "NVIDIA-A10"}],
}
"""Sections of a spec that needs two engines."""
STEPS: list[dict[str, Any]] = [
    {"setWeight": 10},
    {"pause": {"duration": "15s"}},
    {"setWeight": 50},
    {"pause": {"duration": "15s"}},
]
ROLLOUT: dict[str, Any] = {
    "steps": STEPS,
    "drain": "5s",
    "drainMax": "60s",
    "routeTimeout": "15s",
    "analysis": ANALYSIS,
}

BLUE_GREEN: dict[str, Any] = {
    "strategy": "BlueGreen",
    "steps": None,
    "blueGreen": {"autoPromotion": False, "scaleDownDelay": "20s"},
}
"""Changes of ROLLOUT that make it one of the other strategy."""

Document = dict[str, Any]


def source_digest(model: int) -> str:
    """Digest of the file that model number `model` is."""
    return f"sha256:{digest_of(['source', model])}"


def spec_document(model: int = 1, *, pinned: bool = True, gateway: bool = True, **sections: Any) -> Document:
    """Return a VisionModel's spec on the wire; `model` is what distinguishes revisions."""
    source: Document = {"storageUri": f"s3://models/shapes/{model}/model.onnx"}
    if pinned:
        source["digest"] = source_digest(model)
    document: Document = {
        "model": source,
        "task": {"type": "Tensor"},
        "conversion": {"deadline": "120s"},
        "serving": {"replicas": 2},
        "traffic": {"requestTimeout": "5s", **({"gatewayRefs": [GATEWAY]} if gateway else {})},
        "rollout": ROLLOUT,
        "progressDeadlineSeconds": 60,
    }
    return changed(document, sections)


def changed(document: Document, changes: Document) -> Document:
    """Return the document with changes merged into its maps; a list or scalar replaces, None removes."""
    merged = dict(document)
    for key, value in changes.items():
        before = merged.get(key)
        merged[key] = changed(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return {key: value for key, value in merged.items() if value is not None}


def spec(model: int = 1, **sections: Any) -> VisionModelSpec:
    """Return the parsed spec of `spec_document`."""
    return parsed(spec_document(model, **sections))


def parsed(document: Document) -> VisionModelSpec:
    """Return the spec of a document."""
    return VisionModelSpec.model_validate_json(json.dumps(document))


def model_of(uri: str) -> int:
    """Return which model number lies at an address."""
    return int(uri.split("/")[-2])


def artifact(key: str, **changes: Any) -> ArtifactInfo:
    """Return what a conversion published."""
    values: Document = {
        "key": key,
        "image": f"registry.example/artifacts:prepare-{key}",
        "digest": f"sha256:{digest_of(['image', key])}",
        "model_digest": f"sha256:{digest_of(['model', key])}",
        "report_digest": f"sha256:{digest_of(['report', key])}",
        "precision": Precision.FP32,
        "size_bytes": 123_456,
        "nodes_before": 90,
        "nodes_after": 60,
        "inputs": (TensorSpec(name="images", dtype="float32", dims=(-1, 3, 64, 64)),),
        "outputs": (TensorSpec(name="grid", dtype="float32", dims=(-1, 8, 8, 8)),),
        "opset": 17,
    }
    return ArtifactInfo(**{**values, **changes})


def _verdict(key: str, request: ConversionRequest) -> Document:
    """Return what a Job says of its verdict, the dataset read where it has no digest."""
    gates, exports = request.gates, request.exports
    asked = gate_key(key, gates, exports=exports)
    if is_judged_by_digest(gates):
        return {"gate_key": asked}
    digest = f"sha256:{digest_of(['data', gates.parity.dataset_uri])}"
    parity = gates.parity.model_copy(update={"dataset_digest": digest})
    answered = gate_key(key, gates.model_copy(update={"parity": parity}), exports=exports)
    return {"gate_key": answered, "asked_gate_key": asked, "dataset_digest": digest}


def export(name: str, **changes: Any) -> ExportInfo:
    """Return what was exported beside an artifact."""
    digest = f"sha256:{digest_of(['export', name])}"
    values: Document = {
        "format": ExportFormat(name),
        "image": f"registry.example/artifacts@{digest}",
        "digest": digest,
        "size_bytes": 98_765,
        "difference": 1e-6,
        "runtime": "a runtime 1.0",
    }
    return ExportInfo(**{**values, **changes})


def succeeded(request: ConversionRequest) -> ReportSummary:
    """Return the report of a conversion that went well."""
    digest = request.source.digest or source_digest(model_of(request.source.uri))
    key = prepare_key(digest, request.options)
    return ReportSummary(
        result="Succeeded",
        source_digest=digest,
        artifact=artifact(key, image=f"{request.publish.repository}:prepare-{key}"),
        **_verdict(key, request),
        gates=(GateResult(metric="cosine", goal=Goal.THRESHOLD, limit=0.999, value=1.0, passed=True, samples=16),),
    )


def failed(request: ConversionRequest, exit_code: ExitCode) -> ReportSummary:
    """Return the report of a conversion that ended with an exit code."""
    digest = request.source.digest or source_digest(model_of(request.source.uri))
    key = prepare_key(digest, request.options)
    reason = exit_code.name.title().replace("_", "")
    is_gate = exit_code in (ExitCode.PARITY_FAILED, ExitCode.GATE_FAILED)
    missed = GateResult(metric="cosine", goal=Goal.THRESHOLD, limit=0.999, value=0.5, passed=False, samples=16)
    return ReportSummary(
        result="Failed",
        source_digest=digest,
        **_verdict(key, request),
        gates=(missed,) if is_gate else (),
        failure=Failure(reason=reason, message=f"{reason}: said the converter", exit_code=int(exit_code)),
    )


def built(request: BuildRequest) -> ReportSummary:
    """Return the report of a build that went well."""
    engine = f"engine-of-{request.key}"
    return ReportSummary(
        result="Succeeded",
        source_digest=source_digest(0),
        artifact=artifact(engine),
        gate_key=request.gate_key,
        gates=(GateResult(metric="cosine", goal=Goal.THRESHOLD, limit=0.999, value=1.0, passed=True, samples=16),),
        engine=EngineInfo(
            build_key=request.key,
            target=EngineTarget(
                tensorrt="11.2.1.2", cuda="13.0", product="NVIDIA L4", compute_capability="8.9", multiprocessors=58
            ),
            driver="13.0",
            share=PrecisionShare(precision=Precision.FP32, layers=1.0, compute=1.0, runtime="tensorrt 11.2.1.2"),
            p50_ms=0.5,
            p99_ms=0.75,
            per_second=4000.0,
            device_memory_bytes=64 * 1024**2,
        ),
    )


def not_built(request: BuildRequest, exit_code: ExitCode) -> ReportSummary:
    """Return the report of a build that ended with an exit code."""
    reason = exit_code.name.title().replace("_", "")
    failure = Failure(reason=reason, message=f"{reason}: said the converter", exit_code=int(exit_code))
    return ReportSummary(result="Failed", gate_key=request.gate_key, failure=failure)
