"""A prepare Job as a process, against a real registry, a real S3 server and real TLS."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from unit.converter import tiny_models
from unit.converter.tiny_models import npz
from visionmodel_contract.conversion import ConversionOptions
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.keys import prepare_key
from visionmodel_contract.precision import Goal
from visionmodel_contract.report import GateResult, TensorSpec
from visionmodel_converter.store.entries import entry_of

from .conftest import JobRunner, RegistryServer, S3Server, TlsServer, start_registry

Put = Callable[[str, bytes], str]
CLASSIFIER = tiny_models.to_bytes(tiny_models.classifier())
PUSH_SECRET_BCRYPT = "$2b$04$j6QHm8xsDucQghGk2oQ18uylEMOX.LO0DRouPvQANLzhp8Z9Jri.C"
"""bcrypt of `push-secret`, four rounds, made for this test."""
DIGEST = "sha256:" + hashlib.sha256(CLASSIFIER).hexdigest()


def labelled_digits(samples: int = 20, *, wrong: int = 0) -> bytes:
    """Samples with the classifier's own answer as the label, the first `wrong` of them mislabelled."""
    x = np.random.default_rng(5).random((samples, 4), np.float32)
    label = np.argmax(x @ tiny_models.weights() + np.arange(3, dtype=np.float32) / 10, axis=1).astype(np.int64)
    label[:wrong] = (label[:wrong] + 1) % 3
    return npz(input_x=x, label=label)


