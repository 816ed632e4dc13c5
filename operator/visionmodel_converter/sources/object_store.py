"""Buckets and containers: `s3://`, `gs://` and `abfs://`, all three through obstore (ADR 0001)."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.credentials import azure_settings, google_settings, s3_settings
from visionmodel_converter.sources.origin import (
    CHUNK_BYTES,
    CONNECT_SECONDS,
    READ_SECONDS,
    Access,
    Entry,
    Located,
    require_path,
    split_uri,
)
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
        "bucket, key and AWS_ENDPOINT_URL in the Secret of model.secretRef",
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


@contextmanager
def locate(uri: str, access: Access) -> Iterator[Located]:
    """Open the bucket or container of a URI."""
    scheme = uri.partition("://")[0]
    kind = KINDS[scheme]
    authority, path = split_uri(uri)
    root = f"{scheme}://{authority}"
    if not authority:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{uri}: {kind.form}")
    path = require_path(uri, path, kind.form, access)
    try:
        store = _store(scheme, authority, root, access)
    except (BaseError, ValueError) as error:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"{root}: the settings in the Secret of model.secretRef cannot be used; check the form of {kind.keys}",
        ) from error
    yield Located(ObjectOrigin(store, root, kind), path)


@dataclass(frozen=True, slots=True)
class ObjectOrigin:
    """One bucket or container."""

    store: ObjectStore
    root: str
    kind: Kind

    def shown(self, path: str) -> str:
        """Return the URI of an object."""
        return f"{self.root}/{path}"

    @contextmanager
    def read(self, path: str) -> Iterator[Iterable[bytes]]:
        """Stream an object."""
        yield self._chunks(path)

    def _chunks(self, path: str) -> Iterator[bytes]:
        with self._translated(path):
            for chunk in obstore.get(self.store, path).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def entries(self, folder: str) -> Iterator[Entry]:
        """List the objects below a prefix."""
        with self._translated(folder):
            for batch in obstore.list(self.store, folder or None, chunk_size=500):
                for item in batch:
                    name = item["path"].removeprefix(folder).removeprefix("/")
                    if name:
                        yield Entry(name, item["size"], item["e_tag"] or str(item["last_modified"]))

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        shown = self.shown(path)
        try:
            yield
        except (FileNotFoundError, BaseError) as error:
            raise self._failure(shown, error) from error

    def _failure(self, shown: str, error: Exception) -> ConversionFailure:
        words = QUERY.sub("?...", str(error).partition("\n")[0])
        found = STATUS.search(words)
        status = int(found["status"]) if found else 0
        if isinstance(error, FileNotFoundError) or status == 404:
            return ConversionFailure(Reason.SOURCE_NOT_FOUND, f"{shown} was not found; check {self.kind.where}")
        refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
        if refused or status in (401, 403) or (LOGIN in words and status == 400):
            return ConversionFailure(
                Reason.SOURCE_FORBIDDEN,
                f"{shown}: access was refused; put {self.kind.keys} with read permission into the Secret of "
                "model.secretRef",
            )
        if status == 429:
            return ConversionFailure(
                Reason.SOURCE_THROTTLED, f"{shown}: the store asks for fewer requests (HTTP 429); the Job tries again"
            )
        return ConversionFailure(
            Reason.SOURCE_UNAVAILABLE, f"{shown} could not be read, the Job tries again: {words[:300]}"
        )


def _store(scheme: str, authority: str, shown: str, access: Access) -> ObjectStore:
    environment = access.environment
    if scheme == "s3":
        return S3Store(authority, **_client(access), **s3_settings(environment, shown))
    if scheme == "gs":
        return GCSStore(authority, **_client(access), **google_settings(environment, shown))
    found = ABFS.match(authority)
    if found is None:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{shown}: {KINDS['abfs'].form}")
    settings = azure_settings(environment, shown, account=found["account"], suffix=found["suffix"])
    return AzureStore(found["container"], **_client(access), **settings)


def _client(access: Access) -> dict[str, Any]:
    environment, retry = access.environment, access.retry
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
