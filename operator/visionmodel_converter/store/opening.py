"""Open the store that a request or a command line names: a registry, object storage, a mounted claim or a folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from visionmodel_contract.conversion import PublishTarget
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.store.entries import entry_of
from visionmodel_converter.store.folder import FolderStore
from visionmodel_converter.store.port import ArtifactStore
from visionmodel_converter.store.publish import RegistryStore
from visionmodel_converter.store.registry import Reference, open_registry

if TYPE_CHECKING:
    from visionmodel_converter.store.bucket import BucketStore

BUCKETS: Final = ("s3", "gs", "abfs")


@contextmanager
def open_store(target: PublishTarget, environment: Environment, now: Callable[[], datetime]) -> Iterator[ArtifactStore]:
    """Open a store. Raises BadRequest where it cannot be told which one is meant."""
    if target.repository is not None:
        reference = Reference.parse(target.repository)
        with open_registry(
            reference.host, reference.name, insecure=target.insecure, environment=environment
        ) as registry:
            yield RegistryStore(registry, now)
        return
    uri = target.uri or ""
    scheme = urlsplit(uri).scheme
    if scheme in BUCKETS:
        yield _bucket(uri, environment, insecure=target.insecure)
    elif scheme == "pvc":
        yield FolderStore(environment.artifact_root / _path_in_claim(uri), uri)
    elif scheme == "file":
        yield FolderStore(Path(unquote(urlsplit(uri).path)))
    else:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"{uri!r} names no store of artifacts; write an OCI repository, a folder, or a URI of s3, gs, abfs or pvc",
        )


def fetch_from_bucket(image: str, target: Path, environment: Environment, *, insecure: bool) -> None:
    """Write what object storage has as `<URI>/prepare-<key>@<digest>`, or `engine-<key>`, into a folder.

    Raises ConversionFailure.
    """
    place, _, digest = image.rpartition("@")
    uri, _, name = place.rpartition("/")
    entry = entry_of(name)
    if entry is None or not entry.kind.served:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{image} names no artifact; write <URI>/prepare-<key>@sha256:...")
    _bucket(uri, environment, insecure=insecure).fetch(name, digest, target, entry.kind.served)


def _bucket(uri: str, environment: Environment, *, insecure: bool) -> "BucketStore":
    # a registry's artifact is fetched without the library of object stores
    from visionmodel_converter.clouds.buckets import Login
    from visionmodel_converter.clouds.patience import Retry
    from visionmodel_converter.store.bucket import SECRET, open_bucket_store

    login = Login.of_folder(environment, environment.artifact_credentials, allow_http=insecure, secret=SECRET)
    return open_bucket_store(uri, login, Retry())


def _path_in_claim(uri: str) -> str:
    """Return the path below the claim's mount. Raises BadRequest for one that would leave it."""
    path = unquote(urlsplit(uri).path).strip("/")
    if any(part in ("", ".", "..") for part in path.split("/")) and path:
        raise ConversionFailure(Reason.BAD_REQUEST, f"{uri}: the path must not hold empty, '.' or '..' parts")
    return path
