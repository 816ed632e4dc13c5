"""The conversion's part of the spec: what the artifact shall be, and what it must prove before it serves."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from visionmodel_contract.precision import (
    Backend,
    CalibrationMethod,
    ExportFormat,
    Goal,
    Precision,
    PruningPattern,
    Quantizer,
)
from visionmodel_operator.api.base import A_SET, ApiModel, Digest, Duration, LabelledName, Quantity, distinct, rule
from visionmodel_operator.api.engine import BatchSize, DynamicShape, EngineBatch, TensorRTOptions, distinct_axes

SOURCE_SCHEMES = ("s3", "gs", "abfs", "https", "hf", "oci", "pvc", "mlflow")
URI_PATTERN = r"^((s3|gs|https|hf|oci|pvc|mlflow)://[!-.0-?A-~]+|abfs://[!-.0-?A-~]+@[!-.0-?A-~]+)/[!-~]+$"
"""Printable ASCII only: what else a URI holds must be percent-encoded, and regular expressions differ on spaces.

No `@` before the first slash: a password has no place in a spec. Only Azure's form has one, behind the container.
"""

Uri = Annotated[str, Field(pattern=URI_PATTERN, max_length=2048)]


class WantedPrecision(StrEnum):
    """Precision asked for; Auto measures several and lets the goals choose."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    AUTO = "Auto"


MetricName = Literal[
    "top1",
    "top5",
    "top1Agreement",
    "top5Agreement",
    "map50",
    "map50_95",
    "mapAgreement",
    "maskIou",
    "cosine",
    "maxAbsError",
    "maxRelativeError",
]
LABELLED_METRICS = ("top1", "top5", "map50", "map50_95", "maskIou")
DIGEST_OF_NOTHING = "datasetDigest is the digest of what datasetUri names: set both"
LABELS_MESSAGE = f"{', '.join(LABELLED_METRICS)} need labelled data: set datasetUri"


class MetricGoal(ApiModel):
    """One goal of the parity gate, in Olive's words."""

    name: MetricName = Field(
        description="Metric. Against the dataset's labels: top1, top5, map50, map50_95, maskIou. Against the source's"
        " predictions for real samples: top1Agreement, top5Agreement, mapAgreement. Against the source's outputs:"
        " cosine, maxAbsError, maxRelativeError."
    )
    goal: Goal = Field(
        description="threshold: an absolute limit. max-degradation, min-improvement: against the source model, in the"
        " metric's unit; with percent- in percent of the source's value."
    )
    value: float = Field(ge=0, le=1e12, description="The limit, in the metric's own unit or in percent.")


class ParityGate(ApiModel):
    """Proof that the artifact is still right, on the user's data or against the source."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    f"!has(self.metrics) || !self.metrics.exists(m, m.name in {list(LABELLED_METRICS)})"
                    " || has(self.datasetUri)",
                    LABELS_MESSAGE,
                ),
                rule("!has(self.datasetDigest) || has(self.datasetUri)", DIGEST_OF_NOTHING),
            ]
        },
    )

    dataset_uri: Uri | None = Field(
        default=None,
        description="Evaluation data: tensors as .npz or, for image tasks, a .zip, .tar or .tar.gz of images with"
        " annotations.json (COCO), labels.csv, labels.json, masks or one folder per class. Read with the model's"
        " credentials.",
    )
    dataset_digest: Digest | None = Field(
        default=None,
        description="Refuse anything but this content: the file's sha256, or of a folder the sha256 of what sha256sum"
        " prints for its sorted files; without it the digest is resolved once per verdict.",
    )
    metrics: Annotated[list[MetricGoal], Field(max_length=16)] = Field(
        default=[],
        description="Goals that must all be met. Empty: fp32 must agree with its source; fp16 too, and may lose 0.005"
        " of the task's metric where there are labels; int8 may lose 0.01, or must predict what the source does.",
    )

    @model_validator(mode="after")
    def _labelled_metrics_need_data(self) -> Self:
        if self.dataset_uri is None and any(m.name in LABELLED_METRICS for m in self.metrics):
            raise ValueError(LABELS_MESSAGE)
        if self.dataset_digest is not None and self.dataset_uri is None:
            raise ValueError(DIGEST_OF_NOTHING)
        return self


class LatencyGate(ApiModel):
    """Longest time of one run of the network, measured in the conversion Job with the serving pod's threads."""

    percentile: Literal["p50", "p90", "p95", "p99"] = Field(default="p99", description="Percentile that is limited.")
    batch: BatchSize = Field(default=1, description="Samples per run.")
    max: Duration = Field(description="Longest time at that percentile.")


