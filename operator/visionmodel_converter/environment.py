"""What the Job's pod gives the converter beside the request: mounted folders, switches and limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MEBIBYTE: Final = 1024 * 1024
DEFAULT_SOURCE_CREDENTIALS: Final = "/var/run/secrets/visionmodel/source"
DEFAULT_REGISTRY_CREDENTIALS: Final = "/var/run/secrets/visionmodel/registry"
DEFAULT_PVC_ROOT: Final = "/mnt/pvc"
DEFAULT_ARTIFACT_CREDENTIALS: Final = "/var/run/secrets/visionmodel/artifacts"
DEFAULT_ARTIFACT_ROOT: Final = "/mnt/artifacts"
DEFAULT_ONNX2TF_PYTHON: Final = "/opt/onnx2tf/bin/python"
DEFAULT_MODELOPT_PYTHON: Final = "/opt/modelopt/bin/python"
DEFAULT_MAX_MODEL_MIB: Final = 2047
"""A single ONNX file cannot be larger: protobuf ends at 2 GiB."""
DEFAULT_MAX_DATASET_MIB: Final = 1024
AMBIENT_AWS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


@dataclass(frozen=True, slots=True)
class Environment:
    """The pod around one conversion; `ca_file` is the process-wide CA bundle (SSL_CERT_FILE)."""

    source_credentials: Path
    registry_credentials: Path
    pvc_root: Path
    artifact_credentials: Path
    """Of object storage that keeps artifacts."""
    artifact_root: Path
    """Where the claim that keeps artifacts is mounted."""
    allow_http: bool
    allow_files: bool
    """file:// may be read: a person runs this on their own machine."""
    ca_file: Path | None
    max_model_bytes: int
    max_dataset_bytes: int
    storage_limit_bytes: int | None
    """Of the pod's scratch folders together; None: no limit but the disk."""
    ambient_aws: bool
    """The pod has cloud credentials of its own (workload identity); otherwise a store without keys is anonymous."""
    ambient_region: str | None
    """AWS region that came with those credentials."""
    ambient_google: bool
    ambient_azure: bool
    onnx2tf_python: Path
    """Python of the environment that makes TFLite files; the image may lack it."""
    modelopt_python: Path
    """Python of the environment with ModelOpt; the image may lack it."""
    google_metadata_host: str
    """Where Google's nodes hand out tokens: asked only for `gs://` without keys, because no variable announces it."""


def environment_from(variables: Mapping[str, str]) -> Environment:
    """Read the environment variables of the Job; raises ValueError on a size that is no number."""

    def folder(name: str, default: str) -> Path:
        return Path(variables.get(name) or default)

    def mebibytes(name: str, default: int) -> int:
        return int(variables.get(name) or default) * MEBIBYTE

    ca_file, storage_limit = variables.get("SSL_CERT_FILE"), variables.get("VISIONMODEL_STORAGE_LIMIT_BYTES")
    return Environment(
        source_credentials=folder("VISIONMODEL_SOURCE_CREDENTIALS", DEFAULT_SOURCE_CREDENTIALS),
        registry_credentials=folder("VISIONMODEL_REGISTRY_CREDENTIALS", DEFAULT_REGISTRY_CREDENTIALS),
        pvc_root=folder("VISIONMODEL_PVC_ROOT", DEFAULT_PVC_ROOT),
        artifact_credentials=folder("VISIONMODEL_ARTIFACT_CREDENTIALS", DEFAULT_ARTIFACT_CREDENTIALS),
        artifact_root=folder("VISIONMODEL_ARTIFACT_ROOT", DEFAULT_ARTIFACT_ROOT),
        allow_http=variables.get("VISIONMODEL_ALLOW_HTTP", "").lower() == "true",
        allow_files=False,
        ca_file=Path(ca_file) if ca_file else None,
        max_model_bytes=mebibytes("VISIONMODEL_MAX_MODEL_MIB", DEFAULT_MAX_MODEL_MIB),
        max_dataset_bytes=mebibytes("VISIONMODEL_MAX_DATASET_MIB", DEFAULT_MAX_DATASET_MIB),
        storage_limit_bytes=int(storage_limit) if storage_limit else None,
        ambient_aws=any(variables.get(name) for name in AMBIENT_AWS),
        ambient_region=variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or None,
        ambient_google=bool(variables.get("GOOGLE_APPLICATION_CREDENTIALS")),
        ambient_azure=bool(variables.get("AZURE_FEDERATED_TOKEN_FILE")),
        onnx2tf_python=folder("VISIONMODEL_ONNX2TF_PYTHON", DEFAULT_ONNX2TF_PYTHON),
        modelopt_python=folder("VISIONMODEL_MODELOPT_PYTHON", DEFAULT_MODELOPT_PYTHON),
        google_metadata_host=variables.get("GCE_METADATA_HOST") or "metadata.google.internal",
    )
