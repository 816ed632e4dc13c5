"""Frozen picture of what one pass saw: the object, its recorded status and its children.

Built by `adapters/kube_objects.py` and the metric adapters, read by everything in core; tests build it directly.
Nothing here is guessed: what could not be read is None, and None delays, it never decides.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from visionmodel_contract.report import Failure, GateResult, ReportSummary
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core.counters import Tick
from visionmodel_operator.core.devices import DeviceCount
from visionmodel_operator.core.names import ROUTE_KINDS, WORKLOAD_FILE
from visionmodel_operator.core.recent_traffic import RecentTraffic


@dataclass(frozen=True)
class ObjectRef:
    """Identity of a VisionModel, enough for owner references."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class KnownArtifact:
    """What the ConfigMap `artifact-<key>` says.

    Attributes:
        key: prepare key.
        summary: the report of the successful conversion, or of its permanent failure.
        verdicts: gate results by gate key; an artifact is usable only under a passed verdict of its own gates.
        gate_failures: why a gate verdict failed, by gate key.
    """

    key: str
    summary: ReportSummary
    verdicts: Mapping[str, tuple[GateResult, ...]] = field(default_factory=dict)
    gate_failures: Mapping[str, Failure] = field(default_factory=dict)

    @property
    def failure(self) -> Failure | None:
        """Why the conversion itself failed; None when it made an artifact, or only missed gates."""
        return None if self.summary.artifact is not None else self.summary.failure


SUSPENDED_JOB = "Suspended"
"""What a Job waits for that somebody else lets run, as a queueing system does."""


@dataclass(frozen=True)
class JobState:
    """The prepare Job of one revision and attempt.

    Attributes:
        finished: None while running, else whether it succeeded.
        summary: report from the termination message, when one was readable.
        exit_code: of the last terminated container.
        message: what a failed Job without a report left: the end of its log, or the Job controller's words.
        failure: the Job controller's reason, e.g. DeadlineExceeded, BackoffLimitExceeded.
        evicted: the kubelet's words where it threw a pod of the Job out.
        progress_stage: advisory, from the pod's log.
        waiting: why its pod does not start, e.g. Unschedulable, ImagePullBackOff; SUSPENDED_JOB.
        waiting_message: the same in the words of the scheduler or the kubelet.
    """

    name: str
    revision: str
    finished: bool | None
    summary: ReportSummary | None = None
    exit_code: int | None = None
    message: str = ""
    failure: str = ""
    evicted: str = ""
    progress_stage: str | None = None
    progress_percent: int | None = None
    waiting: str = ""
    waiting_message: str = ""


@dataclass(frozen=True)
class PodState:
    """One serving pod.

    Attributes:
        waiting: why it does not start, e.g. Unschedulable, ImagePullBackOff.
        waiting_message: the same in the words of the scheduler or the kubelet.
    """

    name: str
    revision: str
    ip: str | None
    ready: bool
    restarts: int = 0
    terminating: bool = False
    waiting: str = ""
    waiting_message: str = ""
    finished_requests: float | None = None
    """Triton's success + failure counters over all models, read directly; None where it was not asked or not had."""
    pending_requests: float | None = None


@dataclass(frozen=True)
class WorkloadState:
    """The Deployments of one revision, summed.

    Attributes:
        replicas: pods asked for in `spec.replicas`.
        ready: pods that are ready, at most as many as asked for; pod templates never move, so all are alike.
        config: data of the revision's ConfigMap; empty when that is missing.
    """

    revision: str
    replicas: int
    ready: int
    config: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def stored(self) -> tuple[Mapping[str, Any], ...]:
        """The revision's Service and Deployments as they were first rendered: applied again, never rendered again."""
        return tuple(json.loads(self.config.get(WORKLOAD_FILE, "[]")))


