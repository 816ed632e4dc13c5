"""Where an image lies in the network's input, and back."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_pipeline.geometry import Geometry, geometry_of
from visionmodel_pipeline.preparing import BAR, prepare, resize_image, to_tensor
from visionmodel_pipeline.settings import PreSettings

sides = st.integers(1, 3000)
resizes = st.sampled_from(["Letterbox", "Stretch", "CenterCrop"])
fractions = st.floats(0, 1, width=32)


@pytest.mark.parametrize(
    ("resize", "source", "expected"),
    [
        pytest.param("Letterbox", (200, 100), Geometry(0.32, 0.32, 0, 16, 200, 100), id="bars above and below"),
        pytest.param("Letterbox", (100, 200), Geometry(0.32, 0.32, 16, 0, 100, 200), id="bars left and right"),
        pytest.param("Letterbox", (64, 64), Geometry(1, 1, 0, 0, 64, 64), id="as it is"),
        pytest.param("Letterbox", (1, 1), Geometry(64, 64, 0, 0, 1, 1), id="one pixel"),
        pytest.param("Letterbox", (6400, 1), Geometry(0.01, 1, 0, 31, 6400, 1), id="panorama keeps one row"),
        pytest.param("Stretch", (128, 32), Geometry(0.5, 2, 0, 0, 128, 32), id="stretched"),
        pytest.param("CenterCrop", (128, 64), Geometry(1, 1, -32, 0, 128, 64), id="sides cut"),
    ],
)
def test_geometry(resize: str, source: tuple[int, int], expected: Geometry) -> None:
    assert geometry_of(resize, source, (64, 64)) == expected


def test_unknown_resize() -> None:
    with pytest.raises(ValueError, match="Letterbox, Stretch or CenterCrop"):
        geometry_of("Squeeze", (1, 1), (1, 1))


@given(resizes, sides, sides, sides, sides, st.lists(fractions, min_size=4, max_size=4))
def test_boxes_come_back(resize: str, width: int, height: int, to_w: int, to_h: int, corners: list[float]) -> None:
    geometry = geometry_of(resize, (width, height), (to_w, to_h))
    xs, ys = sorted(corners[:2]), sorted(corners[2:])
    box = np.array([[xs[0] * width, ys[0] * height, xs[1] * width, ys[1] * height]])
    np.testing.assert_allclose(geometry.to_source(geometry.to_input(box)), box, atol=1e-6, rtol=1e-9)


@given(resizes, sides, sides)
def test_travels_as_numbers(resize: str, width: int, height: int) -> None:
    geometry = geometry_of(resize, (width, height), (640, 480))
    assert Geometry.from_array(geometry.to_array()) == geometry


@given(resizes, st.integers(1, 300), st.integers(1, 300), st.integers(1, 80), st.integers(1, 80))
def test_every_size_fits(resize: str, width: int, height: int, to_w: int, to_h: int) -> None:
    pixels = np.full((height, width, 3), 200, np.uint8)
    geometry = geometry_of(resize, (width, height), (to_w, to_h))
    found = resize_image(pixels, geometry, (to_w, to_h))
    assert (found.shape, found.dtype.name) == ((to_h, to_w, 3), "uint8")
    assert set(np.unique(found)) <= {200, BAR}
    assert 200 in found


def test_a_marked_spot_lands_where_the_geometry_says() -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[40:60, 200:230] = 255
    geometry = geometry_of("Letterbox", (300, 100), (120, 120))
    found = resize_image(pixels, geometry, (120, 120))
    left, top, right, bottom = geometry.to_input(np.array([[200, 40, 230, 60]]))[0].round().astype(int)
    rows, columns = np.nonzero(found[..., 0] > 180)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (left, top, right, bottom)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(PreSettings(1, 1), [[[1.0]], [[0.2]], [[0.0]]], id="NCHW"),
        pytest.param(PreSettings(1, 1, layout="NHWC"), [[[1.0, 0.2, 0.0]]], id="NHWC"),
        pytest.param(PreSettings(1, 1, layout="NHWC", color_space="BGR"), [[[0.0, 0.2, 1.0]]], id="BGR"),
        # luma is 0.299 * 255 + 0.587 * 51 = 106.182
        pytest.param(PreSettings(1, 1, color_space="Gray"), [[[106 / 255]]], id="Gray"),
        pytest.param(
            PreSettings(1, 1, layout="NHWC", color_space="Gray", mean=(0.1,) * 3, std=(0.5,) * 3),
            [[[2 * (106 / 255 - 0.1)]]],
            id="Gray with mean and std",
        ),
        pytest.param(
            PreSettings(1, 1, layout="NHWC", mean=(0.5, 0.2, 0.1), std=(0.5, 1, 0.1)),
            [[[1.0, 0.0, -1.0]]],
            id="mean and std",
        ),
    ],
)
def test_tensor(settings: PreSettings, expected: Any) -> None:
    found = to_tensor(np.array([[[255, 51, 0]]], np.uint8), settings)
    assert found.dtype == np.float32  # never float64, which the network would refuse
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_prepare_is_decode_resize_and_tensor() -> None:
    bmp = bytes.fromhex(
        "424d3a0000000000000036000000280000000100000001000000010018000000000004000000130b0000130b00000000000000000000"
        "0000ff00"
    )
    tensor, geometry = prepare(bmp, PreSettings(2, 2))
    assert geometry == Geometry(2, 2, 0, 0, 1, 1)
    np.testing.assert_array_equal(tensor, [[[1, 1], [1, 1]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]])
