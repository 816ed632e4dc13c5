"""The shared memory of artifacts: reports without verdicts, verdicts by gate, nothing of others lost."""

import json
from typing import Any

import pytest

from unit.core import builders
from unit.render.samples import artifact, snapshot
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.precision import Goal
from visionmodel_contract.report import Failure, GateResult, ReportSummary
from visionmodel_operator.core.actions import ForgetFailure, RecordArtifact
from visionmodel_operator.core.operations import Apply, Delete
from visionmodel_operator.core.snapshot import KnownArtifact, Snapshot
from visionmodel_operator.render import operations

KEY = artifact().key
ARTIFACT_WIRE = json.loads(artifact().to_json())


def gate(passed: bool = True) -> GateResult:
    return GateResult(metric="cosine", goal=Goal.THRESHOLD, limit=0.99, value=1.0, passed=passed, samples=32)


GATE_WIRE = json.loads(gate().to_json())
MISSED = Failure(reason="ParityFailed", message="cosine is 0.5", exit_code=ExitCode.PARITY_FAILED)
INVALID = Failure(reason="NotOnnx", message="an HTML page", exit_code=ExitCode.INVALID_MODEL)
SUCCEEDED = ReportSummary(result="Succeeded", artifact=artifact(), gate_key="g1", gates=(gate(),))


def data_of(summary: ReportSummary, gate_key: str, known: KnownArtifact | None = None) -> dict[str, Any]:
    picture: Snapshot = snapshot(artifacts={KEY: known} if known else {})
    (operation,) = operations(RecordArtifact(KEY, summary, gate_key), picture)
    assert isinstance(operation, Apply)
    return {name: json.loads(text) for name, text in operation.manifest["data"].items()}


REPORT = {"formatVersion": 1, "result": "Succeeded", "artifact": ARTIFACT_WIRE, "cached": False}


@pytest.mark.parametrize(
    ("summary", "gate_key", "known", "expected"),
    [
        pytest.param(
            SUCCEEDED, "g1", None, {"summary.json": REPORT, "gate-g1.json": {"gates": [GATE_WIRE]}}, id="first success"
        ),
        pytest.param(
            SUCCEEDED,
            "g2",
            KnownArtifact(KEY, SUCCEEDED, {"g1": (), "g3": ()}, {"g3": MISSED}),
            {
                "summary.json": REPORT,
                "gate-g1.json": {"gates": []},
                "gate-g2.json": {"gates": [GATE_WIRE]},
                "gate-g3.json": {"gates": [], "failure": json.loads(MISSED.to_json())},
            },
            id="verdicts of other gates stay",
        ),
        pytest.param(
            ReportSummary(result="Failed", failure=MISSED, gates=(gate(passed=False),)),
            "g2",
            KnownArtifact(KEY, SUCCEEDED, {"g1": (gate(),)}),
            {
                "summary.json": REPORT,
                "gate-g1.json": {"gates": [GATE_WIRE]},
                "gate-g2.json": {
                    "gates": [json.loads(gate(passed=False).to_json())],
                    "failure": json.loads(MISSED.to_json()),
                },
            },
            id="a missed gate leaves the artifact",
        ),
        pytest.param(
            ReportSummary(result="Failed", failure=MISSED),
            "g1",
            None,
            {
                "summary.json": {"formatVersion": 1, "result": "Failed", "cached": False},
                "gate-g1.json": {"gates": [], "failure": json.loads(MISSED.to_json())},
            },
            id="a missed gate before anything was published",
        ),
        pytest.param(
            SUCCEEDED,
            "g1",
            KnownArtifact(KEY, SUCCEEDED, {"g1": ()}, {"g1": MISSED}),
            {"summary.json": REPORT, "gate-g1.json": {"gates": [GATE_WIRE]}},
            id="a later success clears the failure",
        ),
        pytest.param(
            ReportSummary(result="Failed", failure=INVALID),
            "g1",
            None,
            {
                "summary.json": {
                    "formatVersion": 1,
                    "result": "Failed",
                    "cached": False,
                    "failure": json.loads(INVALID.to_json()),
                }
            },
            id="content that can never be converted",
        ),
    ],
)
def test_record(summary: ReportSummary, gate_key: str, known: KnownArtifact | None, expected: dict[str, Any]) -> None:
    assert data_of(summary, gate_key, known) == expected


