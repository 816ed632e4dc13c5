"""The canonical VisionModels of the rendering tests, and the writer of their golden files.

`python -m unit.render.samples` (with `tests` and `operator` on the path) rewrites the golden files; read the diff.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from visionmodel_contract.build import BuildRequest
from visionmodel_contract.conversion import (
    ConversionOptions,
    ConversionRequest,
    GatesRequest,
    PublishTarget,
    SourceRequest,
)
from visionmodel_contract.precision import Precision
from visionmodel_contract.report import ArtifactInfo, ReportSummary, TensorSpec
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import HeaderRouteStatus, VisionModelStatus
from visionmodel_operator.core.actions import (
    Action,
    CreateRevision,
    DeleteJob,
    DeleteRevision,
    DeleteRoute,
    EnsureDisruptionBudget,
    EnsureFront,
    EnsureRoute,
    ForgetFailure,
    RecordArtifact,
    StartBuild,
    StartConversion,
)
from visionmodel_operator.core.build_request import builds_of
from visionmodel_operator.core.operations import Operation
from visionmodel_operator.core.snapshot import ObjectRef, Platform, RouteState, Runtime, Snapshot
from visionmodel_operator.render import operations

GOLDEN = Path(__file__).parent / "golden"

REVISION = "7c9f2a41d0"
CANARY = "91be04c7aa"
BY_HEADER = HeaderRouteStatus.model_validate(
    {"revision": CANARY, "match": [{"headerName": "x-canary", "headerValue": {"exact": "1"}}]}
)
REF = ObjectRef(namespace="vision", name="shapes", uid="6f6f0a3e-9f7e-4a39-9d5e-6f1f2b8f0c11")
DIGEST = "sha256:" + "ab" * 32


def artifact(**changes: Any) -> ArtifactInfo:
    values: dict[str, Any] = {
        "key": "0123456789abcdef0123456789abcdef",
        "image": f"registry.example:5000/visionmodel/artifacts@{DIGEST}",
        "digest": DIGEST,
        "model_digest": "sha256:" + "cd" * 32,
        "report_digest": "sha256:" + "ef" * 32,
        "precision": Precision.FP32,
        "size_bytes": 123456,
        "nodes_before": 90,
        "nodes_after": 60,
        "inputs": (TensorSpec(name="images", dtype="float32", dims=(-1, 3, 64, 64)),),
        "outputs": (TensorSpec(name="grid", dtype="float32", dims=(-1, 8, 8, 8)),),
        "opset": 17,
    }
    return ArtifactInfo(**{**values, **changes})


def spec(**sections: Any) -> VisionModelSpec:
    document = {"model": {"storageUri": "s3://models/shapes/1/model.onnx"}, "task": {"type": "Tensor"}, **sections}
    return VisionModelSpec.model_validate_json(json.dumps(document))


CPU_SPEC = spec(
    model={"storageUri": "s3://models/shapes/1/model.onnx", "secretRef": {"name": "models-s3"}},
    serving={
        "replicas": 2,
        "resources": {"requests": {"cpu": "0.5", "memory": "512Mi"}, "limits": {"cpu": "2000m", "memory": "2Gi"}},
    },
    traffic={
        "gatewayRefs": [
            {"name": "vision", "namespace": "gateways", "sectionName": "http", "hostnames": ["vision.example"]}
        ]
    },
)
GPU_SPEC = spec(
    accelerators=[
        {"product": "NVIDIA-L4", "tolerations": [{"key": "team", "operator": "Equal", "value": "vision"}]},
        {"resourceName": "nvidia.com/mig-1g.10gb", "count": 2, "nodeSelector": {"zone": "a"}},
    ],
    serving={
        "runtimeVersion": "26.07",
        "replicas": 3,
        "instances": 2,
        "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
        "batching": {"maxBatchSize": 32, "preferredBatchSizes": [8, 16], "maxQueueSize": 64, "queueTimeout": "250ms"},
        "pod": {
            "labels": {"team": "vision", "visionmodel.dev/revision": "forged"},
            "annotations": {"prometheus.io/scrape": "false", "note": "mine"},
            "priorityClassName": "serving",
            "runtimeClassName": "nvidia",
            "imagePullSecrets": [{"name": "team-registry"}, {"name": "pull"}],
            "env": [{"name": "MODE", "value": "fast"}, {"name": "EMPTY"}],
        },
    },
)

ENGINE_SPEC = GPU_SPEC.model_copy(
    update={
        "conversion": spec(
            conversion={
                "backend": "TensorRT",
                "precision": "fp16",
                "tensorrt": {"versionCompatible": True},
                "gates": {"parity": {"datasetUri": "pvc://data/eval.npz"}},
                "queueName": "gpu-builds",
            },
            accelerators=[{}],
        ).conversion
    }
)

JETSON_SPEC = ENGINE_SPEC.model_copy(
    update={
        "accelerators": spec(
            accelerators=[{"product": "NVIDIA-Jetson-AGX-Orin", "nodeSelector": {"kubernetes.io/arch": "arm64"}}]
        ).accelerators
    }
)

DETECTION_SPEC = spec(
    task={"type": "Detection", "labels": ["circle", "square", 'tri"angle'], "output": {"decoder": "Grid"}},
    serving={"resources": {"requests": {"cpu": "2500m"}}},
)

AZURE_SPEC = spec(model={"storageUri": "abfs://models@account.dfs.core.windows.net/shapes/1/model.onnx"})

PLATFORM = Platform(
    runtimes={
        "24.10": Runtime("24.10", "registry.example/triton-cpu:24.10", "2.51.0"),
        "26.07": Runtime(
            "26.07",
            "registry.example/triton:26.07",
            "2.71.0",
            tensorrt_converter_image="registry.example/visionmodel-converter-tensorrt:26.07",
        ),
    },
    default_runtime="24.10",
    converter_image="registry.example/visionmodel-converter:0.1.0",
    artifact_repository="registry.example:5000/visionmodel/artifacts",
    push_secret="push",
    pull_secret="pull",
)

CLAIM_URI = "pvc://artifacts/vision/models"
BUCKET_URI = "abfs://vision@acc.dfs.core.windows.net/artifacts"
ON_CLAIM = replace(PLATFORM, artifact_repository=None, push_secret=None, artifact_uri=CLAIM_URI)
IN_BUCKET = replace(
    PLATFORM, artifact_repository=None, push_secret=None, artifact_uri=BUCKET_URI, artifact_secret="artifacts-azure"
)


DETECTOR = artifact(
    outputs=(
        TensorSpec(name="boxes", dtype="float32", dims=(-1, 64, 4)),
        TensorSpec(name="scores", dtype="float32", dims=(-1, 64, 3)),
    )
)


def snapshot(**changes: Any) -> Snapshot:
    base = Snapshot(
        ref=REF,
        generation=1,
        resource_version="1",
        spec=CPU_SPEC,
        spec_error="",
        annotations={},
        status=VisionModelStatus(),
        platform=PLATFORM,
    )
    return replace(base, **changes)


def status(**fields: Any) -> VisionModelStatus:
    return VisionModelStatus.model_validate_json(json.dumps(fields))


def request(**changes: Any) -> ConversionRequest:
    values: dict[str, Any] = {
        "namespace": REF.namespace,
        "name": REF.name,
        "revision": REVISION,
        "source": SourceRequest(uri="s3://models/shapes/1/model.onnx"),
        "options": ConversionOptions(),
        "gates": GatesRequest(),
        "publish": PublishTarget(repository=PLATFORM.artifact_repository),
    }
    return ConversionRequest(**{**values, **changes})


def build_request(index: int = 0, of: VisionModelSpec = ENGINE_SPEC) -> BuildRequest:
    builds = builds_of(of, artifact().key, ref=REF, revision=REVISION, platform=PLATFORM)
    return builds[index].request


def engine(index: int) -> ArtifactInfo:
    digest = f"sha256:{index}" + "e" * 63
    image = f"{PLATFORM.artifact_repository}@{digest}"
    return artifact(key=f"{index}" * 32, image=image, digest=digest, precision=Precision.FP16)


def plain(found: Iterable[Operation]) -> list[dict[str, Any]]:
    """Return operations as JSON: {"operation": class name, ...fields}; texts within texts are opened up."""
    return [{"operation": type(one).__name__, **_opened(json.loads(json.dumps(asdict(one))))} for one in found]


SENT = (request().to_json(), build_request(1).to_json(), build_request(0, JETSON_SPEC).to_json())


def _opened(value: Any) -> Any:
    match value:
        case {"data": {"workload.json": str(workload), "spec.json": str(sections), **configs}, **rest}:
            lines = {key: str(config).splitlines() for key, config in configs.items()}
            opened = {"workload.json": json.loads(workload), "spec.json": json.loads(sections)}
            return {**_opened(rest), "data": {**lines, **opened}}
        case {"data": {"summary.json": str()} as files, **rest}:
            return {**_opened(rest), "data": {name: json.loads(text) for name, text in files.items()}}
        case {"visionmodel.dev/conversion-request": str(text)}:
            # the contract's own tests hold its wire format
            return {"visionmodel.dev/conversion-request": "as sent" if text in SENT else text}
        case dict():
            return {key: _opened(item) for key, item in value.items()}
        case list():
            return [_opened(item) for item in value]
        case _:
            return value


GRPC_SPEC = spec(
    traffic={"gatewayRefs": [{"name": "vision", "protocol": "GRPC", "hostnames": ["shapes.example"]}]},
)
CASES: Mapping[str, tuple[Action, Snapshot]] = {
    "cpu-create": (CreateRevision(REVISION, CPU_SPEC, artifact(), 2), snapshot()),
    "gpu-create": (CreateRevision(REVISION, GPU_SPEC, artifact(), 3), snapshot(spec=GPU_SPEC)),
    "detection-create": (CreateRevision(REVISION, DETECTION_SPEC, DETECTOR, 1), snapshot(spec=DETECTION_SPEC)),
    "cpu-create-without-image-volumes": (
        CreateRevision(REVISION, CPU_SPEC, artifact(), 1),
        snapshot(platform=replace(PLATFORM, image_volumes=False, artifact_repository_insecure=True)),
    ),
    "cpu-create-from-claim": (
        CreateRevision(REVISION, CPU_SPEC, artifact(image=f"{CLAIM_URI}/prepare-{artifact().key}"), 1),
        snapshot(platform=ON_CLAIM),
    ),
    "detection-create-from-object-storage": (
        CreateRevision(
            REVISION, DETECTION_SPEC, DETECTOR.model_copy(update={"image": f"{BUCKET_URI}/prepare-{DETECTOR.key}"}), 1
        ),
        snapshot(platform=IN_BUCKET, spec=DETECTION_SPEC),
    ),
    "conversion-to-claim": (
        StartConversion(
            f"shapes-{REVISION}-prepare",
            request(),
            spec(model={"storageUri": "pvc://artifacts/models/net.onnx"}),
        ),
        snapshot(platform=ON_CLAIM),
    ),
    "conversion-to-object-storage": (
        StartConversion(f"shapes-{REVISION}-prepare", request(), CPU_SPEC),
        snapshot(platform=IN_BUCKET),
    ),
    "engine-create": (
        CreateRevision(REVISION, ENGINE_SPEC, artifact(), 3, (engine(0), engine(1))),
        snapshot(spec=ENGINE_SPEC),
    ),
    "build": (
        StartBuild(f"shapes-{REVISION}-build-1", build_request(1), ENGINE_SPEC, ENGINE_SPEC.accelerators[1]),
        snapshot(spec=ENGINE_SPEC),
    ),
    "build-jetson": (
        StartBuild(
            f"shapes-{REVISION}-build-0", build_request(0, JETSON_SPEC), JETSON_SPEC, JETSON_SPEC.accelerators[0]
        ),
        snapshot(spec=JETSON_SPEC),
    ),
    "conversion": (StartConversion(f"shapes-{REVISION}-prepare", request(), CPU_SPEC), snapshot()),
    "conversion-by-identity": (
        StartConversion(f"shapes-{REVISION}-prepare", request(), AZURE_SPEC),
        snapshot(spec=AZURE_SPEC, platform=replace(PLATFORM, job_service_account="converter", job_storage_limit="20G")),
    ),
    "route": (EnsureRoute((REVISION, CANARY), (950_000, 50_000), CPU_SPEC), snapshot()),
    "route-by-header": (EnsureRoute((REVISION, CANARY), (950_000, 50_000), CPU_SPEC, BY_HEADER), snapshot()),
    "route-grpc": (EnsureRoute((REVISION, CANARY), (950_000, 50_000), GRPC_SPEC, BY_HEADER), snapshot()),
    "delete-route": (
        DeleteRoute(),
        snapshot(route=RouteState((), (), accepted=True, serving=True, live={"HTTPRoute": {}, "GRPCRoute": {}})),
    ),
    "front": (EnsureFront(REVISION), snapshot()),
    "budget": (EnsureDisruptionBudget(REVISION), snapshot()),
    "record": (
        RecordArtifact(artifact().key, ReportSummary(result="Succeeded", artifact=artifact()), "fedcba9876543210"),
        snapshot(),
    ),
    "delete": (DeleteRevision(REVISION), snapshot()),
    "delete-record": (ForgetFailure(artifact().key, "fedcba9876543210"), snapshot()),
    "delete-job": (DeleteJob(f"shapes-{REVISION}-prepare"), snapshot()),
}


def write_golden_files() -> None:
    for name, (action, picture) in CASES.items():
        text = json.dumps(plain(operations(action, picture)), indent=2, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_golden_files()
