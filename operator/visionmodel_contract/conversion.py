"""The request a conversion Job reads; JSON, versioned. What it answers with is in `report`.

The operator renders a ConversionRequest into the Job; the converter answers with a ReportSummary in the
container's termination message and the full report inside the artifact.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from visionmodel_contract.precision import (
    Backend,
    CalibrationMethod,
    ExportFormat,
    Goal,
    Precision,
    PruningPattern,
    Quantizer,
)

FORMAT_VERSION: Final = 1
PIPELINE_VERSION = 3
"""Raised when the same source and options would give other bytes: part of the prepare key."""
EXPORT_VERSION: Final = 1
"""As PIPELINE_VERSION, for the exports of an artifact: part of the export key."""

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ContractModel(BaseModel):
    """Frozen, camelCase on the wire; unknown fields are ignored so that one side may be newer."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_json(self) -> str:
        """Return compact JSON with the wire names, without empty optionals."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class SourceInput(ContractModel):
    """One input of a source whose format does not hold shapes (TorchScript); -1 is a free axis, the first the batch."""

    name: str
    dtype: str = "float32"
    dims: tuple[int, ...]


class SourceRequest(ContractModel):
    """Where the model comes from; credentials are files in a mounted folder, never in the request."""

    uri: str
    format: str | None = None
    """A name of `formats.SourceFormat` that the content must have; unset, the content decides."""
    digest: Digest | None = None
    inputs: tuple[SourceInput, ...] = ()
    """In the order of the network's arguments; needed where the file does not hold them."""
    trust_pickle: bool = False
    """Formats that can run code while they are loaded may be loaded, in a process without network and credentials."""


class ImageTask(ContractModel):
    """How serving turns images into the network's input and its outputs into answers.

    The same texts that stand as `parameters` in the steps' config.pbtxt and that `visionmodel_pipeline.settings`
    reads, so that calibration and gates see exactly what serving will see.
    """

    preprocess: dict[str, str]
    postprocess: dict[str, str] = {}


class MetricGoal(ContractModel):
    """One goal of the parity gate, in Olive's words."""

    name: str
    goal: Goal
    value: float


class ParityRequest(ContractModel):
    """The dataset and goals; without a dataset the artifact must agree with its source on random inputs."""

    dataset_uri: str | None = None
    dataset_digest: Digest | None = None
    """Of the file, or of the folder where the URI ends in a slash; unset, the Job finds it out."""
    metrics: tuple[MetricGoal, ...] = ()


class LatencyGoal(ContractModel):
    """Longest time of one run at a percentile, on the Job's node with the serving pod's threads."""

    percentile: Literal["p50", "p90", "p95", "p99"] = "p99"
    batch: int = 1
    max_ms: float


class ThroughputGoal(ContractModel):
    """Fewest samples per second at a batch size."""

    batch: int = 1
    min_per_second: float


class SpeedRequest(ContractModel):
    """What is measured and which limits hold; without goals it is measured only where precisions are compared."""

    latency: tuple[LatencyGoal, ...] = ()
    throughput: tuple[ThroughputGoal, ...] = ()
    max_memory_bytes: int | None = None
    threads: int | None = None
    """Threads of one serving instance; the Job's own CPUs where unset."""
    max_batch: int = 1
    """Largest batch that serving forms; measured beside batch 1."""


class GatesRequest(ContractModel):
    """Everything an artifact must prove; its digest keys the verdict."""

    parity: ParityRequest = ParityRequest()
    speed: SpeedRequest = SpeedRequest()
    accelerated: bool = False
    """Serving runs on devices that the prepare Job has not: executed precision and time cannot be proven in it."""


class CalibrationOptions(ContractModel):
    """The samples that INT8 scales are chosen from; read through the serving pre-processing."""

    dataset_uri: str
    digest: Digest | None = None
    """As `ParityRequest.dataset_digest`."""
    samples: int = 512
    method: CalibrationMethod = CalibrationMethod.AUTO
    quantizer: Quantizer = Quantizer.ONNX_RUNTIME
    """Later than the first keys, so the first one is in none."""


class ConversionOptions(ContractModel):
    """Everything besides the source that changes the artifact's bytes."""

    backend: Backend = Backend.ONNX_RUNTIME
    precisions: tuple[Precision, ...] = (Precision.FP32,)
    """One: that is made or the conversion fails. Several: all are made and measured, and the goals choose."""
    min_improvement_percent: float = 5.0
    """How much faster a lower precision must be than the next higher one to be chosen; only with several."""
    simplify: bool = True
    calibration: CalibrationOptions | None = None
    pruning: PruningPattern | None = None
    """Set weights to 0 before anything else is made of the graph; later than the first keys, so unset it is in none."""


class PublishTarget(ContractModel):
    """The store that receives the artifact: a registry or a place with a URI, exactly one of the two.

    Attributes:
        repository: OCI repository; tag and digest are the converter's.
        uri: object storage (`s3://`, `gs://`, `abfs://`), a mounted claim (`pvc://<claim>/<path>`) or, on one's own
            machine, a folder (`file://`).
        insecure: the store speaks plain HTTP.
    """

    repository: str | None = None
    uri: str | None = None
    insecure: bool = False

    @model_validator(mode="after")
    def _names_one_store(self) -> Self:
        if (self.repository is None) == (self.uri is None):
            raise ValueError("exactly one of repository and uri must be given")
        return self


class ConversionRequest(ContractModel):
    """Everything one prepare Job needs."""

    format_version: Literal[1] = FORMAT_VERSION
    namespace: str
    name: str
    revision: str
    source: SourceRequest
    options: ConversionOptions = ConversionOptions()
    task: ImageTask | None = None
    """Set for image tasks: datasets may then hold images, which go through it."""
    gates: GatesRequest = GatesRequest()
    exports: tuple[ExportFormat, ...] = ()
    """Files to make of the artifact for other runtimes, published beside it."""
    publish: PublishTarget
    passed_gate_keys: tuple[str, ...] = ()
    """Gate keys whose verdict the operator holds as passed: a Job that arrives at one runs no gate again."""
