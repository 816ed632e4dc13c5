"""Models for clients that have pictures: encoded images in through the gateway, labelled boxes or classes out."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from e2e.installation import DIGIT_COUNT, Installation
from e2e.scene import Scene, new_name
from example_models.digits import dataset as digits
from example_models.grid import image_from_pixels
from example_models.shapes import CLASS_NAMES
from example_models.shapes import scene as drawn_scene
from visionmodel_demo.kube import wait_for
from visionmodel_demo.model import example
from visionmodel_demo.platform import ROOT
from visionmodel_devcluster.direct import open_direct

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ENLARGED = 4
"""The client's picture is this much larger than the network's input: boxes of the network would be off by it."""


def post(scene: Scene, body: bytes) -> tuple[int, dict[str, Any]]:
    """Send a picture as `curl --data-binary` does; returns the status and the JSON part of the answer."""
    request = urllib.request.Request(
        f"http://{scene.stage.address}/v2/models/{scene.name}/infer",
        data=body,
        headers={"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"},
    )
    try:
        with open_direct(request, timeout=10) as answer:
            header = int(answer.headers["Inference-Header-Content-Length"])
            content = answer.read()
            return answer.status, {"head": json.loads(content[:header]), "tail": content[header:]}
    except urllib.error.HTTPError as refusal:
        return refusal.code, {"text": refusal.read().decode()}


def tensors(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the binary outputs by name: arrays, and lists of text for strings."""
    found: dict[str, Any] = {}
    rest = answer["tail"]
    for output in answer["head"]["outputs"]:
        size = output["parameters"]["binary_data_size"]
        raw, rest = rest[:size], rest[size:]
        if output["datatype"] == "BYTES":
            texts = []
            while raw:
                length = int.from_bytes(raw[:4], "little")
                texts.append(raw[4 : 4 + length].decode())
                raw = raw[4 + length :]
            found[output["name"]] = texts
        else:
            kind = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}[output["datatype"]]
            found[output["name"]] = np.frombuffer(raw, kind).reshape(output["shape"])
    return found


@pytest.fixture(scope="module")
def detector(
    installation: Installation,
    shared_namespace: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Scene]:
    """The example, served on the CPU."""
    scene = Scene(installation, shared_namespace, new_name(), tmp_path_factory.mktemp("detector"))
    document = example(ROOT / "examples" / "shapes-detection.yaml", digest=installation.digests["v2"])
    del document["spec"]["accelerators"]
    serve(scene, document)
    yield scene
    if not request.session.testsfailed:
        scene.delete()


def serve(scene: Scene, document: dict[str, Any]) -> None:
    """Apply the example under the scene's name and wait until the gateway leads to it."""
    document["metadata"]["name"] = scene.name
    scene.model.apply(document)
    status = scene.wait_settled()
    assert status["phase"] == "Healthy", status
    wait_for(lambda: post(scene, b"no picture")[0] != 404, timeout=30, what="the route")


def test_picture_in_boxes_out(detector: Scene) -> None:
    drawn = drawn_scene(np.random.default_rng(5), bright=False)
    picture = image_from_pixels(drawn.image)
    buffer = BytesIO()
    picture.resize((picture.width * ENLARGED, picture.height * ENLARGED)).save(buffer, "JPEG", quality=95)
    status, answer = post(detector, buffer.getvalue())
    assert status == 200, answer
    found = tensors(answer)
    count = int(found["num_detections"].ravel()[0])
    labels, boxes = found["labels"][:count], found["boxes"].reshape(-1, 4)[:count]
    assert set(labels) == {CLASS_NAMES[label] for label in drawn.labels}
    for truth in np.asarray(drawn.boxes) * ENLARGED:
        assert np.min(np.abs(boxes - truth).max(axis=1)) < 6 * ENLARGED, (boxes, truth)


def test_picture_in_classes_out(scene: Scene) -> None:
    """Judged by an archive of pictures, one folder per class, and then asked for one that was not in it."""
    document = example(ROOT / "examples" / "digits-classification.yaml")
    document["spec"]["conversion"]["gates"]["parity"]["datasetUri"] = "s3://models/digits/images.zip"
    serve(scene, document)
    (gate,) = scene.model.status()["conversion"]["report"]["parity"]
    assert (gate["metric"], gate["samples"], gate["passed"]) == ("top1", DIGIT_COUNT, True)
    drawn = digits(np.random.default_rng(10), 10)
    right = 0
    for image, label in zip(drawn.images[:, 0], drawn.labels, strict=True):
        buffer = BytesIO()
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).resize((96, 96)).save(buffer, "JPEG", quality=95)
        status, answer = post(scene, buffer.getvalue())
        assert status == 200, answer
        found = tensors(answer)
        assert len(found["labels"]) == found["scores"].size == 3
        right += found["labels"][0] == str(label)
    assert right >= 8
    assert post(scene, b"no picture")[0] == 400


def test_client_fault_is_told_as_one(detector: Scene) -> None:
    status, answer = post(detector, b"no picture")
    assert status == 400, answer
    assert "image" in answer["text"].lower()
