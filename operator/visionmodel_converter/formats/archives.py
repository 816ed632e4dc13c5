"""Unpack the archive of a folder without ever writing outside of the target: no traversal, no links, no bombs.

Only TensorFlow's SavedModel is a folder; the other formats are one file. Called by `load`, in the parent.
"""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from visionmodel_converter.failures import ConversionFailure, Reason, first_line

MAX_MEMBERS: Final = 10_000
CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file of an archive and how to read it."""

    name: str
    content: IO[bytes]


def unpack(archive: Path, target: Path, *, shown: str, max_bytes: int) -> None:
    """Write every file of a zip or tar archive below `target`.

    Raises ConversionFailure: UnsafeArchive (a path leaves the folder, a link, a device), SourceTooLarge (by what comes
    out, not by what the archive says) or DamagedArchive.
    """
    left = max_bytes
    try:
        for count, member in enumerate(_members(archive, shown)):
            if count >= MAX_MEMBERS:
                raise _too_large(shown, f"{MAX_MEMBERS} files")
            file = target / _inner_path(member.name, shown)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("xb") as output:
                left -= _copy(member.content, output, left)
            if left < 0:
                raise _too_large(shown, f"{max_bytes} bytes")
    except FileExistsError as error:
        raise ConversionFailure(
            Reason.UNSAFE_ARCHIVE, f"{shown} holds one path twice ({error.filename}); pack the folder again"
        ) from error
    except (zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ConversionFailure(
            Reason.DAMAGED_ARCHIVE,
            f"{shown} cannot be unpacked ({first_line(error)}): it is truncated, damaged or encrypted; pack and upload "
            "the folder again",
        ) from error


def folder_with(name: str, root: Path) -> Path | None:
    """Return the topmost folder below `root` that holds a file of this name, as archives often add a level."""
    found = sorted(root.rglob(name), key=lambda path: (len(path.parts), str(path)))
    return found[0].parent if found else None


def _members(archive: Path, shown: str) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _not_a_file(shown, info.filename)
                if not info.is_dir():
                    with zipped.open(info) as content:
                        yield Member(info.filename, content)
        return
    with tarfile.open(archive, "r:*") as packed:
        for entry in packed:
            if entry.isdir():
                continue
            inside = packed.extractfile(entry) if entry.isreg() else None
            if inside is None:
                raise _not_a_file(shown, entry.name)
            yield Member(entry.name, inside)


def _inner_path(name: str, shown: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise ConversionFailure(
            Reason.UNSAFE_ARCHIVE,
            f"{shown}: the member {name[:200]!r} leads out of the archive; pack the folder with relative paths",
        )
    return Path(*path.parts)


def _not_a_file(shown: str, name: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.UNSAFE_ARCHIVE,
        f"{shown}: the member {name[:200]!r} is a link or a device; pack the files themselves (tar --dereference)",
    )


def _too_large(shown: str, limit: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.SOURCE_TOO_LARGE,
        f"{shown} unpacks to more than {limit}; publish a smaller model or have the platform team raise the limit",
    )


def _copy(source: IO[bytes], target: IO[bytes], most: int) -> int:
    """Copy at most a chunk more than `most` bytes; returns how many."""
    copied = 0
    while copied <= most and (chunk := source.read(CHUNK_BYTES)):
        target.write(chunk)
        copied += len(chunk)
    return copied


def copy_file(source: Path, target: Path) -> None:
    """Give a file a second name, without a second copy where the file system can."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
