"""Settings of the operator process: frozen, read once from the environment (Helm values), wrong ones named."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from visionmodel_contract.formats import SourceFormat

PREFIX = "VISIONMODEL_"
T = TypeVar("T")


class SettingsError(Exception):
    """A variable that is missing or cannot be read; the text names it."""


@dataclass(frozen=True)
class RuntimeSetting:
    """One row of the runtime table: a Triton release that users may ask for.

    Attributes:
        openvino_image: serves models with backend OpenVINO; None: this release does not.
        tensorrt_converter_image: builds engines for this release; None: it has none.
    """

    image: str
    triton_version: str
    openvino_image: str | None = None
    tensorrt_converter_image: str | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that the platform team decides.

    Attributes:
        runtimes: by release, such as 24.10.
        artifact_repository: where artifacts go; None: to `artifact_uri`, object storage or a claim.
        converter_images: by source format, for those that the plain converter image cannot load.
        converter_openvino_image: None: the converter's image has OpenVINO too, or nobody may ask for it.
        job_storage_limit: scratch space of a Job, as a quantity.
        job_service_account: that conversion Jobs run as, in the namespace of their VisionModel; None: its default.
        converter_tflite_image: None: the converter's image has onnx2tf too, or nobody may export to TFLite.
        converter_modelopt_image: None: the converter's image has ModelOpt too, or nobody may quantise by it.
        image_volumes: None: by the server's version (1.35 and newer have them).
        gpu_counting: nodes and the pods of all namespaces may be listed.
        watch_namespaces: empty: all.
        lease_namespace: where the Lease lives; the operator's own.
        identity: name of this process in the Lease and in events.
        resync_seconds: time between full lists.
        tls_strict: keep Python's strict certificate checks, which the CAs of some clouds fail.
    """

    prometheus_url: str
    converter_image: str
    runtimes: Mapping[str, RuntimeSetting]
    default_runtime: str
    artifact_repository: str | None
    converter_images: Mapping[str, str] = field(default_factory=dict)
    artifact_repository_insecure: bool = False
    push_secret: str | None = None
    pull_secret: str | None = None
    artifact_uri: str | None = None
    artifact_secret: str | None = None
    gateway_profile: str = "envoy-gateway"
    image_volumes: bool | None = None
    simulated_accelerators: bool = False
    job_cpu_limit: str = "1"
    job_memory_limit: str = "2Gi"
    job_storage_limit: str = "10Gi"
    job_service_account: str | None = None
    build_cpu_limit: str = "2"
    build_memory_limit: str = "8Gi"
    converter_openvino_image: str | None = None
    converter_tflite_image: str | None = None
    converter_modelopt_image: str | None = None
    allow_http_sources: bool = False
    gpu_counting: bool = False
    watch_namespaces: tuple[str, ...] = ()
    leader_election: bool = True
    lease_namespace: str = "default"
    lease_name: str = "visionmodel-operator"
    identity: str = "visionmodel-operator"
    log_level: str = "INFO"
    resync_seconds: float = 300.0
    workers: int = 8
    http_port: int = 8080
    tls_strict: bool = False


STORE_URI = "a URI of s3, gs, abfs or pvc"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True)
class ListingSettings:
    """What listing the needed artifacts takes of the settings, under the same names."""

    watch_namespaces: tuple[str, ...]
    tls_strict: bool


