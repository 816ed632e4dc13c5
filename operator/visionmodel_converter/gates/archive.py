"""Read the files of a `.zip`, `.tar` or `.tar.gz` that a stranger made, one at a time and never onto the disk.

Nothing is extracted, so no name can lead anywhere; names that try, links and devices are refused all the same,
because an archive that holds them is broken or hostile. What it unpacks to is bounded before it is read.
"""

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from visionmodel_converter.failures import ConversionFailure, Reason, first_line

MAX_FILES: Final = 200_000
MAX_RATIO: Final = 200
"""How much smaller than its content a compressed file may be; pictures and JSON stay far below."""
SMALL_BYTES: Final = 1024 * 1024
"""Files up to this size may have any ratio: a blank picture compresses well and harms nobody."""
CHUNK_BYTES: Final = 1024 * 1024
_ZIP_ENCRYPTED: Final = 0x1
_GZIP_MAGIC: Final = b"\x1f\x8b"
_DAMAGE: Final = (zipfile.BadZipFile, tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in the archive.

    Attributes:
        name: as it stands there.
        size: unpacked, in bytes.
        offset: of its first byte in a tar; zip finds it by name.
    """

    name: str
    size: int
    offset: int = 0


Reader = Callable[[str, int], bytes]
"""A file's name and the most bytes that are wanted, to its bytes."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The files of an archive by their plain names; it holds nothing open."""

    path: Path
    shown: str
    entries: Mapping[str, Entry]
    is_zip: bool

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Open the archive for as long as the context lasts; the reader raises DatasetInvalid for a damaged file."""
        with ExitStack() as closing:
            if self.is_zip:
                unpack = _zip_reader(closing.enter_context(zipfile.ZipFile(self.path)))
            else:
                unpack = _tar_reader(closing.enter_context(self.path.open("rb")))

            def read(name: str, limit: int) -> bytes:
                try:
                    return unpack(self.entries[name], limit)
                except _DAMAGE as error:
                    raise ConversionFailure(
                        Reason.DATASET_INVALID,
                        f"{self.shown}: file {name!r} is damaged ({first_line(error)}); write the archive again",
                    ) from error

            yield read

    def read(self, name: str, limit: int) -> bytes:
        """Return at most `limit` bytes of one file. Raises DatasetInvalid when it is damaged."""
        with self.opened() as read:
            return read(name, limit)


def _zip_reader(file: zipfile.ZipFile) -> Callable[[Entry, int], bytes]:
    def unpack(entry: Entry, limit: int) -> bytes:
        with file.open(entry.name) as content:
            return content.read(limit)

    return unpack


def _tar_reader(file: BinaryIO) -> Callable[[Entry, int], bytes]:
    def unpack(entry: Entry, limit: int) -> bytes:
        file.seek(entry.offset)
        return file.read(min(limit, entry.size))

    return unpack


def open_archive(path: Path, *, shown: str, max_bytes: int) -> Archive:
    """List the regular files of an archive; `max_bytes` bounds what they unpack to.

    A `.tar.gz` is unpacked to a plain `.tar` beside it first, because it can only be read from its start.

    Raises:
        ConversionFailure: UnsafeArchive for traversal, links, devices, duplicate names, bombs and encryption;
            DatasetInvalid for what is no archive or is damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            return Archive(path, shown, _zip_entries(path, shown, max_bytes), is_zip=True)
        plain = _plain_tar(path, shown, max_bytes)
        return Archive(plain, shown, _tar_entries(plain, shown, max_bytes), is_zip=False)
    except _DAMAGE as error:
        raise ConversionFailure(
            Reason.DATASET_INVALID,
            f"{shown} can be read neither as an .npz nor as a .zip, .tar or .tar.gz of images "
            f"({first_line(error)}); write tensors with numpy.savez_compressed, or pack images with zip or tar, and "
            "upload it again",
        ) from error


def _zip_entries(path: Path, shown: str, max_bytes: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
    _refuse_size(shown, len(members), sum(member.file_size for member in members), max_bytes)
    for member in members:
        if member.flag_bits & _ZIP_ENCRYPTED:
            raise _unsafe(shown, member.filename, "is encrypted; pack it without a password")
        mode = member.external_attr >> 16
        if stat.S_ISLNK(mode):
            raise _unsafe(shown, member.filename, "is a symbolic link; pack the file itself")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(shown, member.filename, "is a device, pipe or socket; pack regular files alone")
        if member.file_size > SMALL_BYTES and member.file_size > MAX_RATIO * max(member.compress_size, 1):
            raise _unsafe(
                shown,
                member.filename,
                f"unpacks from {member.compress_size} to {member.file_size} bytes, more than {MAX_RATIO} times: a zip "
                "bomb, or a file that is no picture",
            )
        if not member.is_dir():
            # the central directory may hold what `filename` no longer shows: zipfile cuts it at a NUL
            _add(entries, Entry(member.orig_filename, member.file_size), shown)
    return entries


def _plain_tar(path: Path, shown: str, max_bytes: int) -> Path:
    with path.open("rb") as file:
        if file.read(len(_GZIP_MAGIC)) != _GZIP_MAGIC:
            return path
    target, size = path.with_name(path.name + ".tar"), 0
    # headers and padding come on top of the files; the bound on the files is checked once they are listed
    most = max(2 * max_bytes, SMALL_BYTES)
    allowed = min(most, max(SMALL_BYTES, MAX_RATIO * path.stat().st_size))
    with gzip.open(path) as packed, target.open("wb") as plain:
        while chunk := packed.read(CHUNK_BYTES):
            size += len(chunk)
            if size > allowed:
                target.unlink()
                raise ConversionFailure(
                    Reason.UNSAFE_ARCHIVE,
                    f"{shown} unpacks to more than {allowed} bytes: a bomb, or too many samples; use fewer",
                )
            plain.write(chunk)
    return target


def _tar_entries(path: Path, shown: str, max_bytes: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    total = 0
    with tarfile.open(path, "r:") as file:
        for count, member in enumerate(file, start=1):
            if member.issym() or member.islnk():
                kind = "symbolic" if member.issym() else "hard"
                raise _unsafe(shown, member.name, f"is a {kind} link; pack the file itself")
            if not (member.isreg() or member.isdir()):
                raise _unsafe(shown, member.name, "is a device, pipe or socket; pack regular files alone")
            if member.issparse() or member.size < 0:
                raise _unsafe(shown, member.name, "is sparse or of no sensible size; pack it without --sparse")
            total += member.size
            _refuse_size(shown, count, total, max_bytes)
            if member.isreg():
                _add(entries, Entry(member.name, member.size, member.offset_data), shown)
    return entries


def _refuse_size(shown: str, files: int, total: int, max_bytes: int) -> None:
    if files > MAX_FILES:
        raise ConversionFailure(Reason.UNSAFE_ARCHIVE, f"{shown} holds more than {MAX_FILES} files; use fewer samples")
    if total > max_bytes:
        raise ConversionFailure(
            Reason.UNSAFE_ARCHIVE, f"{shown} unpacks to more than {max_bytes} bytes; use fewer or smaller samples"
        )


def _add(entries: dict[str, Entry], entry: Entry, shown: str) -> None:
    name = entry.name
    parts = name.removeprefix("./").split("/")
    if name.startswith("/") or "\\" in name or ":" in parts[0] or "\0" in name:
        raise _unsafe(shown, name, "has an absolute path or a path of another system; pack with relative paths")
    if any(part in ("", ".", "..") for part in parts):
        raise _unsafe(shown, name, "has a path with empty, '.' or '..' parts; pack with plain relative paths")
    plain = "/".join(parts)
    if plain in entries:
        raise _unsafe(shown, name, "is there twice, and which one counts is anybody's guess; pack each file once")
    entries[plain] = entry


def _unsafe(shown: str, name: str, what: str) -> ConversionFailure:
    return ConversionFailure(Reason.UNSAFE_ARCHIVE, f"{shown}: file {name[:200]!r} {what}")


def without_root(names: Iterable[str]) -> str:
    """Return the one folder that holds every file, with its slash, or an empty text."""
    roots = {name.partition("/")[0] if "/" in name else "" for name in names}
    return f"{roots.pop()}/" if len(roots) == 1 and "" not in roots else ""
