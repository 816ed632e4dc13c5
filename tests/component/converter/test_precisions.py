"""Whole Jobs that are asked for another precision, or for the best of several, with the trained models."""

import json
from pathlib import Path
from typing import Any

import pytest

from component.converter.conftest import Finished, JobRunner
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.precision import Precision
from visionmodel_contract.report import CandidateRow

pytestmark = [pytest.mark.component, pytest.mark.timeout(300)]

LOSS = 0.01
MAP50 = {"name": "map50", "goal": "max-degradation", "value": LOSS}
AT_LEAST_SOME = {"name": "map50", "goal": "threshold", "value": 0.05}


def run(job: JobRunner, trained: Path, options: dict[str, Any], **changes: Any) -> Finished:
    """Convert the good detector; calibration and evaluation data are those that were made with it."""
    parity = {"datasetUri": f"pvc://{trained.name}/shapes/evaluation.npz", "metrics": [MAP50]}
    calibration = {"datasetUri": f"pvc://{trained.name}/shapes/calibration.npz"}
    request = job.request(
        f"pvc://{trained.name}/shapes/v2/model.onnx", options={"calibration": calibration, **options}, parity=parity
    )
    request["gates"] |= changes.pop("gates", {})
    work = changes.pop("work", "work")
    return job.with_environment(VISIONMODEL_PVC_ROOT=str(trained.parent)).run({**request, **changes}, work=work)


def report_of(job: JobRunner, done: Finished, folder: Path) -> dict[str, Any]:
    """Return the report inside the published artifact."""
    assert done.summary.artifact is not None, done.stderr
    assert job.fetch_artifact(done.summary.artifact.image, folder) == 0
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def rows(done: Finished) -> dict[Precision, CandidateRow]:
    return {row.precision: row for row in done.summary.candidates}


def test_int8_is_made_proven_and_reported(job: JobRunner, trained: Path, tmp_path: Path) -> None:
    done = run(job, trained, {"precisions": ["int8"]})
    assert done.code == 0, done.stderr
    (gate,) = done.summary.gates
    assert gate.source_value is not None
    assert gate.source_value - gate.value <= LOSS
    report = report_of(job, done, tmp_path / "artifact")
    assert report["precision"] == "int8"
    (candidate,) = report["candidates"]
    assert candidate["share"]["compute"] >= 0.8
    assert candidate["share"]["runtime"].startswith("onnxruntime ")
    assert candidate["method"] in ("MinMax", "Percentile", "Entropy")
    losses = [entry["loss"] for entry in report["sensitivity"]]
    assert losses == sorted(losses, reverse=True) != []
    assert {case["outcome"] for case in report["edgeCases"]} == {"answered"}
    assert done.summary.candidates == ()


def test_best_of_several_is_chosen_by_its_speed(job: JobRunner, trained: Path, tmp_path: Path) -> None:
    speed = {"threads": 1, "maxBatch": 8}
    done = run(job, trained, {"precisions": ["fp32", "int8"]}, gates={"speed": speed})
    assert done.code == 0, done.stderr
    table = rows(done)
    assert list(table) == [Precision.FP32, Precision.INT8]
    assert [row.chosen for row in table.values()].count(True) == 1
    # Which one wins is the machine's: the choice has to follow from the numbers that are reported.
    chosen = next(row for row in table.values() if row.chosen)
    other = next(row for row in table.values() if not row.chosen)
    assert other.refused
    assert "faster" in other.refused or "slower" in other.refused
    assert all(row.p50_ms and row.p99_ms and row.per_second and row.peak_memory_bytes for row in table.values())
    assert table[Precision.INT8].size_bytes < table[Precision.FP32].size_bytes / 2
    report = report_of(job, done, tmp_path / "artifact")
    assert report["precision"] == chosen.precision
    assert [len(candidate["speed"]) for candidate in report["candidates"]] == [2, 2]
    assert [line["stage"] for line in done.progress] == [
        *("Fetch", "Fetch", "Fetch", "Lookup", "Check", "Simplify"),
        *("Parity", "Parity", "Speed", "Gate", "Publish", "Done"),
    ]


def test_fp16_is_refused_where_the_cpu_would_compute_fp32(job: JobRunner, trained: Path) -> None:
    done = run(job, trained, {"precisions": ["fp16"]})
    assert done.summary.failure is not None
    assert (done.code, done.summary.failure.reason) == (ExitCode.PRECISION_NOT_REACHED, "PrecisionNotReached")
    assert "ask for int8 or fp32" in done.summary.failure.message
    assert job.tags() == []


