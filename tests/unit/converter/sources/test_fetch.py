"""Reading from claims and Secrets, without any server."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visionmodel_converter.environment import Environment, environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.shown import display_uri
from visionmodel_converter.sources.fetch import fetch


def environment(folder: Path) -> Environment:
    return environment_from(
        {"VISIONMODEL_PVC_ROOT": str(folder / "pvc"), "VISIONMODEL_SOURCE_CREDENTIALS": str(folder / "secret")}
    )


def claim(folder: Path, name: str, data: bytes) -> None:
    path = folder / "pvc" / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def refusal(uri: str, folder: Path, max_bytes: int = 1000) -> ConversionFailure:
    with pytest.raises(ConversionFailure) as caught:
        fetch(uri, folder / "target", environment=environment(folder), max_bytes=max_bytes)
    assert [path.name for path in folder.iterdir() if path.name.startswith("target")] == []
    return caught.value


def test_claim_is_copied_and_hashed(tmp_path: Path) -> None:
    claim(tmp_path, "a/m.onnx", b"model")
    fetched = fetch("pvc://models/a/m.onnx", tmp_path / "t", environment=environment(tmp_path), max_bytes=5)
    assert (fetched.digest, fetched.size_bytes) == ("sha256:" + hashlib.sha256(b"model").hexdigest(), 5)
    assert (tmp_path / "t").read_bytes() == b"model"


def test_size_cap(tmp_path: Path) -> None:
    claim(tmp_path, "m.onnx", b"123456")
    assert refusal("pvc://models/m.onnx", tmp_path, max_bytes=5).reason is Reason.SOURCE_TOO_LARGE


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("pvc://models", Reason.UNSAFE_PATH),
        ("pvc://models/", Reason.UNSAFE_PATH),
        ("pvc:///etc/passwd", Reason.UNSAFE_PATH),
        ("pvc://../models/m.onnx", Reason.UNSAFE_PATH),
        ("pvc://models/a//m.onnx", Reason.UNSAFE_PATH),
        ("pvc://models/./m.onnx", Reason.UNSAFE_PATH),
        ("pvc://models/pipe", Reason.UNSAFE_PATH),
        ("pvc://other/m.onnx", Reason.SOURCE_NOT_FOUND),
        ("s3://bucket", Reason.BAD_REQUEST),
        ("s3://bucket/folder/", Reason.BAD_REQUEST),
        ("http://example.com/m.onnx", Reason.BAD_REQUEST),
        ("https://user:pass@example.com/m.onnx", Reason.BAD_REQUEST),
        ("s3://key:pass@bucket/m.onnx", Reason.BAD_REQUEST),
        ("gs://key:pass@bucket/m.onnx", Reason.BAD_REQUEST),
        ("abfs://user:pass@account.dfs.core.windows.net/m.onnx", Reason.BAD_REQUEST),
        ("hf://user:pass@org/repo/m.onnx", Reason.BAD_REQUEST),
        ("oci://user:pass@registry.example.com/repo:1", Reason.BAD_REQUEST),
        ("mlflow://user:pass@model/1", Reason.BAD_REQUEST),
        ("pvc://user:pass@models/m.onnx", Reason.BAD_REQUEST),
        ("s3://bucket/a/%2e%2e/b", Reason.BAD_REQUEST),
        ("pvc://models/%2e%2e/secret", Reason.UNSAFE_PATH),
        ("pvc://models%2F../m.onnx", Reason.UNSAFE_PATH),
        ("gs://bucket", Reason.BAD_REQUEST),
        ("abfs://container/m.onnx", Reason.BAD_REQUEST),
        ("abfs://container@account/m.onnx", Reason.BAD_REQUEST),
        ("abfs://container@account.blob.core.windows.net/m.onnx", Reason.BAD_REQUEST),
        ("hf://org", Reason.BAD_REQUEST),
        ("hf://org/repo", Reason.BAD_REQUEST),
        ("hf://org/repo@main/../m.onnx", Reason.BAD_REQUEST),
        ("oci://host", Reason.BAD_REQUEST),
        ("oci://host/UPPER", Reason.BAD_REQUEST),
        ("oci://host/repo#../m.onnx", Reason.BAD_REQUEST),
        ("mlflow://model/Production", Reason.BAD_REQUEST),
        ("mlflow://model/latest", Reason.BAD_REQUEST),
        ("mlflow://model/one", Reason.BAD_REQUEST),
        ("mlflow://model/1", Reason.BAD_REQUEST),
        ("mlflow://model/1/../m", Reason.BAD_REQUEST),
        ("ftp://example.com/m.onnx", Reason.UNSUPPORTED_SOURCE),
        ("m.onnx", Reason.UNSUPPORTED_SOURCE),
    ],
)
def test_refused_uris(tmp_path: Path, uri: str, reason: Reason) -> None:
    claim(tmp_path, "m.onnx", b"x")
    os.mkfifo(tmp_path / "pvc" / "models" / "pipe")
    failure = refusal(uri, tmp_path)
    assert failure.reason is reason
    assert "pass@" not in failure.message


@pytest.mark.parametrize("uri", ["pvc://models/linked/m.onnx", "pvc://linked/m.onnx", "pvc://models/link.onnx"])
def test_links_in_a_claim_are_not_followed(tmp_path: Path, uri: str) -> None:
    claim(tmp_path, "m.onnx", b"inside")
    root = tmp_path / "pvc"
    (root / "linked").symlink_to(root / "models")
    (root / "models" / "linked").symlink_to(root / "models")
    (root / "models" / "link.onnx").symlink_to(root / "models" / "m.onnx")
    assert refusal(uri, tmp_path).reason is Reason.UNSAFE_PATH


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "", "models", "m.onnx", "outside.txt", "link"]), min_size=1, max_size=6))
def test_no_path_leaves_the_claims(tmp_path: Path, segments: list[str]) -> None:
    claim(tmp_path, "m.onnx", b"inside")
    (tmp_path / "outside.txt").write_bytes(b"outside")
    link = tmp_path / "pvc" / "models" / "link"
    if not link.is_symlink():
        link.symlink_to(tmp_path)
    try:
        uri = "pvc://" + "/".join(segments)
        fetched = fetch(uri, tmp_path / "t", environment=environment(tmp_path), max_bytes=100)
    except ConversionFailure:
        return
    assert fetched.path.read_bytes() == b"inside"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://h/m.onnx?X-Amz-Signature=abc#f", "https://h/m.onnx"),
        ("https://user:pass@h/m.onnx", "https://h/m.onnx"),
        ("https://h?token=abc", "https://h"),
        ("s3://bucket/a?b", "s3://bucket/a?b"),
        ("s3://key:pass@bucket/a", "s3://bucket/a"),
        ("oci://user:pass@h/r:1", "oci://h/r:1"),
        ("abfs://c@account.dfs.core.windows.net/a", "abfs://c@account.dfs.core.windows.net/a"),
        ("pvc://claim/m.onnx", "pvc://claim/m.onnx"),
    ],
)
def test_signatures_are_not_shown(uri: str, shown: str) -> None:
    assert display_uri(uri) == shown


@pytest.mark.parametrize(
    ("variables", "allow_http", "ambient"),
    [
        ({}, False, False),
        ({"VISIONMODEL_ALLOW_HTTP": "true"}, True, False),
        ({"VISIONMODEL_ALLOW_HTTP": "1"}, False, False),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "f"}, False, True),
    ],
)
def test_environment(variables: dict[str, str], allow_http: bool, ambient: bool) -> None:
    read = environment_from(variables)
    assert (read.allow_http, read.ambient_aws) == (allow_http, ambient)
    assert str(read.source_credentials) == "/var/run/secrets/visionmodel/source"
