"""Whatever a client sends becomes upright RGB or a `BadImage` with words for the client."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visionmodel_pipeline.decoding import BadImage, decode_image

MAX_BYTES = 1_000_000
MAX_PIXELS = 10_000


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    return decode_image(data, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)


def red_left(width: int = 16, height: int = 8) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, width // 2, height))
    return image


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "JPEG", "WEBP"])
def test_formats(file_format: str) -> None:
    found = decoded(encoded(red_left(), file_format)).astype(int)
    assert found.shape == (8, 16, 3)
    assert np.abs(found[4, 1] - (255, 0, 0)).max() < 30
    assert np.abs(found[4, 14] - (0, 0, 255)).max() < 30


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        pytest.param(Image.new("L", (2, 2), 77), (77, 77, 77), id="grey"),
        pytest.param(Image.new("1", (2, 2), 1), (255, 255, 255), id="one bit"),
        pytest.param(Image.new("LA", (2, 2), (200, 0)), (0, 0, 0), id="grey, transparent"),
        pytest.param(Image.new("RGBA", (2, 2), (9, 8, 7, 0)), (0, 0, 0), id="transparent"),
        pytest.param(Image.new("RGBA", (2, 2), (9, 8, 7, 255)), (9, 8, 7), id="opaque alpha"),
        pytest.param(red_left(2, 2).convert("P"), (255, 0, 0), id="palette"),
        pytest.param(Image.fromarray(np.full((2, 2), 0x4D00, np.uint16)), (77, 77, 77), id="16 bits"),
        pytest.param(Image.new("RGB", (1, 1), (1, 2, 3)), (1, 2, 3), id="1x1"),
    ],
)
def test_modes_become_rgb(image: Image.Image, pixel: tuple[int, int, int]) -> None:
    assert decoded(encoded(image))[0, 0].tolist() == list(pixel)


def test_cmyk_jpeg_becomes_rgb() -> None:
    found = decoded(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"))
    assert found[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [(1, (8, 16), (0, 0)), (3, (8, 16), (0, 15)), (6, (16, 8), (0, 0)), (8, (16, 8), (15, 0))],
)
def test_exif_orientation_is_applied(orientation: int, size: tuple[int, int], red_at: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decoded(encoded(red_left(), "PNG", exif=exif))
    assert found.shape[:2] == size
    assert found[red_at].tolist() == [255, 0, 0]


def claimed_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing: decoding it would take the memory it claims."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


WHOLE = encoded(red_left(64, 64), "JPEG")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "the image is empty", id="empty"),
        pytest.param(b"hello", "it is no JPEG, PNG, WebP or BMP file", id="text"),
        pytest.param(encoded(red_left(), "GIF"), "it is no JPEG, PNG, WebP or BMP file", id="another format"),
        pytest.param(WHOLE[: len(WHOLE) // 2], "truncated or broken", id="truncated"),
        pytest.param(encoded(red_left(101, 100)), "has 101 x 100 pixels; at most 10000", id="too many pixels"),
        pytest.param(claimed_png(60_000, 60_000), "has 60000 x 60000 pixels", id="decompression bomb"),
        pytest.param(b"x" * (MAX_BYTES + 1), "has 1000001 bytes; at most 1000000", id="too many bytes"),
    ],
)
def test_what_a_client_can_do_wrong(data: bytes, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        decoded(data)


def test_limits_are_inclusive() -> None:
    data = encoded(red_left(100, 100))
    assert decode_image(data, max_bytes=len(data), max_pixels=10_000).shape == (100, 100, 3)


def cut(data: bytes, where: int) -> bytes:
    return data[: where % len(data)]


def flipped(data: bytes, where: int) -> bytes:
    place = where % len(data)
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@given(
    file_format=st.sampled_from(["PNG", "BMP", "JPEG", "WEBP"]),
    damage=st.sampled_from([cut, flipped]),
    where=st.integers(0, 10_000),
)
def test_damaged_files_give_an_image_or_a_clear_error(
    file_format: str, damage: Callable[[bytes, int], bytes], where: int
) -> None:
    try:
        outcome: object = decoded(damage(encoded(red_left(), file_format), where)).shape[2]
    except BadImage as error:
        outcome = str(error)
    assert outcome == 3 or str(outcome).startswith("the image ")
