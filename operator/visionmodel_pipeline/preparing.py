"""RGB pixels to the network's tensor."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visionmodel_pipeline.decoding import Pixels, decode_image
from visionmodel_pipeline.geometry import Geometry, geometry_of
from visionmodel_pipeline.settings import PreSettings

Tensor = NDArray[np.float32]

BAR: Final = 114
"""Grey level of the letterbox bars, the one that YOLO models are trained with."""


def prepare(data: bytes, settings: PreSettings) -> tuple[Tensor, Geometry]:
    """Return the tensor of one image, without batch axis, and where the image lies in it. Raises BadImage."""
    pixels = decode_image(data, max_bytes=settings.max_bytes, max_pixels=settings.max_pixels)
    height, width = pixels.shape[:2]
    geometry = geometry_of(settings.resize, (width, height), (settings.width, settings.height))
    return to_tensor(resize_image(pixels, geometry, (settings.width, settings.height)), settings), geometry


def resize_image(pixels: Pixels, geometry: Geometry, target: tuple[int, int]) -> Pixels:
    """Return the source scaled and placed in a grey image of the target's (width, height).

    Bilinear with Pillow's antialiasing; only the part that is seen is scaled, so an extreme panorama costs no more
    than the target.
    """
    width, height = target
    height_in, width_in = pixels.shape[:2]
    scaled_width = round(width_in * geometry.scale_x)
    scaled_height = round(height_in * geometry.scale_y)
    left, top = round(geometry.offset_x), round(geometry.offset_y)
    size = (min(scaled_width, width), min(scaled_height, height))
    seen_left, seen_top = max(0, -left), max(0, -top)
    box = (
        seen_left / geometry.scale_x,
        seen_top / geometry.scale_y,
        min(width_in, (seen_left + size[0]) / geometry.scale_x),
        min(height_in, (seen_top + size[1]) / geometry.scale_y),
    )
    scaled = np.asarray(_scaled(pixels, size, box))
    if size == target:
        return scaled
    canvas = np.full((height, width, 3), BAR, dtype=np.uint8)
    place_left, place_top = max(0, left), max(0, top)
    canvas[place_top : place_top + size[1], place_left : place_left + size[0]] = scaled
    return canvas


def _scaled(pixels: Pixels, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    image = Image.fromarray(pixels)
    if size == image.size and box == (0.0, 0.0, float(image.width), float(image.height)):
        return image
    return image.resize(size, Image.Resampling.BILINEAR, box=box)


def to_tensor(pixels: Pixels, settings: PreSettings) -> Tensor:
    """Return (value / 255 - mean) / std as contiguous float32 in the network's layout and channel order."""
    ordered = _channels(pixels, settings.color_space)
    # float32 throughout: a float64 list of means would silently make the tensor float64
    scaled = ordered.astype(np.float32) / np.float32(255)
    count = ordered.shape[-1]
    mean, std = np.asarray(settings.mean[:count], np.float32), np.asarray(settings.std[:count], np.float32)
    tensor = (scaled - mean) / std
    return np.ascontiguousarray(tensor.transpose(2, 0, 1) if settings.layout == "NCHW" else tensor)


def _channels(pixels: Pixels, color_space: str) -> Pixels:
    match color_space:
        case "BGR":
            return pixels[..., ::-1]
        case "Gray":
            # Pillow's luma, ITU-R BT.601: what training scripts get of convert("L"); grey pixels stay as they are
            return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
        case _:
            return pixels
