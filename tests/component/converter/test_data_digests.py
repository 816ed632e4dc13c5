"""Artifacts and verdicts are kept by what their data hold, wherever it lies and whatever it is called."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from unit.converter import tiny_models
from unit.converter.tiny_models import npz
from visionmodel_contract.exits import ExitCode

from .conftest import Finished, JobRunner

Claim = tuple[JobRunner, Callable[[str, bytes], str]]
CLASSIFIER = tiny_models.to_bytes(tiny_models.classifier())
TOP1 = {"name": "top1", "goal": "threshold", "value": 0.0}


def samples(seed: int) -> bytes:
    """Twenty samples with some label."""
    return npz(input_x=np.random.default_rng(seed).random((20, 4), np.float32), label=np.zeros(20, np.int64))


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def calibrated(claim: Claim, data: str, *, work: str, **calibration: Any) -> Finished:
    """Convert to FP32 with calibration data: they are judged by, and enter the key as they do for INT8."""
    job, put = claim
    options = {"calibration": {"datasetUri": data, **calibration}}
    return job.run_here(job.request(put("m.onnx", CLASSIFIER), options=options), work=work)


def judged(claim: Claim, data: str, *, work: str, passed: tuple[str | None, ...] = (), **parity: Any) -> Finished:
    job, put = claim
    gates = {"datasetUri": data, "metrics": [TOP1], **parity}
    return job.run_here(job.request(put("m.onnx", CLASSIFIER), parity=gates, passedGateKeys=passed), work=work)


def key_of(done: Finished) -> str:
    assert done.summary.artifact is not None, done.stderr
    return done.summary.artifact.key


def test_changed_calibration_data_under_one_uri_make_another_artifact(claim_job: Claim) -> None:
    uri = claim_job[1]("calibration.npz", samples(1))
    first = calibrated(claim_job, uri, work="first")
    claim_job[1]("calibration.npz", samples(2))
    second = calibrated(claim_job, uri, work="second")
    assert (second.code, second.summary.cached) == (0, False), second.stderr
    assert key_of(first) != key_of(second)
    assert [one.summary.calibration_digest for one in (first, second)] == [sha256(samples(1)), sha256(samples(2))]


def test_unpinned_calibration_data_are_read_and_then_the_artifact_is_found(claim_job: Claim) -> None:
    first = calibrated(claim_job, claim_job[1]("calibration.npz", samples(1)), work="first")
    job, put = claim_job
    options = {"calibration": {"datasetUri": put("moved.npz", samples(1))}}
    request = job.request(put("m.onnx", CLASSIFIER), options=options, passedGateKeys=[first.summary.gate_key])
    moved = job.run_here(request, work="moved")
    assert [line["stage"] for line in moved.progress] == ["Fetch", "Fetch", "Lookup", "Done"]
    assert moved.summary.cached is True
    assert moved.summary.artifact == first.summary.artifact


def test_pinned_calibration_data_are_not_read_where_the_artifact_is_there(claim_job: Claim) -> None:
    job, put = claim_job
    first = calibrated(claim_job, put("calibration.npz", samples(1)), work="first")
    calibration = {"datasetUri": "pvc://models/gone.npz", "digest": sha256(samples(1))}
    request = job.request(
        "pvc://models/m.onnx", options={"calibration": calibration}, passedGateKeys=[first.summary.gate_key]
    )
    found = job.run_here(request, work="found")
    assert found.code == 0, found.stderr
    assert [line["stage"] for line in found.progress] == ["Fetch", "Lookup", "Done"]
    assert found.summary.artifact == first.summary.artifact


def test_other_data_than_pinned_are_refused(claim_job: Claim) -> None:
    uri = claim_job[1]("calibration.npz", samples(1))
    done = calibrated(claim_job, uri, work="w", digest=sha256(samples(2)))
    assert done.summary.failure is not None
    assert (done.code, done.summary.failure.reason) == (ExitCode.DIGEST_MISMATCH, "DigestMismatch")
    assert uri in done.summary.failure.message
    assert sha256(samples(2)) in done.summary.failure.message
    assert claim_job[0].tags() == []


def test_changed_dataset_under_one_uri_is_judged_again(claim_job: Claim) -> None:
    uri = claim_job[1]("eval.npz", samples(1))
    first = judged(claim_job, uri, work="first")
    same = judged(claim_job, uri, work="same", passed=(first.summary.gate_key,))
    claim_job[1]("eval.npz", samples(2))
    changed = judged(claim_job, uri, work="changed", passed=(first.summary.gate_key,))
    assert key_of(first) == key_of(same) == key_of(changed)
    assert first.summary.gate_key == same.summary.gate_key != changed.summary.gate_key
    assert first.summary.asked_gate_key == changed.summary.asked_gate_key is not None
    assert [len(one.summary.gates) for one in (first, same, changed)] == [1, 0, 1]
    assert changed.summary.dataset_digest == sha256(samples(2))


def test_verdict_is_the_same_whether_the_digest_was_given_or_found(claim_job: Claim) -> None:
    uri = claim_job[1]("eval.npz", samples(1))
    found = judged(claim_job, uri, work="found")
    given = judged(claim_job, uri, work="given", datasetDigest=sha256(samples(1)))
    assert given.code == 0, given.stderr
    assert given.summary.gate_key == found.summary.gate_key
    assert given.summary.asked_gate_key is None
