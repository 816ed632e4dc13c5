"""Fetch one file (a model or a dataset) to disk, hashing while it streams.

`s3://` goes through obstore, `https://` through httpx, `pvc://<claim>/<path>` is a file below the folder where
the operator mounts the claim. Credentials are files of a mounted Secret: nothing secret is ever in a URI, a
message or a report. Outages are retried by the libraries first and by the Job after that.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.trust import tls_context, trusted_pem

CHUNK_BYTES: Final = 1024 * 1024
CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
HTTP_NEEDS_FLAG: Final = (
    "plain HTTP is refused unless the platform team sets VISIONMODEL_ALLOW_HTTP=true on conversion Jobs"
)


@dataclass(frozen=True, slots=True)
class Retry:
    """How long the object-store client itself tries again before the Job has to."""

    attempts: int = 5
    first_wait: timedelta = timedelta(milliseconds=500)
    longest_wait: timedelta = timedelta(seconds=10)
    deadline: timedelta = timedelta(minutes=2)


DEFAULT_RETRY: Final = Retry()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on local disk with the digest of the bytes that arrived; `uri` is safe to show."""

    path: Path
    digest: str
    size_bytes: int
    uri: str


def display_uri(uri: str) -> str:
    """Return the URI as it may be shown: without query and fragment, where signatures travel."""
    return uri.split("?", 1)[0].split("#", 1)[0] if uri.startswith("http") else uri


def fetch(
    uri: str,
    target: Path,
    *,
    environment: Environment,
    max_bytes: int,
    expected_digest: str | None = None,
    retry: Retry = DEFAULT_RETRY,
) -> Fetched:
    """Stream a URI to `target` and check its digest.

    Raises ConversionFailure: SourceNotFound, SourceForbidden, SourceUnavailable (retryable), SourceTooLarge,
    DigestMismatch, UnsafePath, UnsupportedSource or BadRequest; `target` is absent after any of them.
    """
    shown = display_uri(uri)
    part = target.with_name(target.name + ".part")
    try:
        with _opened(uri, shown, environment, retry) as chunks:
            digest, size = _write_hashed(chunks, part, shown, max_bytes)
        _check_digest(shown, digest, expected_digest)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return Fetched(path=target, digest=digest, size_bytes=size, uri=shown)


def _write_hashed(chunks: Iterable[bytes], target: Path, shown: str, max_bytes: int) -> tuple[str, int]:
    sha = hashlib.sha256()
    size = 0
    with target.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise ConversionFailure(
                    Reason.SOURCE_TOO_LARGE,
                    f"{shown} is larger than the limit of {max_bytes} bytes; publish a smaller file or have "
                    "the platform team raise the limit",
                )
            sha.update(chunk)
            file.write(chunk)
    return f"sha256:{sha.hexdigest()}", size


def _check_digest(shown: str, actual: str, expected: str | None) -> None:
    if expected is not None and expected != actual:
        raise ConversionFailure(
            Reason.DIGEST_MISMATCH,
            f"{shown} has digest {actual} but the spec asks for {expected}; either the file was replaced, then "
            "set digest to the new value, or it is not the file you meant, then correct the URI",
        )


@contextmanager
def _opened(uri: str, shown: str, environment: Environment, retry: Retry) -> Iterator[Iterable[bytes]]:
    scheme = uri.partition("://")[0]
    if scheme == "s3":
        yield _s3_chunks(uri, environment, retry)
    elif scheme in ("https", "http"):
        with _http_chunks(uri, shown, environment) as chunks:
            yield chunks
    elif scheme == "pvc":
        yield _claim_chunks(uri, environment.pvc_root)
    else:
        raise ConversionFailure(
            Reason.UNSUPPORTED_SOURCE,
            f"{shown}: scheme {scheme!r} is not supported yet; use s3://, https:// or pvc://",
        )


def credential(folder: Path, name: str) -> str | None:
    """Return one key of the mounted Secret without its final newline; None when absent or empty."""
    path = folder / name
    if not path.is_file():
        return None
    return path.read_text(encoding="utf-8").rstrip("\r\n") or None


# --- s3 -------------------------------------------------------------------------------------------------------


def _s3_chunks(uri: str, environment: Environment, retry: Retry) -> Iterator[bytes]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not key or key.endswith("/"):
        raise ConversionFailure(Reason.BAD_REQUEST, f"{uri}: an S3 URI is s3://<bucket>/<key of one file>")
    try:
        store = _s3_store(bucket, environment, retry)
        yield from (bytes(chunk) for chunk in obstore.get(store, key).stream(min_chunk_size=CHUNK_BYTES))
    except FileNotFoundError as error:
        raise ConversionFailure(
            Reason.SOURCE_NOT_FOUND,
            f"{uri} was not found; check bucket, key and AWS_ENDPOINT_URL in the Secret of model.secretRef",
        ) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _forbidden(uri, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
    except BaseError as error:
        raise ConversionFailure(
            Reason.SOURCE_UNAVAILABLE, f"{uri} could not be read, the Job tries again: {first_line(error)}"
        ) from error


def _s3_store(bucket: str, environment: Environment, retry: Retry) -> S3Store:
    folder = environment.source_credentials
    settings: dict[str, Any] = {
        "access_key_id": credential(folder, "AWS_ACCESS_KEY_ID"),
        "secret_access_key": credential(folder, "AWS_SECRET_ACCESS_KEY"),
        "session_token": credential(folder, "AWS_SESSION_TOKEN"),
        "endpoint": credential(folder, "AWS_ENDPOINT_URL"),
        "region": credential(folder, "AWS_REGION") or "us-east-1",
    }
    if (settings["endpoint"] or "").startswith("http://") and not environment.allow_http:
        raise ConversionFailure(Reason.BAD_REQUEST, f"AWS_ENDPOINT_URL of s3://{bucket}: {HTTP_NEEDS_FLAG}")
    if settings["access_key_id"] is None and not environment.ambient_aws:
        settings["skip_signature"] = True
    pem = trusted_pem(environment.ca_file, folder / "ca.crt")
    client: dict[str, Any] = {
        "allow_http": environment.allow_http,
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=READ_SECONDS),
        "timeout": timedelta(hours=2),
    }
    if pem:
        client["root_certificate"] = pem
    return S3Store(
        bucket,
        client_options=client,  # type: ignore[arg-type]
        retry_config={
            "max_retries": retry.attempts,
            "retry_timeout": retry.deadline,
            "backoff": {"init_backoff": retry.first_wait, "max_backoff": retry.longest_wait, "base": 2},
        },
        **{name: value for name, value in settings.items() if value is not None},
    )


