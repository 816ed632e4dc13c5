"""The summary fits into a termination message whatever went into it, and never loses what is served."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_contract.precision import ExportFormat, Goal, Precision
from visionmodel_contract.report import (
    SUMMARY_LIMIT_BYTES,
    ArtifactInfo,
    ExportInfo,
    Failure,
    GateResult,
    ReportSummary,
    TensorSpec,
)
from visionmodel_converter.graph.onnx_model import MAX_SPEC_JSON_BYTES
from visionmodel_converter.report import termination_message

DIGEST = "sha256:" + "a" * 64


def artifact(inputs: int = 1) -> ArtifactInfo:
    return ArtifactInfo(
        key="k" * 32,
        image="registry.example.com:5000/team/artifacts@" + DIGEST,
        digest=DIGEST,
        model_digest=DIGEST,
        report_digest=DIGEST,
        precision=Precision.FP32,
        size_bytes=2**31,
        nodes_before=12345,
        nodes_after=1234,
        inputs=tuple(TensorSpec(name=f"input_{i}", dtype="float32", dims=(-1, 3, 640, 640)) for i in range(inputs)),
        outputs=(TensorSpec(name="y", dtype="float32", dims=(-1, 1000)),),
        opset=17,
    )


def gate(value: float = 0.5, *, passed: bool = True) -> GateResult:
    return GateResult(metric="top1", goal=Goal.THRESHOLD, limit=0.4, value=value, passed=passed, samples=10)


def failed(message: str, gates: tuple[GateResult, ...] = ()) -> ReportSummary:
    failure = Failure(reason="GateFailed", message=message, exit_code=88)
    return ReportSummary(result="Failed", source_digest=DIGEST, gate_key="g" * 32, gates=gates, failure=failure)


@given(
    st.text(max_size=5000),
    st.integers(0, 64),
    st.integers(0, 64),
    st.sampled_from([0.5, math.nan, math.inf, -math.inf]),
)
def test_any_summary_fits_and_can_be_read_back(message: str, passed: int, missed: int, value: float) -> None:
    gates = tuple(gate() for _ in range(passed)) + tuple(gate(value, passed=False) for _ in range(missed))
    text = termination_message(failed(message, gates))
    back = ReportSummary.model_validate_json(text)
    assert len(text.encode()) <= SUMMARY_LIMIT_BYTES
    assert back.failure is not None
    assert (back.failure.reason, back.failure.exit_code, back.source_digest) == ("GateFailed", 88, DIGEST)
    assert back.failure.message[:40] == message[:40].rstrip() or back.failure.message[:40] == message[:40]


def test_small_summary_is_left_alone() -> None:
    summary = ReportSummary(result="Succeeded", artifact=artifact(), gates=(gate(),), gate_key="g" * 32)
    assert ReportSummary.model_validate_json(termination_message(summary)) == summary


def test_artifact_survives_many_gates() -> None:
    specs = artifact(inputs=19)
    assert sum(len(spec.to_json()) + 1 for spec in specs.inputs + specs.outputs) <= MAX_SPEC_JSON_BYTES
    summary = ReportSummary(result="Succeeded", artifact=specs, gates=tuple(gate() for _ in range(64)))
    back = ReportSummary.model_validate_json(termination_message(summary))
    assert back.artifact == specs
    assert back.gates == ()


def test_digests_of_exports_survive_beside_the_largest_artifact() -> None:
    specs = artifact(inputs=19)
    exports = tuple(
        ExportInfo(
            format=wanted,
            image=f"registry.example.com:5000/{'team/' * 40}artifacts@{DIGEST}",
            digest=DIGEST,
            size_bytes=2**31,
            difference=1.2345678901234567e-06,
            runtime="onnxruntime 1.31.1",
        )
        for wanted in ExportFormat
    )
    summary = ReportSummary(result="Succeeded", artifact=specs, exports=exports, gates=(gate(),))
    back = ReportSummary.model_validate_json(termination_message(summary))
    assert back.artifact == specs
    assert [(export.format, export.digest, export.image) for export in back.exports] == [
        (wanted, DIGEST, None) for wanted in ExportFormat
    ]


def test_missed_gates_outlive_passed_ones() -> None:
    gates = (*[gate()] * 40, gate(0.1, passed=False))
    assert ReportSummary.model_validate_json(termination_message(failed("no", gates))).gates == (gates[-1],)


def test_long_message_says_that_it_was_shortened() -> None:
    message = json.loads(termination_message(failed("x" * 4000)))["failure"]["message"]
    assert message.startswith("x" * 400 + "…")


def test_what_cannot_fit_is_a_defect() -> None:
    summary = ReportSummary(result="Succeeded", artifact=artifact(inputs=100))
    with pytest.raises(ValueError, match="cannot be brought below"):
        termination_message(summary)
