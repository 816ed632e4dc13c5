"""Raw outputs to a mask of the source image: classes by decoder, bars and crops undone, sizes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visionmodel_pipeline.answers import answers
from visionmodel_pipeline.decoding import BadImage
from visionmodel_pipeline.geometry import geometry_of
from visionmodel_pipeline.preparing import resize_image
from visionmodel_pipeline.segmentation import MAX_CLASSES, NO_CLASS, SEGMENTERS, segment
from visionmodel_pipeline.settings import SegmentationSettings

Array = np.ndarray[Any, Any]
RESIZES = ("Letterbox", "CenterCrop", "Stretch")


def one_hot(classes: Any, count: int = 3) -> Array:
    picked: Array = np.eye(count, dtype=np.float32)[np.array(classes)]
    return picked.transpose(2, 0, 1)


def mask(decoder: str, raw: Array, **fields: Any) -> tuple[list[list[int]], list[bytes]]:
    """The mask of an image that the network sees pixel by pixel."""
    height, width = raw.shape[-2:]
    settings = SegmentationSettings(decoder, height, width, **fields)
    geometry = geometry_of("Stretch", (width, height), (width, height))
    found = segment({SEGMENTERS[decoder].output: raw}, geometry, settings)
    return found.pixels.tolist(), found.labels.tolist()


def test_decoders() -> None:
    assert mask("ClassScores", one_hot([[0, 2], [1, 0]])) == ([[0, 2], [1, 0]], [b"0", b"1", b"2"])
    assert mask("ClassMap", np.array([[0, 2], [1, 0]], np.int64)) == ([[0, 2], [1, 0]], [b"0", b"1", b"2"])
    assert mask("Sigmoid", np.array([[[-1.0, 0.0], [1.0, -9.0]]], np.float32)) == ([[0, 1], [1, 0]], [b"0", b"1"])


def test_names() -> None:
    labels = ("sky", "Stra\u00dfe")
    assert mask("Sigmoid", np.zeros((1, 1, 1), np.float32), labels=labels)[1] == [b"sky", "Straße".encode()]
    assert mask("ClassScores", one_hot([[0]]), labels=labels)[1] == [b"sky", "Straße".encode(), b"2"]
    assert mask("ClassMap", np.array([[3]]), labels=labels)[1] == [b"sky", "Straße".encode(), b"2", b"3"]
    assert mask("ClassMap", np.array([[0]]), labels=labels)[1] == [b"sky", "Straße".encode()]
    assert mask("ClassMap", np.array([[-1]]))[1] == [b"0"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, 0), (254, 254), (255, NO_CLASS), (-1, NO_CLASS), (256, NO_CLASS), (np.nan, NO_CLASS), (np.inf, NO_CLASS)],
)
def test_a_number_that_is_no_class_is_none(number: float, expected: int) -> None:
    assert mask("ClassMap", np.array([[number]]))[0] == [[expected]]


@pytest.mark.parametrize(
    ("threshold", "scores", "expected"),
    [
        (0.5, [-0.01, 0.0, 0.01], [0, 1, 1]),
        (0.9, [2.19, 2.2], [0, 1]),  # log 9 is 2.1972
        (0.0, [-1e30, 0.0], [1, 1]),
        (1.0, [0.0, 1e30], [0, 0]),
    ],
)
def test_threshold_of_a_sigmoid(threshold: float, scores: list[float], expected: list[int]) -> None:
    raw = np.array([[scores]], np.float32)
    assert mask("Sigmoid", raw, score_threshold=threshold)[0] == [expected]


def test_more_classes_than_a_byte_can_number() -> None:
    assert mask("ClassScores", one_hot([[254]], 255))[0] == [[254]]
    with pytest.raises(ValueError, match="256 classes; at most 255"):
        mask("ClassScores", one_hot([[0]], MAX_CLASSES + 1))


def test_of_equal_scores_the_lower_class_wins() -> None:
    assert mask("ClassScores", np.ones((3, 1, 1), np.float32))[0] == [[0]]


def test_a_coarser_output() -> None:
    """An output of half the input's size: each of its cells covers 2 x 2 pixels of the source."""
    settings = SegmentationSettings("ClassScores", 4, 4)
    raw = {"scores": one_hot([[0, 1], [1, 0]])}
    found = segment(raw, geometry_of("Stretch", (4, 4), (4, 4)), settings).pixels
    assert found.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_what_was_cut_away_has_no_class() -> None:
    settings = SegmentationSettings("ClassScores", 2, 2)
    found = segment({"scores": one_hot([[0, 0], [1, 1]])}, geometry_of("CenterCrop", (4, 2), (2, 2)), settings).pixels
    assert found.tolist() == [[NO_CLASS, 0, 0, NO_CLASS], [NO_CLASS, 1, 1, NO_CLASS]]


