"""Models in a registry: `oci://<host>/<repository>[:<tag>][@<digest>][#<path in it>]`.

Three layouts are read, told apart layer by layer: a file as a layer of its own (ORAS: the layer's title is the name),
the CNCF ModelPack (the same, or tars, with a name of its own in the annotations), and container images, whose layers
are laid over each other as a runtime would. Without a path the artifact must hold one file, or one .onnx.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from visionmodel_converter.clouds.credentials import HTTP_NEEDS_FLAG, credential
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.archive import Budget, Limits, tar_entries, translated, unsafe
from visionmodel_converter.sources.names import fault_of
from visionmodel_converter.sources.origin import (
    CHUNK_BYTES,
    Access,
    Entry,
    Located,
    require_path,
    split_uri,
)
from visionmodel_converter.store.image import MANIFEST_TYPE, sha256_of
from visionmodel_converter.store.registry import Reference, Registry, open_registry

FORM: Final = "an OCI URI is oci://<host>/<repository>[:<tag>][@sha256:...][#<path of one file in it>]"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ACCEPT: Final = ", ".join((MANIFEST_TYPE, DOCKER_MANIFEST, *INDEXES))
TITLES: Final = ("org.opencontainers.image.title", "org.cncf.model.filepath")
UNPACK: Final = "io.deis.oras.content.unpack"
PACKED_ENDS: Final = ("tar+gzip", "tar.gzip", "tar.gz")
PLAIN_ENDS: Final = (".tar", "+tar")
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
DIGEST: Final = re.compile(r"^sha256:[0-9a-f]{64}$")
MAX_LAYERS: Final = 200
IMAGE_LIMITS: Final = {"max_files": 100_000, "max_ratio": 1000}
"""A base system below the model has many files, and whole layers of text or zeros."""
UNPACKED_TIMES: Final = 4


@contextmanager
def locate(uri: str, access: Access) -> Iterator[Located]:
    """Read the manifest of a URI and open the artifact."""
    split_uri(uri)  # refuses a password
    text, _, fragment = uri.removeprefix("oci://").partition("#")
    reference = Reference.parse(text)
    path = require_path(uri, unquote(fragment), FORM, access) if fragment else ""
    with (
        tempfile.TemporaryDirectory(dir=access.scratch) as scratch,
        _opened(uri, reference, access) as registry,
        _translated(uri),
    ):
        digest, manifest = _manifest(uri, registry, reference.digest or reference.tag or "latest")
        shown = f"oci://{reference.host}/{reference.name}@{digest}"
        yield Located(
            ArtifactOrigin(registry, shown, _layers(uri, manifest), Path(scratch), access.max_bytes), path, not path
        )


def _opened(uri: str, reference: Reference, access: Access) -> Registry:
    environment = access.environment
    folder = environment.source_credentials
    plain = (credential(folder, "OCI_PLAIN_HTTP") or "").lower() == "true"
    if plain and not environment.allow_http:
        raise ConversionFailure(Reason.BAD_REQUEST, f"OCI_PLAIN_HTTP of {uri}: {HTTP_NEEDS_FLAG}")
    return open_registry(reference.host, reference.name, insecure=plain, environment=environment, credentials=folder)


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Put the registry client's failures into the words of a source: here the user's Secret opens it."""
    try:
        yield
    except ConversionFailure as failure:
        if failure.reason is Reason.REGISTRY_FORBIDDEN:
            raise ConversionFailure(
                Reason.SOURCE_FORBIDDEN,
                f"{uri}: access was refused, or there is no such repository; put a docker config (.dockerconfigjson) "
                "that may pull it into the Secret of model.secretRef",
            ) from failure
        if failure.reason in (Reason.REGISTRY_UNAVAILABLE, Reason.ARTIFACT_CORRUPT):
            throttled = "HTTP 429" in failure.message
            raise ConversionFailure(
                Reason.SOURCE_THROTTLED if throttled else Reason.SOURCE_UNAVAILABLE,
                f"{uri} could not be read, the Job tries again: {failure.message}",
            ) from failure
        raise


