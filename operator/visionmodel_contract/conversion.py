"""The request a conversion Job reads and the report it writes; JSON on both ways, versioned.

The operator renders a ConversionRequest into the Job; the converter answers with a ReportSummary in the
container's termination message (at most 3 KiB, the kubelet keeps 4) and the full report inside the artifact.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from visionmodel_contract.precision import Backend, Goal, Precision

FORMAT_VERSION: Final = 1
PIPELINE_VERSION = 1
"""Raised when the same source and options would give other bytes: part of the prepare key."""

SUMMARY_LIMIT_BYTES = 3 * 1024

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ContractModel(BaseModel):
    """Frozen, camelCase on the wire; unknown fields are ignored so that one side may be newer."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_json(self) -> str:
        """Return compact JSON with the wire names, without empty optionals."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class TensorSpec(ContractModel):
    """One input or output tensor as the graph declares it; -1 is a free axis, the first axis is the batch."""

    name: str
    dtype: str
    dims: tuple[int, ...]


class SourceRequest(ContractModel):
    """Where the model comes from; credentials are files in a mounted folder, never in the request."""

    uri: str
    format: str = "onnx"
    digest: Digest | None = None


class MetricGoal(ContractModel):
    """One goal of the parity gate, in Olive's words."""

    name: str
    goal: Goal
    value: float


class ParityRequest(ContractModel):
    """The dataset and goals; without a dataset the artifact must agree with its source on random inputs."""

    dataset_uri: str | None = None
    metrics: tuple[MetricGoal, ...] = ()


class ConversionOptions(ContractModel):
    """Everything besides the source that changes the artifact's bytes."""

    backend: Backend = Backend.ONNX_RUNTIME
    precision: Precision = Precision.FP32
    simplify: bool = True


class PublishTarget(ContractModel):
    """OCI repository that receives the artifact image; tag and digest are the converter's."""

    repository: str
    insecure: bool = False


class ConversionRequest(ContractModel):
    """Everything one prepare Job needs."""

    format_version: Literal[1] = FORMAT_VERSION
    namespace: str
    name: str
    revision: str
    source: SourceRequest
    options: ConversionOptions = ConversionOptions()
    parity: ParityRequest = ParityRequest()
    publish: PublishTarget
    passed_gate_keys: tuple[str, ...] = ()
    """Gate keys whose verdict the operator holds as passed: a Job that arrives at one runs no gate again."""


class GateResult(ContractModel):
    """One measured goal: the value, its limit and whether it was met."""

    metric: str
    goal: Goal
    limit: float
    value: float
    source_value: float | None = None
    passed: bool
    samples: int


class Failure(ContractModel):
    """Why a conversion ended without an artifact, for the condition and the event."""

    reason: str
    message: str
    exit_code: int


class ArtifactInfo(ContractModel):
    """What was made and published."""

    key: str
    image: str
    digest: Digest
    model_digest: Digest
    report_digest: Digest
    precision: Precision
    size_bytes: int
    nodes_before: int
    nodes_after: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int


class ReportSummary(ContractModel):
    """The termination message of the prepare Job."""

    format_version: Literal[1] = FORMAT_VERSION
    result: Literal["Succeeded", "Failed"]
    source_digest: Digest | None = None
    artifact: ArtifactInfo | None = None
    gate_key: str | None = None
    gates: tuple[GateResult, ...] = ()
    cached: bool = False
    failure: Failure | None = None
