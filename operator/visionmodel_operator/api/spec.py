"""VisionModelSpec: what a user asks for. Only fields that the operator honours are here.

Bounds, defaults and CEL rules live beside the field they guard; `api/crd.py` writes the CRD from this module.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from visionmodel_contract.precision import Backend
from visionmodel_operator.api.base import BY_NAME, ApiModel, Duration, Quantity, distinct_names, rule
from visionmodel_operator.api.blue_green import BlueGreen
from visionmodel_operator.api.capacity import WhenFull
from visionmodel_operator.api.conversion import (
    SOURCE_SCHEMES,
    URI_PATTERN,
    Calibration,
    Conversion,
    Gates,
    LatencyGate,
    MemoryGate,
    MetricGoal,
    ParityGate,
    ThroughputGate,
    Uri,
    WantedPrecision,
)
from visionmodel_operator.api.engine import DynamicShape, EngineBatch, TensorRTOptions
from visionmodel_operator.api.rollout import (
    DEFAULT_METRICS,
    Analysis,
    Gate,
    Method,
    Metric,
    MetricType,
    OnInconclusive,
    OnMissingMetrics,
    OnNewRevision,
    Rollout,
    Strategy,
    ThresholdRange,
)
from visionmodel_operator.api.source import LocalObjectReference, ModelFormat, ModelInput, ModelSource
from visionmodel_operator.api.steps import CanaryScale, HeaderMatch, HeaderRoute, HeaderValue, Pause, Step
from visionmodel_operator.api.task import (
    ColorSpace,
    Decoder,
    ImageInput,
    Layout,
    Resize,
    Task,
    TaskOutput,
    TaskType,
)
from visionmodel_operator.api.traffic import GatewayProtocol, GatewayRef, Traffic

__all__ = [
    "DEFAULT_METRICS",
    "FORBIDDEN_ENV",
    "SOURCE_SCHEMES",
    "URI_PATTERN",
    "Accelerator",
    "Analysis",
    "Batching",
    "BlueGreen",
    "Calibration",
    "CanaryScale",
    "ColorSpace",
    "Conversion",
    "Decoder",
    "DynamicShape",
    "EngineBatch",
    "EnvVar",
    "Gate",
    "Gates",
    "GatewayProtocol",
    "GatewayRef",
    "HeaderMatch",
    "HeaderRoute",
    "HeaderValue",
    "ImageInput",
    "LabelMap",
    "LatencyGate",
    "Layout",
    "LocalObjectReference",
    "MemoryGate",
    "Method",
    "Metric",
    "MetricGoal",
    "MetricType",
    "ModelFormat",
    "ModelInput",
    "ModelSource",
    "OnInconclusive",
    "OnMissingMetrics",
    "OnNewRevision",
    "ParityGate",
    "Pause",
    "PodOptions",
    "Resize",
    "Resources",
    "Rollout",
    "Serving",
    "Step",
    "Strategy",
    "Task",
    "TaskOutput",
    "TaskType",
    "TensorRTOptions",
    "ThresholdRange",
    "ThroughputGate",
    "Toleration",
    "Traffic",
    "Uri",
    "VisionModelSpec",
    "WantedPrecision",
    "WhenFull",
]

LabelMap = Annotated[dict[str, Annotated[str, Field(max_length=253)]], Field(max_length=32)]
"""Map of at most 32 short strings, as Kubernetes labels, annotations and node selectors are."""


class Toleration(ApiModel):
    """A taint that the pods tolerate, as in a pod spec."""

    key: Annotated[str, Field(max_length=317)] | None = Field(default=None, description="Taint key.")
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None, description="Exists, or Equal which is meant when unset."
    )
    value: Annotated[str, Field(max_length=63)] | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; all when unset."
    )


class Accelerator(ApiModel):
    """One kind of device that serves the model; one Deployment each."""

    resource_name: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$", max_length=253)] = Field(
        default="nvidia.com/gpu", description="Extended resource to request."
    )
    count: Annotated[int, Field(ge=1, le=16)] = Field(default=1, description="Devices per pod.")
    product: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=63)] | None = Field(
        default=None, description="Product as GPU feature discovery labels it (nvidia.com/gpu.product)."
    )
    node_selector: LabelMap = Field(default={}, description="Further node labels that must match.")
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = Field(
        default=[], description="Further taints to tolerate; nvidia.com/gpu:NoSchedule always is."
    )


class Resources(ApiModel):
    """CPU and memory of one Triton container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=8)] = Field(
        default={"cpu": "500m", "memory": "512Mi"}, description="Requested amounts."
    )
    limits: Annotated[dict[str, Quantity], Field(max_length=8)] = Field(
        default={"memory": "2Gi"}, description="Upper limits."
    )