def _manifest(uri: str, registry: Registry, reference: str) -> tuple[str, dict[str, Any]]:
    """Return digest and manifest; of an index the one for linux/amd64, or its only one."""
    data = registry.manifest(reference, accept=ACCEPT)
    if data is None:
        raise ConversionFailure(
            Reason.SOURCE_NOT_FOUND, f"{uri} was not found; check repository and tag or digest in the registry"
        )
    try:
        document = json.loads(data)
        children = document.get("manifests")
        if children is None:
            return sha256_of(data), document
        fitting = [child for child in children if _is_ours(child.get("platform"))] or children
        chosen = str(fitting[0]["digest"]) if len(fitting) == 1 else None
    except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise _malformed(uri) from error
    if chosen is None or not DIGEST.match(chosen) or reference == chosen:
        raise ConversionFailure(
            Reason.AMBIGUOUS_SOURCE,
            f"{uri} is an index of {len(children)} manifests without exactly one for linux/amd64; name the digest "
            "of one",
        )
    return _manifest(uri, registry, chosen)


def _is_ours(platform: Any) -> bool:
    return isinstance(platform, dict) and (platform.get("os"), platform.get("architecture")) == ("linux", "amd64")


def _malformed(uri: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.UNSUPPORTED_SOURCE, f"{uri} is no image or artifact manifest; push the model as an OCI artifact or image"
    )


@dataclass(frozen=True, slots=True)
class Layer:
    """One blob: a file of that name, or with `packed` set (True: gzip) a tar of files."""

    digest: str
    size_bytes: int
    name: str
    packed: bool | None


def _layers(uri: str, manifest: dict[str, Any]) -> list[Layer]:
    found = manifest.get("layers")
    if not isinstance(found, list) or not 0 < len(found) <= MAX_LAYERS:
        raise _malformed(uri)
    try:
        return [_layer(uri, index, item) for index, item in enumerate(found)]
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise _malformed(uri) from error


def _layer(uri: str, index: int, item: dict[str, Any]) -> Layer:
    annotations = item.get("annotations") or {}
    kind = str(item["mediaType"])
    title = next((str(annotations[key]) for key in TITLES if key in annotations), None)
    is_tar = kind.endswith((*PACKED_ENDS, *PLAIN_ENDS))
    # oras pushes single files with the media type of a tar: the title tells, unless it asks to be unpacked
    is_file = not is_tar or (TITLES[0] in annotations and annotations.get(UNPACK) != "true")
    if kind.endswith("zstd") and (title is None or not is_file):
        raise ConversionFailure(
            Reason.UNSUPPORTED_SOURCE, f"{uri}: layer {index} is packed with zstd; push it with gzip or unpacked"
        )
    name = title or f"layer-{index}"
    fault = fault_of(name) if is_file else None
    if fault is not None:
        raise unsafe(uri, name, fault)
    digest = str(item["digest"])
    if not DIGEST.match(digest):
        raise ValueError(digest)
    return Layer(digest, int(item["size"]), name, None if is_file else kind.endswith(PACKED_ENDS))


@dataclass(frozen=True, slots=True)
class Content:
    """Where a file is: a blob of its own, or an entry of a downloaded layer."""

    layer: Layer
    member: str | None
    size_bytes: int


