"""Datasets are told apart by content; images arrive as serving would prepare them, a batch at a time."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unit.converter.gates.archives import (
    IMAGE_INPUT,
    coco,
    image_task,
    noise,
    picture,
    stored,
    tar_bytes,
    zip_bytes,
)
from unit.converter.tiny_models import npz
from visionmodel_contract.conversion import ImageTask
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates import images
from visionmodel_converter.gates.arrays import ArraySamples
from visionmodel_converter.gates.dataset import load_samples
from visionmodel_converter.gates.images import ImageSamples
from visionmodel_converter.gates.samples import InputBatches, chosen
from visionmodel_converter.gates.tasks import TaskKind, pre_settings
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.preparing import Tensor, prepare
from visionmodel_pipeline.settings import PreSettings

PACKINGS: list[Callable[[Mapping[str, bytes]], bytes]] = [
    zip_bytes,
    tar_bytes,
    lambda files: tar_bytes(files, "w:gz"),
]


def load(folder: Path, data: bytes, *, task: ImageTask | None = None, limit: int | None = None) -> ImageSamples:
    samples = load_samples(
        stored(folder, data), IMAGE_INPUT, task=task or image_task(), shown="d", max_bytes=10**8, limit=limit
    )
    assert isinstance(samples, ImageSamples)
    return samples


def test_an_npz_is_read_as_tensors_whatever_the_task(tmp_path: Path) -> None:
    path = stored(tmp_path, npz(input_x=np.zeros((2, 3, 8, 8), np.float32)))
    for task in (None, image_task()):
        samples = load_samples(path, IMAGE_INPUT, task=task, shown="d", max_bytes=10**6)
        assert isinstance(samples, ArraySamples)
        assert samples.count == 2


@pytest.mark.parametrize("pack", PACKINGS, ids=["zip", "tar", "tar.gz"])
def test_images_are_prepared_as_serving_does(tmp_path: Path, pack: Callable[[Mapping[str, bytes]], bytes]) -> None:
    files = {
        f"{name}.png": noise(seed, size) for seed, (name, size) in enumerate(zip("cab", [(40, 48)] * 3, strict=True))
    }
    task = image_task(resize="Letterbox", mean="[0.5, 0.4, 0.3]", std="[0.2, 0.2, 0.1]")
    samples = load(tmp_path, pack(files), task=task)
    batches = list(samples.batches(2))
    expected = {name: prepare(files[name], pre_settings(task, IMAGE_INPUT)) for name in sorted(files)}
    assert [name for batch in batches for name in batch.names] == sorted(files)
    np.testing.assert_array_equal(
        np.concatenate([batch.tensors["x"] for batch in batches]), [tensor for tensor, _ in expected.values()]
    )
    assert [each for batch in batches for each in batch.geometries] == [each for _, each in expected.values()]
    assert batches[0].tensors["x"].dtype == np.float32


def test_one_batch_of_images_is_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0

    def counting(data: bytes, settings: PreSettings) -> tuple[Tensor, Geometry]:
        nonlocal decoded
        decoded += 1
        return prepare(data, settings)

    monkeypatch.setattr(images, "prepare", counting)
    samples = load(tmp_path, zip_bytes({f"{index}.png": picture(index) for index in range(9)}))
    assert decoded == 0
    next(samples.batches(4))
    assert decoded == 4


def test_calibration_reads_batches_of_tensors_as_often_as_it_likes(tmp_path: Path) -> None:
    samples = load(tmp_path, zip_bytes({f"{index}.png": noise(index) for index in range(5)}))
    batches = InputBatches(samples, 2)
    expected = [batch.tensors["x"] for batch in samples.batches(2)]
    for _ in range(2):
        assert all(np.array_equal(found["x"], wanted) for found, wanted in zip(batches, expected, strict=True))
    assert len(batches) == 3
    np.testing.assert_array_equal(batches[0]["x"], expected[0])
    np.testing.assert_array_equal(batches[-1]["x"], expected[2])
    assert [len(found["x"]) for found in batches[1:]] == [2, 1]
    with pytest.raises(IndexError):
        batches[3]


def test_truth_stays_in_source_pixels(tmp_path: Path) -> None:
    document = coco({"a.png": [(1, [4, 6, 20, 30])]}, {1: "circle"})
    samples = load(tmp_path, zip_bytes({"annotations.json": document, "a.png": picture()}))
    ((truth,),) = (batch.truths for batch in samples.batches(8))
    assert truth.objects is not None
    assert truth.objects.boxes.tolist() == [[4, 6, 24, 36]]
    assert samples.labelled == {TaskKind.DETECTION}
    assert samples.class_counts == {0: 1}


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks(tmp_path: Path, mode: str) -> None:
    mask = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8))
    if mode == "P":
        mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [9] * 759)
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    samples = load(tmp_path, zip_bytes({"images/a.png": picture(size=(2, 2)), "masks/a.png": buffer.getvalue()}))
    ((truth,),) = (batch.truths for batch in samples.batches(8))
    assert truth.mask is not None
    assert truth.mask.tolist() == [[0, 1], [2, 255]]
    assert samples.labelled == {TaskKind.SEGMENTATION}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.png": picture()[:60]}, "file 'a.png': the image cannot be read"),
        ({"a.gif": picture(form="GIF")}, "file 'a.gif': the image cannot be read"),
        ({"a.png": bytes(1_000_001)}, "file 'a.png': the image has 1000001 bytes"),
        ({"images/a.png": picture(), "masks/a.png": picture()}, "file 'masks/a.png': it is RGB 40 x 48; a mask is"),
        ({"images/a.png": picture(), "masks/a.png": b"x"}, "file 'masks/a.png': it is no PNG"),
    ],
    ids=["truncated", "gif", "too-large", "colour-mask", "no-mask"],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, files: Mapping[str, bytes], words: str) -> None:
    samples = load(tmp_path, zip_bytes(files))
    with pytest.raises(ConversionFailure) as caught:
        list(samples.batches(8))
    assert caught.value.reason is Reason.DATASET_INVALID
    assert words in caught.value.message


def test_images_need_an_image_task(tmp_path: Path) -> None:
    path = stored(tmp_path, zip_bytes({"a.png": picture()}))
    with pytest.raises(ConversionFailure, match="store the tensors as") as caught:
        load_samples(path, IMAGE_INPUT, task=None, shown="d", max_bytes=10**6)
    assert caught.value.reason is Reason.DATASET_INVALID


def test_a_limit_spreads_over_the_classes(tmp_path: Path) -> None:
    files = {f"{folder}/{index}.png": picture(index) for folder in "abcd" for index in range(5)}
    samples = load(tmp_path, zip_bytes(files), limit=4)
    assert [record.label for record in samples.records] == [0, 1, 2, 3]


def test_a_folder_is_read_as_it_is(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture())
    samples = load_samples(tmp_path, IMAGE_INPUT, task=image_task(), shown="d", max_bytes=10**6)
    assert samples.count == 2


def linked(kind: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    return buffer.getvalue()


BOMB = zip_bytes({"a.png": bytes(64 * 1024**2)}, zipfile.ZIP_DEFLATED)
TWICE = tar_bytes({"a.png": b"1"})[:1024] + tar_bytes({"./a.png": b"2"})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zip_bytes({"../../etc/passwd": b"x"}), "leads out of its folder"),
        (tar_bytes({"/a.png": b"x"}), "is absolute"),
        (linked(tarfile.SYMTYPE), "is a symbolic link"),
        (linked(tarfile.LNKTYPE), "is a hard link"),
        (linked(tarfile.CHRTYPE), "is a device"),
        (TWICE, "is there twice"),
        (tar_bytes({"a": b"x", "a/b.png": b"x"}), "a file and a folder at once"),
        (BOMB, "unpacks to more than"),
        (tar_bytes({"a.png": bytes(64 * 1024**2)}, "w:gz"), "unpacks to more than"),
        (tar_bytes({"a.png": bytes(2000)})[:1000], "truncated, damaged"),
        (b"a,b\n1,2\n", "numpy.savez_compressed"),
        (b"", "numpy.savez_compressed"),
    ],
    ids=[
        *("zip-traversal", "tar-absolute", "symlink", "hard-link", "device", "twice", "file-and-folder"),
        *("zip-bomb", "gzip-bomb", "cut-tar", "text", "empty"),
    ],
)
def test_hostile_and_broken_archives_are_the_datasets_fault(tmp_path: Path, data: bytes, words: str) -> None:
    """Whatever the reason, it must not condemn the model, whose digest is the key."""
    with pytest.raises(ConversionFailure) as caught:
        load(tmp_path, data)
    assert caught.value.reason is Reason.DATASET_INVALID
    assert words in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_many_files_in_one_zip(tmp_path: Path) -> None:
    """The directory of these names is more than a mebibyte."""
    files = dict.fromkeys((f"images/{index:06}-{'x' * 220}.png" for index in range(4_000)), b"")
    assert load(tmp_path, zip_bytes(files)).count == 4_000


@pytest.mark.parametrize(
    ("count", "limit", "expected"),
    [(5, None, [0, 1, 2, 3, 4]), (5, 5, [0, 1, 2, 3, 4]), (10, 3, [0, 3, 6]), (0, 3, [])],
)
def test_chosen(count: int, limit: int | None, expected: list[int]) -> None:
    assert chosen(count, limit) == expected
