"""The kits of the stores: in memory, in a folder, and in front of real servers."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from obstore.store import ObjectStore

from contracts.artifact_stores import Gates
from fakes.registry import FakeRegistry
from visionmodel_converter.store.bucket import USED as USED_OBJECT
from visionmodel_converter.store.bucket import BucketStore
from visionmodel_converter.store.entries import PREPARED, entry_of
from visionmodel_converter.store.folder import USED as USED_FILE
from visionmodel_converter.store.folder import FolderStore
from visionmodel_converter.store.image import sha256_of
from visionmodel_converter.store.index import parsed_index
from visionmodel_converter.store.publish import USED as USED_TAG
from visionmodel_converter.store.publish import RegistryStore, fetch_files, names_of
from visionmodel_converter.store.published import Published
from visionmodel_converter.store.registry import Registry

REPOSITORY = "a/b"
FILE_WRITES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "os.utime"}
"""Audit events of CPython that change names or times; `open` is judged by its mode."""


# --- folder ---------------------------------------------------------------------------------------------------


def is_write(event: str, arguments: tuple[Any, ...], root: str) -> bool:
    """Whether an audit event changes a file or folder below a root."""
    if event == "open":
        path, mode, flags = arguments
        is_below = isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(root)
        return is_below and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or set(str(mode or "")) & set("wax+"))
    return event in FILE_WRITES and any(
        isinstance(one, str | bytes | os.PathLike) and os.fsdecode(one).startswith(root) for one in arguments[:2]
    )


_watching: list[tuple[str, Callable[[], None]]] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for root, act in tuple(_watching):
        if is_write(event, arguments, root):
            act()


@contextmanager
def watched(root: Path, act: Callable[[], None]) -> Iterator[None]:
    """Call `act` before every write below a folder, whoever does it by whatever function: the interpreter tells.

    What was written is seen before the next one, so that before each is after each too.
    """
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    entry = (str(root), act)
    _watching.append(entry)
    try:
        yield
    finally:
        _watching.remove(entry)


@dataclass
class FolderKit:
    root: Path
    gates: Gates = field(default_factory=Gates)
    has_conditional_put: bool = True

    def store(self) -> FolderStore:
        return FolderStore(self.root)

    def damage(self, key: str, file: str) -> None:
        path = self.root / PREPARED.name(key) / file
        path.write_bytes(path.read_bytes()[:-1] + b"!")

    def content(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []

    def unmark(self) -> None:
        for mark in self.root.glob(f"*/{USED_FILE}"):
            mark.unlink()

    def fetchable(self, published: Published, target: Path) -> bytes:
        return (self.root / published.info.image.rpartition("/")[2] / published.model_file).read_bytes()


# --- object storage -------------------------------------------------------------------------------------------


@dataclass
class BucketKit:
    """`obstore`'s own functions are stopped: each is one request that writes."""

    bucket: ObjectStore
    prefix: str
    gates: Gates = field(default_factory=Gates)
    has_conditional_put: bool = True

    def gated(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("put", "delete"):
            patch.setattr(obstore, name, self._gated(getattr(obstore, name)))

    def _gated(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            self.gates.pass_through()
            result = write(*arguments, **options)
            self.gates.pass_through()
            return result

        return run

    def store(self) -> BucketStore:
        return BucketStore(self.bucket, f"s3://models/{self.prefix}", self.prefix)

    def damage(self, key: str, file: str) -> None:
        folder = f"{self.prefix}/{PREPARED.name(key)}"
        index = parsed_index(bytes(obstore.get(self.bucket, f"{folder}/artifact.json").bytes()))
        path = f"{folder}/{index.publication}/{file}"
        obstore.put(self.bucket, path, bytes(obstore.get(self.bucket, path).bytes())[:-1] + b"!")

    def content(self) -> list[str]:
        return sorted(item["path"] for batch in obstore.list(self.bucket, self.prefix) for item in batch)

    def unmark(self) -> None:
        obstore.delete(self.bucket, [path for path in self.content() if path.endswith(f"/{USED_OBJECT}")])

    def fetchable(self, published: Published, target: Path) -> bytes:
        name = published.info.image.rpartition("/")[2]
        entry = entry_of(name)
        assert entry is not None
        self.store().fetch(name, published.info.digest, target, entry.kind.served)
        return (target / published.model_file).read_bytes()


# --- registry -------------------------------------------------------------------------------------------------


class GatedTransport(httpx.BaseTransport):
    """Stops before and after each request that is no read."""

    def __init__(self, inner: httpx.BaseTransport, gates: Gates) -> None:
        self._inner, self._gates = inner, gates

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        if request.method in ("GET", "HEAD"):
            return self._inner.handle_request(request)
        self._gates.pass_through()
        response = self._inner.handle_request(request)
        self._gates.pass_through()
        return response

    def close(self) -> None:
        """Close what it stands before."""
        self._inner.close()


@dataclass
class RegistryKit:
    """A registry has no conditional put: the later tag stays, and each image stays under its own digest."""

    base_url: str
    transport: Callable[[], httpx.BaseTransport]
    blob_damage: Callable[[str], None]
    repository: str = REPOSITORY
    gates: Gates = field(default_factory=Gates)
    has_conditional_put: bool = False
    _clients: list[httpx.Client] = field(default_factory=list)

    def registry(self) -> Registry:
        client = httpx.Client(base_url=self.base_url, transport=GatedTransport(self.transport(), self.gates))
        self._clients.append(client)
        return Registry(httpx.URL(self.base_url).netloc.decode(), self.repository, client)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def store(self) -> RegistryStore:
        return RegistryStore(self.registry(), lambda: datetime.now(UTC))

    def damage(self, key: str, file: str) -> None:
        """The files of an image are one blob."""
        manifest = self.registry().manifest(PREPARED.name(key))
        assert manifest is not None
        self.blob_damage(httpx.Response(200, content=manifest).json()["layers"][0]["digest"])

    def content(self) -> list[str]:
        return self.registry().tags()

    def unmark(self) -> None:
        for manifest in [self.registry().manifest(tag) for tag in self.content() if USED_TAG in tag]:
            assert manifest is not None
            self.registry().delete(sha256_of(manifest))

    def fetchable(self, published: Published, target: Path) -> bytes:
        manifest = self.registry().manifest(published.info.digest)
        assert manifest is not None
        assert sha256_of(manifest) == published.info.digest
        assert any(self.registry().manifest(tag) == manifest for tag in self.content() if published.info.key in tag), (
            "a tag keeps it from being collected as untagged"
        )
        return (fetch_files(self.registry(), manifest, target, names_of(manifest)) / published.model_file).read_bytes()


def fake_registry_kit(*, moves_tags: bool = True) -> RegistryKit:
    fake = FakeRegistry(moves_tags=moves_tags)

    def damage(digest: str) -> None:
        fake.blobs[digest] = fake.blobs[digest][:-1] + b"!"

    return RegistryKit("https://r.example", lambda: httpx.MockTransport(fake.answer), damage)
