"""Nothing an archive holds reaches a place outside of its folder."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.formats.archives import folder_with, unpack

from . import files


def unpack_small(archive: Path, folder: Path) -> None:
    unpack(archive, folder, shown="s3://models/m", max_bytes=10_000)


@pytest.mark.parametrize("pack", [files.zipped, files.tarred], ids=["zip", "tar"])
def test_a_good_archive_keeps_its_layout(tmp_path: Path, pack: Callable[[Path, dict[str, bytes]], Path]) -> None:
    target = tmp_path / "out"
    unpack_small(pack(tmp_path / "a.gz", {"./m/1/saved_model.pb": b"graph", "m/1/variables/v": b"vv"}), target)
    found = {str(file.relative_to(target)): file.read_bytes() for file in target.rglob("*") if file.is_file()}
    assert found == {"m/1/saved_model.pb": b"graph", "m/1/variables/v": b"vv"}
    assert folder_with("saved_model.pb", target) == target / "m" / "1"


def linked_zip(path: Path) -> Path:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return path


def bomb(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(5_000_000))
    return path


def lying_zip(path: Path) -> Path:
    """A zip whose directory names another size than what comes out."""
    data = bytearray(bomb(path).read_bytes())
    position = data.rindex(b"PK\x01\x02")
    data[position + 24 : position + 28] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], Reason, str]] = {
    "zip traversal": (lambda p: files.zipped(p, {"../../evil": b"x"}), Reason.UNSAFE_ARCHIVE, "'../../evil'"),
    "zip absolute": (lambda p: files.zipped(p, {"/tmp/evil": b"x"}), Reason.UNSAFE_ARCHIVE, "'/tmp/evil'"),
    "zip backslash": (lambda p: files.zipped(p, {"a\\..\\evil": b"x"}), Reason.UNSAFE_ARCHIVE, "leads out"),
    "zip link": (linked_zip, Reason.UNSAFE_ARCHIVE, "'link' is a link"),
    "zip twice": (lambda p: files.zipped(p, {"a": b"1", "./a": b"2"}), Reason.UNSAFE_ARCHIVE, "twice"),
    "zip bomb": (bomb, Reason.SOURCE_TOO_LARGE, "10000 bytes"),
    "zip that lies": (lying_zip, Reason.DAMAGED_ARCHIVE, "cannot be unpacked"),
    "tar traversal": (lambda p: files.tarred(p, {"m/../../evil": b"x"}), Reason.UNSAFE_ARCHIVE, "leads out"),
    "tar link": (lambda p: files.tarred(p, {}, links={"l": "/etc"}), Reason.UNSAFE_ARCHIVE, "'l' is a link"),
    "no archive": (lambda p: written(p, b"x" * 600), Reason.DAMAGED_ARCHIVE, "cannot be unpacked"),
}


@pytest.mark.parametrize(("make", "reason", "says"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives(tmp_path: Path, make: Callable[[Path], Path], reason: Reason, says: str) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    archive = make(tmp_path / "archive")
    with pytest.raises(ConversionFailure) as caught:
        unpack_small(archive, inner)
    assert (caught.value.reason, says in caught.value.message) == (reason, True), caught.value.message
    assert [path for path in tmp_path.rglob("*") if path.name == "evil"] == []


def test_more_files_than_any_model_has(tmp_path: Path) -> None:
    archive = files.zipped(tmp_path / "many", {str(index): b"" for index in range(10_001)})
    with pytest.raises(ConversionFailure, match="10000 files") as caught:
        unpack_small(archive, tmp_path / "out")
    assert caught.value.reason is Reason.SOURCE_TOO_LARGE
