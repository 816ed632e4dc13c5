"""Keys of the Secret, and what a pod has of its own."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from visionmodel_converter.clouds.credentials import azure_settings, credential, google_settings, s3_settings
from visionmodel_converter.environment import Environment, environment_from
from visionmodel_converter.failures import ConversionFailure, Reason


def environment(folder: Path, **variables: str) -> Environment:
    """A pod outside every cloud: the metadata server's name leads nowhere."""
    return environment_from(
        {"VISIONMODEL_SOURCE_CREDENTIALS": str(folder), "GCE_METADATA_HOST": "127.0.0.1:9", **variables}
    )


def secret(folder: Path, **keys: str) -> Path:
    for name, value in keys.items():
        (folder / name).write_text(value + "\n")
    return folder


def azure(folder: Path, **variables: str) -> dict[str, Any]:
    return azure_settings(environment(folder, **variables), "abfs://c@acc...", account="acc", suffix="core.windows.net")


def test_credentials_lose_their_newline_only(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" a b \n")
    (tmp_path / "empty").write_text("\n")
    assert [credential(tmp_path, name) for name in ("token", "empty", "absent")] == [" a b ", None, None]


def test_without_keys_and_identity_every_cloud_is_anonymous(tmp_path: Path) -> None:
    pod = environment(tmp_path)
    settings = (s3_settings(pod, "s3://b"), google_settings(pod, "gs://b"), azure(tmp_path))
    assert [found["skip_signature"] for found in settings] == [True, True, True]


def test_a_pod_with_an_identity_uses_it(tmp_path: Path) -> None:
    pod = environment(
        tmp_path,
        AWS_WEB_IDENTITY_TOKEN_FILE="/var/token",
        GOOGLE_APPLICATION_CREDENTIALS="/var/google.json",
        AZURE_FEDERATED_TOKEN_FILE="/var/token",
    )
    for settings in (
        s3_settings(pod, "s3://b"),
        google_settings(pod, "gs://b"),
        azure(tmp_path, AZURE_FEDERATED_TOKEN_FILE="/var/token"),
    ):
        assert "skip_signature" not in settings


@pytest.mark.parametrize(
    ("keys", "variables", "region"),
    [
        ({}, {}, "us-east-1"),
        ({}, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-north-1"}, "eu-west-1"),
        ({}, {"AWS_DEFAULT_REGION": "eu-north-1"}, "eu-north-1"),
        ({"AWS_REGION": "ap-south-1"}, {"AWS_REGION": "eu-west-1"}, "ap-south-1"),
    ],
)
def test_region_is_the_secrets_or_the_identitys(
    tmp_path: Path, keys: dict[str, str], variables: dict[str, str], region: str
) -> None:
    assert s3_settings(environment(secret(tmp_path, **keys), **variables), "s3://b")["region"] == region


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"AZURE_STORAGE_ACCOUNT_KEY": "k"}, {"credential_type": "access_key", "account_key": "k"}),
        ({"AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=2"}, {"credential_type": "sas_token", "sas_key": "sv=1&sig=2"}),
        (
            {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"},
            {"credential_type": "client_secret", "tenant_id": "t", "client_id": "c", "client_secret": "s"},
        ),
    ],
    ids=["account-key", "sas", "client-secret"],
)
def test_azure_logins(tmp_path: Path, keys: dict[str, str], expected: dict[str, str]) -> None:
    common = {"account_name": "acc", "endpoint": "https://acc.blob.core.windows.net"}
    assert azure(secret(tmp_path, **keys)) == common | expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON"),
        (json.dumps({"type": "external_account", "private_key": "PRIVATE"}), "workload identity"),
    ],
    ids=["truncated", "no-object", "federation-file"],
)
def test_google_files_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "credentials.json").write_text(text)
    with pytest.raises(ConversionFailure, match=says) as caught:
        google_settings(environment(tmp_path), "gs://b")
    assert caught.value.reason is Reason.BAD_REQUEST
    assert "PRIVATE" not in caught.value.message


def test_google_key_file(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text(json.dumps({"type": "service_account"}))
    settings = google_settings(environment(tmp_path), "gs://b")
    assert settings == {"application_credentials": str(tmp_path / "credentials.json")}


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST", "AZURE_STORAGE_ENDPOINT"])
def test_plain_http_needs_the_platform_teams_word(tmp_path: Path, name: str) -> None:
    pod = environment(secret(tmp_path, **{name: "http://10.0.0.1"}))
    with pytest.raises(ConversionFailure, match=f"{name} of .*VISIONMODEL_ALLOW_HTTP"):
        _all_settings(pod)
    assert "http://10.0.0.1" in str(_all_settings(dataclasses.replace(pod, allow_http=True)))


def _all_settings(pod: Environment) -> tuple[dict[str, Any], ...]:
    return (
        s3_settings(pod, "s3://b"),
        google_settings(pod, "gs://b"),
        azure_settings(pod, "abfs://c@a", account="a", suffix="core.windows.net"),
    )
