"""The image's bytes are a function of its files, and only its own files are unpacked."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from visionmodel_contract.report import PICTURE_FILES
from visionmodel_converter.store.image import ARTIFACT_FILES, build_image, build_layer, unpack_layer


def files(folder: Path, *, model: bytes = b"onnx") -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    contents = {"model.onnx": model, "report.json": b"{}", "provenance.json": b"{}"}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}


def test_layer_and_image_are_reproducible(tmp_path: Path) -> None:
    first = build_layer(files(tmp_path / "a"), tmp_path / "1.tar")
    reversed_files = dict(reversed(files(tmp_path / "b").items()))
    second = build_layer(reversed_files, tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    assert build_image(first, {"k": "v"}).manifest.digest == build_image(second, {"k": "v"}).manifest.digest


def test_layer_entries(tmp_path: Path) -> None:
    build_layer(files(tmp_path / "a"), tmp_path / "l.tar")
    with tarfile.open(tmp_path / "l.tar") as tar:
        entries = [(m.name, m.mode, m.mtime, m.uid, m.gid, m.isreg()) for m in tar]
    assert entries == [(name, 0o644, 0, 0, 0, True) for name in sorted(ARTIFACT_FILES)]


def test_config_names_the_layer(tmp_path: Path) -> None:
    layer = build_layer(files(tmp_path / "a"), tmp_path / "l.tar")
    image = build_image(layer, {})
    assert image.config.data is not None
    assert json.loads(image.config.data)["rootfs"] == {"type": "layers", "diff_ids": [layer.digest]}


def test_unpack_gives_the_files_back(tmp_path: Path) -> None:
    build_layer(files(tmp_path / "a", model=b"weights" * 1000), tmp_path / "l.tar")
    written = unpack_layer(tmp_path / "l.tar", tmp_path / "out")
    assert written[-1].name == "model.onnx"
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == dict.fromkeys(
        ARTIFACT_FILES, 0o644
    )
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"weights" * 1000


def test_unpack_gives_the_pictures_back(tmp_path: Path) -> None:
    drawn = {name: tmp_path / name for name in PICTURE_FILES}
    for path in drawn.values():
        path.write_bytes(b"drawn")
    build_layer(files(tmp_path / "a") | drawn, tmp_path / "l.tar")
    written = unpack_layer(tmp_path / "l.tar", tmp_path / "out")
    assert {path.name for path in written} == {*ARTIFACT_FILES, *PICTURE_FILES}
    assert (tmp_path / "out" / "worst.png").read_bytes() == b"drawn"


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    "member",
    [
        entry("../model.onnx"),
        entry("/etc/passwd"),
        entry("model.onnx", tarfile.SYMTYPE, "/etc/passwd"),
        entry("model.onnx", tarfile.LNKTYPE, "/etc/passwd"),
        entry("model.onnx", tarfile.FIFOTYPE),
        entry("model.onnx", tarfile.DIRTYPE),
        entry("other.bin"),
        entry("./model.onnx"),
    ],
    ids=["parent", "absolute", "symlink", "hardlink", "fifo", "folder", "unknown", "dotted"],
)
def test_hostile_entries_are_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with tarfile.open(tmp_path / "l.tar", "w") as tar:
        tar.addfile(member, io.BytesIO())
    with pytest.raises(ValueError, match="unexpected entry"):
        unpack_layer(tmp_path / "l.tar", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_incomplete_artifact_is_refused(tmp_path: Path) -> None:
    present = files(tmp_path / "a")
    del present["report.json"]
    build_layer(present, tmp_path / "l.tar")
    with pytest.raises(ValueError, match=r"lacks report\.json"):
        unpack_layer(tmp_path / "l.tar", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")] == []
