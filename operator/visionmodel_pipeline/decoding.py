"""Image bytes to RGB pixels; whatever a client may send ends as an image or as a `BadImage` with words for it."""

import warnings
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]
"""[height, width, 3], red green blue."""

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP")
_DEEP_MODES: Final = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's modes of more than 8 bits; it would clip them instead of scaling."""


class BadImage(ValueError):
    """The client's image cannot be used; the text is for the client and names no internals."""


def decode_image(data: bytes, *, max_bytes: int, max_pixels: int) -> Pixels:
    """Return the first frame upright, without alpha, as three channels of 8 bits.

    Args:
        data: a JPEG, PNG, WebP or BMP file.
        max_bytes: size of the file above which it is refused unseen.
        max_pixels: width times height above which it is refused undecoded.

    Raises:
        BadImage: empty, too large, unknown, truncated or broken.
    """
    if not data:
        raise BadImage("the image is empty: send the bytes of a JPEG, PNG, WebP or BMP file")
    if len(data) > max_bytes:
        raise BadImage(f"the image has {len(data)} bytes; at most {max_bytes} are accepted")
    try:
        with warnings.catch_warnings(), Image.open(BytesIO(data), formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # Pillow warns of sizes that max_pixels allows, and of odd metadata
            if image.width * image.height > max_pixels:
                raise BadImage(
                    f"the image has {image.width} x {image.height} pixels; at most {max_pixels} are accepted"
                )
            image.load()
            return np.array(_as_rgb(ImageOps.exif_transpose(image)), dtype=np.uint8)
    except BadImage:
        raise
    # Pillow's decoders raise whatever a broken file leads them to: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise BadImage(f"the image cannot be read: {_reason(error)}") from None


def _as_rgb(image: Image.Image) -> Image.Image:
    """Put transparent pixels on black: what lies under them is arbitrary."""
    if image.mode in _DEEP_MODES:
        return _from_deep(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        black = Image.new("RGBA", layered.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layered).convert("RGB")
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """16 bits to 8 by their upper half."""
    deep: NDArray[Any] = np.asarray(image).astype(np.int64)
    return Image.fromarray((np.clip(deep, 0, 65535) >> 8).astype(np.uint8)).convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is no JPEG, PNG, WebP or BMP file"
    if isinstance(error, Image.DecompressionBombError):
        return "it has too many pixels"
    return "the file is truncated or broken"


# Part of a picture must never be judged as the whole of it.
ImageFile.LOAD_TRUNCATED_IMAGES = False
# Our own limit holds, before decoding; Pillow's is a process-wide constant.
Image.MAX_IMAGE_PIXELS = None