def test_publishes_an_image_that_runs_like_its_source(s3_job: JobRunner, s3: S3Server, tmp_path: Path) -> None:
    uri = s3.put("models", "shop/model.onnx", CLASSIFIER)
    done = s3_job.run(s3_job.request(uri, source={"digest": DIGEST}))

    key = prepare_key(DIGEST, ConversionOptions())
    artifact = done.summary.artifact
    assert (done.code, done.summary.result, done.summary.source_digest) == (0, "Succeeded", DIGEST), done.stderr
    assert artifact is not None
    assert s3_job.tags() == [f"prepare-{key}"]
    assert artifact.image == f"{s3_job.registry.host}/{s3_job.repository}@{artifact.digest}"
    assert artifact.inputs == (TensorSpec(name="x", dtype="float32", dims=(-1, 4)),)
    assert artifact.outputs == (TensorSpec(name="logits", dtype="float32", dims=(-1, 3)),)
    assert artifact.nodes_after < artifact.nodes_before
    assert [gate.passed for gate in done.summary.gates] == [True]
    assert done.summary.cached is False

    stages = [line["stage"] for line in done.progress]
    assert stages == ["Fetch", "Lookup", "Check", "Simplify", "Parity", "Gate", "Publish", "Done"]
    assert [line["progress"] for line in done.progress] == sorted(line["progress"] for line in done.progress)

    out = tmp_path / "version"
    assert s3_job.fetch_artifact(artifact.image, out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["model.onnx", "provenance.json", "report.json"]
    model = (out / "model.onnx").read_bytes()
    assert "sha256:" + hashlib.sha256(model).hexdigest() == artifact.model_digest
    assert "sha256:" + hashlib.sha256((out / "report.json").read_bytes()).hexdigest() == artifact.report_digest
    x = np.ones((2, 4), np.float32)
    (expected,) = onnxruntime.InferenceSession(CLASSIFIER).run(None, {"x": x})
    (actual,) = onnxruntime.InferenceSession(model).run(None, {"x": x})
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_image_is_a_real_one(claim_job: tuple[JobRunner, Put]) -> None:
    """An empty config or a missing diff_id mounts as an empty folder without an error."""
    job, put = claim_job
    artifact = job.run(job.request(put("m.onnx", CLASSIFIER))).summary.artifact
    assert artifact is not None
    manifest = job.registry.manifest(job.repository, artifact.digest)
    config = job.registry._get(f"/v2/{job.repository}/blobs/{manifest['config']['digest']}")
    assert config["rootfs"] == {"type": "layers", "diff_ids": [manifest["layers"][0]["digest"]]}
    assert (config["os"], manifest["layers"][0]["mediaType"]) == ("linux", "application/vnd.oci.image.layer.v1.tar")


def test_provenance_names_source_versions_and_gates(claim_job: tuple[JobRunner, Put], tmp_path: Path) -> None:
    job, put = claim_job
    artifact = job.run(job.request(put("m.onnx", CLASSIFIER))).summary.artifact
    assert artifact is not None
    assert job.fetch_artifact(artifact.image, tmp_path / "v") == 0
    statement = json.loads((tmp_path / "v" / "provenance.json").read_text())
    definition = statement["predicate"]["buildDefinition"]
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"][0]["digest"]["sha256"] == artifact.model_digest.removeprefix("sha256:")
    assert definition["resolvedDependencies"][0] == {
        "uri": "pvc://models/m.onnx",
        "digest": {"sha256": DIGEST.removeprefix("sha256:")},
    }
    assert f"pkg:pypi/onnxruntime@{onnxruntime.__version__}" in [d["uri"] for d in definition["resolvedDependencies"]]
    assert definition["externalParameters"]["gates"][0]["metric"] == "maxRelativeError"
    assert definition["internalParameters"]["command"][1] == "prepare"


def test_same_key_in_two_registries_gives_the_same_image(
    claim_job: tuple[JobRunner, Put], registry: RegistryServer
) -> None:
    job, put = claim_job
    uri = put("m.onnx", CLASSIFIER)
    first = job.run(job.request(uri), work="work").summary.artifact
    elsewhere = {"repository": f"{registry.host}/{job.repository}-copy", "insecure": True}
    second = job.run({**job.request(uri), "publish": elsewhere}, work="work").summary.artifact
    assert first is not None
    assert second is not None
    assert (second.model_digest, second.digest) == (first.model_digest, first.digest)


def test_published_artifact_is_not_made_again(claim_job: tuple[JobRunner, Put]) -> None:
    job, put = claim_job
    request = job.request(put("m.onnx", CLASSIFIER))
    first = job.run(request)
    known = {**request, "passedGateKeys": [first.summary.gate_key]}
    again = job.run(known, work="again")
    assert [line["stage"] for line in again.progress] == ["Fetch", "Lookup", "Done"]
    assert (again.code, again.summary.cached, again.summary.artifact) == (0, True, first.summary.artifact)


def test_changed_goals_rerun_only_the_gates(claim_job: tuple[JobRunner, Put]) -> None:
    job, put = claim_job
    request = job.request(put("m.onnx", CLASSIFIER))
    first = job.run(request)
    dataset = put("eval.npz", labelled_digits(20, wrong=5))
    goal = {"name": "top1", "goal": "threshold", "value": 0.7}
    gates = {"parity": {"datasetUri": dataset, "metrics": [goal]}}
    judged = job.run({**request, "passedGateKeys": [first.summary.gate_key], "gates": gates}, work="judged")
    assert [line["stage"] for line in judged.progress] == [
        *("Fetch", "Fetch", "Lookup", "Check", "Parity", "Gate", "Done")
    ]
    assert judged.summary.artifact == first.summary.artifact
    assert judged.summary.gate_key != first.summary.gate_key
    assert judged.summary.gates == (
        GateResult(
            metric="top1",
            goal=Goal.THRESHOLD,
            limit=0.7,
            value=0.75,
            source_value=0.75,
            passed=True,
            samples=20,
        ),
    )


def test_detector_is_judged_by_map50(claim_job: tuple[JobRunner, Put]) -> None:
    """The graph passes its input through, so the dataset decides what it finds: here everything, exactly."""
    job, put = claim_job
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 40]], np.float32)
    x = np.concatenate([boxes.ravel(), [0.9, 0.0, 0.0, 0.8]]).astype(np.float32)
    dataset = npz(
        input_x=np.stack([x, x]),
        gt_boxes=np.stack([boxes, boxes]),
        gt_labels=np.array([[0, 1], [0, 1]], np.int64),
    )
    request = job.request(
        put("d.onnx", tiny_models.to_bytes(tiny_models.detector())),
        parity={
            "datasetUri": put("eval.npz", dataset),
            "metrics": [{"name": "map50", "goal": "max-degradation", "value": 0.01}],
        },
    )
    done = job.run(request)
    assert (done.code, done.summary.gates[0].value, done.summary.gates[0].source_value) == (0, 1.0, 1.0), done.stderr


def test_https_with_private_authority_and_token(job: JobRunner, tls_server: TlsServer) -> None:
    (job.source_secret / "ca.crt").write_bytes(tls_server.ca_pem)
    (job.source_secret / "token").write_text(tls_server.token)
    done = job.run(job.request(tls_server.put("private/m.onnx", CLASSIFIER) + "?X-Signature=secret"))
    assert (done.code, done.summary.source_digest) == (0, DIGEST), done.stderr
    assert "secret" not in json.dumps(done.progress) + done.summary.to_json()


