"""Unpack an archive that somebody else made: `.zip`, `.tar`, `.tar.gz` and `.tgz`, into a folder of ours.

Nothing in it is trusted: names, kinds of entries, declared sizes and the compression itself may all be made to harm.
Only regular files with plain relative names come out, counted while they are written; links and devices end the whole
archive, because a model needs none. Used for models, and fit for any other archive a user brings.
"""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.names import fault_of, shown_name

SUFFIXES: Final = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz"}
READ_BYTES: Final = 256 * 1024
LONGEST_READ: Final = 1024 * 1024
"""No library may ask for more at once, unless many files are expected: a zip's directory and a tar's extended headers
are read in one piece."""
RATIO_FREE_BYTES: Final = 16 * 1024 * 1024
"""Below this a small archive of constants may unpack to many times its size."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may come out of an archive.

    Attributes:
        max_bytes: of all files together.
        max_files: entries of any kind.
        max_ratio: unpacked bytes per packed byte.
        longest_read: bytes that a library may ask for at once, which bounds a zip's directory: about 80 per file.
    """

    max_bytes: int
    max_files: int = 1000
    max_ratio: int = 100
    longest_read: int = LONGEST_READ


def archive_kind(path: str) -> str | None:
    """Return the kind of archive by the name's end; None for anything else, whatever its content looks like."""
    return next((kind for suffix, kind in SUFFIXES.items() if path.lower().endswith(suffix)), None)


def unpack(archive: Path, target: Path, *, kind: str, shown: str, limits: Limits) -> tuple[str, ...]:
    """Write an archive's files below the new folder `target`; returns their names in order.

    Raises ConversionFailure UnsafeArchive, EncryptedArchive, DamagedArchive or ArchiveTooLarge; what was written
    until then stays in `target`, for the caller to remove with its scratch folder.
    """
    budget = Budget(shown, limits, archive.stat().st_size)
    target.mkdir(parents=True)
    names: list[str] = []
    with translated(shown), archive.open("rb", buffering=0) as raw:
        members = zip_members(raw, budget) if kind == "zip" else tar_members(raw, budget, packed=kind != "tar")
        for name, content in members:
            names.append(name)
            path = target / name
            try:  # the folder is ours and was empty, so what is in the way came from this archive
                path.parent.mkdir(parents=True, exist_ok=True)
                file = path.open("xb")
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise unsafe(shown, name, "is there twice, or as a file and a folder at once") from error
            with file:
                while chunk := content.read(READ_BYTES):
                    budget.spend(len(chunk))
                    file.write(chunk)
    return tuple(names)


def unsafe(shown: str, name: str, fault: str) -> ConversionFailure:
    """Return the failure for an entry that must not be unpacked."""
    return ConversionFailure(
        Reason.UNSAFE_ARCHIVE,
        f"{shown}: entry {shown_name(name)} {fault}; pack regular files alone, with plain relative names",
    )


class Budget:
    """Counts what comes out of one archive."""

    def __init__(self, shown: str, limits: Limits, packed_bytes: int) -> None:
        self.shown, self._limits = shown, limits
        self.longest_read = limits.longest_read
        self._bytes = self._entries = 0
        self._allowed = min(limits.max_bytes, max(RATIO_FREE_BYTES, limits.max_ratio * packed_bytes))

    def enter(self) -> None:
        """Count one entry of any kind."""
        self._entries += 1
        if self._entries > self._limits.max_files:
            raise self.exceeded(f"has more than {self._limits.max_files} entries")

    def spend(self, size: int) -> None:
        """Count bytes as they are written."""
        self._bytes += size
        if self._bytes > self._allowed:
            raise self.exceeded(
                f"unpacks to more than {self._allowed} bytes (at most {self._limits.max_bytes}, and at most "
                f"{self._limits.max_ratio} times its own size)"
            )

    def exceeded(self, what: str) -> ConversionFailure:
        """Return the failure for an archive that is a bomb or holds far more than is needed."""
        return ConversionFailure(
            Reason.ARCHIVE_TOO_LARGE, f"{self.shown} {what}; pack what is needed alone, or publish it unpacked"
        )