class Batching(ApiModel):
    """Triton's dynamic batching."""

    max_batch_size: Annotated[int, Field(ge=0, le=4096)] = Field(
        default=8, description="Largest batch that Triton forms; 0: the model has no batch axis."
    )
    preferred_batch_sizes: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(max_length=8)] = Field(
        default=[], description="Batch sizes to wait for; empty is right for most models."
    )
    max_queue_delay: Duration = Field(default="500us", description="How long a request may wait for company.")
    max_queue_size: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=0, description="Requests that may queue before new ones are rejected; 0: no limit."
    )
    queue_timeout: Duration = Field(default="0s", description="Time in the queue before rejection; 0s: none.")


class EnvVar(ApiModel):
    """One literal environment variable."""

    name: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)] = Field(
        description="Name of the variable."
    )
    value: Annotated[str, Field(max_length=4096)] = Field(default="", description="Its literal value.")


FORBIDDEN_ENV = ("CUDA_VISIBLE_DEVICES", "LD_PRELOAD", "LD_LIBRARY_PATH")


class PodOptions(ApiModel):
    """The part of the pod that a user may shape."""

    labels: LabelMap = Field(default={}, description="Further pod labels; ours win.")
    annotations: LabelMap = Field(default={}, description="Further pod annotations.")
    priority_class_name: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, description="PriorityClass of the pods."
    )
    runtime_class_name: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, description="RuntimeClass of the pods."
    )
    image_pull_secrets: Annotated[list[LocalObjectReference], Field(max_length=8)] = Field(
        default=[], description="Secrets for pulling the Triton and artifact images."
    )
    env: Annotated[
        list[EnvVar],
        Field(
            max_length=32,
            json_schema_extra={
                **BY_NAME,
                "x-kubernetes-validations": [
                    rule(
                        "self.all(e, !e.name.startsWith('NVIDIA_') &&"
                        " !(e.name in ['CUDA_VISIBLE_DEVICES', 'LD_PRELOAD', 'LD_LIBRARY_PATH']))",
                        "NVIDIA_*, CUDA_VISIBLE_DEVICES, LD_PRELOAD and LD_LIBRARY_PATH are the platform's to set",
                    )
                ],
            },
        ),
        AfterValidator(distinct_names),
    ] = Field(default=[], description="Environment of the Triton container.")

    @model_validator(mode="after")
    def _platform_variables_are_not_the_users(self) -> Self:
        if any(e.name.startswith("NVIDIA_") or e.name in FORBIDDEN_ENV for e in self.env):
            raise ValueError("NVIDIA_*, CUDA_VISIBLE_DEVICES, LD_PRELOAD and LD_LIBRARY_PATH are the platform's to set")
        return self