# --- https ----------------------------------------------------------------------------------------------------


@contextmanager
def _http_chunks(uri: str, shown: str, environment: Environment) -> Iterator[Iterable[bytes]]:
    if urlsplit(uri).username is not None:
        raise ConversionFailure(
            Reason.BAD_REQUEST, "a URI must not hold a user name or password; put them into the Secret"
        )

    def refuse_plain_http(request: httpx.Request) -> None:  # also called for every redirect
        if request.url.scheme != "https" and not environment.allow_http:
            raise ConversionFailure(Reason.BAD_REQUEST, f"{shown}: {HTTP_NEEDS_FLAG}")

    context = tls_context(environment.ca_file, environment.source_credentials / "ca.crt")
    try:
        with (
            httpx.Client(
                transport=httpx.HTTPTransport(verify=context, retries=3),
                timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
                follow_redirects=True,
                event_hooks={"request": [refuse_plain_http]},
                auth=_basic_auth(environment.source_credentials),
                headers=_bearer_header(environment.source_credentials),
            ) as client,
            client.stream("GET", uri) as response,
        ):
            _raise_for_status(shown, response.status_code)
            yield response.iter_bytes(CHUNK_BYTES)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConversionFailure(
            Reason.SOURCE_UNAVAILABLE, f"{shown} could not be read, the Job tries again: {first_line(error)}"
        ) from error


def _basic_auth(folder: Path) -> httpx.BasicAuth | None:
    username, password = credential(folder, "username"), credential(folder, "password")
    return httpx.BasicAuth(username, password) if username and password else None


def _bearer_header(folder: Path) -> dict[str, str]:
    token = credential(folder, "token")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _raise_for_status(shown: str, status: int) -> None:
    if status in (404, 410):
        raise ConversionFailure(
            Reason.SOURCE_NOT_FOUND, f"{shown} was not found (HTTP {status}); check the URI and that it is published"
        )
    if status in (401, 403):
        raise _forbidden(f"{shown} (HTTP {status})", "username and password, or token")
    if status >= 500 or status in (408, 425, 429):
        raise ConversionFailure(Reason.SOURCE_UNAVAILABLE, f"{shown} answered HTTP {status}; the Job tries again")
    if status != 200:
        raise ConversionFailure(
            Reason.UNSUPPORTED_SOURCE, f"{shown} answered HTTP {status}; the URI must lead to one file"
        )


def _forbidden(shown: str, keys: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.SOURCE_FORBIDDEN,
        f"{shown}: access was refused; put {keys} with read permission into the Secret of model.secretRef",
    )


# --- persistent volume claims -----------------------------------------------------------------------------------


def _claim_chunks(uri: str, root: Path) -> Iterator[bytes]:
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    segments = [claim, *path.split("/")]
    if len(segments) < 2 or any(segment in ("", ".", "..") for segment in segments):
        raise ConversionFailure(
            Reason.UNSAFE_PATH,
            f"{uri}: the path below the claim must name one file without empty, '.' or '..' parts",
        )
    descriptor = _open_below(root, segments, uri)
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _open_below(root: Path, segments: list[str], uri: str) -> int:
    """Open a regular file below root without following a link in any part; returns the descriptor."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY) if root.is_dir() else -1
    try:
        if folder < 0:
            raise FileNotFoundError(root)
        for name in segments[:-1]:
            deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = deeper
        descriptor = os.open(segments[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError as error:
        raise ConversionFailure(
            Reason.SOURCE_NOT_FOUND, f"{uri} was not found; check the claim's name and the path in it"
        ) from error
    except PermissionError as error:
        raise ConversionFailure(
            Reason.SOURCE_FORBIDDEN, f"{uri} is not readable by the Job's user; make the file group-readable"
        ) from error
    except OSError as error:  # ELOOP or ENOTDIR: a symbolic link, or a file where a folder should be
        raise ConversionFailure(
            Reason.UNSAFE_PATH,
            f"{uri}: a part of the path is a symbolic link or no folder; links are refused, name the real file",
        ) from error
    finally:
        if folder >= 0:
            os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConversionFailure(Reason.UNSAFE_PATH, f"{uri} is no regular file; name one file")
    return descriptor