def test_bars_are_no_part_of_the_image() -> None:
    """A 4 x 2 picture in a 4 x 4 input has bars of one row above and below."""
    settings = SegmentationSettings("ClassMap", 4, 4)
    raw = {"classes": np.array([[2] * 4, [1] * 4, [0] * 4, [2] * 4])}
    found = segment(raw, geometry_of("Letterbox", (4, 2), (4, 4)), settings).pixels
    assert found.tolist() == [[1] * 4, [0] * 4]


SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))


@given(st.data(), SIZES, SIZES, st.sampled_from(RESIZES), st.sampled_from(sorted(SEGMENTERS)))
def test_a_mask_has_its_images_size(
    data: st.DataObject, source: tuple[int, int], target: tuple[int, int], resize: str, decoder: str
) -> None:
    cells = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    shape = {"ClassScores": (3, *cells), "ClassMap": cells, "Sigmoid": (1, *cells)}[decoder]
    raw = data.draw(arrays(np.float32, shape, elements=st.floats(-2, 2, width=16)))
    settings = SegmentationSettings(decoder, target[1], target[0])
    geometry = geometry_of(resize, source, target)
    found = segment({SEGMENTERS[decoder].output: raw}, geometry, settings)
    assert found.pixels.shape == (source[1], source[0])
    assert found.pixels.dtype == np.uint8
    of_cells = set(SEGMENTERS[decoder].cells(raw, settings.score_threshold).ravel().tolist())
    allowed = of_cells if resize != "CenterCrop" else of_cells | {NO_CLASS}
    assert set(found.pixels.ravel().tolist()) <= allowed
    assert all(number < len(found.labels) for number in set(found.pixels.ravel().tolist()) - {NO_CLASS})


@given(st.data(), SIZES, st.sampled_from(RESIZES), st.integers(1, 4))
def test_an_image_that_is_its_own_mask_comes_back(
    data: st.DataObject, source: tuple[int, int], resize: str, enlarged: int
) -> None:
    """The network shows its input, at the source's scale or larger: each pixel it saw has the class it was drawn in."""
    classes = data.draw(arrays(np.uint8, (source[1], source[0]), elements=st.integers(0, 3)))
    target = (source[0] * enlarged, source[1] * enlarged)
    pixels = np.repeat(classes[..., None] * np.uint8(60), 3, axis=2)
    geometry = geometry_of(resize, source, target)
    shown = np.rint(resize_image(pixels, geometry, target)[..., 0] / 60)
    settings = SegmentationSettings("ClassMap", target[1], target[0])
    found = segment({"classes": shown}, geometry, settings).pixels
    if enlarged in (1, 3):  # the centre of a source pixel is the centre of one of the input's
        assert found.tolist() == classes.tolist()
    assert found.shape == classes.shape


def test_masks_of_images_of_one_size_are_one_tensor() -> None:
    settings = SegmentationSettings("ClassMap", 2, 2)
    geometry = geometry_of("Stretch", (3, 2), (2, 2))
    raw = {"classes": np.array([[[0, 0], [0, 0]], [[5, 5], [5, 5]]])}
    found = answers(raw, [geometry] * 2, settings)
    assert (found["mask"].shape, found["mask"].dtype.name) == ((2, 2, 3), "uint8")
    assert found["labels"].tolist() == [[b"0"] + [b""] * 5, [b"0", b"1", b"2", b"3", b"4", b"5"]]


def test_masks_of_different_sizes_are_the_clients_fault() -> None:
    settings = SegmentationSettings("ClassMap", 2, 2)
    geometries = [geometry_of("Stretch", size, (2, 2)) for size in ((3, 2), (2, 3))]
    with pytest.raises(BadImage, match=r"differ in size \(2 x 3, 3 x 2\).*send each alone"):
        answers({"classes": np.zeros((2, 2, 2))}, geometries, settings)
