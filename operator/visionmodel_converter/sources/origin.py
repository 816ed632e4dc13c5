"""What every kind of store looks like to the fetching code: a place that reads files and, where it can, lists them.

One module per kind opens its stores and returns a Located; `fetch` and `tree` do everything that is the same for
all of them (hashing, limits, digests), so that no store can forget a check.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

from visionmodel_converter.clouds.patience import Retry
from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.names import fault_of

CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Access:
    """What opening a store may use.

    Attributes:
        scratch: takes what a store has to unpack before it can read.
        whole_folder: the URI names a folder, with or without a slash at its end, and not one file.
    """

    environment: Environment
    retry: Retry
    scratch: Path
    max_bytes: int
    whole_folder: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a listing; `version` changes with the content (entity tag or time), None where none is told."""

    name: str
    size_bytes: int | None
    version: str | None = None


class Origin(Protocol):
    """An opened bucket, claim, repository or host; paths are relative to it and use `/`."""

    def shown(self, path: str) -> str:
        """Return the URI of a file, with every moving name resolved and safe to show."""

    def read(self, path: str) -> AbstractContextManager[Iterable[bytes]]:
        """Open a file as chunks of bytes."""

    def entries(self, folder: str) -> Iterable[Entry]:
        """Return all files below a folder, at any depth, by names relative to it; `""` is the whole origin."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where a URI leads: a path in an origin. `choose`: a folder of which the URI leaves the one file to us."""

    origin: Origin
    path: str
    choose: bool = False


def split_uri(uri: str) -> tuple[str, str]:
    """Return authority and path of a URI, the path decoded and without the slash before it.

    Raises BadRequest without repeating the URI when the authority holds a user name or password.
    """
    authority, _, path = uri.partition("://")[2].partition("/")
    refuse_credentials(uri.partition("://")[0], authority)
    return authority, unquote(path)


def refuse_credentials(scheme: str, authority: str) -> None:
    """Raise BadRequest for `user:password@host`; only in abfs an `@` parts the container from its account."""
    before, at, _ = authority.rpartition("@")
    if at and (scheme != "abfs" or not before or any(character in before for character in ":@%")):
        raise ConversionFailure(
            Reason.BAD_REQUEST, "a URI must not hold a user name or password; put them into the Secret"
        )


def require_path(uri: str, path: str, form: str, access: Access, *, reason: Reason = Reason.BAD_REQUEST) -> str:
    """Return the path if every part is a plain name; `form` says what the URI should look like.

    The whole of a bucket or claim is a folder too: there the path may be empty.
    """
    if access.whole_folder:
        path = path.removesuffix("/")
    fault = None if access.whole_folder and not path else fault_of(path)
    if fault is not None:
        raise ConversionFailure(reason, f"{uri}: {form} (its path {fault})")
    return path
