"""Artifacts in real stores: the contract of all stores, and Jobs that publish into them and find it again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from contracts.artifact_stores import ArtifactStoreContract, folders, publish
from contracts.collected_entries import CollectionContract, collected
from contracts.store_kits import BucketKit, RegistryKit
from unit.converter import tiny_models
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.kept import KeptArtifacts
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.store.folder import USED

from .conftest import JobRunner, RegistryServer, S3Server, start_registry

__all__ = ["folders"]

Put = Callable[[str, bytes], str]
CLASSIFIER = tiny_models.to_bytes(tiny_models.classifier())
KINDS = ("s3", "pvc")


class TestRegistry(ArtifactStoreContract, CollectionContract):
    @pytest.fixture
    def kit(self, registry: RegistryServer) -> Iterator[RegistryKit]:
        def damage(digest: str) -> None:
            hexadecimal = digest.removeprefix("sha256:")
            path = registry.folder / "blobs/docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
            path.write_bytes(path.read_bytes()[:-1] + b"!")

        kit = RegistryKit(f"http://{registry.host}", httpx.HTTPTransport, damage, f"contract/{uuid4().hex}")
        yield kit
        kit.close()


class TestS3(ArtifactStoreContract, CollectionContract):
    @pytest.fixture
    def kit(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> BucketKit:
        kit = BucketKit(s3.store("models"), f"artifacts/{uuid4().hex}")
        kit.gated(monkeypatch)
        return kit


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, job: JobRunner, s3: S3Server) -> dict[str, object]:
    """Where a Job publishes: the wire form of its PublishTarget."""
    if request.param == "s3":
        s3.write_login(job.folder / "artifact-secret")
        return {"uri": f"s3://models/{job.repository}", "insecure": True}
    return {"uri": "pvc://artifacts/vision"}


def test_an_artifact_is_found_again(
    claim_job: tuple[JobRunner, Put], target: dict[str, object], tmp_path: Path
) -> None:
    job, put = claim_job
    request = {**job.request(put("m.onnx", CLASSIFIER)), "publish": target}
    first = job.run(request)
    artifact = first.summary.artifact
    assert artifact is not None, first.stderr
    assert artifact.image == f"{target['uri']}/prepare-{artifact.key}"
    assert (first.summary.cached, job.tags()) == (False, [])
    again = job.run({**request, "passedGateKeys": [first.summary.gate_key]}, work="again")
    assert [line["stage"] for line in again.progress] == ["Fetch", "Lookup", "Done"]
    assert (again.code, again.summary.cached, again.summary.artifact) == (0, True, artifact)
    if target["uri"] == "pvc://artifacts/vision":
        served = job.folder / "artifact-claim" / "vision" / f"prepare-{artifact.key}"
    else:
        served = tmp_path / "version"
        assert job.fetch_artifact(f"{artifact.image}@{artifact.digest}", served) == 0
        other = f"{artifact.image}@sha256:{'0' * 64}"
        assert job.fetch_artifact(other, tmp_path / "other") == ExitCode.REGISTRY_UNAVAILABLE
        assert list((tmp_path / "other").glob("*")) == []
    assert {path.name for path in served.iterdir()} >= {"model.onnx", "provenance.json", "report.json"}


def test_jobs_at_once_share_one_artifact(claim_job: tuple[JobRunner, Put], target: dict[str, object]) -> None:
    job, put = claim_job
    request = {**job.request(put("m.onnx", CLASSIFIER)), "publish": target}
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda name: job.run(request, work=name), ("one", "two")))
    first, second = (run.summary.artifact for run in done)
    assert first is not None, done[0].stderr
    assert first == second


def test_job_killed_while_it_publishes(claim_job: tuple[JobRunner, Put], target: dict[str, object]) -> None:
    job, put = claim_job
    request = {**job.request(put("m.onnx", CLASSIFIER)), "publish": target}
    (job.folder / "killed.json").write_text(json.dumps(request))
    command = [sys.executable, "-m", "visionmodel_converter", "prepare"]
    command += ["--request", str(job.folder / "killed.json"), "--work", str(job.folder / "killed")]
    command += ["--termination-message", str(job.folder / "killed.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=job.environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["stage"] == "Publish":
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.read()
    again = job.run(request, work="again")
    assert again.code == 0, again.stderr
    assert again.summary.artifact is not None


def test_refused_keys_are_told(claim_job: tuple[JobRunner, Put], s3: S3Server) -> None:
    job, put = claim_job
    s3.write_login(job.folder / "artifact-secret")
    (job.folder / "artifact-secret" / "AWS_SECRET_ACCESS_KEY").write_text("wrong")
    target = {"uri": "s3://models/refused", "insecure": True}
    done = job.run_here({**job.request(put("m.onnx", CLASSIFIER)), "publish": target})
    assert done.summary.failure is not None
    assert (done.summary.failure.reason, done.code) == ("StoreForbidden", ExitCode.REGISTRY_UNAVAILABLE)
    assert "artifacts.objectStorage.secret" in done.summary.failure.message


def collect(job: JobRunner, kept: KeptArtifacts, *words: str) -> subprocess.CompletedProcess[str]:
    path = job.folder / "kept.json"
    path.write_text(kept.to_json())
    command = [sys.executable, "-m", "visionmodel_converter", "collect", "--kept", str(path), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=job.environment)


def test_the_command_collects_what_is_old(claim_job: tuple[JobRunner, Put]) -> None:
    job, put = claim_job
    target = {"uri": "pvc://artifacts/vision"}
    artifact = job.run_here({**job.request(put("m.onnx", CLASSIFIER)), "publish": target}).summary.artifact
    assert artifact is not None
    folder = job.folder / "artifact-claim" / "vision" / f"prepare-{artifact.key}"
    nothing = KeptArtifacts(keys=frozenset(), listed_at=datetime.now(UTC))
    it = KeptArtifacts(keys=frozenset({artifact.key}), listed_at=datetime.now(UTC))
    young = collect(job, nothing, "--store", "pvc://artifacts/vision")
    assert (young.returncode, "1 kept, as it is young" in young.stdout, folder.is_dir()) == (0, True, True), (
        young.stderr
    )
    for path in (folder / USED, folder):
        os.utime(path, (0, 0))
    for kept, words, line in (
        (it, (), "1 kept, as it is needed"),
        (nothing, ("--dry-run",), f"prepare-{artifact.key}: removed"),
    ):
        done = collect(job, kept, "--store", "pvc://artifacts/vision", *words)
        assert (done.returncode, line in done.stdout, folder.is_dir()) == (0, True, True), done
    gone = collect(job, nothing, "--store", "pvc://artifacts/vision")
    assert (gone.returncode, "1 removed" in gone.stdout, folder.is_dir()) == (0, True, False), gone


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "cannot be read"), ('{"keys": []}', "listedAt"), ('{"keys":[],"listedAt":"2020-01-01T00:00:00Z"}', "anew")],
    ids=["empty", "no time", "old"],
)
def test_without_a_fresh_list_nothing_is_deleted(job: JobRunner, text: str, words: str) -> None:
    folder = job.folder / "store" / f"prepare-{'0' * 32}"
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    (job.folder / "kept.json").write_text(text)
    command = [sys.executable, "-m", "visionmodel_converter", "collect", "--kept", str(job.folder / "kept.json")]
    done = subprocess.run(
        [*command, "--store", str(folder.parent)], capture_output=True, text=True, check=False, env=job.environment
    )
    assert (done.returncode, folder.is_dir()) == (ExitCode.BAD_REQUEST, True)
    assert words in done.stderr


def test_a_registry_that_forbids_deletion_says_so(
    tmp_path: Path, registry_binary: str, child_processes: Callable[..., subprocess.Popen[bytes]]
) -> None:
    host, _ = start_registry(tmp_path, registry_binary, child_processes)
    kit = RegistryKit(f"http://{host}", httpx.HTTPTransport, lambda digest: None)
    publish(kit.store(), tmp_path / "work")
    before = kit.content()
    with pytest.raises(ConversionFailure, match="REGISTRY_STORAGE_DELETE_ENABLED") as refusal:
        collected(kit.store())
    assert refusal.value.reason is Reason.DELETION_REFUSED
    assert kit.content() == before
    kit.close()