class _ShortReads(io.RawIOBase):
    """A file that refuses to be read in large pieces: that is how a lying header would take all memory."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self._file, self._budget = file, budget

    def read(self, size: int | None = -1) -> bytes:
        longest = self._budget.longest_read
        wanted = longest + 1 if size is None or size < 0 else size  # zipfile reads "the rest" from near the end
        data = self._file.read(min(wanted, longest + 1))
        if len(data) > longest:
            raise self._budget.exceeded(f"has a directory or header of more than {longest // 1024**2} MiB")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:  # before the start of the file: a damaged directory asks for that
            if whence == io.SEEK_END:  # zipfile itself, looking for records that an empty zip is too short for
                raise
            raise zipfile.BadZipFile("the directory leads outside the file") from error

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def zip_members(raw: IO[bytes], budget: Budget) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each regular file of a zip; the CRC of each is checked by reading it to its end."""
    with zipfile.ZipFile(_ShortReads(raw, budget)) as archive:
        for info in archive.infolist():
            budget.enter()
            name = _plain(info.orig_filename, budget.shown, is_folder=info.filename.endswith("/"))
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise unsafe(
                    budget.shown, name, "is a symbolic link" if kind == stat.S_IFLNK else "is a device or a pipe"
                )
            if info.flag_bits & 0x1:
                raise ConversionFailure(
                    Reason.ENCRYPTED_ARCHIVE,
                    f"{budget.shown}: entry {shown_name(name)} is encrypted; pack it without a password "
                    "and keep it in a private store",
                )
            if not info.is_dir():
                with archive.open(info) as content:
                    yield name, content


def tar_members(raw: IO[bytes], budget: Budget, *, packed: bool) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each regular file of a tar."""
    for archive, member in tar_entries(raw, budget, packed=packed):
        name = member.name.removeprefix("./")
        if member.isdir() and name in ("", "."):
            continue
        name = _plain(name, budget.shown, is_folder=member.isdir())
        if member.isdir():
            continue
        fault = _tar_fault(member)
        content = None if fault else archive.extractfile(member)
        if fault or content is None:
            raise unsafe(budget.shown, name, fault or "cannot be read")
        yield name, content


def tar_entries(raw: IO[bytes], budget: Budget, *, packed: bool) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield each entry of a tar with the open archive; the entry's content must be read before the next one."""
    plain = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
    with tarfile.open(fileobj=cast("IO[bytes]", _ShortReads(plain, budget)), mode="r:") as archive:
        while (member := archive.next()) is not None:
            budget.enter()
            yield archive, member
            archive.members.clear()  # type: ignore[attr-defined]  # the library keeps every entry it has seen


def _tar_fault(member: tarfile.TarInfo) -> str | None:
    rules = (
        (member.issym(), "is a symbolic link"),
        (member.islnk(), "is a hard link"),
        (member.isdev(), "is a device or a pipe"),
        (member.issparse(), "is a sparse file"),
        (not member.isreg(), "is no regular file"),
    )
    return next((fault for broken, fault in rules if broken), None)


def _plain(name: str, shown: str, *, is_folder: bool) -> str:
    plain = name.removeprefix("./")
    plain = plain.removesuffix("/") if is_folder else plain
    fault = fault_of(plain)
    if fault is not None:
        raise unsafe(shown, name, fault)
    return plain


DAMAGE: Final[tuple[type[Exception], ...]] = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    RecursionError,  # tarfile nests one call per header of a long name
    NotImplementedError,  # a compression method that zipfile does not know
    UnicodeDecodeError,
    ValueError,  # numbers in a tar's extended headers
)


@contextmanager
def translated(shown: str) -> Iterator[None]:
    """Turn what the libraries raise for damaged data into DamagedArchive."""
    try:
        yield
    except DAMAGE as error:
        raise ConversionFailure(
            Reason.DAMAGED_ARCHIVE,
            f"{shown} cannot be unpacked: it is truncated, damaged or another format than its name says "
            f"({type(error).__name__}); pack it again and compare its sha256 after the upload",
        ) from error
