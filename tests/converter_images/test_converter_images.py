"""The converter's images that are gigabytes, built and used once each: the files as built, user 1000, no network.

Runs on request (`make test-images`). The environments of `make test-formats` are made from the same locks, by another
installer and beside the sources; here it is what a platform team would push.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from images.build import build_images

from example_models.build import build
from formats.test_formats import CONVERTED, REFUSED
from mounted_image import USER, Bind, Image, inside, mounted

pytestmark = [pytest.mark.images, pytest.mark.timeout(3600)]

FORMATS = Path(__file__).parents[1] / "formats"


@contextmanager
def built(name: str) -> Iterator[Image]:
    """Build and mount an image; prints its size and what building took."""
    begun = time.monotonic()
    reference = build_images([name])[name]
    seconds = time.monotonic() - begun
    listed = subprocess.run(["buildah", "images", "--json", reference], capture_output=True, text=True, check=True)
    print(json.dumps({"image": name, "size": json.loads(listed.stdout)[0]["size"], "seconds": round(seconds)}))
    with mounted(reference) as image:
        yield image


def run(image: Image, folder: Path, *command: str) -> str:
    """Run a command that finds the detector in /shapes and walk.py in /formats, and writes to /out; its output."""
    os.chown(folder, USER, USER)
    binds = [Bind(build() / "shapes", "/shapes"), Bind(FORMATS, "/formats"), Bind(folder, "/out", writable=True)]
    begun = time.monotonic()
    done = subprocess.run(
        inside(image, binds, *command, network=False), capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr[-4000:]
    print(json.dumps({"command": command, "seconds": round(time.monotonic() - begun)}))
    return done.stdout


def converted(image: Image, folder: Path, *options: str) -> list[Path]:
    """Convert the detector and return the folders of the artifact and its exports."""
    words = ("/shapes/v2/model.onnx", "--dataset", "/shapes/evaluation.npz", "--out", "/out", *options)
    said = run(image, folder, *image.entrypoint, *words)
    return [folder / Path(line).relative_to("/out") for line in said.splitlines()]


def test_modelopt_quantises_the_detector(tmp_path: Path) -> None:
    calibrated = ("--quantizer", "ModelOpt", "--method", "MinMax", "--calibration", "/shapes/calibration.npz")
    goal = ("--goal", "map50:max-degradation:0.01")
    with built("converter-modelopt") as image:
        (made,) = converted(image, tmp_path, "--precision", "int8", "--backend", "OpenVINO", *calibrated, *goal)
    report = json.loads((made / "report.json").read_text())
    (candidate,) = report["candidates"]
    print(json.dumps({key: candidate[key] for key in ("precision", "method", "sizeBytes", "nodes", "share", "gates")}))
    assert candidate["share"]["compute"] > 0.9
    assert report["notes"][0].startswith("quantised by ModelOpt ")


def test_onnx2tf_exports_the_detector(tmp_path: Path) -> None:
    with built("converter-tflite") as image:
        _, exported = converted(image, tmp_path, "--export", "TFLite")
    record = json.loads((exported / "export.json").read_text())
    print(json.dumps(record))
    assert record["difference"] < 1e-4
    assert (exported / "model.tflite").read_bytes()[4:8] == b"TFL3"


@pytest.mark.parametrize("framework", sorted(CONVERTED))
def test_a_framework_loads_and_refuses_what_its_environment_does(framework: str, tmp_path: Path) -> None:
    with built(f"converter-{framework}") as image:
        said = run(image, tmp_path, "/opt/venv/bin/python", "/formats/walk.py", framework, "/out")
    lines: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines() if line.startswith('{"case"')]
    print(*map(json.dumps, lines), sep="\n")
    assert {line["case"]: line["format"] for line in lines if "reason" not in line} == {
        case: format_ for case, (format_, *_) in CONVERTED[framework].items()
    }
    assert {line["case"]: line["reason"] for line in lines if "reason" in line} == {
        case: reason for case, (reason, _) in REFUSED[framework].items()
    }
