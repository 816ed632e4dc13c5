"""`https://` files, and the HTTP client that the Hugging Face and MLflow modules share.

Plain HTTP is refused at every redirect too, credentials go to the named host only (httpx drops them when a redirect
leaves it), and a status that means absence, refusal, throttling or outage is told apart in one place.
"""

import json
import posixpath
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import httpx

from visionmodel_converter.clouds.credentials import HTTP_NEEDS_FLAG, credential
from visionmodel_converter.clouds.patience import CONNECT_SECONDS, READ_SECONDS
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.shown import display_uri
from visionmodel_converter.sources.origin import (
    CHUNK_BYTES,
    Access,
    Entry,
    Located,
    refuse_credentials,
)
from visionmodel_converter.trust import tls_context

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
HTTPS_KEYS: Final = "username and password, or token"


@contextmanager
def locate(uri: str, access: Access) -> Iterator[Located]:
    """Open the host of a URI."""
    refuse_credentials("https", urlsplit(uri).netloc)
    with open_client(access.environment, shown=display_uri(uri), keys=HTTPS_KEYS) as client:
        origin = HttpOrigin(client, uri)
        yield Located(origin, origin.path)


@dataclass(frozen=True, slots=True)
class Client:
    """An HTTP client with the words for its refusals: what was asked, and which keys of the Secret would open it."""

    http: httpx.Client
    shown: str
    keys: str

    @contextmanager
    def stream(self, url: str, shown: str) -> Iterator[Iterable[bytes]]:
        """GET a URL as chunks of bytes; raises ConversionFailure for every status but 200."""
        try:
            with self.http.stream("GET", url) as response:
                refuse_status(shown, response.status_code, self.keys)
                yield response.iter_bytes(CHUNK_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.outage(shown, error) from error

    def answer(self, url: str, **parameters: str) -> tuple[httpx.Response, bytes]:
        """GET a small answer whatever its status: the response's head and its body, at most 16 MiB."""
        body = bytearray()
        try:
            with self.http.stream("GET", url, params=parameters) as response:
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise ConversionFailure(
                            Reason.SOURCE_TOO_LARGE,
                            f"{self.shown}: the server's answer is longer than {MAX_ANSWER_BYTES} bytes; name a "
                            "smaller repository or folder",
                        )
                return response, bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.outage(self.shown, error) from error

    def document(self, url: str, **parameters: str) -> dict[str, Any]:
        """GET a JSON object; raises ConversionFailure for every status but 200 and for anything else."""
        response, body = self.answer(url, **parameters)
        refuse_status(self.shown, response.status_code, self.keys)
        return self.parsed(body)

    def parsed(self, body: bytes) -> dict[str, Any]:
        """Return a JSON object; a login page or a proxy's error page is none."""
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ConversionFailure(
                Reason.UNSUPPORTED_SOURCE,
                f"{self.shown}: the server answers with something else than its API's JSON; check the address",
            )
        return document

    def outage(self, shown: str, error: Exception) -> ConversionFailure:
        """Return the failure for a connection that broke or never was."""
        return ConversionFailure(
            Reason.SOURCE_UNAVAILABLE, f"{shown} could not be read, the Job tries again: {first_line(error)}"
        )


@contextmanager
def open_client(
    environment: Environment,
    *,
    shown: str,
    keys: str,
    login: httpx.Auth | None = None,
) -> Iterator[Client]:
    """Yield a client; without a login of its own it takes `username` and `password`, or `token`, of the Secret."""
    folder = environment.source_credentials

    def refuse_plain_http(request: httpx.Request) -> None:  # also called for every redirect
        if request.url.scheme != "https" and not environment.allow_http:
            raise ConversionFailure(Reason.BAD_REQUEST, f"{shown}: {HTTP_NEEDS_FLAG}")

    with httpx.Client(
        transport=httpx.HTTPTransport(verify=tls_context(environment.ca_file, folder / "ca.crt"), retries=3),
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=True,
        event_hooks={"request": [refuse_plain_http]},
        auth=login
        or login_of(credential(folder, "username"), credential(folder, "password"), credential(folder, "token")),
    ) as client:
        yield Client(client, shown, keys)


class Bearer(httpx.Auth):
    """Sends a token with the request; httpx drops it when a redirect leaves the host."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["Authorization"] = self._header
        yield request


def login_of(username: str | None, password: str | None, token: str | None) -> httpx.Auth | None:
    """Return the login that the keys of a Secret allow: a token first, then user and password."""
    if token:
        return Bearer(token)
    return httpx.BasicAuth(username, password) if username and password else None


def refuse_status(shown: str, status: int, keys: str) -> None:
    """Raise the failure that a status stands for; nothing for 200."""
    if status == 200:
        return
    if status in (404, 410):
        raise ConversionFailure(
            Reason.SOURCE_NOT_FOUND, f"{shown} was not found (HTTP {status}); check the URI and that it is published"
        )
    if status in (401, 403):
        raise ConversionFailure(
            Reason.SOURCE_FORBIDDEN,
            f"{shown} (HTTP {status}): access was refused; put {keys} with read permission into the Secret of "
            "model.secretRef",
        )
    if status == 429:
        raise ConversionFailure(
            Reason.SOURCE_THROTTLED, f"{shown}: the server asks for fewer requests (HTTP 429); the Job tries again"
        )
    if status >= 500 or status in (408, 425):
        raise ConversionFailure(Reason.SOURCE_UNAVAILABLE, f"{shown} answered HTTP {status}; the Job tries again")
    raise ConversionFailure(Reason.UNSUPPORTED_SOURCE, f"{shown} answered HTTP {status}; the URI must lead to one file")


class HttpOrigin:
    """The host of one URL: that file by the URL as it was given, files beside it by their path."""

    def __init__(self, client: Client, uri: str) -> None:
        parts = urlsplit(uri)
        self._client, self._uri, self._signed = client, uri, bool(parts.query)
        self._root = f"{parts.scheme}://{parts.netloc}/"
        self.path = unquote(parts.path).lstrip("/")

    def shown(self, path: str) -> str:
        """Return the URL of a file without its query."""
        return display_uri(self._uri) if path == self.path else self._root + quote(path)

    @contextmanager
    def read(self, path: str) -> Iterator[Iterable[bytes]]:
        """Stream a file; a URL with a query (a signature) opens no second one."""
        if path != self.path and self._signed:
            raise ConversionFailure(
                Reason.EXTERNAL_DATA,
                f"{self.shown(self.path)}: a URL with a query opens one file and not {posixpath.basename(path)!r} "
                "beside it; publish the model as a single file or as one archive",
            )
        with self._client.stream(self._uri if path == self.path else self.shown(path), self.shown(path)) as chunks:
            yield chunks

    def entries(self, folder: str) -> Iterable[Entry]:
        """Refuse: HTTP has no listing."""
        raise ConversionFailure(
            Reason.UNSUPPORTED_SOURCE,
            f"{self.shown(folder)}: a folder cannot be listed over https; publish it as one archive (.zip, .tar or "
            ".tar.gz), or use s3://, gs://, abfs://, hf://, oci:// or pvc://",
        )
