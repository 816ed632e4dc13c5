"""The cache, the manifest and the metric; that trained models keep the promises is a component test."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from example_models import build as building
from example_models.__main__ import main
from example_models.families import SEED
from example_models.verification import metric_of, run

FILES = [{"file": "digits/v1/model.onnx", "sha256": "00", "bytes": 1, "metric": "top1", "value": 1.0}]


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A cache in which the digits are there already, so that nothing is trained."""
    family = tmp_path / "cache" / "models" / building.cache_key() / "digits"
    (family / "v1").mkdir(parents=True)
    (family / "v1" / "model.onnx").write_bytes(b"x")
    (family / "models.json").write_text(json.dumps(FILES))
    return tmp_path / "cache"


def test_filled_cache_is_copied_with_a_manifest(filled: Path, tmp_path: Path) -> None:
    out = building.build(tmp_path / "out", only="digits", cache=filled)
    assert (out / "digits" / "v1" / "model.onnx").read_bytes() == b"x"
    assert json.loads((out / "models.json").read_text()) == {
        "key": building.cache_key(),
        "seed": SEED,
        "versions": building.library_versions(),
        "files": FILES,
    }
    assert building.build(tmp_path / "out", only="digits", cache=filled) == out


def test_without_out_the_cache_entry_is_the_answer(filled: Path) -> None:
    entry = building.build(only="digits", cache=filled)
    assert entry == filled / "models" / building.cache_key()
    assert json.loads((entry / "models.json").read_text())["files"] == FILES


def test_key_follows_sources_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = building.cache_key()
    copy = tmp_path / "example_models"
    shutil.copytree(building.PACKAGE, copy)
    monkeypatch.setattr(building, "PACKAGE", copy)
    assert building.cache_key() == before
    (copy / "recipe.py").write_text((copy / "recipe.py").read_text() + "\n")
    assert building.cache_key() != before
    monkeypatch.undo()
    monkeypatch.setattr(building, "library_versions", lambda: {"numpy": "0"})
    assert building.cache_key() != before


CACHES = [
    pytest.param({"VISIONMODEL_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a", id="own"),
    pytest.param({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/visionmodel", id="xdg"),
    pytest.param({"VISIONMODEL_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/visionmodel", id="home"),
]


@pytest.mark.parametrize(("environment", "expected"), CACHES)
def test_default_cache(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VISIONMODEL_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert building.default_cache() == Path(expected)


def test_failed_training_is_one_line_and_leaves_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISIONMODEL_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert main(["build", "--only", "digits"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: training of digits failed, see above"
    entry = tmp_path / "models" / building.cache_key()
    assert [path.name for path in entry.iterdir()] == [".lock"]


def test_metric_follows_the_labels(tmp_path: Path) -> None:
    from example_models import classifier, digits
    from example_models.export import classifier_model

    data = digits.dataset(np.random.default_rng(0), 20)
    model = classifier_model(classifier.NETWORK.initial_parameters(np.random.default_rng(1)))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (logits,) = run(ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]), data.images)
    arrays = {"input:images": data.images, "label": logits.argmax(axis=1)}
    np.savez(tmp_path / "evaluation.npz", **arrays)
    assert metric_of(tmp_path / "model.onnx", np.load(tmp_path / "evaluation.npz")) == 1.0
