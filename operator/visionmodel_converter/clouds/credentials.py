"""Credentials of the clouds: keys of the mounted Secret under the names that each cloud's own tools use.

Without any, a store is read by the pod's own identity where it has one (workload identity), else anonymously.
Nothing read here ever stands in a message.
"""

import json
from pathlib import Path
from typing import Any, Final

import httpx

from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason

HTTP_NEEDS_FLAG: Final = (
    "plain HTTP is refused unless the platform team sets VISIONMODEL_ALLOW_HTTP=true on conversion Jobs, or "
    "artifacts.insecure for the store of artifacts"
)
MODEL_SECRET: Final = "the Secret of model.secretRef"
"""What messages call the Secret that a source is read with."""
GOOGLE_FILE: Final = "credentials.json"
GOOGLE_TYPES: Final = ("service_account", "authorized_user")
METADATA_SECONDS: Final = 2.0
DEFAULT_REGION: Final = "us-east-1"
AZURE_LOGIN: Final = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")


def credential(folder: Path, name: str) -> str | None:
    """Return one key of the mounted Secret without its final newline; None when absent or empty."""
    path = folder / name
    if not path.is_file():
        return None
    return path.read_text(encoding="utf-8").rstrip("\r\n") or None


def endpoint(folder: Path, name: str, shown: str, *, environment: Environment) -> str | None:
    """Return the address under a key of the Secret; plain HTTP only with the platform team's word."""
    address = credential(folder, name)
    if address is not None and address.startswith("http://") and not environment.allow_http:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{name} of {shown}: {HTTP_NEEDS_FLAG}")
    return address


def s3_settings(environment: Environment, shown: str) -> dict[str, Any]:
    """Return the settings of obstore's S3Store."""
    folder = environment.source_credentials
    settings = {
        "access_key_id": credential(folder, "AWS_ACCESS_KEY_ID"),
        "secret_access_key": credential(folder, "AWS_SECRET_ACCESS_KEY"),
        "session_token": credential(folder, "AWS_SESSION_TOKEN"),
        "endpoint": endpoint(folder, "AWS_ENDPOINT_URL", shown, environment=environment),
        "region": credential(folder, "AWS_REGION") or environment.ambient_region or DEFAULT_REGION,
    }
    if settings["access_key_id"] is None and not environment.ambient_aws:
        return _given(settings) | {"skip_signature": True}
    return _given(settings)


def google_settings(environment: Environment, shown: str, secret: str = MODEL_SECRET) -> dict[str, Any]:
    """Return the settings of obstore's GCSStore; raises BadRequest for a credentials file it cannot use.

    `secret` is what messages call the Secret.
    """
    folder = environment.source_credentials
    settings: dict[str, Any] = {
        "base_url": endpoint(folder, "STORAGE_EMULATOR_HOST", shown, environment=environment),
    }
    file = folder / GOOGLE_FILE
    if file.is_file():
        _refuse_other_google_file(file, secret)
        settings["application_credentials"] = str(file)
    elif not environment.ambient_google and not metadata_server_answers(environment.google_metadata_host):
        settings["skip_signature"] = True
    return _given(settings)


def _refuse_other_google_file(file: Path, secret: str) -> None:
    try:
        kind = json.loads(file.read_bytes()).get("type")
    except (ValueError, AttributeError) as error:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"{GOOGLE_FILE} in {secret} is no JSON object; put the key file there as it was downloaded",
        ) from error
    if kind not in GOOGLE_TYPES:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"{GOOGLE_FILE} in {secret} has type {str(kind)[:40]!r}; use a key of type "
            f"{' or '.join(GOOGLE_TYPES)}, or leave it out and give the Job's service account workload identity",
        )


def metadata_server_answers(host: str) -> bool:
    """Whether the pod runs where Google's metadata server gives tokens; elsewhere its name does not resolve."""
    try:
        with httpx.Client(timeout=METADATA_SECONDS, trust_env=False) as client:
            answer = client.get(f"http://{host}/computeMetadata/v1/", headers={"Metadata-Flavor": "Google"})
    except httpx.HTTPError:
        return False
    return bool(answer.headers.get("Metadata-Flavor") == "Google")


def azure_settings(environment: Environment, shown: str, *, account: str, suffix: str) -> dict[str, Any]:
    """Return the settings of obstore's AzureStore; the kind of login is named, so that no other one wins."""
    folder = environment.source_credentials
    given = endpoint(folder, "AZURE_STORAGE_ENDPOINT", shown, environment=environment)
    settings: dict[str, Any] = {
        "account_name": account,
        "endpoint": given or f"https://{account}.blob.{suffix}",
        "authority_host": credential(folder, "AZURE_AUTHORITY_HOST"),
    }
    key, token = credential(folder, "AZURE_STORAGE_ACCOUNT_KEY"), credential(folder, "AZURE_STORAGE_SAS_TOKEN")
    tenant, client, secret = (credential(folder, name) for name in AZURE_LOGIN)
    if key is not None:
        settings |= {"credential_type": "access_key", "account_key": key}
    elif token is not None:
        settings |= {"credential_type": "sas_token", "sas_key": token.removeprefix("?")}
    elif secret is not None:
        settings |= {"credential_type": "client_secret", "client_secret": secret}
        settings |= {"tenant_id": tenant, "client_id": client}
    elif not environment.ambient_azure:
        settings["skip_signature"] = True
    return _given(settings)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
