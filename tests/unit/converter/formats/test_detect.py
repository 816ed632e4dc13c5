"""The content decides what a source is, and a promise that it breaks is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from unit.converter import tiny_models
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.formats import SourceFormat, format_of_name
from visionmodel_converter.failures import EXIT_CODES, ConversionFailure, Reason
from visionmodel_converter.formats.detect import detect

from . import files

Make = Callable[[Path], Path]
ONNX = tiny_models.to_bytes(tiny_models.classifier())


def written(data: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / "source").write_bytes(data)
        return folder / "source"

    return make


def zipped(members: dict[str, bytes]) -> Make:
    return lambda folder: files.zipped(folder / "source", members)


def cut_zip(folder: Path) -> Path:
    path = files.zipped(folder / "source", files.TORCHSCRIPT)
    path.write_bytes(path.read_bytes()[:-30])
    return path


def cut_tar(folder: Path) -> Path:
    path = files.tarred(folder / "source.tar.gz", {"m/a": bytes(range(256)) * 4000} | files.SAVED_MODEL)
    path.write_bytes(path.read_bytes()[:300])
    return path


def saved_folder(folder: Path) -> Path:
    (folder / "m" / "1").mkdir(parents=True)
    (folder / "m" / "1" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    return folder / "m"


FORMATS: dict[str, tuple[Make, SourceFormat]] = {
    "onnx": (written(ONNX), SourceFormat.ONNX),
    "random bytes are for the ONNX reader": (written(b"\x00\x01\x02" * 100), SourceFormat.ONNX),
    "html is for the ONNX reader": (written(b"<!DOCTYPE html>"), SourceFormat.ONNX),
    "empty is for the ONNX reader": (written(b""), SourceFormat.ONNX),
    "gzip that is no tar is for the ONNX reader": (written(b"\x1f\x8b" + b"\0" * 40), SourceFormat.ONNX),
    "torchscript": (zipped(files.TORCHSCRIPT), SourceFormat.TORCHSCRIPT),
    "torch-export": (zipped(files.TORCH_EXPORT), SourceFormat.TORCH_EXPORT),
    "torch-export of torch 2.7": (zipped({"serialized_exported_program.json": b"{}"}), SourceFormat.TORCH_EXPORT),
    "keras": (zipped(files.KERAS), SourceFormat.KERAS),
    "hdf5": (written(files.HDF5), SourceFormat.KERAS),
    "tflite": (written(files.TFLITE), SourceFormat.TFLITE),
    "saved model zip": (zipped(files.SAVED_MODEL), SourceFormat.SAVED_MODEL),
    "saved model tar": (
        lambda folder: files.tarred(folder / "source.tar", files.SAVED_MODEL),
        SourceFormat.SAVED_MODEL,
    ),
    "saved model tar.gz": (
        lambda folder: files.tarred(folder / "source.tar.gz", files.SAVED_MODEL),
        SourceFormat.SAVED_MODEL,
    ),
    "saved model folder": (saved_folder, SourceFormat.SAVED_MODEL),
}


@pytest.mark.parametrize(("make", "expected"), FORMATS.values(), ids=FORMATS)
def test_the_content_tells_the_format(tmp_path: Path, make: Make, expected: SourceFormat) -> None:
    source = make(tmp_path)
    assert detect(source, shown="x") is expected
    assert detect(source, shown="x", declared=expected.value) is expected


REFUSED: dict[str, tuple[Make, dict[str, object], Reason, tuple[str, ...]]] = {
    "unknown name": (written(ONNX), {"declared": "caffe"}, Reason.UNSUPPORTED_SOURCE, ("'caffe'", "torchscript")),
    "onnx declared as keras": (
        written(ONNX),
        {"declared": "keras"},
        Reason.FORMAT_MISMATCH,
        ("declared to be keras", "truncated", "modelFormat"),
    ),
    "keras declared as onnx": (
        written(files.HDF5),
        {"declared": "onnx"},
        Reason.FORMAT_MISMATCH,
        ("declared to be onnx", "its content is keras"),
    ),
    "torchscript declared as export": (
        zipped(files.TORCHSCRIPT),
        {"declared": "torch-export"},
        Reason.FORMAT_MISMATCH,
        ("its content is torchscript",),
    ),
    "truncated zip": (cut_zip, {}, Reason.DAMAGED_ARCHIVE, ("zip archive", "truncated", "sha256")),
    "truncated tar": (cut_tar, {}, Reason.DAMAGED_ARCHIVE, ("tar archive", "truncated")),
    "saved_model.pb alone": (
        written(b"\x08\x01\x12\xde\xbb\x03"),
        {},
        Reason.DAMAGED_ARCHIVE,
        ("without its variables", "whole folder"),
    ),
    "zipped onnx": (zipped({"best.onnx": ONNX}), {}, Reason.FORMAT_MISMATCH, ("upload 'best.onnx' itself",)),
    "zipped pictures": (zipped({"a.jpg": b"", "b.jpg": b""}), {}, Reason.FORMAT_MISMATCH, ("'a.jpg', 'b.jpg'",)),
    "state dict": (
        zipped({"w/data.pkl": files.STATE_DICT, "w/version": b"3"}),
        {},
        Reason.TRUST_NEEDED,
        ("state dict", "trustPickle would not help", "torch.export.save"),
    ),
    "trusted state dict": (
        zipped({"w/data.pkl": files.STATE_DICT}),
        {"trust_pickle": True},
        Reason.NO_GRAPH,
        ("weights without a graph", "torch.export.save"),
    ),
    "trusted old state dict": (
        written(files.STATE_DICT),
        {"trust_pickle": True},
        Reason.NO_GRAPH,
        ("state dict",),
    ),
    "trusted module": (
        zipped({"w/data.pkl": files.MODULE}),
        {"trust_pickle": True},
        Reason.NO_GRAPH,
        ("pickled torch.nn.Module", "training code"),
    ),
    "attack": (
        zipped({"w/data.pkl": files.ATTACK}),
        {},
        Reason.UNSAFE_PICKLE,
        ("'posix.system'", "nothing of it was run"),
    ),
    "trusted attack": (
        zipped({"w/data.pkl": files.ATTACK_4}),
        {"trust_pickle": True},
        Reason.UNSAFE_PICKLE,
        ("'posix.system'",),
    ),
    "bare attack": (written(files.ATTACK), {"trust_pickle": True}, Reason.UNSAFE_PICKLE, ("'posix.system'",)),
}


@pytest.mark.parametrize(("make", "arguments", "reason", "says"), REFUSED.values(), ids=REFUSED)
def test_refusals_name_what_was_found_and_what_to_do(
    tmp_path: Path, make: Make, arguments: dict[str, object], reason: Reason, says: tuple[str, ...]
) -> None:
    with pytest.raises(ConversionFailure) as caught:
        detect(make(tmp_path), shown="s3://models/it", **arguments)  # type: ignore[arg-type]
    assert (caught.value.reason, [words for words in says if words not in caught.value.message]) == (reason, [])
    assert "s3://models/it" in caught.value.message or reason is Reason.UNSUPPORTED_SOURCE


def test_a_wrong_declaration_is_not_remembered_for_the_content() -> None:
    """The key of an artifact does not hold the declared format: its failures must depend on the content alone."""
    assert EXIT_CODES[Reason.FORMAT_MISMATCH] is ExitCode.BAD_REQUEST


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://models/a/net.onnx", SourceFormat.ONNX),
        ("s3://models/a/NET.PT2", SourceFormat.TORCH_EXPORT),
        ("https://host/net.keras?signature=a.onnx", SourceFormat.KERAS),
        ("pvc://claim/net.h5", SourceFormat.KERAS),
        ("pvc://claim/net.tflite", SourceFormat.TFLITE),
        ("s3://models/net.pt", None),
        ("s3://models/net.pth", None),
        ("s3://models.onnx/net.zip", None),
        ("s3://models/onnx", None),
    ],
)
def test_format_of_name(uri: str, expected: SourceFormat | None) -> None:
    assert format_of_name(uri) is expected