class ThroughputGate(ApiModel):
    """Fewest samples per second of the network alone."""

    batch: BatchSize = Field(default=1, description="Samples per run.")
    min: Annotated[float, Field(gt=0, le=1e9)] = Field(description="Fewest samples per second.")


class MemoryGate(ApiModel):
    """Most memory that loading and running the network may take."""

    max: Quantity = Field(description="Peak memory of the process beyond an empty runtime.")


class Gates(ApiModel):
    """Checks that an artifact must pass before it may serve."""

    parity: ParityGate = Field(default=ParityGate(), description="Proof of right results.")
    latency: Annotated[list[LatencyGate], Field(max_length=8)] = Field(
        default=[], description="Limits of the time of one run."
    )
    throughput: Annotated[list[ThroughputGate], Field(max_length=8)] = Field(
        default=[], description="Limits of the samples per second."
    )
    memory: MemoryGate | None = Field(default=None, description="Limit of the peak memory.")


PERCENTILE_MESSAGE = "ModelOpt has no method Percentile"


class Calibration(ApiModel):
    """Sample inputs from which the scales of INT8 are chosen."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.quantizer) || self.quantizer != 'ModelOpt' || !has(self.method)"
                    " || self.method != 'Percentile'",
                    PERCENTILE_MESSAGE,
                )
            ]
        },
    )

    storage_uri: Uri = Field(
        description="Samples, in a form that gates.parity.datasetUri takes too; labels are not needed. Read with the"
        " model's credentials, through the serving pre-processing."
    )
    digest: Digest | None = Field(
        default=None,
        description="Refuse anything but this content, as gates.parity.datasetDigest; without it the digest is"
        " resolved once per revision.",
    )
    samples: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=512, description="Most samples that are used, evenly spread over the data."
    )
    method: CalibrationMethod = Field(
        default=CalibrationMethod.AUTO,
        description="How scales are chosen; Auto tries all methods and keeps the one with the best task metric.",
    )
    quantizer: Quantizer = Field(
        default=Quantizer.ONNX_RUNTIME,
        description="What chooses scales and places Q/DQ pairs. ModelOpt: NVIDIA's, which needs an image of its own and"
        " places them as TensorRT and OpenVINO run them.",
    )

    @model_validator(mode="after")
    def _modelopt_has_no_percentile(self) -> Self:
        if self.quantizer is Quantizer.MODEL_OPT and self.method is CalibrationMethod.PERCENTILE:
            raise ValueError(PERCENTILE_MESSAGE)
        return self


class Pruning(ApiModel):
    """Weights set to 0 in one shot, by magnitude and without training after it."""

    pattern: PruningPattern = Field(
        description="2:4: of every four neighbouring input channels the two smallest weights become 0, the one pattern"
        " that NVIDIA's sparse tensor cores have kernels for."
    )


PRUNING_MESSAGE = "a pruned network differs from its source: set gates.parity.datasetUri or gates.parity.metrics"
MODELOPT_MESSAGE = "ONNX Runtime runs what ModelOpt quantises in FP32 on CPUs: set backend OpenVINO or TensorRT"


CANDIDATES_MESSAGE = "candidates belong to precision Auto"
ENGINE_OPTIONS_MESSAGE = "batch, dynamicShapes and tensorrt belong to backend TensorRT"
ONE_PRECISION_MESSAGE = "backend TensorRT makes one precision: choose fp32, fp16 or int8"
_IS_TENSORRT = "has(self.backend) && self.backend == 'TensorRT'"


class Conversion(ApiModel):
    """How the source becomes the artifact that is served."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.candidates) || size(self.candidates) == 0 || self.precision == 'Auto'",
                    CANDIDATES_MESSAGE,
                ),
                rule(
                    "!has(self.pruning) || (has(self.gates) && has(self.gates.parity)"
                    " && (has(self.gates.parity.datasetUri)"
                    " || (has(self.gates.parity.metrics) && size(self.gates.parity.metrics) > 0)))",
                    PRUNING_MESSAGE,
                ),
                rule(
                    "!has(self.calibration) || !has(self.calibration.quantizer)"
                    " || self.calibration.quantizer != 'ModelOpt'"
                    " || (has(self.backend) && self.backend != 'ONNXRuntime')",
                    MODELOPT_MESSAGE,
                ),
                rule(
                    f"({_IS_TENSORRT}) || !(has(self.batch) || has(self.tensorrt)"
                    " || (has(self.dynamicShapes) && size(self.dynamicShapes) > 0))",
                    ENGINE_OPTIONS_MESSAGE,
                ),
                rule(f"!({_IS_TENSORRT}) || self.precision != 'Auto'", ONE_PRECISION_MESSAGE),
            ]
        },
    )

    backend: Backend = Field(
        default=Backend.ONNX_RUNTIME,
        description="What executes the artifact in Triton. TensorRT: the ONNX artifact becomes an engine on each of"
        " accelerators, and each engine is proven there.",
    )
    precision: WantedPrecision = Field(
        default=WantedPrecision.FP32,
        description="Numeric precision of the artifact, made and proven or refused. Auto: several are made and"
        " measured, and the fastest that meets every goal serves.",
    )
    candidates: Annotated[list[Precision], Field(max_length=3)] = Field(
        default=[],
        description="Precisions that Auto tries; empty: fp32 and fp16, and int8 where calibration is set.",
    )
    min_improvement: Annotated[float, Field(ge=0, le=100)] = Field(
        default=5,
        description="Percent by which a lower precision must be faster than a higher one for Auto to take it.",
    )
    simplify: bool = Field(default=True, description="Simplify the graph, verified numerically.")
    calibration: Calibration | None = Field(
        default=None, description="Sample inputs for INT8; not needed by a model that is quantised already."
    )
    pruning: Pruning | None = Field(
        default=None,
        description="Prune the network before its precision is made. Opt-in: it costs accuracy, which the goals judge;"
        " without goals it may lose 0.01 of the task's metric.",
    )
    batch: EngineBatch | None = Field(
        default=None, description="Batch sizes of TensorRT engines; unset: up to serving.batching.maxBatchSize."
    )
    dynamic_shapes: Annotated[
        list[DynamicShape],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["input", "axis"],
            },
        ),
        AfterValidator(distinct_axes),
    ] = Field(default=[], description="Ranges of the free axes of a network for TensorRT, by input and axis.")
    tensorrt: TensorRTOptions | None = Field(default=None, description="How TensorRT engines are built.")
    gates: Gates = Field(default=Gates(), description="Checks before the artifact may serve.")
    exports: Annotated[list[ExportFormat], AfterValidator(distinct), Field(max_length=3, json_schema_extra=A_SET)] = (
        Field(
            default=[],
            description="Files for other runtimes that are made of the artifact, compared with it and published beside"
            " it; never served. OpenVINO: IR. ORT: ONNX Runtime's format for mobile. TFLite: by onnx2tf, batch 1.",
        )
    )
    queue_name: LabelledName | None = Field(
        default=None,
        description="LocalQueue of Kueue that admits the conversion's Jobs; they are created suspended. Time in the"
        " queue counts for the deadline.",
    )
    deadline: Duration = Field(default="60m", description="Time after which a running conversion is given up.")
    auto_apply: bool = Field(default=True, description="false: convert and report, serve nothing new.")

    @model_validator(mode="after")
    def _candidates_are_for_auto(self) -> Self:
        if self.candidates and self.precision != WantedPrecision.AUTO:
            raise ValueError(CANDIDATES_MESSAGE)
        return self

    @model_validator(mode="after")
    def _pruning_is_judged(self) -> Self:
        parity = self.gates.parity
        if self.pruning is not None and parity.dataset_uri is None and not parity.metrics:
            raise ValueError(PRUNING_MESSAGE)
        return self

    @model_validator(mode="after")
    def _modelopt_needs_a_backend_that_runs_it(self) -> Self:
        quantizer = None if self.calibration is None else self.calibration.quantizer
        if quantizer is Quantizer.MODEL_OPT and self.backend is Backend.ONNX_RUNTIME:
            raise ValueError(MODELOPT_MESSAGE)
        return self

    @model_validator(mode="after")
    def _engines_are_tensorrts(self) -> Self:
        if self.backend is Backend.TENSORRT:
            if self.precision is WantedPrecision.AUTO:
                raise ValueError(ONE_PRECISION_MESSAGE)
        elif self.batch is not None or self.tensorrt is not None or self.dynamic_shapes:
            raise ValueError(ENGINE_OPTIONS_MESSAGE)
        return self
