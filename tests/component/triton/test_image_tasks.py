"""The generated ensembles of a classifier and a segmenter on the real server: files in, classes or a mask out.

The answers are compared with the same pipeline run here, and with what the pictures show.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc
import tritonclient.http
from PIL import Image

from component.colors import COLORS, HEIGHT, STRIDE, WIDTH, color_network, file_of, picture
from component.triton.conftest import FLAGS
from component.triton.ensembles import Array, answered, client_batch, post_bytes, write_ensemble
from component.triton.server_process import Server, running, wait_until
from example_models.build import build
from example_models.digits import dataset
from mounted_image import Image as ServerImage
from unit.render.samples import artifact, spec
from visionmodel_contract.report import TensorSpec
from visionmodel_pipeline.answers import answers
from visionmodel_pipeline.preparing import prepare
from visionmodel_pipeline.segmentation import NO_CLASS
from visionmodel_pipeline.settings import ClassificationSettings, PreSettings, SegmentationSettings

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

DIGITS, COLORED = "digits", "colors"
ROWS = 3
ENLARGED = 4
DIGITS_SPEC = spec(
    task={"type": "Classification", "input": {"colorSpace": "Gray"}, "output": {"topK": ROWS}},
    serving={"resources": {"limits": {"cpu": "1"}}},
)
COLORED_SPEC = spec(
    task={"type": "Segmentation", "labels": list(COLORS)}, serving={"resources": {"limits": {"cpu": "1"}}}
)


def tensor(name: str, *dims: int) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", dims=(-1, *dims))


@pytest.fixture(scope="session")
def digits_file() -> Path:
    """The cached classifier; trained first if this machine never did."""
    return build() / "digits" / "v1" / "model.onnx"


@pytest.fixture(scope="module")
def server(image: ServerImage, digits_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tasks")
    repository = folder / "models"
    of_digits = artifact(inputs=(tensor("images", 1, 32, 32),), outputs=(tensor("logits", 10),))
    of_colors = artifact(
        inputs=(tensor("images", 3, HEIGHT, WIDTH),), outputs=(tensor("masks", 4, HEIGHT // STRIDE, WIDTH // STRIDE),)
    )
    write_ensemble(repository, DIGITS, DIGITS_SPEC, of_digits, digits_file.read_bytes())
    write_ensemble(repository, COLORED, COLORED_SPEC, of_colors, color_network())
    with running(image, repository, folder / "server.log", *FLAGS) as server:
        for name in (DIGITS, COLORED):
            wait_until(lambda name=name: server.status(f"/v2/models/{name}/ready") == 200, server)  # type: ignore[misc]
        yield server


SEEN = dataset(np.random.default_rng(5), 30)


def digit(row: int, form: str = "PNG") -> bytes:
    """A digit, enlarged, as a file of a grey picture."""
    pixels = np.rint(SEEN.images[row, 0] * 255).astype(np.uint8)
    side = pixels.shape[0] * ENLARGED
    return file_of(Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST), form)


def assert_same(answer: dict[str, Array], index: int, expected: dict[str, Array]) -> None:
    assert answer.keys() == expected.keys()
    for name, array in expected.items():
        if array.dtype == np.float32:
            np.testing.assert_allclose(answer[name][index], array[0], atol=1e-4)
        else:
            assert answer[name][index].tolist() == array[0].tolist()


def classified_here(data: bytes, model: Path) -> dict[str, Array]:
    prepared, geometry = prepare(data, PreSettings(height=32, width=32, color_space="Gray"))
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": prepared[None]})
    return answers({"scores": logits}, [geometry], ClassificationSettings("Softmax", ROWS))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_classes_of_image_bytes(server: Server, digits_file: Path, form: str) -> None:
    right = 0
    for row in range(len(SEEN.labels)):
        status, body, header = post_bytes(server, DIGITS, digit(row, form))
        assert status == 200, body
        answer = answered(body, header)
        assert_same(answer, 0, classified_here(digit(row, form), digits_file))
        assert answer["scores"].shape == (1, ROWS)
        assert np.all(np.diff(answer["scores"][0]) <= 0)
        right += answer["labels"][0, 0] == str(SEEN.labels[row]).encode()
    assert right >= 0.9 * len(SEEN.labels)


def test_a_batch_is_classified_image_by_image(server: Server, digits_file: Path) -> None:
    images = [digit(row) for row in range(5)]
    with server.grpc_client() as client:
        result = client.infer(DIGITS, client_batch(tritonclient.grpc, images))
    answer = {name: result.as_numpy(name) for name in ("scores", "labels")}
    for index, data in enumerate(images):
        assert_same(answer, index, classified_here(data, digits_file))


def segmented_here(data: bytes) -> dict[str, Array]:
    prepared, geometry = prepare(data, PreSettings(height=HEIGHT, width=WIDTH))
    session = onnxruntime.InferenceSession(color_network(), providers=["CPUExecutionProvider"])
    (masks,) = session.run(["masks"], {"images": prepared[None]})
    settings = SegmentationSettings("ClassScores", HEIGHT, WIDTH, labels=tuple(COLORS))
    return answers({"scores": masks}, [geometry], settings)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(640, 480), (300, 50), (40, 333), (1, 1)], ids=str)
def test_a_mask_has_the_pixels_of_its_image(server: Server, size: tuple[int, int], form: str) -> None:
    shown, classes = picture(3, size)
    status, body, header = post_bytes(server, COLORED, file_of(shown, form))
    assert status == 200, body
    answer = answered(body, header)
    assert_same(answer, 0, segmented_here(file_of(shown, form)))
    assert (answer["mask"].shape, answer["mask"].dtype) == ((1, size[1], size[0]), np.uint8)
    assert answer["labels"].tolist() == [[name.encode() for name in COLORS]]
    assert not (answer["mask"] == NO_CLASS).any()
    if size == (640, 480):  # a cell of the network's output is 20 pixels of the picture, so edges are off
        for number in range(len(COLORS)):
            found, wanted = answer["mask"][0] == number, classes == number
            assert (found & wanted).sum() / (found | wanted).sum() > 0.6, number


def test_masks_of_images_of_one_size_come_in_one_answer(server: Server) -> None:
    images = [file_of(picture(seed, (90, 70))[0]) for seed in (1, 2)]
    with server.grpc_client() as client:
        result = client.infer(COLORED, client_batch(tritonclient.grpc, images))
    answer = {name: result.as_numpy(name) for name in ("mask", "labels")}
    for index, data in enumerate(images):
        assert_same(answer, index, segmented_here(data))


def test_images_of_different_sizes_in_one_request_are_the_clients_fault(server: Server) -> None:
    images = [file_of(picture(1, size)[0]) for size in ((90, 70), (70, 90))]
    with (
        server.grpc_client() as client,
        pytest.raises(tritonclient.grpc.InferenceServerException, match="send each alone") as raised,
    ):
        client.infer(COLORED, client_batch(tritonclient.grpc, images))
    assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"


BAD = {
    "no image": (b"hello", "it is no JPEG, PNG, WebP or BMP file"),
    "truncated": (digit(0)[:-200], "the file is truncated or broken"),
}


@pytest.mark.parametrize("name", [DIGITS, COLORED])
@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_image_is_an_http_400_with_its_reason(server: Server, name: str, data: bytes, words: str) -> None:
    status, body, _ = post_bytes(server, name, data)
    assert status == 400
    assert words in json.loads(body)["error"]


def test_the_documented_client(server: Server, digits_file: Path) -> None:
    """docs/tasks.md."""
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http}") as client:
        image = tritonclient.http.InferInput("image", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[digit(2)]], dtype=np.object_))
        answer = client.infer(DIGITS, [image])
    found = {name: answer.as_numpy(name) for name in ("scores", "labels")}
    assert_same(found, 0, classified_here(digit(2), digits_file))