def test_exports_of_the_same_file_are_kept() -> None:
    ort, openvino = builders.export("ORT"), builders.export("OpenVINO")
    newer = builders.export("ORT", digest="sha256:" + "f" * 64)
    known = KnownArtifact(KEY, SUCCEEDED.model_copy(update={"exports": (ort, openvino)}), {"g1": ()})
    after = data_of(SUCCEEDED.model_copy(update={"exports": (newer,)}), "g2", known)["summary.json"]
    assert after["exports"] == [json.loads(newer.to_json()), json.loads(openvino.to_json())]
    other = artifact(model_digest="sha256:" + "e" * 64)
    replaced = data_of(SUCCEEDED.model_copy(update={"artifact": other}), "g2", known)["summary.json"]
    assert "exports" not in replaced


def test_verdicts_over_other_bytes_are_forgotten() -> None:
    known = KnownArtifact(KEY, SUCCEEDED, {"g1": (gate(),), "g2": (gate(),), "g3": ()}, {"g3": MISSED})
    other = SUCCEEDED.model_copy(update={"artifact": artifact(model_digest="sha256:" + "e" * 64)})
    assert set(data_of(other, "g2", known)) == {"summary.json", "gate-g2.json"}
    assert set(data_of(SUCCEEDED, "g2", known)) == {"summary.json", "gate-g1.json", "gate-g2.json", "gate-g3.json"}


def test_a_gate_that_was_missed_before_anything_was_published_stays_missed() -> None:
    known = KnownArtifact(KEY, ReportSummary(result="Failed"), {"g1": ()}, {"g1": MISSED})
    assert data_of(SUCCEEDED, "g2", known)["gate-g1.json"]["failure"]["reason"] == "ParityFailed"


def test_an_export_that_failed_leaves_the_artifact() -> None:
    missed = Failure(reason="EdgeExportFailed", message="export ORT: no", exit_code=ExitCode.EXPORT_FAILED)
    data = data_of(ReportSummary(result="Failed", failure=missed), "g2", KnownArtifact(KEY, SUCCEEDED, {"g1": ()}))
    assert data["summary.json"] == REPORT
    assert data["gate-g2.json"]["failure"]["reason"] == "EdgeExportFailed"
    assert "failure" not in data["gate-g1.json"]


def test_nobody_owns_what_is_shared() -> None:
    (operation,) = operations(RecordArtifact(KEY, SUCCEEDED, "g1"), snapshot())
    assert isinstance(operation, Apply)
    metadata = operation.manifest["metadata"]
    assert metadata["name"] == f"artifact-{KEY}"
    assert "ownerReferences" not in metadata
    assert metadata["labels"]["visionmodel.dev/artifact-key"] == KEY
    assert "visionmodel.dev/name" not in metadata["labels"]


def test_a_failed_conversion_is_forgotten_as_a_whole() -> None:
    known = KnownArtifact(KEY, ReportSummary(result="Failed", failure=INVALID))
    found = operations(ForgetFailure(KEY, "g1"), snapshot(artifacts={KEY: known}))
    assert found == (Delete("v1", "ConfigMap", f"artifact-{KEY}"),)


@pytest.mark.parametrize(
    ("report", "wire"),
    [
        pytest.param(SUCCEEDED, REPORT, id="published"),
        pytest.param(
            ReportSummary(result="Failed"), {"formatVersion": 1, "result": "Failed", "cached": False}, id="unpublished"
        ),
    ],
)
def test_a_missed_gate_is_forgotten_alone(report: ReportSummary, wire: dict[str, Any]) -> None:
    known = KnownArtifact(KEY, report, {"g1": (gate(passed=False),), "g2": (gate(),)}, {"g1": MISSED, "g3": MISSED})
    (operation,) = operations(ForgetFailure(KEY, "g1"), snapshot(artifacts={KEY: known}))
    assert isinstance(operation, Apply)
    assert {name: json.loads(text) for name, text in operation.manifest["data"].items()} == {
        "summary.json": wire,
        "gate-g2.json": {"gates": [GATE_WIRE]},
        "gate-g3.json": {"gates": [], "failure": json.loads(MISSED.to_json())},
    }
