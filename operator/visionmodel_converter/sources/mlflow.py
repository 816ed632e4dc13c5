"""Models of an MLflow registry: `mlflow://<name>/<version or @alias>[/<path in the model>]`.

Two REST calls turn an alias into a version and a version into the place of its files; those are then read by the
module of that place, or through the tracking server when it keeps them itself. A stage is no alias: MLflow has
deprecated stages, and "whatever is in Production" is exactly the moving target that an alias names honestly.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from visionmodel_converter.clouds.credentials import credential, endpoint
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources import object_store
from visionmodel_converter.sources.http import Client, login_of, open_client, refuse_status
from visionmodel_converter.sources.names import fault_of
from visionmodel_converter.sources.origin import Access, Entry, Located, split_uri

FORM: Final = "an MLflow URI is mlflow://<model name>/<version number or @alias>[/<path of the file in the model>]"
KEYS: Final = "MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD,"
STAGES: Final = ("none", "staging", "production", "archived", "latest")
WASB: Final = re.compile(r"^(?P<container>[^@]+)@(?P<account>[a-z0-9]+)\.blob\.(?P<suffix>.+)$")
MAX_FOLDERS: Final = 1000


@contextmanager
def locate(uri: str, access: Access) -> Iterator[Located]:
    """Resolve name and alias at the tracking server and open the place of the version's files."""
    folder = access.environment.source_credentials
    authority, path = split_uri(uri)
    name = unquote(authority)
    version, _, inside = path.strip("/").partition("/")
    _refuse_malformed(uri, name, version, inside)
    server = endpoint(folder, "MLFLOW_TRACKING_URI", uri, environment=access.environment)
    if server is None or not server.startswith(("https://", "http://")):
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"{uri}: put the tracking server's address as MLFLOW_TRACKING_URI into the Secret of model.secretRef",
        )
    login = login_of(
        credential(folder, "MLFLOW_TRACKING_USERNAME"),
        credential(folder, "MLFLOW_TRACKING_PASSWORD"),
        credential(folder, "MLFLOW_TRACKING_TOKEN"),
    )
    with open_client(access.environment, shown=uri, keys=KEYS, login=login) as client:
        registry = Registry(client, server.rstrip("/"))
        if version.startswith("@"):
            version = registry.version_of(name, version[1:])
        with _place(uri, registry, registry.artifact_uri(name, version), access) as place:
            joined = "/".join(part for part in (place.path, inside) if part)
            yield Located(place.origin, joined, choose=not inside)


def _refuse_malformed(uri: str, name: str, version: str, inside: str) -> None:
    if version.lower() in STAGES:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"{uri}: stages are not supported, because what they name moves without a trace; use an alias, for example "
            f"mlflow://{name}/@champion",
        )
    is_alias = version.startswith("@") and fault_of(version[1:]) is None
    if not name or not (is_alias or version.isdecimal()) or (inside and fault_of(inside)):
        raise ConversionFailure(Reason.BAD_REQUEST, f"{uri}: {FORM}")


@dataclass(frozen=True, slots=True)
class Registry:
    """The calls to one tracking server."""

    client: Client
    server: str

    def version_of(self, name: str, alias: str) -> str:
        """Return the version that an alias points to now."""
        found = self._get("registered-models/alias", name=name, alias=alias).get("model_version")
        return str(found.get("version", "")) if isinstance(found, dict) else ""

    def artifact_uri(self, name: str, version: str) -> str:
        """Return where a version's files lie."""
        document = self._get("model-versions/get-download-uri", name=name, version=version)
        return str(document.get("artifact_uri", ""))

    def _get(self, call: str, **parameters: str) -> dict[str, object]:
        response, body = self.client.answer(f"{self.server}/api/2.0/mlflow/{call}", **parameters)
        if response.status_code in (400, 404):
            words = str(self.client.parsed(body).get("message", ""))[:200]
            raise ConversionFailure(
                Reason.SOURCE_NOT_FOUND,
                f"{self.client.shown} was not found; check name and version or alias at the tracking server ({words})",
            )
        refuse_status(self.client.shown, response.status_code, self.client.keys)
        return self.client.parsed(body)


@contextmanager
def _place(uri: str, registry: Registry, artifact_uri: str, access: Access) -> Iterator[Located]:
    """Open the folder of a version's files; the Secret holds that store's keys beside MLflow's."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "mlflow-artifacts":
        if parts.hostname not in (None, urlsplit(registry.server).hostname):
            raise ConversionFailure(
                Reason.UNSUPPORTED_SOURCE,
                f"{uri}: its files lie behind another server ({parts.hostname}), which gets no credentials of ours; "
                "register the model at the server that keeps its files",
            )
        yield Located(ProxyOrigin(registry.client, registry.server, uri), parts.path.strip("/"))
        return
    cloud = _cloud_uri(artifact_uri)
    if cloud is None:
        raise ConversionFailure(
            Reason.UNSUPPORTED_SOURCE,
            f"{uri}: its files lie at {parts.scheme or 'a local path'}, which the Job cannot read; keep artifacts in "
            "s3://, gs:// or abfss://, or let the tracking server serve them (mlflow server --serve-artifacts)",
        )
    folder = Access(access.environment, access.retry, access.scratch, access.max_bytes, whole_folder=True)
    with object_store.locate(cloud, folder) as place:
        yield place


def _cloud_uri(artifact_uri: str) -> str | None:
    """Return MLflow's address of a bucket in our form; None for any other place."""
    scheme, _, rest = artifact_uri.partition("://")
    authority, slash, path = rest.partition("/")
    if scheme in ("wasb", "wasbs"):
        found = WASB.match(authority)
        authority = f"{found['container']}@{found['account']}.dfs.{found['suffix']}" if found else ""
    known = {"s3": "s3", "gs": "gs", "abfs": "abfs", "abfss": "abfs", "wasb": "abfs", "wasbs": "abfs"}
    return f"{known[scheme]}://{authority}{slash}{quote(path)}" if scheme in known and authority else None


@dataclass(frozen=True, slots=True)
class ProxyOrigin:
    """Files that the tracking server keeps and serves itself."""

    client: Client
    server: str
    uri: str

    def shown(self, path: str) -> str:
        """Return the place of a file at the server: it names run or model and so the version."""
        return f"mlflow-artifacts:/{path}"

    @contextmanager
    def read(self, path: str) -> Iterator[Iterable[bytes]]:
        """Stream a file through the server."""
        with self.client.stream(self._url(f"/{quote(path)}"), f"{self.uri} ({self.shown(path)})") as chunks:
            yield chunks

    def entries(self, folder: str) -> Iterator[Entry]:
        """List folder after folder: the server lists one level per call."""
        pending, listed = [""], 0
        while pending:
            below = pending.pop()
            listed += 1
            if listed > MAX_FOLDERS:
                raise ConversionFailure(
                    Reason.SOURCE_TOO_LARGE, f"{self.uri} has more than {MAX_FOLDERS} folders; log the model alone"
                )
            document = self.client.document(self._url(""), path="/".join(part for part in (folder, below) if part))
            for item in document.get("files", []):
                name = "/".join(part for part in (below, str(item.get("path", ""))) if part)
                if item.get("is_dir"):
                    pending.append(name)
                else:
                    yield Entry(name, int(item.get("file_size", 0)))

    def _url(self, path: str) -> str:
        return f"{self.server}/api/2.0/mlflow-artifacts/artifacts{path}"