class Serving(ApiModel):
    """How Triton serves the artifact."""

    runtime_version: Annotated[str, Field(pattern=r"^[0-9]{2}\.[0-9]{2}$", max_length=5)] | None = Field(
        default=None,
        description="Triton release, one of the platform's runtime table; default: the platform's.",
    )
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        default=None, description="Pods per revision at full scale; 1 when unset."
    )
    resources: Resources = Field(default=Resources(), description="CPU and memory of one Triton container.")
    batching: Batching = Field(default=Batching(), description="Triton's dynamic batching.")
    instances: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="Model instances per pod or device.")
    warmup: bool = Field(default=True, description="Run sample requests before a pod becomes ready.")
    pod: PodOptions = Field(default=PodOptions(), description="Labels, environment and scheduling of the pods.")


MAX_WINDOW_REVISIONS = 10


class RollbackWindow(ApiModel):
    """Which revisions the spec may return to in one jump, without steps and without judging them again."""

    revisions: Annotated[int, Field(ge=0, le=MAX_WINDOW_REVISIONS)] = Field(
        default=3, description="At most so many that were stable last, before the one that is; 0: none."
    )
    duration: Duration = Field(default="24h", description="Longest time since another one took over from it.")


OPENVINO_MESSAGE = "backend OpenVINO runs on CPUs: leave accelerators empty"
TENSORRT_MESSAGE = "backend TensorRT runs on NVIDIA devices: name them in accelerators"
SERVED_BATCH_MESSAGE = "conversion.batch.max must be at least serving.batching.maxBatchSize"


class VisionModelSpec(ApiModel):
    """What a user asks for."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!(has(self.conversion) && has(self.conversion.backend) && self.conversion.backend == 'OpenVINO')"
                    " || !has(self.accelerators) || size(self.accelerators) == 0",
                    OPENVINO_MESSAGE,
                ),
                rule(
                    "!(has(self.conversion) && has(self.conversion.backend) && self.conversion.backend == 'TensorRT')"
                    " || (has(self.accelerators) && size(self.accelerators) > 0)",
                    TENSORRT_MESSAGE,
                ),
                rule(
                    "!(has(self.conversion) && has(self.conversion.batch)) || !has(self.serving)"
                    " || !has(self.serving.batching) || !has(self.serving.batching.maxBatchSize)"
                    " || self.serving.batching.maxBatchSize <= self.conversion.batch.max",
                    SERVED_BATCH_MESSAGE,
                ),
            ]
        },
    )

    model: ModelSource = Field(description="The trained model.")
    task: Task = Field(description="What the model does.")
    conversion: Conversion = Field(default=Conversion(), description="How the model becomes what is served.")
    accelerators: Annotated[list[Accelerator], Field(max_length=4)] = Field(
        default=[], description="Devices that serve the model; empty: CPU."
    )
    serving: Serving = Field(default=Serving(), description="How Triton serves the artifact.")
    traffic: Traffic = Field(default=Traffic(), description="How requests reach the model.")
    rollout: Rollout = Field(default=Rollout(), description="How a new revision takes over.")
    suspend: bool = Field(default=False, description="true: scale to zero and keep everything.")
    revision_history_limit: Annotated[int, Field(ge=0, le=50)] = Field(
        default=5, description="Old revisions that are kept for going back."
    )
    rollback_window: RollbackWindow = Field(
        default=RollbackWindow(),
        description="Revisions that were stable lately: when the spec names one again, all requests go back to it in"
        " one jump, once its pods are ready. They are kept beside those of revisionHistoryLimit.",
    )
    progress_deadline_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=600, description="Seconds without progress after which a phase fails."
    )

    @model_validator(mode="after")
    def _openvino_has_no_accelerators(self) -> Self:
        if self.conversion.backend is Backend.OPENVINO and self.accelerators:
            raise ValueError(OPENVINO_MESSAGE)
        return self

    @model_validator(mode="after")
    def _engines_fit_what_is_served(self) -> Self:
        conversion = self.conversion
        if conversion.backend is Backend.TENSORRT and not self.accelerators:
            raise ValueError(TENSORRT_MESSAGE)
        if conversion.batch is not None and self.serving.batching.max_batch_size > conversion.batch.max:
            raise ValueError(SERVED_BATCH_MESSAGE)
        return self
