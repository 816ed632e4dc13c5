"""Archives that are good, hostile or damaged."""

import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unit.converter.sources import hostile_archives as hostile
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.archive import Limits, archive_kind, unpack

MEBIBYTE = 1024**2
FILES = [("model/m.onnx", b"model"), ("model/weights/w.bin", b"weights" * 1000)]


def unpacked(folder: Path, data: bytes, kind: str, limits: Limits = Limits(64 * MEBIBYTE)) -> tuple[str, ...]:  # noqa: B008
    archive = folder / "archive"
    archive.write_bytes(data)
    return unpack(archive, folder / "out", kind=kind, shown="s3://b/m.zip", limits=limits)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (hostile.zip_of(FILES), "zip"),
        (hostile.tar_of(FILES), "tar"),
        (hostile.tar_of(FILES, packed=True), "tar.gz"),
        (hostile.tar_of([(f"./{name}", data) for name, data in FILES]), "tar"),
        (hostile.zip_of(FILES, mode=0o100644), "zip"),
    ],
    ids=["zip", "tar", "tar-gz", "tar-of-a-dot-folder", "zip-with-modes"],
)
def test_files_come_out_as_they_went_in(tmp_path: Path, data: bytes, kind: str) -> None:
    assert unpacked(tmp_path, data, kind) == tuple(name for name, _ in FILES)
    assert [(name, (tmp_path / "out" / name).read_bytes()) for name, _ in FILES] == FILES


@dataclass(frozen=True)
class Bad:
    name: str
    kind: str
    data: bytes
    reason: Reason
    says: str


