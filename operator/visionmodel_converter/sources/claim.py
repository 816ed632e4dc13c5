"""Folders on this machine: `pvc://<claim>/<path>` below where the operator mounts claims, and unpacked archives.

No part of a path is ever followed through a symbolic link, so that nothing outside the folder can be named.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.names import fault_of
from visionmodel_converter.sources.origin import CHUNK_BYTES, Access, Entry, Located, require_path, split_uri

FORM: Final = "the path below the claim must name one file without empty, '.' or '..' parts"


@contextmanager
def locate(uri: str, access: Access) -> Iterator[Located]:
    """Open the claim of a URI."""
    claim, path = split_uri(uri)
    claim = unquote(claim)
    if "/" in claim or fault_of(claim) is not None:
        raise ConversionFailure(Reason.UNSAFE_PATH, f"{uri}: {FORM}")
    path = require_path(uri, path, FORM, access, reason=Reason.UNSAFE_PATH)
    yield Located(FolderOrigin(access.environment.pvc_root, f"pvc://{claim}/", f"{claim}/"), path)


@dataclass(frozen=True, slots=True)
class FolderOrigin:
    """The files below `root`/`prefix`; `shown_root` is what stands before a path in messages."""

    root: Path
    shown_root: str
    prefix: str = ""

    def shown(self, path: str) -> str:
        """Return the URI of a file."""
        return self.shown_root + path

    @contextmanager
    def read(self, path: str) -> Iterator[Iterable[bytes]]:
        """Open a regular file."""
        shown = self.shown(path)
        with _translated(shown):
            descriptor = _opened_below(self.root, f"{self.prefix}{path}".split("/"), os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ConversionFailure(Reason.UNSAFE_PATH, f"{shown} is no regular file; name one file")
        with os.fdopen(descriptor, "rb") as file:
            yield iter(lambda: file.read(CHUNK_BYTES), b"")

    def entries(self, folder: str) -> Iterator[Entry]:
        """Walk a folder; raises UnsafePath at a link or anything else that is neither file nor folder."""
        parts = [part for part in f"{self.prefix}{folder}".split("/") if part]
        with _translated(self.shown(folder)):
            descriptor = _opened_below(self.root, parts, os.O_RDONLY | os.O_DIRECTORY)
            try:
                yield from self._walk(descriptor, folder, "")
            finally:
                os.close(descriptor)

    def _walk(self, descriptor: int, folder: str, below: str) -> Iterator[Entry]:
        with os.scandir(descriptor) as found:
            items = sorted(found, key=lambda item: item.name)
        for item in items:
            name, status = below + item.name, item.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                yield Entry(name, status.st_size, f"{status.st_ino}-{status.st_mtime_ns}")
            elif stat.S_ISDIR(status.st_mode):
                deeper = os.open(item.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
                try:
                    yield from self._walk(deeper, folder, f"{name}/")
                finally:
                    os.close(deeper)
            else:
                raise ConversionFailure(
                    Reason.UNSAFE_PATH,
                    f"{self.shown(folder)}: {name!r} in it is a link or a device; put real files there",
                )


@contextmanager
def _translated(shown: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ConversionFailure(
            Reason.SOURCE_NOT_FOUND, f"{shown} was not found; check the claim's name and the path in it"
        ) from error
    except PermissionError as error:
        raise ConversionFailure(
            Reason.SOURCE_FORBIDDEN, f"{shown} is not readable by the Job's user; make the file group-readable"
        ) from error
    except OSError as error:  # ELOOP or ENOTDIR: a symbolic link, or a file where a folder should be
        raise ConversionFailure(
            Reason.UNSAFE_PATH,
            f"{shown}: a part of the path is a symbolic link or no folder; links are refused, name the real file",
        ) from error


def _opened_below(root: Path, segments: list[str], flags: int) -> int:
    """Open the last segment below root without following a link in any part; returns the descriptor."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in segments[:-1]:
            deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = deeper
        return os.open(segments[-1] if segments else ".", flags | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)
