"""A small client for the OCI distribution API: what publishing and fetching one artifact need, and no more.

On httpx instead of a registry library, because digests must be known before anything is sent, blobs must stream
from disk, every call needs a timeout, and outage, refusal and absence must be told apart (ADR 0002).
"""

import base64
import binascii
import json
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.store.image import CHUNK_BYTES, MANIFEST_TYPE, Blob, Image, sha256_of, sha256_of_file
from visionmodel_converter.trust import tls_context

REFERENCE: Final = re.compile(
    r"^(?P<host>[^/]+)/(?P<name>[a-z0-9][a-z0-9._/-]*)(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$"
)
CHALLENGE_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
MAX_MANIFEST_BYTES: Final = 1024 * 1024
TAGS_PER_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed image reference; a digest wins over a tag."""

    host: str
    name: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `host[:port]/name[:tag][@sha256:...]`; raises ConversionFailure BadRequest."""
        found = REFERENCE.match(text)
        if found is None:
            raise ConversionFailure(
                Reason.BAD_REQUEST, f"{text!r} is no image reference of the form host[:port]/name[:tag][@sha256:...]"
            )
        return cls(**found.groupdict())


class ChallengeAuth(httpx.Auth):
    """Answer a registry's 401: Basic by the given login, Bearer by a token from the realm it names."""

    def __init__(self, login: tuple[str, str] | None, *, allow_http: bool) -> None:
        self._basic = None if login is None else "Basic " + base64.b64encode(":".join(login).encode()).decode()
        self._allow_http = allow_http
        self._header: str | None = None

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request with what worked last, then once more with what the challenge asks for."""
        if self._header:
            request.headers["Authorization"] = self._header
        response = yield request
        if response.status_code != 401:
            return
        scheme, _, rest = response.headers.get("WWW-Authenticate", "").partition(" ")
        if scheme.lower() == "bearer":
            token_request = self._token_request(dict(CHALLENGE_PARAMETER.findall(rest)))
            if token_request is None:
                return
            answer = yield token_request
            answer.read()
            self._header = _bearer(answer)
        else:
            self._header = self._basic
        if self._header:
            request.headers["Authorization"] = self._header
            yield request

    def _token_request(self, parameters: dict[str, str]) -> httpx.Request | None:
        realm = parameters.pop("realm", "")
        if not realm.startswith("https://") and not (self._allow_http and realm.startswith("http://")):
            return None
        headers = {"Authorization": self._basic} if self._basic else {}
        wanted: dict[str, str] = {name: parameters[name] for name in tuple(parameters) if name in ("service", "scope")}
        return httpx.Request("GET", realm, params=wanted, headers=headers)


def _bearer(answer: httpx.Response) -> str | None:
    if answer.status_code != 200:
        return None
    document = answer.json()
    token = document.get("token") or document.get("access_token")
    return f"Bearer {token}" if token else None


def login_for(host: str, folder: Path) -> tuple[str, str] | None:
    """Return user and password for a registry from a mounted docker config; None without one.

    Reads `.dockerconfigjson` (the key of a Secret of that type) or `config.json`. Raises BadRequest when the
    file is damaged, without repeating what is in it.
    """
    path = next((folder / name for name in (".dockerconfigjson", "config.json") if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        logins = json.loads(path.read_text(encoding="utf-8")).get("auths", {})
        entry = next((logins[key] for key in (host, f"https://{host}", f"http://{host}") if key in logins), None)
        if entry is None:
            return None
        if entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
            return user, password
        return entry["username"], entry["password"]
    except (ValueError, KeyError, AttributeError, binascii.Error) as error:
        raise ConversionFailure(
            Reason.BAD_REQUEST, f"{path.name} in the registry Secret cannot be read; recreate it as a docker config"
        ) from error


class Registry:
    """One repository of one registry; use as a context manager."""

    def __init__(self, host: str, name: str, client: httpx.Client) -> None:
        self.host, self.name = host, name
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def manifest(self, reference: str, *, accept: str = MANIFEST_TYPE) -> bytes | None:
        """Return a manifest by tag or digest; None when absent. Raises RegistryUnavailable or -Forbidden."""
        with self._call("GET", f"manifests/{reference}", headers={"Accept": accept}) as response:
            if response.status_code == 404:
                return None
            self._expect(response, 200)
            data = response.read()
        if len(data) > MAX_MANIFEST_BYTES:
            raise self._corrupt(f"manifest {reference} has {len(data)} bytes")
        if reference.startswith("sha256:") and sha256_of(data) != reference:
            raise self._corrupt(f"manifest {reference} has digest {sha256_of(data)}")
        return data

    def download(self, digest: str, size_bytes: int, target: Path) -> None:
        """Stream a blob to a file and verify size and digest; the file is removed when they differ."""
        received = 0
        with self._call("GET", f"blobs/{digest}") as response, target.open("wb") as file:
            self._expect(response, 200)
            for chunk in response.iter_bytes(CHUNK_BYTES):
                received += len(chunk)
                if received > size_bytes:
                    break
                file.write(chunk)
        actual = sha256_of_file(target)
        if received != size_bytes or actual != digest:
            target.unlink()
            raise self._corrupt(f"blob {digest} arrived as {actual}")

    def push_blobs(self, image: Image) -> None:
        """Upload layer and config if missing."""
        for blob in (image.layer, image.config):
            self._push_blob(blob)

    def tag(self, manifest: bytes, tag: str) -> None:
        """Put a manifest whose blobs are there under a tag."""
        with self._call(
            "PUT", f"manifests/{tag}", content=manifest, headers={"Content-Type": MANIFEST_TYPE}
        ) as response:
            self._expect(response, 201)

    def tags(self, prefix: str = "") -> list[str]:
        """Return the tags that are longer than a prefix; all of them without one, none without a repository.

        Page by page, from the prefix on where the registry can begin there.
        """
        found: list[str] = []
        query = f"n={TAGS_PER_PAGE}" + (f"&last={prefix}" if prefix else "")
        while query:
            with self._call("GET", f"tags/list?{query}") as response:
                if response.status_code == 404:
                    return found
                self._expect(response, 200)
                response.read()
                page: list[str] = response.json().get("tags") or []
            found += [tag for tag in page if tag.startswith(prefix) and tag != prefix]
            if prefix and page and min(page) > prefix and not max(page).startswith(prefix):
                break  # sorted, and beyond the prefix
            # of the next page's address only what selects the page: we stay with the host that we trust
            query = urlsplit(response.links.get("next", {}).get("url", "")).query
        return found

    def delete(self, digest: str) -> None:
        """Delete a manifest, and with it every tag of it; one that is gone already is fine. Raises DeletionRefused."""
        with self._call("DELETE", f"manifests/{digest}") as response:
            if response.status_code in (400, 405):
                raise ConversionFailure(
                    Reason.DELETION_REFUSED,
                    f"registry {self.host} does not let manifests be deleted (HTTP {response.status_code}); allow it "
                    "there (REGISTRY_STORAGE_DELETE_ENABLED=true in the CNCF registry), or turn the collection off",
                )
            if response.status_code != 404:
                self._expect(response, 202)

    def _push_blob(self, blob: Blob) -> None:
        with self._call("HEAD", f"blobs/{blob.digest}") as response:
            if response.status_code == 200:
                return
        with self._call("POST", "blobs/uploads/", headers={"Content-Length": "0"}) as response:
            self._expect(response, 202)
            location = response.url.join(response.headers["Location"])
            if response.url.scheme == "https" and location.scheme != "https":
                raise ConversionFailure(
                    Reason.REGISTRY_UNAVAILABLE,
                    f"registry {self.host} asks for uploads over plain HTTP, which would show the login; the platform "
                    "team has to tell it its external address",
                )
        with self._call(
            "PUT",
            str(location.copy_merge_params({"digest": blob.digest})),
            content=_stream(blob),
            headers={"Content-Length": str(blob.size_bytes), "Content-Type": "application/octet-stream"},
        ) as response:
            self._expect(response, 201)

    @contextmanager
    def _call(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        url = path if urlsplit(path).scheme else f"/v2/{self.name}/{path}"
        try:
            with self._client.stream(method, url, **options) as response:
                yield response
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise ConversionFailure(
                Reason.REGISTRY_UNAVAILABLE,
                f"registry {self.host} does not answer, the Job tries again: {first_line(error)}",
            ) from error

    def _expect(self, response: httpx.Response, status: int) -> None:
        if response.status_code == status:
            return
        if response.status_code in (401, 403):
            raise ConversionFailure(
                Reason.REGISTRY_FORBIDDEN,
                f"registry {self.host} refuses access to {self.name} (HTTP {response.status_code}); the platform "
                "team's registry Secret in this namespace needs the right to pull and push there",
            )
        raise ConversionFailure(
            Reason.REGISTRY_UNAVAILABLE,
            f"registry {self.host} answered HTTP {response.status_code} to {response.request.method} in "
            f"{self.name}; the Job tries again",
        )

    def _corrupt(self, what: str) -> ConversionFailure:
        return ConversionFailure(
            Reason.ARTIFACT_CORRUPT, f"registry {self.host}, {self.name}: {what}; delete that tag and retry"
        )


def _stream(blob: Blob) -> Iterator[bytes]:
    if blob.path is None:
        yield blob.data or b""
        return
    with blob.path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def open_registry(
    host: str, name: str, *, insecure: bool, environment: Environment, credentials: Path | None = None
) -> Registry:
    """Connect to a repository; plain HTTP only when `insecure`, TLS trust and login from a mounted Secret.

    `credentials` is that Secret's folder: the platform team's unless given.
    """
    folder = credentials or environment.registry_credentials
    client = httpx.Client(
        base_url=f"{'http' if insecure else 'https'}://{host}",
        transport=httpx.HTTPTransport(verify=tls_context(environment.ca_file, folder / "ca.crt"), retries=3),
        timeout=httpx.Timeout(120.0, connect=10.0),
        follow_redirects=True,
        auth=ChallengeAuth(login_for(host, folder), allow_http=insecure),
    )
    return Registry(host, name, client)
