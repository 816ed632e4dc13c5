"""Fetch one file (a model or a dataset) to disk, hashing while it streams.

This module knows no store: a URI's scheme chooses the module that opens it, and everything that must hold for all
of them (limits, digest, nothing half written) is here. Credentials are files of a mounted Secret: nothing secret is
ever in a URI, a message or a report. Outages are retried by the libraries first and by the Job after that.
"""

import hashlib
import itertools
import posixpath
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visionmodel_converter.clouds.patience import Retry
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.shown import display_uri
from visionmodel_converter.sources import claim, http, huggingface, local, mlflow, object_store, oci
from visionmodel_converter.sources.origin import Access, Located, Origin

__all__ = ["DEFAULT_RETRY", "Fetched", "Retry", "copied", "fetch", "opened"]

DEFAULT_RETRY: Final = Retry()
MODEL_SUFFIX: Final = ".onnx"
MAX_CHOICE: Final = 1000
LOCATORS: Final[dict[str, Callable[[str, Access], AbstractContextManager[Located]]]] = {
    "s3": object_store.locate,
    "gs": object_store.locate,
    "abfs": object_store.locate,
    "https": http.locate,
    "http": http.locate,  # refused there, unless the platform team allows it
    "hf": huggingface.locate,
    "oci": oci.locate,
    "pvc": claim.locate,
    "mlflow": mlflow.locate,
    "file": local.locate,
}
IN_JOBS: Final = tuple(scheme for scheme in LOCATORS if scheme not in ("http", "file"))
"""Schemes to name to users; plain HTTP needs the platform team's word, and a Job has no files."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on local disk with the digest of the bytes that arrived.

    `uri` is safe to show and names what was read: the commit instead of a branch, the manifest's digest instead of a
    tag, the place of an MLflow version's file instead of its alias.
    """

    path: Path
    digest: str
    size_bytes: int
    uri: str


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

    Raises ConversionFailure: SourceNotFound, SourceForbidden, SourceUnavailable or SourceThrottled (retryable),
    SourceTooLarge, DigestMismatch, UnsafePath, AmbiguousSource, UnsupportedSource or BadRequest; `target` is absent
    after any of them.
    """
    with opened(uri, environment=environment, max_bytes=max_bytes, retry=retry, scratch=target.parent) as found:
        return copied(found.origin, file_of(found), target, max_bytes=max_bytes, expected_digest=expected_digest)


@contextmanager
def opened(
    uri: str,
    *,
    environment: Environment,
    max_bytes: int,
    retry: Retry,
    scratch: Path,
    whole_folder: bool = False,
) -> Iterator[Located]:
    """Open what a URI names; the store's connection and scratch files end with the context."""
    scheme, separator, _ = uri.partition("://")
    locate = LOCATORS.get(scheme) if separator else None
    if locate is None:
        raise ConversionFailure(
            Reason.UNSUPPORTED_SOURCE,
            f"{display_uri(uri)}: scheme {scheme!r} is not supported; use "
            f"{', '.join(f'{name}://' for name in IN_JOBS)}",
        )
    with locate(uri, Access(environment, retry, scratch, max_bytes, whole_folder)) as found:
        yield found


def file_of(found: Located) -> str:
    """Return the path of the one file that a URI means; raises AmbiguousSource when it leaves a choice."""
    if not found.choose:
        return found.path
    names = [entry.name for entry in itertools.islice(found.origin.entries(found.path), MAX_CHOICE)]
    models = names if len(names) == 1 else [name for name in names if is_model(name)]
    if len(models) != 1:
        raise ConversionFailure(
            Reason.AMBIGUOUS_SOURCE,
            f"{found.origin.shown(found.path)} holds {len(models)} files that end in {MODEL_SUFFIX}"
            f"{_some_of(models or names)}; add the path of one to the URI",
        )
    return posixpath.join(found.path, models[0])


def is_model(name: str) -> bool:
    """Whether a name is an ONNX model's; what macOS writes beside files is none."""
    return name.endswith(MODEL_SUFFIX) and not posixpath.basename(name).startswith("._")


def _some_of(names: list[str]) -> str:
    return (
        f" ({', '.join(repr(name[:80]) for name in sorted(names)[:4])}{', ...' if len(names) > 4 else ''})"
        if names
        else ""
    )


def copied(origin: Origin, path: str, target: Path, *, max_bytes: int, expected_digest: str | None = None) -> Fetched:
    """Stream one file of an origin to `target`, which is there only when size and digest are right."""
    shown = origin.shown(path)
    part = target.with_name(target.name + ".part")
    sha, size = hashlib.sha256(), 0
    try:
        with origin.read(path) as chunks, part.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise ConversionFailure(
                        Reason.SOURCE_TOO_LARGE,
                        f"{shown} is larger than the limit of {max_bytes} bytes; publish a smaller file or have the "
                        "platform team raise the limit",
                    )
                sha.update(chunk)
                file.write(chunk)
        digest = f"sha256:{sha.hexdigest()}"
        refuse_other_digest(shown, digest, expected_digest)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return Fetched(path=target, digest=digest, size_bytes=size, uri=shown)


def refuse_other_digest(shown: str, actual: str, expected: str | None) -> None:
    """Raise DigestMismatch unless the digest is the one the spec asks for."""
    if expected is not None and expected != actual:
        raise ConversionFailure(
            Reason.DIGEST_MISMATCH,
            f"{shown} has digest {actual} but the spec asks for {expected}; either the file was replaced, then "
            "set digest to the new value, or it is not the file you meant, then correct the URI",
        )