class _Reader:
    """Reads variables by name without the prefix; every failure names the variable."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(PREFIX + name) or default
        if value is None:
            raise SettingsError(f"{PREFIX}{name} must be set")
        return value

    def optional(self, name: str) -> str | None:
        return self._environment.get(PREFIX + name) or None

    def parsed(self, name: str, default: str | None, parse: Callable[[str], T], expected: str) -> T:
        text = self.text(name, default)
        try:
            return parse(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SettingsError(f"{PREFIX}{name} must be {expected}, not {text!r}") from error

    def flag(self, name: str, *, default: bool) -> bool:
        return self.parsed(name, str(default).lower(), _flag, "true or false")


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: the first variable that is missing or wrong.
    """
    read = _Reader(environment)
    runtimes, default_runtime = _runtime_table(read)
    repository, uri = _artifact_store(read)
    pod = read.text("POD_NAME", environment.get("HOSTNAME") or "visionmodel-operator")
    return Settings(
        prometheus_url=read.parsed("PROMETHEUS_URL", None, _url, "an http:// or https:// URL"),
        converter_image=read.text("CONVERTER_IMAGE"),
        runtimes=runtimes,
        default_runtime=default_runtime,
        artifact_repository=repository,
        artifact_uri=uri,
        artifact_secret=read.optional("ARTIFACT_SECRET"),
        converter_images=read.parsed(
            "CONVERTER_IMAGES", "{}", _images, f"a JSON object of images by format ({', '.join(SourceFormat)})"
        ),
        artifact_repository_insecure=read.flag("ARTIFACT_REPOSITORY_INSECURE", default=False),
        push_secret=read.optional("PUSH_SECRET"),
        pull_secret=read.optional("PULL_SECRET"),
        gateway_profile=read.text("GATEWAY_PROFILE", "envoy-gateway"),
        image_volumes=read.parsed("IMAGE_VOLUMES", "auto", _flag_or_auto, "auto, true or false"),
        simulated_accelerators=read.flag("SIMULATED_ACCELERATORS", default=False),
        job_cpu_limit=read.text("JOB_CPU_LIMIT", "1"),
        job_memory_limit=read.text("JOB_MEMORY_LIMIT", "2Gi"),
        job_storage_limit=read.text("JOB_STORAGE_LIMIT", "10Gi"),
        job_service_account=read.optional("JOB_SERVICE_ACCOUNT"),
        build_cpu_limit=read.text("BUILD_CPU_LIMIT", "2"),
        build_memory_limit=read.text("BUILD_MEMORY_LIMIT", "8Gi"),
        converter_openvino_image=read.optional("CONVERTER_OPENVINO_IMAGE"),
        converter_tflite_image=read.optional("CONVERTER_TFLITE_IMAGE"),
        converter_modelopt_image=read.optional("CONVERTER_MODELOPT_IMAGE"),
        allow_http_sources=read.flag("ALLOW_HTTP_SOURCES", default=False),
        gpu_counting=read.flag("GPU_COUNTING", default=False),
        watch_namespaces=_names(environment.get(PREFIX + "WATCH_NAMESPACES", "")),
        leader_election=read.flag("LEADER_ELECTION", default=True),
        lease_namespace=read.text("LEASE_NAMESPACE", environment.get("POD_NAMESPACE") or "default"),
        lease_name=read.text("LEASE_NAME", "visionmodel-operator"),
        identity=pod,
        log_level=read.parsed("LOG_LEVEL", "INFO", _log_level, f"one of {', '.join(LOG_LEVELS)}"),
        resync_seconds=read.parsed("RESYNC_SECONDS", "300", _positive, "a positive number of seconds"),
        workers=read.parsed("WORKERS", "8", _count, "a whole number from 1 to 256"),
        http_port=read.parsed("HTTP_PORT", "8080", _port, "a port from 1 to 65535"),
        tls_strict=read.flag("TLS_STRICT", default=False),
    )


def _runtime_table(read: _Reader) -> tuple[dict[str, RuntimeSetting], str]:
    runtimes = read.parsed("RUNTIMES", None, _runtimes, 'JSON like {"26.07": {"image": "…", "tritonVersion": "2.71"}}')
    default = read.text("DEFAULT_RUNTIME", next(iter(runtimes)))
    if default not in runtimes:
        known = ", ".join(runtimes)
        raise SettingsError(f"{PREFIX}DEFAULT_RUNTIME must be one of {PREFIX}RUNTIMES ({known}), not {default!r}")
    return runtimes, default


def _artifact_store(read: _Reader) -> tuple[str | None, str | None]:
    """Return repository and URI, one of which is set."""
    repository, uri = read.optional("ARTIFACT_REPOSITORY"), read.parsed("ARTIFACT_URI", "", _store_uri, STORE_URI)
    if (repository is None) == (uri is None):
        raise SettingsError(f"{PREFIX}ARTIFACT_REPOSITORY must be set, or {PREFIX}ARTIFACT_URI, and not both")
    return repository, uri


def listing_settings_from(environment: Mapping[str, str] = os.environ) -> ListingSettings:
    """Read what listing needs. Raises SettingsError."""
    read = _Reader(environment)
    return ListingSettings(
        watch_namespaces=_names(environment.get(PREFIX + "WATCH_NAMESPACES", "")),
        tls_strict=read.flag("TLS_STRICT", default=False),
    )


def _runtimes(text: str) -> dict[str, RuntimeSetting]:
    table: dict[str, Any] = json.loads(text)
    runtimes = {
        version: RuntimeSetting(
            image=str(row["image"]),
            triton_version=str(row["tritonVersion"]),
            openvino_image=str(row["openvinoImage"]) if row.get("openvinoImage") else None,
            tensorrt_converter_image=row.get("tensorrtConverterImage") or None,
        )
        for version, row in table.items()
    }
    if not runtimes:
        raise ValueError("empty")
    return runtimes


def _images(text: str) -> dict[str, str]:
    table: dict[str, Any] = json.loads(text)
    return {SourceFormat(name).value: str(image) for name, image in table.items() if image}


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.strip().lower()]


def _flag_or_auto(text: str) -> bool | None:
    return None if text.strip().lower() == "auto" else _flag(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _store_uri(text: str) -> str | None:
    if text and not (text.startswith(("s3://", "gs://", "abfs://", "pvc://")) and text.partition("://")[2].strip("/")):
        raise ValueError(text)
    return text.rstrip("/") or None


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError(text)
    return text.rstrip("/")


def _log_level(text: str) -> str:
    return LOG_LEVELS[LOG_LEVELS.index(text.upper())]


def _positive(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise ValueError(text)
    return float(text)


def _between(low: int, high: int, text: str) -> int:
    if not low <= int(text) <= high:
        raise ValueError(text)
    return int(text)


def _count(text: str) -> int:
    return _between(1, 256, text)


def _port(text: str) -> int:
    return _between(1, 65535, text)
