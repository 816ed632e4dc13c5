"""The generated ensemble of a detector on the real server: encoded images in, boxes in source pixels out.

The repository is written from what the operator renders, and the answers are compared with the same pipeline run
here; the numbers of the steps are not trusted to be each other's.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc
from PIL import Image

from component.triton.conftest import FLAGS
from component.triton.ensembles import Array, answered, client_batch, post_bytes, write_ensemble
from component.triton.server_process import Server, running, wait_until
from example_models.build import build
from example_models.grid import image_from_pixels, overlaps
from example_models.shapes import CLASS_NAMES, Scene, scene
from mounted_image import Image as ServerImage
from unit.render.samples import DETECTOR, REVISION, spec
from visionmodel_operator.render.triton_config import model_version
from visionmodel_pipeline.detections import Detections, detect
from visionmodel_pipeline.preparing import prepare
from visionmodel_pipeline.settings import DetectionSettings, PreSettings

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

NAME = "shapes"
ROWS = 20
ENLARGED = 5
"""Factor of the test images: boxes in pixels of the network would be off by it."""
SPEC = spec(
    task={
        "type": "Detection",
        "labels": list(CLASS_NAMES),
        "input": {"maxBytes": "256Ki", "maxPixels": 1_000_000},
        "output": {"decoder": "Grid", "scoreThreshold": 0.4, "maxDetections": ROWS},
    },
    serving={"resources": {"limits": {"cpu": "2"}}, "batching": {"maxBatchSize": 8, "maxQueueDelay": "20ms"}},
)


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The cached detector; trained first if this machine never did."""
    return build() / "shapes" / "v2" / "model.onnx"


@pytest.fixture(scope="module")
def detector(image: ServerImage, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("detection")
    repository = folder / "models"
    write_ensemble(repository, NAME, SPEC, DETECTOR, model_file.read_bytes())
    with running(image, repository, folder / "server.log", *FLAGS) as server:
        wait_until(lambda: server.status(f"/v2/models/{NAME}/ready") == 200, server)
        yield server


def drawn(seed: int) -> tuple[Scene, bytes]:
    """A picture of shapes, enlarged, as PNG."""
    drawing = scene(np.random.default_rng(seed), bright=False)
    picture = image_from_pixels(drawing.image)
    picture = picture.resize((picture.width * ENLARGED, picture.height * ENLARGED), Image.Resampling.BILINEAR)
    file = BytesIO()
    picture.save(file, "PNG")
    return drawing, file.getvalue()


def here(data: bytes, model_file: Path) -> Detections:
    """The same image through the same pipeline, without Triton."""
    tensor, geometry = prepare(data, PreSettings(height=64, width=64))
    session = onnxruntime.InferenceSession(str(model_file), providers=["CPUExecutionProvider"])
    boxes, scores = session.run(["boxes", "scores"], {"images": tensor[None]})
    settings = DetectionSettings("Grid", score_threshold=0.4, max_detections=ROWS, labels=tuple(CLASS_NAMES))
    return detect({"boxes": boxes[0], "scores": scores[0]}, geometry, settings)


def assert_same(answer: dict[str, Array], index: int, expected: Detections) -> None:
    assert answer["num_detections"][index].tolist() == [expected.count]
    assert answer["labels"][index].tolist() == expected.labels.tolist()
    np.testing.assert_allclose(answer["boxes"][index], expected.boxes, atol=0.05)
    np.testing.assert_allclose(answer["scores"][index], expected.scores, atol=1e-3)


def test_image_bytes_in_the_body_give_boxes_of_the_source_image(detector: Server, model_file: Path) -> None:
    drawing, data = drawn(7)
    status, body, header = post_bytes(detector, NAME, data)
    assert status == 200, body
    answer = answered(body, header)
    assert_same(answer, 0, here(data, model_file))
    found = [label.decode() for label in answer["labels"][0][: int(answer["num_detections"][0, 0])]]
    assert sorted(found) == sorted(CLASS_NAMES[label] for label in drawing.labels)
    for label, box in zip(drawing.labels, drawing.boxes, strict=True):
        matches = answer["boxes"][0][[name == CLASS_NAMES[label] for name in found] + [False] * (ROWS - len(found))]
        assert overlaps(np.array(box) * ENLARGED, matches.astype(np.float64)).max() > 0.5


def test_rows_beyond_the_detections_are_empty(detector: Server) -> None:
    status, body, header = post_bytes(detector, NAME, drawn(8)[1])
    answer = answered(body, header)
    rest = slice(int(answer["num_detections"][0, 0]), None)
    assert status == 200
    assert answer["boxes"].shape == (1, ROWS, 4)
    assert not answer["boxes"][0, rest].any()
    assert set(answer["labels"][0, rest].tolist()) == {b""}


def test_a_batch_over_grpc_answers_image_by_image(detector: Server, model_file: Path) -> None:
    images = [drawn(seed)[1] for seed in (1, 2, 3)]
    with detector.grpc_client() as client:
        result = client.infer(NAME, client_batch(tritonclient.grpc, images))
    answer = {name: result.as_numpy(name) for name in ("num_detections", "boxes", "scores", "labels")}
    for index, data in enumerate(images):
        assert_same(answer, index, here(data, model_file))


def too_many_pixels() -> bytes:
    file = BytesIO()
    Image.new("L", (1001, 1000)).save(file, "PNG")
    return file.getvalue()


BAD = {
    "no image": (b"hello", "it is no JPEG, PNG, WebP or BMP file"),
    "truncated": (drawn(7)[1][:-4000], "the file is truncated or broken"),
    "too many bytes": (b"x" * (256 * 1024 + 1), "the image has 262145 bytes; at most 262144 are accepted"),
    "too many pixels": (too_many_pixels(), "the image has 1001 x 1000 pixels; at most 1000000 are accepted"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_image_is_an_http_400_with_its_reason(detector: Server, data: bytes, words: str) -> None:
    status, body, _ = post_bytes(detector, NAME, data)
    assert status == 400
    assert words in json.loads(body)["error"]


def test_an_empty_body_is_the_clients_fault(detector: Server) -> None:
    assert post_bytes(detector, NAME, b"")[0] == 400


def test_a_bad_image_is_grpc_invalid_argument(detector: Server) -> None:
    with (
        detector.grpc_client() as client,
        pytest.raises(tritonclient.grpc.InferenceServerException) as raised,
    ):
        client.infer(NAME, client_batch(tritonclient.grpc, [b"hello"]))
    assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"


def failures(server: Server) -> dict[str, float]:
    """Failed requests by model and reason, where there are any."""
    found = {name: value for name, value in server.samples().items() if "request_failure" in name and value}
    return {name.split('"')[1] + " " + name.split('"')[3]: value for name, value in found.items()}


def test_bad_images_spoil_nobody_elses_request(detector: Server) -> None:
    good = drawn(7)[1]
    before = failures(detector)
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda data: post_bytes(detector, NAME, data)[0], [good, b"bad"] * 40))
    assert answers == [200, 400] * 40
    grown = {key: value - before.get(key, 0) for key, value in failures(detector).items()}
    assert {key: value for key, value in grown.items() if value} == {"shapes OTHER": 40}


def test_requests_of_several_clients_share_runs_of_the_network(detector: Server) -> None:
    good = drawn(7)[1]
    runs = f'nv_inference_exec_count{{model="{NAME}-net",version="{model_version(REVISION)}"}}'
    before = detector.samples()[runs]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: post_bytes(detector, NAME, good)[0], range(80)))
    assert answers == [200] * 80
    assert detector.samples()[runs] - before < 80
