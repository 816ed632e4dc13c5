"""What a conversion answers: the summary in the Job's termination message, and the parts of the full report.

The summary is at most 3 KiB (the kubelet keeps 4); everything else is in `report.json` inside the artifact.
"""

from typing import Final, Literal

from pydantic import Field

from visionmodel_contract.build import EngineTarget
from visionmodel_contract.conversion import FORMAT_VERSION, ContractModel, Digest
from visionmodel_contract.precision import ExportFormat, Goal, Precision

SUMMARY_LIMIT_BYTES = 3 * 1024
SHEET_FILE: Final = "worst.png"
PAGE_FILE: Final = "worst.html"
PICTURE_FILES: Final = (PAGE_FILE, SHEET_FILE)
"""What an artifact may hold besides model and documents: the worst samples, where its samples are images."""


def byte_size(count: int) -> str:
    """Return bytes with three digits and a binary unit: 395 KiB, 1.25 GiB."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


class TensorSpec(ContractModel):
    """One input or output tensor as the graph declares it; -1 is a free axis, the first axis is the batch."""

    name: str
    dtype: str
    dims: tuple[int, ...]


class GateResult(ContractModel):
    """One measured goal: the value, its limit and whether it was met."""

    metric: str
    goal: Goal
    limit: float
    value: float
    source_value: float | None = None
    passed: bool
    samples: int


class SpeedResult(ContractModel):
    """One timed profile; times are of whole runs of the batch, in milliseconds, on the node that measured."""

    batch: int
    runs: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    per_second: float
    """Samples per second at the mean time."""


class PrecisionShare(ContractModel):
    """How much of the executed graph really runs in the promised precision, 0 to 1.

    Attributes:
        layers: share of the layers that multiply (convolutions and matrix products).
        compute: share of their multiply-accumulate operations.
        runtime: what executed the graph, with its version.
    """

    precision: Precision
    layers: float
    compute: float
    runtime: str


class CandidateResult(ContractModel):
    """One precision that was tried: a row of the table the choice was made from."""

    precision: Precision
    method: str | None = None
    """Calibration method of an INT8 candidate."""
    size_bytes: int = 0
    nodes: int = 0
    gates: tuple[GateResult, ...] = ()
    share: PrecisionShare | None = None
    speed: tuple[SpeedResult, ...] = ()
    measured_on: str | None = None
    """The CPU that was timed."""
    peak_memory_bytes: int | None = None
    chosen: bool = False
    refused: str | None = None
    """Why it may not serve, in words; unset where it may."""


class CandidateRow(ContractModel):
    """One line of the table that people compare precisions by; the whole candidate is in the full report.

    Attributes:
        metrics: values of the goals that were asked for.
        p50_ms, p99_ms: of one sample at a time.
        per_second: samples at the largest batch that was timed.
        measured_on: the CPU that was timed.
    """

    precision: Precision
    method: str | None = None
    size_bytes: int = 0
    nodes: int = 0
    metrics: dict[str, float] = Field(default={})
    p50_ms: float | None = None
    p99_ms: float | None = None
    per_second: float | None = None
    measured_on: str | None = None
    peak_memory_bytes: int | None = None
    chosen: bool = False
    refused: str | None = None


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


class ExportInfo(ContractModel):
    """One export of the artifact and where it lies.

    Attributes:
        image: where it was published; unset where the summary has no room for it.
        difference: largest difference of any output from the artifact's, over the largest value of that output.
        runtime: what ran the export to measure that, with its version.
    """

    format: ExportFormat
    image: str | None = None
    digest: Digest
    size_bytes: int
    difference: float
    runtime: str


class EngineInfo(ContractModel):
    """What a build Job found and measured on its device.

    Attributes:
        build_key: the operator's key of this answer; the artifact's own key is the engine's.
        driver: version of CUDA that the driver can run; recorded, not part of any key.
        share: of layers and of compute in the promised precision, from TensorRT's inspector.
        p50_ms, p99_ms: of one sample at a time, copies to and from the device included.
        per_second: samples at the largest batch that was timed.
        device_memory_bytes: the device's memory that loading and running the engine took.
    """

    build_key: str
    target: EngineTarget
    driver: str
    share: PrecisionShare
    p50_ms: float
    p99_ms: float
    per_second: float
    device_memory_bytes: int


class Resolved(ContractModel):
    """What a Job has found out about its request: the digests of what it read, and the verdict's key by them.

    Attributes:
        asked_gate_key: the key of the same verdict with the dataset as the request names it, where that is no digest.
    """

    source_digest: Digest | None = None
    calibration_digest: Digest | None = None
    dataset_digest: Digest | None = None
    gate_key: str | None = None
    asked_gate_key: str | None = None


class ReportSummary(Resolved):
    """The termination message of a prepare or build Job."""

    format_version: Literal[1] = FORMAT_VERSION
    result: Literal["Succeeded", "Failed"]
    artifact: ArtifactInfo | None = None
    gates: tuple[GateResult, ...] = ()
    candidates: tuple[CandidateRow, ...] = ()
    exports: tuple[ExportInfo, ...] = ()
    engine: EngineInfo | None = None
    """Set by a build Job: the artifact is then the engine."""
    cached: bool = False
    failure: Failure | None = None