def test_fp16_for_accelerators_is_made_and_left_unproven(job: JobRunner, trained: Path, tmp_path: Path) -> None:
    done = run(job, trained, {"precisions": ["fp16"]}, gates={"accelerated": True})
    assert done.code == 0, done.stderr
    report = report_of(job, done, tmp_path / "artifact")
    assert "share" not in report["candidates"][0]
    assert report["sizeBytes"] < 200_000


def test_limit_of_time_that_nothing_meets(job: JobRunner, trained: Path) -> None:
    speed = {"threads": 1, "maxBatch": 1, "latency": [{"percentile": "p50", "maxMs": 0.0001}]}
    done = run(job, trained, {"precisions": ["fp32", "int8"]}, gates={"speed": speed})
    assert done.summary.failure is not None
    assert (done.code, done.summary.failure.reason) == (ExitCode.GATE_FAILED, "GateFailed")
    assert "fp32: p50Ms[batch=1]" in done.summary.failure.message
    assert "int8: p50Ms[batch=1]" in done.summary.failure.message
    assert job.tags() == []


def test_limit_of_time_on_accelerators_cannot_be_measured_here(job: JobRunner, trained: Path) -> None:
    speed = {"latency": [{"maxMs": 100.0}]}
    done = run(job, trained, {"precisions": ["fp32"]}, gates={"speed": speed, "accelerated": True})
    assert done.summary.failure is not None
    assert (done.code, done.summary.failure.reason) == (ExitCode.BAD_REQUEST, "BadRequest")
    assert "accelerators" in done.summary.failure.message


def test_int8_without_samples_says_what_is_missing(job: JobRunner, trained: Path) -> None:
    done = run(job, trained, {"precisions": ["int8"], "calibration": None})
    assert done.summary.failure is not None
    assert (done.code, done.summary.failure.reason) == (ExitCode.BAD_REQUEST, "CalibrationMissing")
    assert "conversion.calibration.storageUri" in done.summary.failure.message


def test_table_of_several_stays_whole_when_the_choice_is_judged_again(job: JobRunner, trained: Path) -> None:
    """Changed goals would be another key here (ADR 0012); who does not hold the verdict has it judged again."""
    speed = {"threads": 1, "maxBatch": 1}
    options = {"precisions": ["fp32", "int8"]}
    first = run(job, trained, options, gates={"speed": speed})
    again = run(job, trained, options, gates={"speed": speed}, revision="9876543210")
    assert again.code == 0, again.stderr
    assert (again.summary.cached, again.summary.artifact) == (True, first.summary.artifact)
    before, after = rows(first), rows(again)
    chosen = next(row for row in after.values() if row.chosen)
    assert {one: row for one, row in after.items() if not row.chosen} == {
        one: row for one, row in before.items() if not row.chosen
    }
    assert (chosen.precision, chosen.method) == (before[chosen.precision].precision, before[chosen.precision].method)
    assert len(after) == 2
    assert chosen.p50_ms is not None


def test_changed_goals_judge_the_published_artifact_again(job: JobRunner, trained: Path) -> None:
    first = run(job, trained, {"precisions": ["fp32"]})
    assert first.code == 0, first.stderr
    request = {"passedGateKeys": [first.summary.gate_key], "revision": "9876543210"}
    speed = {"threads": 1, "maxBatch": 1, "latency": [{"percentile": "p50", "maxMs": 10_000.0}]}
    again = run(job, trained, {"precisions": ["fp32"]}, gates={"speed": speed}, **request)
    assert again.code == 0, again.stderr
    assert (again.summary.cached, again.summary.artifact) == (True, first.summary.artifact)
    assert [gate.metric for gate in again.summary.gates] == ["map50", "p50Ms[batch=1]"]
    assert "Publish" not in [line["stage"] for line in again.progress]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_pruned_in_one_shot_is_sparse_and_judged(job: JobRunner, trained: Path, tmp_path: Path, precision: str) -> None:
    """Without training after it the small detector is no use any more: the goal says so, unless it asks for less."""
    options = {"precisions": [precision], "pruning": "2:4"}
    spoilt = run(job, trained, options)
    assert (spoilt.code, job.tags()) == (ExitCode.GATE_FAILED, [])
    assert spoilt.summary.failure is not None
    assert "prune while training" in spoilt.summary.failure.message
    modest = {"parity": {"datasetUri": f"pvc://{trained.name}/shapes/evaluation.npz", "metrics": [AT_LEAST_SOME]}}
    done = run(job, trained, options, gates=modest, work="modest")
    assert done.code == 0, done.stderr
    assert "Prune" in [line["stage"] for line in done.progress]
    report = report_of(job, done, tmp_path / "artifact")
    assert report["sparseShare"] > 0.9
    assert report["pruning"] == "2:4"
