"""The full report kept inside the artifact, and the summary that fits into a termination message."""

from typing import Literal

from pydantic import Field

from visionmodel_contract.build import EngineOptions, EngineTarget
from visionmodel_contract.conversion import FORMAT_VERSION, ContractModel, Digest
from visionmodel_contract.precision import ExportFormat, Precision, PruningPattern
from visionmodel_contract.report import (
    SUMMARY_LIMIT_BYTES,
    ArtifactInfo,
    CandidateResult,
    CandidateRow,
    Failure,
    GateResult,
    PrecisionShare,
    ReportSummary,
    Resolved,
    SpeedResult,
    TensorSpec,
)

SHORT_MESSAGE_CHARACTERS = 400
MAX_ROW_TEXT = 240
"""Three such reasons fit into the summary beside the artifact; the whole ones are in the report."""
ELLIPSIS = "… (shortened; the whole text is in the Job's log)"


class DataFinding(ContractModel):
    """Something about a dataset that makes a gate or a calibration worth less, or worthless."""

    check: str
    dataset: str
    severity: Literal["refuse", "warn"]
    message: str
    samples: tuple[str, ...] = ()
    """The first few that show it."""


class EdgeCaseResult(ContractModel):
    """One unusual input and what became of it: answered, refused as a client's fault, or failed."""

    name: str
    outcome: Literal["answered", "refused", "failed"]
    detail: str = ""


class NodeSensitivity(ContractModel):
    """What quantising one node alone does to the outputs: squared error over squared size, the worst output.

    `loss` is unset where an output is no longer finite, which is worst of all.
    """

    node: str
    operator: str
    loss: float | None = None


class TimingsReport(ContractModel):
    """What a build had of the timings of earlier builds on its device, and what it left to later ones.

    Attributes:
        taken_bytes: that TensorRT began with; 0 where it timed every kernel itself.
        left_bytes: with what this build has timed.
        trouble: why a cache was not used or not kept, in words.
    """

    taken_bytes: int
    left_bytes: int
    trouble: tuple[str, ...] = ()


class EngineReport(ContractModel):
    """What was built of an ONNX artifact, for what, and what was measured on the device.

    Attributes:
        prepare_key: of the artifact.
        model_digest: of its ONNX file.
        driver: version of CUDA that the driver can run.
        speed: copies to and from the device included.
        device_memory_bytes: that loading and running the engine took.
        timings: unset in reports of before they were carried from build to build.
    """

    prepare_key: str
    model_digest: Digest
    options: EngineOptions
    target: EngineTarget
    driver: str
    share: PrecisionShare
    speed: tuple[SpeedResult, ...]
    device_memory_bytes: int
    timings: TimingsReport | None = None


class FullReport(ContractModel):
    """`report.json`: what was made from what, and what was measured; holds no time and no host name.

    That of an engine is its ONNX artifact's, with the engine's own key, file, gates, data that judged it, and `engine`.
    """

    format_version: Literal[1] = FORMAT_VERSION
    key: str
    pipeline_version: int
    source_uri: str
    source_digest: Digest
    dataset_uri: str | None = None
    dataset_digest: Digest | None = None
    calibration_uri: str | None = None
    calibration_digest: Digest | None = None
    precision: Precision
    model_digest: Digest
    size_bytes: int
    opset: int
    parameters: int
    nodes_before: int
    nodes_after: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    simplification: str
    gates: tuple[GateResult, ...]
    agreement: dict[str, float]
    data: tuple[DataFinding, ...] = ()
    edge_cases: tuple[EdgeCaseResult, ...] = ()
    candidates: tuple[CandidateResult, ...] = ()
    """Every precision that was tried, the one that was published among them."""
    kept_fp32: tuple[str, ...] = ()
    """Nodes left in FP32, in the graph's order."""
    notes: tuple[str, ...] = ()
    sensitivity: tuple[NodeSensitivity, ...] = ()
    """The most sensitive nodes of an INT8 artifact, the worst first."""
    sparse_share: float = 0.0
    """Share of the weights, by count, that have the 2:4 pattern which sparse kernels need."""
    pruning: PruningPattern | None = None
    """What was done to the source's weights; unset where they are its own."""
    pictures: dict[Literal["worst.html", "worst.png"], Digest] = Field(default={})
    """Files beside this one that show the worst samples of the artifact, where its samples are images."""
    engine: EngineReport | None = None


