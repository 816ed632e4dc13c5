"""Forty-odd ways to bring something that must not be served: each has its own reason, words and remedy."""

import hashlib
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unit.converter import tiny_models
from unit.converter.formats import files
from unit.converter.gates.archives import image_task, picture, zip_bytes
from unit.converter.sources import hostile_archives
from unit.converter.tiny_models import npz
from visionmodel_contract.exits import ExitCode

from .conftest import JobRunner, S3Server, TlsServer

SCRIPT = files.zip_bytes(files.TORCHSCRIPT)
GOOD = tiny_models.to_bytes(tiny_models.classifier())
NONE = "0" * 64
PASSWORD_URI = "s3://key:s3cret@models/m.onnx"
X = np.random.default_rng(3).random((6, 4), np.float32)
LABEL = np.zeros(6, np.int64)
UNIT_BOXES = np.tile(np.array([0, 0, 1, 1], np.float32), (6, 1, 1))
TOP1 = {"name": "top1", "goal": "threshold", "value": 0.5}
PICTURES = tiny_models.to_bytes(tiny_models.of_pictures())
PICTURE_TASK = image_task(resize="Stretch").model_dump(mode="json", by_alias=True)
JPEG, OTHER_JPEG = (picture(color, (64, 64), "JPEG") for color in (60, 200))


def calibrated_by(name: str, **calibration: Any) -> dict[str, Any]:
    """Options that name calibration data of the claim."""
    return {"calibration": {"datasetUri": f"pvc://models/{name}", **calibration}}


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + NONE.encode()


@dataclass(frozen=True)
class Bad:
    """What is in the claim, what is asked, and how it must end; `says` must all be in the message."""

    name: str
    reason: str
    code: ExitCode
    says: tuple[str, ...]
    model: bytes = GOOD
    path: str = "m.onnx"
    packed: bytes | None = None
    """An archive that lies at `path`."""
    beside: dict[str, bytes] = field(default_factory=dict)
    """More files of the claim."""
    request: dict[str, Any] = field(default_factory=dict)
    dataset: bytes | None = None
    metrics: tuple[dict[str, Any], ...] = (TOP1,)