def test_registry_that_wants_a_login(
    claim_job: tuple[JobRunner, Put],
    registry_binary: str,
    child_processes: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    job, put = claim_job
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "htpasswd").write_text(f"pusher:{PUSH_SECRET_BCRYPT}\n")
    host, _ = start_registry(
        folder,
        registry_binary,
        child_processes,
        f"auth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}\n",
    )
    request = {**job.request(put("m.onnx", CLASSIFIER)), "publish": {"repository": f"{host}/a/b", "insecure": True}}
    refused = job.run(request)
    assert refused.summary.failure is not None
    assert (refused.summary.failure.reason, refused.code) == ("RegistryForbidden", ExitCode.REGISTRY_UNAVAILABLE)

    login = {"auths": {host: {"username": "pusher", "password": "push-secret"}}}
    (job.registry_secret / ".dockerconfigjson").write_text(json.dumps(login))
    done = job.run(request, work="again")
    assert done.code == 0, done.stderr
    tags = RegistryServer(host, ("pusher", "push-secret")).tags("a/b")
    assert len([tag for tag in tags if entry_of(tag)]) == 1


def test_registry_outage_is_retryable(claim_job: tuple[JobRunner, Put]) -> None:
    job, put = claim_job
    request = job.request(put("m.onnx", CLASSIFIER))
    done = job.run({**request, "publish": {"repository": "127.0.0.1:9/none", "insecure": True}})
    assert done.summary.failure is not None
    assert (done.code, done.summary.failure.reason) == (ExitCode.REGISTRY_UNAVAILABLE, "RegistryUnavailable")
    assert done.summary.source_digest == DIGEST


@pytest.mark.parametrize("stage", ["Check", "Simplify", "Parity", "Publish"])
def test_killed_job_publishes_nothing_or_everything(claim_job: tuple[JobRunner, Put], stage: str) -> None:
    """Killed when a stage begins; a second Job then finds either nothing or a whole artifact and succeeds."""
    job, put = claim_job
    request = job.request(put("m.onnx", CLASSIFIER))
    path = job.folder / "killed.json"
    path.write_text(json.dumps(request))
    command = [sys.executable, "-m", "visionmodel_converter", "prepare", "--request", str(path)]
    command += ["--work", str(job.folder / "killed"), "--termination-message", str(job.folder / "killed.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=job.environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["stage"] == stage:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.read()
    assert process.returncode in (-signal.SIGKILL, 0)
    tags = job.tags()
    again = job.run(request, work="again")
    assert again.code == 0, again.stderr
    assert again.summary.cached is bool(tags)
    assert len(job.tags()) == 1


def test_sigterm_ends_the_job_with_its_own_code(claim_job: tuple[JobRunner, Put]) -> None:
    job, _ = claim_job
    fifo = job.folder / "request.json"
    os.mkfifo(fifo)  # reading the request waits for a writer that never comes
    command = [sys.executable, "-m", "visionmodel_converter", "prepare", "--request", str(fifo)]
    command += ["--work", str(job.folder / "w"), "--termination-message", str(job.folder / "t")]
    with subprocess.Popen(command, env=job.environment) as process:
        writer = os.open(fifo, os.O_WRONLY)  # returns once the Job has opened it
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.close(writer)
    assert process.returncode == 128 + signal.SIGTERM


def test_wide_request_still_leaves_a_small_summary(claim_job: tuple[JobRunner, Put]) -> None:
    job, put = claim_job
    goals = [{"name": "cosine", "goal": "threshold", "value": 0.5 + index / 1000} for index in range(60)]
    done = job.run(job.request(put("m.onnx", CLASSIFIER), parity={"metrics": goals}))
    assert done.code == 0, done.stderr
    assert done.summary.artifact is not None


@pytest.mark.parametrize(
    ("model", "samples", "shown"),
    [
        pytest.param(b"\0" * 1_000_000, 20, "pvc://models/m.onnx", id="model"),
        pytest.param(CLASSIFIER, 20_000, "pvc://models/eval.npz", id="dataset"),
    ],
)
def test_what_exceeds_the_scratch_space_is_refused_before_it_is_written(
    claim_job: tuple[JobRunner, Put], tmp_path: Path, model: bytes, samples: int, shown: str
) -> None:
    job, put = claim_job
    (tmp_path / "tmp").mkdir()
    limit = 400_000  # bytes
    job = job.with_environment(VISIONMODEL_STORAGE_LIMIT_BYTES=str(limit), TMPDIR=str(tmp_path / "tmp"))
    request = job.request(put("m.onnx", model), parity={"datasetUri": put("eval.npz", labelled_digits(samples))})
    done = job.run(request)
    failure = done.summary.failure
    assert failure is not None
    assert (failure.reason, done.code) == ("StorageExceeded", ExitCode.STORAGE_EXCEEDED), failure.message
    assert failure.message.startswith(f"{shown} would take more than the ")
    assert "391 KiB" in failure.message
    assert "jobResources.ephemeralStorage" in failure.message
    assert sum(path.stat().st_size for path in (tmp_path / "work").rglob("*") if path.is_file()) < limit
    assert job.tags() == []
