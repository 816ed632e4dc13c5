"""The trained models are what their families promise."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from example_models import build as building
from example_models import shapes
from example_models.average_precision import map50
from example_models.families import BANDS, NotAsPromisedError
from example_models.verification import fails_on, run, session, verified_files

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def trained() -> Path:
    return building.build()


def test_manifest_names_every_promised_file_and_its_digest(trained: Path) -> None:
    manifest = json.loads((trained / "models.json").read_text())
    assert {row["file"] for row in manifest["files"]} == {f"{name}/model.onnx" for name in BANDS}
    for row in manifest["files"]:
        content = (trained / row["file"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (row["sha256"], row["bytes"])
        band = BANDS[row["file"].removesuffix("/model.onnx")]
        assert band.low <= row["value"] <= band.high


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


def test_failing_variant_fails_on_its_share_of_traffic(trained: Path) -> None:
    failing = session(trained / "shapes" / "v3-failing" / "model.onnx")
    traffic = shapes.traffic_images(11, 200)
    failed = [fails_on(failing, image) for image in traffic]
    assert failed == shapes.is_bright(traffic).tolist()
    assert 0.1 < np.mean(failed) < 0.3


@pytest.mark.parametrize("bright_share", [0, 1], ids=["dim", "bright"])
def test_good_model_is_good_on_fresh_images_in_any_light(trained: Path, bright_share: float) -> None:
    good = session(trained / "shapes" / "v2" / "model.onnx")
    data = shapes.dataset(np.random.default_rng(12), 300, bright_share=bright_share)
    boxes, scores = run(good, data.images)
    assert map50(boxes, scores, data.gt_boxes, data.gt_labels) > 0.9


def test_broken_promise_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "shapes", tmp_path / "shapes")
    shutil.copy(trained / "shapes" / "v4" / "model.onnx", tmp_path / "shapes" / "v2" / "model.onnx")
    with pytest.raises(NotAsPromisedError, match=r"shapes/v2: map50 is 0\.\d+, wanted 0\.92 to 1\.0"):
        verified_files(tmp_path / "shapes", "shapes")
