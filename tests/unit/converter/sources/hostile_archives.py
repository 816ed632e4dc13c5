"""Archives as an attacker or an accident makes them, built byte by byte; used by several suites."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable

LINK_MODE, DEVICE_MODE = 0o120777, 0o020666


def zip_of(files: Iterable[tuple[str, bytes]], *, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def tar_of(files: Iterable[tuple[str, bytes]], *, kind: bytes = tarfile.REGTYPE, packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if packed else "w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            member.size = len(data) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def encrypted_zip() -> bytes:
    """A zip whose entry is marked as encrypted, in its own header and in the directory."""
    data = bytearray(zip_of([("m.onnx", b"secret")]))
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def zip_with_damaged_entry() -> bytes:
    """The directory is right, the packed bytes are not."""
    data = bytearray(zip_of([("m.onnx", b"weights" * 100)]))
    data[40] ^= 0xFF
    return bytes(data)


def zip_with_huge_directory() -> bytes:
    """2 MiB of directory for files of no bytes."""
    return zip_of([(f"{index:05}-{'x' * 100}", b"") for index in range(12000)])


def tar_with_huge_header() -> bytes:
    """An extended header that claims 500 MiB: a library that believes it reads them in one piece."""
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, 500 * 1024**2
    return gzip.compress(header.tobuf() + bytes(2 * 1024**2))


def tar_of_nested_names() -> bytes:
    """Thousands of headers that each announce a long name for the next one."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5
    return (header.tobuf() + b"abcd\0".ljust(512, b"\0")) * 3000


def sparse_tar() -> bytes:
    """A file of 1 TiB with no data in it: it unpacks to zeros."""
    member = tarfile.TarInfo("m.onnx")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410] = b"00000000000\0", b"00000000000\0"
    block[483:495] = b"\x80" + (1024**4).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)
