"""Artifacts in a folder: complete or not there, never changed, and told apart from damage."""

import json
from pathlib import Path
from typing import Any

import pytest

from visionmodel_contract.precision import Precision
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.report import FullReport
from visionmodel_converter.store.folder import FolderStore
from visionmodel_converter.store.image import sha256_of

MODEL = b"a network"
KEY = "0123456789abcdef0123456789abcdef"


def report(key: str = KEY, model: bytes = MODEL) -> FullReport:
    tensor = TensorSpec(name="x", dtype="float32", dims=(-1, 4))
    return FullReport(
        key=key,
        pipeline_version=2,
        source_uri="s3://models/net.onnx",
        source_digest=sha256_of(b"source"),
        precision=Precision.FP32,
        model_digest=sha256_of(model),
        size_bytes=len(model),
        opset=17,
        parameters=16,
        nodes_before=3,
        nodes_after=2,
        inputs=(tensor,),
        outputs=(tensor,),
        simplification="3 nodes became 2",
        gates=(),
        agreement={},
    )


def published(store: FolderStore, folder: Path, model: bytes = MODEL, **statement: Any) -> tuple[Any, bool]:
    folder.mkdir(exist_ok=True)
    file = folder / "made.onnx"
    file.write_bytes(model)
    return store.publish(model=file, report=report(model=model), provenance=statement, work=folder)


def test_what_is_published_is_found(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    assert store.find(KEY, tmp_path / "a") is None
    made, was_there = published(store, tmp_path / "work", maker="me")
    assert not was_there
    found = store.find(KEY, tmp_path / "b")
    assert found == made
    assert found is not None
    assert found.model.read_bytes() == MODEL
    assert json.loads((found.model.parent / "provenance.json").read_text()) == {"maker": "me"}
    assert found.info.image == found.model.parent.as_uri()
    assert store.shown == str(tmp_path / "store")


PICTURES = {"worst.png": b"a sheet", "worst.html": b"a page"}


def with_pictures(store: FolderStore, folder: Path) -> Any:
    folder.mkdir()
    (folder / "made.onnx").write_bytes(MODEL)
    shown = report().model_copy(update={"pictures": {name: sha256_of(data) for name, data in PICTURES.items()}})
    made, _ = store.publish(model=folder / "made.onnx", report=shown, provenance={}, work=folder, pictures=PICTURES)
    return made


def test_pictures_lie_beside_the_report(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    made = with_pictures(store, tmp_path / "work")
    assert {name: (made.model.parent / name).read_bytes() for name in PICTURES} == PICTURES
    assert store.find(KEY, tmp_path / "a") == made


@pytest.mark.parametrize("name", PICTURES)
def test_changed_picture_is_damage(tmp_path: Path, name: str) -> None:
    store = FolderStore(tmp_path / "store")
    (with_pictures(store, tmp_path / "work").model.parent / name).write_bytes(b"another")
    with pytest.raises(ConversionFailure, match=name) as caught:
        store.find(KEY, tmp_path / "a")
    assert caught.value.reason is Reason.ARTIFACT_CORRUPT


def test_first_one_stays(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    first, _ = published(store, tmp_path / "one", maker="first")
    second, was_there = published(store, tmp_path / "two", b"other bytes", maker="second")
    assert was_there
    assert second == first
    assert [path.name for path in store.root.iterdir()] == [f"prepare-{KEY}"], "nothing half made is left"


def test_leftover_of_a_killed_writer_is_no_artifact(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    (store.root / ".staging-x").mkdir(parents=True)
    (store.root / ".staging-x" / "model.onnx").write_bytes(MODEL)
    assert store.find(KEY, tmp_path / "a") is None
    assert published(store, tmp_path / "work")[1] is False


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.onnx", b"changed"),
        ("report.json", b"{}"),
        ("report.json", report(key="f" * 32).to_json().encode()),
        ("provenance.json", None),
    ],
)
def test_damage_is_told(file: str, content: bytes | None, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    made, _ = published(store, tmp_path / "work")
    target = made.model.parent / file
    target.unlink() if content is None else target.write_bytes(content)
    with pytest.raises(ConversionFailure) as refusal:
        store.find(KEY, tmp_path / "a")
    assert refusal.value.reason is Reason.ARTIFACT_CORRUPT
    assert str(made.model.parent) in refusal.value.message
