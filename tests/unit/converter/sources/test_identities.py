"""A pod's own identity at each cloud: the token that the cloud's service hands out is what the store receives."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from unit.converter.sources.answers import Answer, Asked, Server, serving
from visionmodel_converter.environment import environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.fetch import Fetched, Retry, fetch

ONCE = Retry(attempts=0, deadline=timedelta(seconds=5))
OBJECT = {"ETag": '"1"', "Last-Modified": "Tue, 01 Jan 2030 00:00:00 GMT"}


def cloud(request: Asked) -> Answer:
    """All three clouds at once: token services at their paths, and one object everywhere else."""
    if "/service-accounts/default/token" in request.path:
        assert request.headers.get("Metadata-Flavor", request.headers.get("metadata-flavor")) == "Google"
        return Answer(200, json.dumps({"access_token": "google-token", "expires_in": 3600}).encode())
    if request.path.startswith("/computeMetadata/"):
        return Answer(200, headers={"Metadata-Flavor": "Google"})
    if request.path.startswith("/aws-pod-identity"):
        keys = {"AccessKeyId": "ASIAPOD", "SecretAccessKey": "s", "Token": "t", "Expiration": "2039-01-01T00:00:00Z"}
        return Answer(200, json.dumps(keys).encode())
    if request.path == "/tenant/oauth2/v2.0/token":
        return Answer(200, json.dumps({"access_token": "azure-token", "expires_in": 3600}).encode())
    return Answer(200, b"model", OBJECT)


def fetched(uri: str, folder: Path, variables: dict[str, str]) -> Fetched:
    (folder / "secret").mkdir()
    for name, value in variables.items():
        if name in ("AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST", "AZURE_STORAGE_ENDPOINT"):
            (folder / "secret" / name).write_text(value)
    pod = {"VISIONMODEL_SOURCE_CREDENTIALS": str(folder / "secret"), "VISIONMODEL_ALLOW_HTTP": "true", **variables}
    return fetch(uri, folder / "m", environment=environment_from(pod), max_bytes=100, retry=ONCE)


def authorization(server: Server, path: str) -> list[str]:
    return [
        {name.lower(): value for name, value in request.headers.items()}.get("authorization", "")
        for request in server.asked
        if request.path.startswith(path)
    ]


def test_google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(cloud) as server:
        monkeypatch.setenv("GCE_METADATA_HOST", server.host)
        fetched(
            "gs://bucket/m.onnx",
            tmp_path,
            {"STORAGE_EMULATOR_HOST": server.url, "GCE_METADATA_HOST": server.host},
        )
    assert authorization(server, "/bucket/") == ["Bearer google-token"]


def test_amazon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(cloud) as server:
        (tmp_path / "token").write_text("pod")
        variables = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/aws-pod-identity",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        fetched("s3://bucket/m.onnx", tmp_path, {"AWS_ENDPOINT_URL": server.url, **variables})
    (header,) = authorization(server, "/bucket/")
    assert "Credential=ASIAPOD/" in header


def test_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(cloud) as server:
        (tmp_path / "token").write_text("pod")
        variables = {
            "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token"),
            "AZURE_CLIENT_ID": "client",
            "AZURE_TENANT_ID": "tenant",
            "AZURE_AUTHORITY_HOST": server.url,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        uri = "abfs://container@account.dfs.core.windows.net/m.onnx"
        fetched(uri, tmp_path, {"AZURE_STORAGE_ENDPOINT": server.url, **variables})
    assert authorization(server, "/container/") == ["Bearer azure-token"]


def test_without_an_identity_nothing_is_sent(tmp_path: Path) -> None:
    with serving(cloud) as server:
        fetched("s3://bucket/m.onnx", tmp_path, {"AWS_ENDPOINT_URL": server.url})
    assert authorization(server, "/bucket/") == [""]


def test_an_identity_that_the_cloud_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token service says no before the store is ever asked."""

    def refusing(request: Asked) -> Answer:
        return Answer(403, b"no") if "/token" in request.path else cloud(request)

    with serving(refusing) as server:
        monkeypatch.setenv("GCE_METADATA_HOST", server.host)
        with pytest.raises(ConversionFailure) as caught:
            fetched(
                "gs://bucket/m.onnx", tmp_path, {"STORAGE_EMULATOR_HOST": server.url, "GCE_METADATA_HOST": server.host}
            )
    assert caught.value.reason is Reason.SOURCE_FORBIDDEN, caught.value.message