@dataclass(frozen=True)
class RouteState:
    """The routes, one for each protocol, taken together as their gateways see them.

    Attributes:
        weights_ppm: weight by backend slot of the first route, in the units that were written (their sum is 1,000,000).
        backends: Service name by slot of the first route.
        accepted: Accepted and ResolvedRefs by every parent of each, observed for the route's current generation.
        serving: whether requests arrive by one of them: every parent's newest word, though perhaps about an older
            generation, is that it took the route over.
        reason: the parent's reason when one is not accepted.
        message: the parent's message when one is not accepted.
        ours: whether these are the routes that we would write, each spec to the last field, and belong to this
            VisionModel; filled by the reconcile, which knows what we would write.
        live: the objects as the API server has them, by kind.
        foreign_managers: other writers of the specs, from managedFields.
    """

    weights_ppm: tuple[int, ...]
    backends: tuple[str, ...]
    accepted: bool
    serving: bool
    reason: str = ""
    message: str = ""
    ours: bool = True
    foreign_managers: tuple[str, ...] = ()
    live: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """What Prometheus said in this pass.

    Attributes:
        ticks: new ticks after the last judged one, in time order.
        values: value of each Threshold metric by tick end and metric name; None is no data.
        error: why nothing could be read, empty when it could.
    """

    ticks: tuple[Tick, ...] = ()
    values: Mapping[float, Mapping[str, float | None]] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Runtime:
    """One entry of the platform's runtime table (Helm values).

    Attributes:
        openvino_image: serves models with backend OpenVINO; None: it has no such backend.
        tensorrt_converter_image: builds engines with the TensorRT of this Triton release; None: it builds none.
    """

    version: str
    image: str
    triton_version: str
    openvino_image: str | None = None
    tensorrt_converter_image: str | None = None


@dataclass(frozen=True)
class Platform:
    """What the platform team decided in the Helm values and what the cluster can do.

    Attributes:
        runtimes: by `serving.runtimeVersion`.
        converter_images: by source format, for formats that the plain converter image cannot load.
        artifact_repository: OCI repository for artifacts, e.g. registry:5000/visionmodel/artifacts; None: elsewhere.
        artifact_repository_insecure: the store of artifacts, of whatever kind, speaks plain HTTP.
        artifact_uri: object storage (`s3://`, `gs://`, `abfs://`) or a claim (`pvc://<claim>/<path>`) for artifacts.
        artifact_secret: keys of that object storage, in every namespace with VisionModels.
        converter_openvino_image: image of Jobs for backend or export OpenVINO; the converter's where unset.
        converter_tflite_image: image of Jobs for the export TFLite, with OpenVINO too; the converter's where unset.
        converter_modelopt_image: image of Jobs that quantise by ModelOpt, with OpenVINO; the converter's where unset.
        image_volumes: the cluster mounts OCI images (Kubernetes ≥ 1.35).
        route_kinds: kinds of route that the cluster serves.
    """

    runtimes: Mapping[str, Runtime]
    default_runtime: str
    converter_image: str
    artifact_repository: str | None
    converter_images: Mapping[str, str] = field(default_factory=dict)
    artifact_repository_insecure: bool = False
    push_secret: str | None = None
    pull_secret: str | None = None
    artifact_uri: str | None = None
    artifact_secret: str | None = None
    image_volumes: bool = True
    route_kinds: tuple[str, ...] = ROUTE_KINDS
    simulated_accelerators: bool = False
    gateway_profile: str = "envoy-gateway"
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


@dataclass(frozen=True)
class Snapshot:
    """Everything one pass knows. Mappings are keyed by revision unless said otherwise."""

    ref: ObjectRef
    generation: int
    resource_version: str
    spec: VisionModelSpec | None
    spec_error: str
    annotations: Mapping[str, str]
    status: VisionModelStatus
    platform: Platform
    artifacts: Mapping[str, KnownArtifact] = field(default_factory=dict)  # by prepare key
    jobs: Mapping[str, JobState] = field(default_factory=dict)  # by Job name
    workloads: Mapping[str, WorkloadState] = field(default_factory=dict)
    pods: Mapping[str, tuple[PodState, ...]] = field(default_factory=dict)
    route: RouteState | None = None
    evidence: Evidence | None = None
    recent_traffic: RecentTraffic | None = None  # asked for once per rollout
    devices: DeviceCount | None = None  # counted in the passes that choose by it
    deleting: bool = False
