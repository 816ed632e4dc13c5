"""Archives made by strangers: each way to abuse one has its own sentence, and nothing is read beyond its bounds."""

import gzip
import io
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.converter.gates.archives import stored, tar_bytes, zip_bytes
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates import archive as module
from visionmodel_converter.gates.archive import open_archive, without_root

MEBIBYTE = 1024 * 1024
FILES = {"a.txt": b"first", "deep/er/b.txt": b"second", "empty": b""}


def zipped(name: str, mode: int = 0, data: bytes = b"x", flags: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = name  # ZipInfo would cut the name at a NUL
        info.external_attr = mode << 16
        archive.writestr(info, data)
    packed = bytearray(buffer.getvalue())
    if flags:
        packed[packed.index(b"PK\x01\x02") + 8] |= flags
    return bytes(packed)


def tarred(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return buffer.getvalue()


def twice() -> bytes:
    return tar_bytes({"a.png": b"1"})[:1024] + tar_bytes({"./a.png": b"2"})


def opened(folder: Path, data: bytes, max_bytes: int = MEBIBYTE) -> module.Archive:
    return open_archive(stored(folder, data), shown="s3://b/set.zip", max_bytes=max_bytes)


@pytest.mark.parametrize(
    "pack",
    [zip_bytes, tar_bytes, lambda files: tar_bytes(files, "w:gz")],
    ids=["zip", "tar", "tar.gz"],
)
def test_reads_what_was_packed(tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]) -> None:
    archive = opened(tmp_path, pack(FILES))
    assert {name: entry.size for name, entry in archive.entries.items()} == {
        name: len(data) for name, data in FILES.items()
    }
    with archive.opened() as read:
        assert {name: read(name, 100) for name in reversed(FILES)} == FILES
        assert read("a.txt", 2) == b"fi"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zipped("../../etc/passwd"), "'..' parts"),
        (zipped("a/../b.png"), "'..' parts"),
        (zipped("/etc/passwd"), "absolute path"),
        (zipped("C:/windows/a.png"), "another system"),
        (zipped("a\\b.png"), "another system"),
        (zipped("a//b.png"), "empty, '.' or '..'"),
        (zipped("a.png", stat.S_IFLNK | 0o777, b"/etc/passwd"), "symbolic link"),
        (zipped("a.png", stat.S_IFCHR | 0o600), "device, pipe or socket"),
        (zipped("a.png", flags=0x1), "encrypted"),
        (zip_bytes({"a.png": bytes(4 * MEBIBYTE)}, zipfile.ZIP_DEFLATED), "zip bomb"),
        (tarred("../a.png"), "'..' parts"),
        (tarred("/a.png"), "absolute path"),
        (tarred("a.png", tarfile.SYMTYPE, "/etc/passwd"), "symbolic link"),
        (tarred("a.png", tarfile.LNKTYPE, "b.png"), "hard link"),
        (tarred("a.png", tarfile.BLKTYPE), "device, pipe or socket"),
        (tarred("a.png", tarfile.FIFOTYPE), "device, pipe or socket"),
        (twice(), "there twice"),
    ],
    ids=[
        *("zip-traversal", "zip-inner-traversal", "zip-absolute", "zip-drive", "zip-backslash", "zip-empty-part"),
        *("zip-symlink", "zip-device", "zip-encrypted", "zip-bomb", "tar-traversal", "tar-absolute", "tar-symlink"),
        *("tar-hardlink", "tar-device", "tar-fifo", "tar-twice"),
    ],
)
def test_hostile_archives(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ConversionFailure) as caught:
        opened(tmp_path, data, max_bytes=100 * MEBIBYTE)
    assert caught.value.reason is Reason.UNSAFE_ARCHIVE
    assert words in caught.value.message
    assert "s3://b/set.zip: file " in caught.value.message


def test_zip_with_one_name_twice(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", b"2")
    with pytest.raises(ConversionFailure, match="there twice"):
        opened(tmp_path, buffer.getvalue())


@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes], ids=["zip", "tar"])
def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[dict[str, bytes]], bytes]) -> None:
    with pytest.raises(ConversionFailure, match="unpacks to more than 9 bytes") as caught:
        opened(tmp_path, pack({"a": b"12345", "b": b"12345"}), max_bytes=9)
    assert caught.value.reason is Reason.UNSAFE_ARCHIVE
    monkeypatch.setattr(module, "MAX_FILES", 2)
    with pytest.raises(ConversionFailure, match="more than 2 files"):
        opened(tmp_path, pack({"a": b"", "b": b"", "c": b""}))


def test_gzip_bomb_leaves_nothing_on_disk(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(64 * MEBIBYTE))
    with pytest.raises(ConversionFailure, match="a bomb") as caught:
        opened(tmp_path, bomb, max_bytes=1024 * MEBIBYTE)
    assert caught.value.reason is Reason.UNSAFE_ARCHIVE
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a,b\n1,2\n",
        b"PK\x03\x04" + bytes(64),
        tar_bytes(FILES, "w:gz")[:40],
        tar_bytes({"a": bytes(2000)})[:1000],
        bytes(100),
    ],
    ids=["empty", "text", "cut-zip", "cut-gzip", "cut-tar", "zeros"],
)
def test_no_archive(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConversionFailure) as caught:
        opened(tmp_path, data)
    assert caught.value.reason is Reason.DATASET_INVALID
    assert "numpy.savez" in caught.value.message


def test_damaged_file_is_named(tmp_path: Path) -> None:
    wrong = zip_bytes({"a": b"0123456789"}).replace(b"0123456789", b"012345678!", 1)
    archive = opened(tmp_path, wrong)
    with pytest.raises(ConversionFailure, match="file 'a' is damaged") as caught:
        archive.read("a", 10_000)
    assert caught.value.reason is Reason.DATASET_INVALID


def test_a_tar_file_of_negative_size(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a")
    header.size = 5
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 12  # -1 in the format's binary numbers
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    with pytest.raises(ConversionFailure, match="no sensible size"):
        opened(tmp_path, bytes(block) + bytes(1024))


@pytest.mark.parametrize(
    ("names", "root"),
    [
        (["set/a", "set/b/c"], "set/"),
        (["set/a", "b"], ""),
        (["a"], ""),
        (["x/a", "y/b"], ""),
        ([], ""),
    ],
)
def test_root(names: list[str], root: str) -> None:
    assert without_root(names) == root


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_known_failure(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.raises(ConversionFailure):
        opened(Path(folder), data)
