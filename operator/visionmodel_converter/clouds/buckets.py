"""Clients of buckets and containers: `s3://`, `gs://` and `abfs://`, all three through obstore (ADR 0001)."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from visionmodel_converter.clouds.credentials import MODEL_SECRET, azure_settings, google_settings, s3_settings
from visionmodel_converter.clouds.patience import CONNECT_SECONDS, READ_SECONDS, Retry
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.trust import trusted_pem

ABFS: Final = re.compile(r"^(?P<container>[^@]+)@(?P<account>[a-z0-9]+)\.dfs\.(?P<suffix>[a-z0-9.-]+)$")
STATUS: Final = re.compile(r"status code: (?P<status>[0-9]{3})\b")
LOGIN: Final = "token request"
"""obstore has types for absence and refusal of one object; of listings and logins its text alone tells the status."""
QUERY: Final = re.compile(r"\?\S+")
"""Signatures travel in queries: no message of the library is shown with one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the three clouds in messages."""

    form: str
    where: str
    keys: str


KINDS: Final[dict[str, Kind]] = {
    "s3": Kind(
        "an S3 URI is s3://<bucket>/<key of one file>",
        "bucket, key and AWS_ENDPOINT_URL in {secret}",
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "gs": Kind(
        "a Google Cloud Storage URI is gs://<bucket>/<name of one file>",
        "bucket and name",
        "credentials.json (a service account's key)",
    ),
    "abfs": Kind(
        "an Azure URI is abfs://<container>@<account>.dfs.core.windows.net/<path of one file>",
        "account, container and path",
        "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_TENANT_ID, AZURE_CLIENT_ID and "
        "AZURE_CLIENT_SECRET",
    ),
}


class Fault(Enum):
    """What kept a store from doing what it was asked."""

    ABSENT = "absent"
    REFUSED = "refused"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Login:
    """Where a client's keys lie; `secret` is what messages call them. Trust and identity are the pod's."""

    environment: Environment
    secret: str = MODEL_SECRET

    @classmethod
    def of_folder(cls, environment: Environment, folder: Path, *, allow_http: bool, secret: str) -> "Login":
        """Return a login by another mounted Secret than the source's."""
        return cls(replace(environment, source_credentials=folder, allow_http=allow_http), secret)


def open_bucket(scheme: str, authority: str, login: Login, retry: Retry) -> ObjectStore:
    """Connect to a bucket or container. Raises BadRequest for settings that cannot be used."""
    shown = f"{scheme}://{authority}"
    try:
        return _store(scheme, authority, shown, login, _client(login.environment, retry))
    except (BaseError, ValueError) as error:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"{shown}: the settings in {login.secret} cannot be used; check the form of {KINDS[scheme].keys}",
        ) from error


def _store(scheme: str, authority: str, shown: str, login: Login, client: dict[str, Any]) -> ObjectStore:
    environment = login.environment
    if scheme == "s3":
        return S3Store(authority, **client, **s3_settings(environment, shown))
    if scheme == "gs":
        return GCSStore(authority, **client, **google_settings(environment, shown, login.secret))
    found = ABFS.match(authority)
    if found is None:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{shown}: {KINDS['abfs'].form}")
    settings = azure_settings(environment, shown, account=found["account"], suffix=found["suffix"])
    return AzureStore(found["container"], **client, **settings)


def _client(environment: Environment, retry: Retry) -> dict[str, Any]:
    client: dict[str, Any] = {
        "allow_http": environment.allow_http,
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=READ_SECONDS),
        "timeout": timedelta(hours=2),
    }
    pem = trusted_pem(environment.ca_file, environment.source_credentials / "ca.crt")
    if pem:
        client["root_certificate"] = pem
    return {
        "client_options": client,
        "retry_config": {
            "max_retries": retry.attempts,
            "retry_timeout": retry.deadline,
            "backoff": {"init_backoff": retry.first_wait, "max_backoff": retry.longest_wait, "base": 2},
        },
    }


def fault_of_error(error: Exception) -> tuple[Fault, str]:
    """Return what an exception of obstore means, and its words without the signatures in them."""
    words = QUERY.sub("?...", str(error).partition("\n")[0])
    found = STATUS.search(words)
    status = int(found["status"]) if found else 0
    if isinstance(error, FileNotFoundError) or status == 404:
        return Fault.ABSENT, words
    refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
    if refused or status in (401, 403) or (LOGIN in words and status == 400):
        return Fault.REFUSED, words
    return (Fault.THROTTLED if status == 429 else Fault.UNAVAILABLE), words