R = Reason
BAD = [
    Bad("zip-traversal", "zip", hostile.zip_of([("../m", b"")]), R.UNSAFE_ARCHIVE, "'../m' leads out"),
    Bad("zip-absolute", "zip", hostile.zip_of([("/etc/m", b"")]), R.UNSAFE_ARCHIVE, "is absolute"),
    Bad("zip-backslash", "zip", hostile.zip_of([("..\\m", b"")]), R.UNSAFE_ARCHIVE, "backslash"),
    Bad("zip-link", "zip", hostile.zip_of([("m", b"/x")], mode=hostile.LINK_MODE), R.UNSAFE_ARCHIVE, "symbolic link"),
    Bad("zip-device", "zip", hostile.zip_of([("m", b"")], mode=hostile.DEVICE_MODE), R.UNSAFE_ARCHIVE, "device"),
    Bad("zip-file-and-folder", "zip", hostile.zip_of([("m", b""), ("m/n", b"")]), R.UNSAFE_ARCHIVE, "at once"),
    Bad("zip-encrypted", "zip", hostile.encrypted_zip(), R.ENCRYPTED_ARCHIVE, "without a password"),
    Bad("zip-bomb", "zip", hostile.zip_of([("m", bytes(40 * MEBIBYTE))]), R.ARCHIVE_TOO_LARGE, "100 times"),
    Bad("zip-huge-directory", "zip", hostile.zip_with_huge_directory(), R.ARCHIVE_TOO_LARGE, "directory or header"),
    Bad("zip-many", "zip", hostile.zip_of([(str(n), b"") for n in range(1001)]), R.ARCHIVE_TOO_LARGE, "1000 entries"),
    Bad("zip-truncated", "zip", hostile.zip_of(FILES)[:-30], R.DAMAGED_ARCHIVE, "truncated"),
    Bad("zip-damaged", "zip", hostile.zip_with_damaged_entry(), R.DAMAGED_ARCHIVE, "pack it again"),
    Bad("zip-is-html", "zip", b"<html>", R.DAMAGED_ARCHIVE, "another format"),
    Bad("zip-empty", "zip", b"", R.DAMAGED_ARCHIVE, "truncated"),
    Bad("tar-traversal", "tar", hostile.tar_of([("a/../../m", b"")]), R.UNSAFE_ARCHIVE, "leads out"),
    Bad("tar-absolute", "tar", hostile.tar_of([("/m", b"")]), R.UNSAFE_ARCHIVE, "is absolute"),
    Bad("tar-link", "tar", hostile.tar_of([("m", b"")], kind=tarfile.SYMTYPE), R.UNSAFE_ARCHIVE, "symbolic link"),
    Bad("tar-hard-link", "tar", hostile.tar_of([("m", b"")], kind=tarfile.LNKTYPE), R.UNSAFE_ARCHIVE, "hard link"),
    Bad("tar-device", "tar", hostile.tar_of([("m", b"")], kind=tarfile.CHRTYPE), R.UNSAFE_ARCHIVE, "device"),
    Bad("tar-pipe", "tar", hostile.tar_of([("m", b"")], kind=tarfile.FIFOTYPE), R.UNSAFE_ARCHIVE, "pipe"),
    Bad("tar-sparse", "tar", hostile.sparse_tar(), R.UNSAFE_ARCHIVE, "sparse"),
    Bad("tar-twice", "tar", hostile.tar_of([("m", b"1"), ("m", b"2")]), R.UNSAFE_ARCHIVE, "twice"),
    Bad(
        "tar-bomb",
        "tar.gz",
        hostile.tar_of([("m", bytes(40 * MEBIBYTE))], packed=True),
        R.ARCHIVE_TOO_LARGE,
        "100 times",
    ),
    Bad("tar-huge-header", "tar.gz", hostile.tar_with_huge_header(), R.ARCHIVE_TOO_LARGE, "header"),
    Bad("tar-nested-names", "tar", hostile.tar_of_nested_names(), R.DAMAGED_ARCHIVE, "cannot be unpacked"),
    Bad("tar-truncated", "tar", hostile.tar_of(FILES)[:2000], R.DAMAGED_ARCHIVE, "truncated"),
    Bad("tar-gz-truncated", "tar.gz", hostile.tar_of(FILES, packed=True)[:-20], R.DAMAGED_ARCHIVE, "truncated"),
    Bad("tar-is-zip", "tar", hostile.zip_of(FILES), R.DAMAGED_ARCHIVE, "another format"),
    Bad("tar-empty", "tar", b"", R.DAMAGED_ARCHIVE, "truncated"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_refused(tmp_path: Path, bad: Bad) -> None:
    with pytest.raises(ConversionFailure) as caught:
        unpacked(tmp_path, bad.data, bad.kind)
    assert (caught.value.reason, bad.says in caught.value.message) == (bad.reason, True), caught.value.message
    assert caught.value.message.startswith("s3://b/m.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out"]
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 17 * MEBIBYTE


def test_the_limit_of_bytes_holds_for_all_files_together(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match="more than 7004 bytes"):
        unpacked(tmp_path, hostile.zip_of(FILES), "zip", Limits(7004))
    (tmp_path / "second").mkdir()
    assert len(unpacked(tmp_path / "second", hostile.zip_of(FILES), "zip", Limits(7005))) == 2


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a/m.zip", "zip"),
        ("m.ZIP", "zip"),
        ("m.tar", "tar"),
        ("m.tar.gz", "tar.gz"),
        ("m.tgz", "tar.gz"),
        ("m.onnx", None),
        ("zip", None),
        ("m.pt", None),
    ],
)
def test_kind_is_told_by_the_name(path: str, kind: str | None) -> None:
    assert archive_kind(path) == kind


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.sampled_from([("zip", hostile.zip_of(FILES)), ("tar", hostile.tar_of(FILES)[:12000])]),
    st.lists(st.tuples(st.integers(0, 11999), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_of_any_kind_is_a_known_failure(
    tmp_path_factory: pytest.TempPathFactory, archive: tuple[str, bytes], changes: list[tuple[int, int]]
) -> None:
    kind, data = archive[0], bytearray(archive[1])
    for position, value in changes:
        data[position % len(data)] = value
    folder = tmp_path_factory.mktemp("fuzz")
    names: tuple[str, ...] = ()
    reason: Reason | None = None
    try:
        names = unpacked(folder, bytes(data), kind)
    except ConversionFailure as failure:
        reason = failure.reason
    assert reason in (None, R.DAMAGED_ARCHIVE, R.UNSAFE_ARCHIVE, R.ARCHIVE_TOO_LARGE, R.ENCRYPTED_ARCHIVE)
    assert all((folder / "out" / name).is_file() for name in names)
    assert [path.name for path in folder.iterdir() if path.name not in ("archive", "out")] == []
