"""Which fetcher a source takes, and that what arrives is what its format needs."""

import hashlib
from pathlib import Path

import pytest

from unit.converter import tiny_models
from visionmodel_contract.formats import SourceFormat
from visionmodel_converter.environment import Environment, environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.formats.detect import detect
from visionmodel_converter.formats.source import fetch_source
from visionmodel_converter.sources.fetch import Fetched

from . import files

ONNX = tiny_models.to_bytes(tiny_models.classifier())


def environment(folder: Path) -> Environment:
    return environment_from({"VISIONMODEL_PVC_ROOT": str(folder / "pvc")})


def fetched(folder: Path, name: str, source_format: str | None, digest: str | None = None) -> Fetched:
    work = folder / "work"
    work.mkdir()
    return fetch_source(
        f"pvc://models/{name}",
        source_format,
        work,
        environment=environment(folder),
        max_bytes=100_000,
        expected_digest=digest,
    )


@pytest.mark.parametrize(
    ("name", "data", "source_format", "expected"),
    [
        ("m.onnx", ONNX, "onnx", SourceFormat.ONNX),
        ("m.onnx", ONNX, None, SourceFormat.ONNX),
        ("m.pt", files.zip_bytes(files.TORCHSCRIPT), None, SourceFormat.TORCHSCRIPT),
        ("m.pt", files.zip_bytes(files.TORCHSCRIPT), "torchscript", SourceFormat.TORCHSCRIPT),
        ("m.keras", files.zip_bytes(files.KERAS), "keras", SourceFormat.KERAS),
        ("m.zip", files.zip_bytes(files.SAVED_MODEL), "tensorflow-savedmodel", SourceFormat.SAVED_MODEL),
    ],
    ids=["onnx", "onnx by content", "torchscript by content", "torchscript", "keras", "saved model archive"],
)
def test_one_file(tmp_path: Path, name: str, data: bytes, source_format: str | None, expected: SourceFormat) -> None:
    (tmp_path / "pvc" / "models").mkdir(parents=True)
    (tmp_path / "pvc" / "models" / name).write_bytes(data)
    found = fetched(tmp_path, name, source_format)
    assert (found.path.read_bytes(), found.digest) == (data, f"sha256:{hashlib.sha256(data).hexdigest()}")
    assert detect(found.path, shown=found.uri, declared=source_format) is expected


def test_a_saved_model_folder_comes_whole(tmp_path: Path) -> None:
    root = tmp_path / "pvc" / "models" / "net"
    (root / "variables").mkdir(parents=True)
    (root / "saved_model.pb").write_bytes(b"graph")
    (root / "variables" / "v").write_bytes(b"weights")
    found = fetched(tmp_path, "net", "tensorflow-savedmodel")
    assert detect(found.path, shown=found.uri) is SourceFormat.SAVED_MODEL
    assert (found.path / "variables" / "v").read_bytes() == b"weights"
    lines = (
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in (("saved_model.pb", b"graph"), ("variables/v", b"weights"))
    )
    assert found.digest == f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


@pytest.mark.parametrize("source_format", ["keras", "tensorflow-savedmodel", None])
def test_another_digest_is_refused(tmp_path: Path, source_format: str | None) -> None:
    (tmp_path / "pvc" / "models").mkdir(parents=True)
    (tmp_path / "pvc" / "models" / "m.zip").write_bytes(files.zip_bytes(files.KERAS))
    with pytest.raises(ConversionFailure) as caught:
        fetched(tmp_path, "m.zip", source_format, digest="sha256:" + "0" * 64)
    assert caught.value.reason is Reason.DIGEST_MISMATCH