class ExportRecord(ContractModel):
    """`export.json`: what an export was made of and how near to it its own runtime came; holds no time and no host."""

    format_version: Literal[1] = FORMAT_VERSION
    key: str
    format: ExportFormat
    model_digest: Digest
    """The ONNX file that it was made of."""
    files: dict[str, Digest]
    size_bytes: int
    difference: float
    samples: int
    runtime: str
    notes: tuple[str, ...] = ()


def row_of(candidate: CandidateResult) -> CandidateRow:
    """Return the line of the table that people compare precisions by."""
    by_batch = {result.batch: result for result in candidate.speed}
    single, largest = by_batch.get(1), by_batch[max(by_batch)] if by_batch else None
    return CandidateRow(
        precision=candidate.precision,
        method=candidate.method,
        size_bytes=candidate.size_bytes,
        nodes=candidate.nodes,
        metrics={gate.metric: gate.value for gate in candidate.gates if is_finite(gate) and "[" not in gate.metric},
        p50_ms=single.p50_ms if single else None,
        p99_ms=single.p99_ms if single else None,
        per_second=largest.per_second if largest else None,
        measured_on=candidate.measured_on,
        peak_memory_bytes=candidate.peak_memory_bytes,
        chosen=candidate.chosen,
        refused=candidate.refused and candidate.refused[:MAX_ROW_TEXT],
    )


def artifact_info(report: FullReport, *, image: str, digest: str, report_digest: str) -> ArtifactInfo:
    """Join the report with where it was published; `image` is pinned to `digest`."""
    return ArtifactInfo(
        key=report.key,
        image=image,
        digest=digest,
        model_digest=report.model_digest,
        report_digest=report_digest,
        precision=report.precision,
        size_bytes=report.size_bytes,
        nodes_before=report.nodes_before,
        nodes_after=report.nodes_after,
        inputs=report.inputs,
        outputs=report.outputs,
        opset=report.opset,
    )


def termination_message(summary: ReportSummary, limit: int = SUMMARY_LIMIT_BYTES) -> str:
    """Return the summary as JSON of at most `limit` bytes.

    What people read is shortened first (the failure's message), then passed gates go, then all gates, then the
    candidates, then where exports lie, which stand in the same store under their digests: artifact, tensors and digests
    are what the operator serves by and are never cut. Gates whose value is no finite number cannot travel as JSON
    numbers and are left to the message.
    """
    summary = summary.model_copy(update={"gates": tuple(gate for gate in summary.gates if is_finite(gate))})
    bare = _with_gates(summary.model_copy(update={"candidates": ()}), ())
    placeless = tuple(export.model_copy(update={"image": None}) for export in summary.exports)
    for attempt in (
        summary,
        _with_short_message(summary, SHORT_MESSAGE_CHARACTERS),
        _with_gates(summary, tuple(gate for gate in summary.gates if not gate.passed)[:8]),
        _with_gates(summary, ()),
        bare,
        bare.model_copy(update={"exports": placeless}),
        _with_short_message(bare.model_copy(update={"exports": placeless}), 80),
    ):
        text = attempt.to_json()
        if len(text.encode()) <= limit:
            return text
    raise ValueError(f"the summary cannot be brought below {limit} bytes")


def is_finite(gate: GateResult) -> bool:
    """Return whether a gate can travel as JSON, which has neither NaN nor infinity."""
    numbers = (gate.value, gate.limit, gate.source_value if gate.source_value is not None else 0.0)
    return all(abs(number) < float("inf") for number in numbers)


def _with_short_message(summary: ReportSummary, characters: int) -> ReportSummary:
    failure = summary.failure
    if failure is None or len(failure.message) <= characters:
        return summary
    short = failure.message[:characters].rstrip() + ELLIPSIS
    return summary.model_copy(update={"failure": failure.model_copy(update={"message": short})})


def _with_gates(summary: ReportSummary, gates: tuple[GateResult, ...]) -> ReportSummary:
    return _with_short_message(summary.model_copy(update={"gates": gates}), SHORT_MESSAGE_CHARACTERS)


def failed_summary(failure: Failure, *, resolved: Resolved, gates: tuple[GateResult, ...]) -> ReportSummary:
    """Return the summary of a conversion without a published result, with what was learned until then."""
    return ReportSummary(result="Failed", **resolved.model_dump(), gates=gates, failure=failure)