M, E = "pvc://models/m.onnx", ExitCode
CORPUS = [
    Bad("truncated", "NotOnnx", E.INVALID_MODEL, (M, "truncated", "upload it again"), GOOD[:-40]),
    Bad("html-page", "NotOnnx", E.INVALID_MODEL, (M, "HTML"), b"<!DOCTYPE html><h1>Sign in</h1>"),
    Bad("lfs-pointer", "NotOnnx", E.INVALID_MODEL, (M, "git lfs pull"), LFS),
    Bad("truncated-zip", "DamagedArchive", E.INVALID_MODEL, (M, "truncated"), b"PK\x03\x04" + b"\0" * 64),
    Bad("state-dict", "TrustNeeded", E.BAD_REQUEST, (M, "would not help", "torch.export"), files.STATE_DICT),
    Bad(
        "trusted-state-dict",
        "NoGraph",
        E.INVALID_MODEL,
        (M, "weights without a graph"),
        files.STATE_DICT,
        request={"source": {"trustPickle": True}},
    ),
    Bad("pickle-attack", "UnsafePickle", E.INVALID_MODEL, (M, "'posix.system'", "nothing of it was run"), files.ATTACK),
    Bad("untrusted-torchscript", "TrustNeeded", E.BAD_REQUEST, (M, "trustPickle: true"), SCRIPT),
    Bad(
        "torchscript-without-shapes",
        "InputShapesNeeded",
        E.BAD_REQUEST,
        (M, "spec.model.inputs"),
        SCRIPT,
        request={"source": {"trustPickle": True}},
    ),
    Bad("no-loader", "LoaderNotInstalled", E.LOADER_MISSING, (M, "converter.images.keras"), files.HDF5),
    Bad("saved-model-file", "DamagedArchive", E.INVALID_MODEL, (M, "without its variables"), b"\x08\x01\x12\x00"),
    Bad("zipped-pictures", "FormatMismatch", E.BAD_REQUEST, (M, "'a.jpg'"), files.zip_bytes({"a.jpg": b""})),
    Bad("random-bytes", "NotOnnx", E.INVALID_MODEL, (M,), np.random.default_rng(1).bytes(4096)),
    Bad("empty", "EmptySource", E.INVALID_MODEL, (M, "empty file", "upload it again"), b""),
    Bad(
        "wrong-digest",
        "DigestMismatch",
        E.DIGEST_MISMATCH,
        (M, hashlib.sha256(GOOD).hexdigest(), NONE, "set digest"),
        request={"source": {"digest": f"sha256:{NONE}"}},
    ),
    Bad("not-found", "SourceNotFound", E.SOURCE_NOT_FOUND, ("pvc://models/absent.onnx", "check"), path="absent.onnx"),
    Bad("claim-traversal", "UnsafePath", E.BAD_REQUEST, ("'..'",), path="../../secret/m.onnx"),
    Bad("claim-symlink", "UnsafePath", E.BAD_REQUEST, ("symbolic link", "name the real file"), path="link.onnx"),
    Bad("claim-linked-folder", "UnsafePath", E.BAD_REQUEST, ("symbolic link",), path="linked/m.onnx"),
    Bad("claim-folder", "UnsafePath", E.BAD_REQUEST, ("no regular file",), path="folder"),
    Bad(
        "future-opset",
        "UnsupportedOpset",
        E.UNSUPPORTED_MODEL,
        (M, "opset 27", "11 to 26", "opset_version="),
        tiny_models.to_bytes(tiny_models.classifier(opset=27)),
    ),
    Bad(
        "old-opset",
        "UnsupportedOpset",
        E.UNSUPPORTED_MODEL,
        (M, "opset 9"),
        tiny_models.to_bytes(tiny_models.classifier(opset=9)),
    ),
    Bad(
        "future-ir",
        "UnsupportedIRVersion",
        E.UNSUPPORTED_MODEL,
        (M, "IR version 14", "up to 13"),
        tiny_models.to_bytes(tiny_models.classifier(ir_version=14)),
    ),
    Bad(
        "custom-operator",
        "CustomOperator",
        E.UNSUPPORTED_MODEL,
        ("'act/swish'", "acme.ops::Swish", "standard ONNX"),
        tiny_models.to_bytes(tiny_models.with_custom_operator()),
    ),
    Bad(
        "nan-weights",
        "NonFiniteWeights",
        E.INVALID_MODEL,
        ("tensor 'w'", "1 NaN", "export an earlier"),
        tiny_models.to_bytes(tiny_models.with_nan_weights()),
    ),
    Bad(
        "external-data-traversal",
        "ExternalData",
        E.INVALID_MODEL,
        ("tensor 'w'", "../../etc/passwd", "single file"),
        tiny_models.to_bytes(tiny_models.with_external_data("../../etc/passwd")),
    ),
    Bad(
        "external-data-beyond-the-file",
        "ExternalDataShort",
        E.INVALID_MODEL,
        (M, "tensor 'w'", "bytes 0 to 48", "'weights.bin', which has 20", "of one export together"),
        tiny_models.to_bytes(tiny_models.with_external_data("weights.bin", length=48)),
        beside={"weights.bin": bytes(20)},
    ),
    Bad(
        "external-data-of-another-length",
        "ExternalData",
        E.INVALID_MODEL,
        (M, "tensor 'w'", "length of 1000000000", "need 48", "single file"),
        tiny_models.to_bytes(tiny_models.with_external_data("weights.bin", length=10**9)),
        beside={"weights.bin": bytes(48)},
    ),
    Bad(
        "tensor-declared-as-3-gb",
        "TensorSizeMismatch",
        E.INVALID_MODEL,
        (M, "tensor 'w'", "float [30000, 26844]", "takes 3221280000 bytes", "holds 16", "export it again"),
        tiny_models.to_bytes(tiny_models.with_declared_size(30_000, 26_844)),
    ),
    Bad(
        "cyclic-graph",
        "CyclicGraph",
        E.INVALID_MODEL,
        (M, "'first' -> 'second' -> 'first'", "unroll the recurrence"),
        tiny_models.to_bytes(tiny_models.with_cycle()),
    ),
    Bad(
        "zero-size-output",
        "ZeroSizeDimension",
        E.UNSUPPORTED_MODEL,
        ("output 'y'", "[-1, 0]", "real sizes"),
        tiny_models.to_bytes(tiny_models.with_zero_size_weights()),
    ),
    Bad(
        "zero-size-dimension",
        "ZeroSizeDimension",
        E.UNSUPPORTED_MODEL,
        ("input 'x'", "[-1, 0, 3]"),
        tiny_models.to_bytes(tiny_models.with_zero_size_dimension()),
    ),
    Bad(
        "static-batch",
        "StaticBatch",
        E.UNSUPPORTED_MODEL,
        ("'x'", "[1, 4]", "dynamic_axes"),
        tiny_models.to_bytes(tiny_models.classifier(batch=1)),
    ),
    Bad(
        "batch-lost",
        "StaticBatch",
        E.UNSUPPORTED_MODEL,
        ("output 'y'", "[4]", "batch"),
        tiny_models.to_bytes(tiny_models.with_batch_lost()),
    ),
    Bad(
        "dangling-input",
        "InvalidGraph",
        E.INVALID_MODEL,
        (M, "no_such_weight", "check_model"),
        tiny_models.to_bytes(tiny_models.with_dangling_input()),
    ),
    Bad(
        "nan-output",
        "ParityFailed",
        E.PARITY_FAILED,
        ("output 'y'", "NaN", "range of its inputs"),
        tiny_models.to_bytes(tiny_models.with_nan_output()),
    ),
    Bad(
        "gate-fails",
        "GateFailed",
        E.GATE_FAILED,
        ("top1 is", "over 6 samples", ">= 0.99", "nothing was published"),
        dataset=npz(input_x=X, label=np.array([2, 2, 2, 0, 0, 0], np.int64)),
        metrics=({"name": "top1", "goal": "threshold", "value": 0.99},),
    ),
    Bad(
        "agreement-goal-out-of-reach",
        "ParityFailed",
        E.PARITY_FAILED,
        ("maxAbsError is", "<= -1"),
        metrics=({"name": "maxAbsError", "goal": "threshold", "value": -1.0},),
    ),
    Bad(
        "dataset-with-pickle",
        "DatasetInvalid",
        E.DATASET_INVALID,
        ("pvc://models/eval.npz", "'label'", "Python objects"),
        dataset=npz(input_x=X, label=np.array([{"a": 1}] * 6, object)),
    ),
    Bad(
        "dataset-lacks-input",
        "DatasetInvalid",
        E.DATASET_INVALID,
        ("'input:x'", "missing"),
        dataset=npz(label=LABEL),
    ),
    Bad("dataset-lacks-label", "DatasetInvalid", E.DATASET_INVALID, ("'label'", "top1"), dataset=npz(input_x=X)),
    Bad(
        "dataset-nan",
        "DatasetInvalid",
        E.DATASET_INVALID,
        ("'input:x'", "NaN", "[2, 1]"),
        dataset=npz(input_x=np.where(np.arange(24).reshape(6, 4) == 9, np.nan, X).astype(np.float32), label=LABEL),
    ),
    Bad(
        "dataset-wrong-shape",
        "DatasetInvalid",
        E.DATASET_INVALID,
        ("'input:x'", "[6, 3]", "[-1, 4]"),
        dataset=npz(input_x=X[:, :3], label=LABEL),
    ),
    Bad(
        "dataset-empty",
        "NoSamples",
        E.DATASET_INVALID,
        ("'input:x'", "no samples"),
        dataset=npz(input_x=X[:0], label=LABEL[:0]),
    ),
    Bad(
        "corrupt-jpeg-among-the-samples",
        "UnreadableImages",
        E.DATASET_INVALID,
        ("pvc://models/images.zip", "1 of 3 images (33.3%)", "more than 5%", "first: b.jpg", "store them again"),
        PICTURES,
        request={"task": PICTURE_TASK, "options": calibrated_by("images.zip")},
        beside={"images.zip": zip_bytes({"a.jpg": JPEG, "b.jpg": JPEG[: len(JPEG) // 2], "c.jpg": OTHER_JPEG})},
    ),
    Bad(
        "no-calibration-images-in-the-archive",
        "NoSamples",
        E.DATASET_INVALID,
        ("pvc://models/images.zip", "no image among 0 file(s)", "pack JPEG"),
        PICTURES,
        request={"task": PICTURE_TASK, "options": calibrated_by("images.zip")},
        beside={"images.zip": zip_bytes({})},
    ),
    Bad(
        "no-calibration-images-in-the-folder",
        "NoSamples",
        E.DATASET_INVALID,
        ("calibration data", "pvc://models/folder", "empty folder", "put the files there"),
        PICTURES,
        request={"task": PICTURE_TASK, "options": calibrated_by("folder/")},
    ),
    Bad(
        "calibration-data-replaced",
        "DigestMismatch",
        E.DIGEST_MISMATCH,
        ("pvc://models/images.zip", f"sha256:{NONE}", "set digest"),
        PICTURES,
        request={"task": PICTURE_TASK, "options": calibrated_by("images.zip", digest=f"sha256:{NONE}")},
        beside={"images.zip": zip_bytes({"a.jpg": JPEG})},
    ),
    Bad("dataset-no-npz", "DatasetInvalid", E.DATASET_INVALID, ("eval.npz", "numpy.savez"), dataset=b"a,b\n1,2\n"),
    Bad(
        "unknown-metric",
        "UnknownMetric",
        E.BAD_REQUEST,
        ("'accuracy'", "top1", "map50"),
        metrics=({"name": "accuracy", "goal": "threshold", "value": 0.9},),
        dataset=npz(input_x=X, label=LABEL),
    ),
    Bad("metric-without-dataset", "MetricNotApplicable", E.BAD_REQUEST, ("top1", "datasetUri"), metrics=(TOP1,)),
    Bad(
        "metric-of-another-task",
        "MetricNotApplicable",
        E.BAD_REQUEST,
        ("map50", "'boxes'", "'logits' [-1, 3]"),
        metrics=({"name": "map50", "goal": "threshold", "value": 0.5},),
        dataset=npz(input_x=X, gt_boxes=UNIT_BOXES, gt_labels=LABEL[:, None]),
    ),
    Bad(
        "unknown-format",
        "UnsupportedSource",
        E.BAD_REQUEST,
        ("'caffe'", "torchscript"),
        request={"source": {"format": "caffe"}},
    ),
    Bad(
        "another-format-than-declared",
        "FormatMismatch",
        E.BAD_REQUEST,
        (M, "declared to be torchscript"),
        request={"source": {"format": "torchscript"}},
    ),
    Bad(
        "archive-traversal",
        "UnsafeArchive",
        E.INVALID_MODEL,
        ("pvc://models/m.zip", "'../m.onnx'", "leads out"),
        path="m.zip",
        packed=hostile_archives.zip_of([("../m.onnx", GOOD)]),
    ),
    Bad(
        "archive-hard-link",
        "UnsafeArchive",
        E.INVALID_MODEL,
        ("pvc://models/m.tar", "'m.onnx'", "hard link"),
        path="m.tar",
        packed=hostile_archives.tar_of([("m.onnx", b"")], kind=tarfile.LNKTYPE),
    ),
    Bad(
        "archive-bomb",
        "ArchiveTooLarge",
        E.INVALID_MODEL,
        ("pvc://models/m.tgz", "100 times its own size"),
        path="m.tgz",
        packed=hostile_archives.tar_of([("m.onnx", bytes(40 * 1024**2))], packed=True),
    ),
    Bad(
        "archive-encrypted",
        "EncryptedArchive",
        E.INVALID_MODEL,
        ("'m.onnx'", "without a password"),
        path="m.zip",
        packed=hostile_archives.encrypted_zip(),
    ),
    Bad("archive-damaged", "DamagedArchive", E.INVALID_MODEL, ("pack it again",), path="m.zip", packed=b"<html>"),
    Bad(
        "archive-of-two-models",
        "AmbiguousSource",
        E.BAD_REQUEST,
        ("holds 2 ONNX models", "exactly one .onnx"),
        path="m.zip",
        packed=hostile_archives.zip_of([("a.onnx", GOOD), ("b.onnx", GOOD)]),
    ),
    Bad(
        "external-data-missing",
        "SourceNotFound",
        E.SOURCE_NOT_FOUND,
        ("tensor 'w'", "'weights.bin'", "was not found"),
        tiny_models.to_bytes(tiny_models.with_external_data("weights.bin")),
    ),
    Bad(
        "password-in-uri", "BadRequest", E.BAD_REQUEST, ("into the Secret",), request={"source": {"uri": PASSWORD_URI}}
    ),
    Bad("newer-request", "BadRequest", E.BAD_REQUEST, ("formatVersion",), request={"formatVersion": 2}),
]


AS_PROCESSES = list({bad.code: bad for bad in reversed(CORPUS)}.values())
"""The first of each exit code runs as the pod would; that of the others is what `main` returns."""


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_ends_with_its_own_reason_and_publishes_nothing(
    bad: Bad, claim_job: tuple[JobRunner, Callable[[str, bytes], str]]
) -> None:
    job, put = claim_job
    put("m.onnx", bad.model)
    claim = job.pvc_root / "models"
    (job.folder / "outside.onnx").write_bytes(GOOD)
    (claim / "link.onnx").symlink_to(job.folder / "outside.onnx")
    (claim / "folder").mkdir()
    (claim / "linked").symlink_to(claim)
    request = job.request(f"pvc://models/{bad.path}", **bad.request)
    asks_goals = bad.metrics != (TOP1,) or bad.dataset is not None or bad.name == "metric-without-dataset"
    if asks_goals:
        request["gates"]["parity"] = {"metrics": list(bad.metrics)}
    if bad.dataset is not None:
        request["gates"]["parity"]["datasetUri"] = put("eval.npz", bad.dataset)

    for name, data in (bad.beside | ({} if bad.packed is None else {bad.path: bad.packed})).items():
        put(name, data)

    before = job.tags()
    done = job.run(request) if bad in AS_PROCESSES else job.run_here(request)
    failure = done.summary.failure
    assert failure is not None, done.stderr
    assert (failure.reason, done.code, failure.exit_code) == (bad.reason, bad.code, bad.code), failure.message
    assert [words for words in bad.says if words not in failure.message] == [], failure.message
    assert (done.summary.result, done.summary.artifact) == ("Failed", None)
    assert job.tags() == before == []
    assert done.progress[-1]["stage"] == bad.reason
    assert "Traceback" not in done.stderr
    assert "s3cret" not in f"{done}"


HTTPS_AS_PROCESSES = ("status/403", "status/503")
"""Their exit codes are not in the corpus."""


def test_corpus_has_readable_unique_names() -> None:
    assert len({bad.name for bad in CORPUS}) == len(CORPUS) >= 40


def test_no_two_share_one_error() -> None:
    """Where the reason is the same, the words that are asked for are not."""
    assert len({(bad.reason, bad.says) for bad in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize(
    ("path", "reason", "code", "says"),
    [
        ("status/404", "SourceNotFound", E.SOURCE_NOT_FOUND, "check the URI"),
        ("status/410", "SourceNotFound", E.SOURCE_NOT_FOUND, "HTTP 410"),
        ("status/403", "SourceForbidden", E.SOURCE_FORBIDDEN, "Secret of model.secretRef"),
        ("private/m.onnx", "SourceForbidden", E.SOURCE_FORBIDDEN, "username and password, or token"),
        ("status/503", "SourceUnavailable", E.SOURCE_UNAVAILABLE, "HTTP 503"),
        ("plain", "BadRequest", E.BAD_REQUEST, "VISIONMODEL_ALLOW_HTTP"),
    ],
)
def test_https_refusals(
    job: JobRunner, tls_server: TlsServer, path: str, reason: str, code: ExitCode, says: str
) -> None:
    (job.source_secret / "ca.crt").write_bytes(tls_server.ca_pem)
    request = job.request(f"{tls_server.url}/{path}")
    done = job.run(request) if path in HTTPS_AS_PROCESSES else job.run_here(request)
    assert done.summary.failure is not None
    assert (done.summary.failure.reason, done.code) == (reason, code), done.stderr
    assert says in done.summary.failure.message
    assert job.tags() == []


def test_unknown_authority_is_not_trusted(job: JobRunner, tls_server: TlsServer) -> None:
    done = job.run(job.request(f"{tls_server.url}/m.onnx"))
    assert done.summary.failure is not None
    assert (done.summary.failure.reason, done.code) == ("SourceUnavailable", E.SOURCE_UNAVAILABLE)
    assert "certificate" in done.summary.failure.message.lower()


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({}, "absent.onnx", "SourceNotFound"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "m.onnx", "SourceForbidden"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "m.onnx", "SourceForbidden"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "m.onnx", "SourceUnavailable"),
    ],
    ids=["absent-key", "wrong-secret", "anonymous", "store-down"],
)
def test_s3_refusals(s3_job: JobRunner, s3: S3Server, change: dict[str, str], key: str, reason: str) -> None:
    s3.put("models", "m.onnx", GOOD)
    for name, value in change.items():
        (s3_job.source_secret / name).write_text(value)
    done = s3_job.run(s3_job.request(f"s3://models/{key}"))
    assert done.summary.failure is not None
    assert done.summary.failure.reason == reason, done.stderr
    assert f"s3://models/{key}" in done.summary.failure.message
    assert s3_job.tags() == []


def test_plain_http_store_needs_the_platform_teams_word(s3_job: JobRunner, s3: S3Server) -> None:
    s3.put("models", "m.onnx", GOOD)
    done = s3_job.with_environment(VISIONMODEL_ALLOW_HTTP="false").run(s3_job.request("s3://models/m.onnx"))
    assert done.summary.failure is not None
    assert (done.summary.failure.reason, done.code) == ("BadRequest", E.BAD_REQUEST)
    assert "VISIONMODEL_ALLOW_HTTP" in done.summary.failure.message


def test_damaged_artifact_is_not_unpacked(
    claim_job: tuple[JobRunner, Callable[[str, bytes], str]], tmp_path: Path
) -> None:
    job, put = claim_job
    artifact = job.run(job.request(put("m.onnx", GOOD))).summary.artifact
    assert artifact is not None
    missing = artifact.image.rsplit("@", 1)[0] + f"@sha256:{NONE}"
    assert job.fetch_artifact(missing, tmp_path / "out") == E.REGISTRY_UNAVAILABLE
    assert not (tmp_path / "out").exists()
