"""The cache, the manifest and the promises; and, with trained models, that they are kept."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from example_models import build as building
from example_models import shapes
from example_models.__main__ import main
from example_models.average_precision import map50
from example_models.families import BANDS, SEED, NotAsPromisedError
from example_models.verification import fails_on, metric_of, run, session, verified_files

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


@pytest.fixture(scope="module")
def trained() -> Path:
    return building.build()


@pytest.mark.component
@pytest.mark.timeout(600)
def test_manifest_names_every_promised_file_and_its_digest(trained: Path) -> None:
    manifest = json.loads((trained / "models.json").read_text())
    assert {row["file"] for row in manifest["files"]} == {f"{name}/model.onnx" for name in BANDS}
    for row in manifest["files"]:
        content = (trained / row["file"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (row["sha256"], row["bytes"])
        band = BANDS[row["file"].removesuffix("/model.onnx")]
        assert band.low <= row["value"] <= band.high


@pytest.mark.component
@pytest.mark.timeout(600)
def test_evaluation_files_follow_the_format(trained: Path) -> None:
    detection = np.load(trained / "shapes" / "evaluation.npz")
    assert {name: (detection[name].dtype.name, detection[name].shape) for name in detection} == {
        "input:images": ("float32", (300, 3, 64, 64)),
        "gt_boxes": ("float32", (300, 3, 4)),
        "gt_labels": ("int64", (300, 3)),
    }
    classification = np.load(trained / "digits" / "evaluation.npz")
    assert {name: (classification[name].dtype.name, classification[name].shape) for name in classification} == {
        "input:images": ("float32", (1000, 1, 32, 32)),
        "label": ("int64", (1000,)),
    }


@pytest.mark.component
@pytest.mark.timeout(600)
def test_failing_variant_fails_on_its_share_of_traffic(trained: Path) -> None:
    failing = session(trained / "shapes" / "v3-failing" / "model.onnx")
    traffic = shapes.traffic_images(11, 200)
    failed = [fails_on(failing, image) for image in traffic]
    assert failed == shapes.is_bright(traffic).tolist()
    assert 0.1 < np.mean(failed) < 0.3


@pytest.mark.component
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bright_share", [0, 1], ids=["dim", "bright"])
def test_good_model_is_good_on_fresh_images_in_any_light(trained: Path, bright_share: float) -> None:
    good = session(trained / "shapes" / "v2" / "model.onnx")
    data = shapes.dataset(np.random.default_rng(12), 300, bright_share=bright_share)
    boxes, scores = run(good, data.images)
    assert map50(boxes, scores, data.gt_boxes, data.gt_labels) > 0.9


@pytest.mark.component
@pytest.mark.timeout(600)
def test_broken_promise_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "shapes", tmp_path / "shapes")
    shutil.copy(trained / "shapes" / "v4" / "model.onnx", tmp_path / "shapes" / "v2" / "model.onnx")
    with pytest.raises(NotAsPromisedError, match=r"shapes/v2: map50 is 0\.\d+, wanted 0\.92 to 1\.0"):
        verified_files(tmp_path / "shapes", "shapes")


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