class ArtifactOrigin:
    """One manifest's files; layers are fetched from the top until the wanted file has been seen."""

    def __init__(self, registry: Registry, shown: str, layers: list[Layer], scratch: Path, max_bytes: int) -> None:
        self._registry, self._shown, self._scratch, self._max_bytes = registry, shown, scratch, max_bytes
        self._pending = layers
        self._files: dict[str, Content] = {}
        self._hidden: set[str] = set()

    def shown(self, path: str) -> str:
        """Return the URI with the manifest's digest."""
        return f"{self._shown}#{path}" if path else self._shown

    def entries(self, folder: str) -> Iterator[Entry]:
        """Return all files below a folder, of all layers."""
        while self._pending:
            self._lay_below(self._pending.pop())
        start = f"{folder}/" if folder else ""
        for name, content in sorted(self._files.items()):
            if name.startswith(start):
                yield Entry(name.removeprefix(start), content.size_bytes)

    @contextmanager
    def read(self, path: str) -> Iterator[Iterable[bytes]]:
        """Stream a file out of its layer."""
        while path not in self._files and self._pending:
            self._lay_below(self._pending.pop())
        content = self._files.get(path)
        if content is None:
            some = ", ".join(repr(name) for name in sorted(self._files)[:5])
            raise ConversionFailure(
                Reason.SOURCE_NOT_FOUND,
                f"{self.shown(path)} was not found; the artifact has {len(self._files)} files ({some}); links in an "
                "image are not followed",
            )
        yield self._chunks(content)

    def _chunks(self, content: Content) -> Iterator[bytes]:
        blob = self._downloaded(content.layer)
        if content.member is None:
            with blob.open("rb") as file:
                yield from iter(lambda: file.read(CHUNK_BYTES), b"")
            return
        for archive, member in self._tar(content.layer):
            stream = archive.extractfile(member) if member.isreg() and member.name == content.member else None
            if stream is not None:
                yield from iter(lambda: stream.read(CHUNK_BYTES // 2), b"")  # noqa: B023 - used up before the next
                return

    def _tar(self, layer: Layer) -> Iterator[Any]:
        limits = Limits(UNPACKED_TIMES * self._max_bytes, **IMAGE_LIMITS)
        with translated(self._shown), self._downloaded(layer).open("rb", buffering=0) as raw:
            budget = Budget(self._shown, limits, layer.size_bytes)
            for archive, member in tar_entries(raw, budget, packed=layer.packed is True):
                budget.spend(member.size)  # also of what is only skipped
                yield archive, member

    def _lay_below(self, layer: Layer) -> None:
        """Add a layer's files below those that are there; what upper layers removed or replaced stays hidden."""
        if layer.packed is None:
            if layer.name not in self._hidden:
                self._files.setdefault(layer.name, Content(layer, None, layer.size_bytes))
            return
        found: dict[str, Content | None] = {}
        for _, member in self._tar(layer):
            name = member.name.removeprefix("./").strip("/")
            if member.isdir() or not name:
                continue
            fault = fault_of(name)
            if fault is not None:
                raise unsafe(self._shown, member.name, fault)
            found[name] = Content(layer, member.name, member.size) if member.isreg() else None
        for name, content in found.items():
            if content is not None and name not in self._files and not self._is_hidden(name):
                self._files[name] = content
        self._hidden |= {_hides(name) if _is_whiteout(name) else name for name in found}

    def _is_hidden(self, name: str) -> bool:
        folders = [name[:index] for index, letter in enumerate(name) if letter == "/"]
        candidates = {name, *folders, *(f"{folder}/" for folder in ("", *folders))}
        return _is_whiteout(name) or not self._hidden.isdisjoint(candidates)

    def _downloaded(self, layer: Layer) -> Path:
        path = self._scratch / layer.digest.replace(":", "-")
        if not path.exists():
            if layer.size_bytes > self._max_bytes:
                raise ConversionFailure(
                    Reason.SOURCE_TOO_LARGE,
                    f"{self._shown}: a layer has {layer.size_bytes} bytes, the limit is {self._max_bytes}; push the "
                    "model as an artifact of its own",
                )
            self._registry.download(layer.digest, layer.size_bytes, path)
        return path


def _is_whiteout(name: str) -> bool:
    return name.rpartition("/")[2].startswith(WHITEOUT)


def _hides(name: str) -> str:
    """Return what a whiteout hides: a name and all below it, or with a slash all below a folder."""
    folder, _, last = name.rpartition("/")
    if last == OPAQUE:
        return f"{folder}/"
    return f"{folder}/{last.removeprefix(WHITEOUT)}" if folder else last.removeprefix(WHITEOUT)
