"""Archives of images for the tests of datasets, made in memory."""

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec

SIDE = 8
IMAGE_INPUT = (TensorSpec(name="x", dtype="float32", dims=(-1, 3, SIDE, SIDE)),)
PREPROCESS = {
    "layout": "NCHW",
    "resize": "Stretch",
    "color_space": "RGB",
    "mean": "[0, 0, 0]",
    "std": "[1, 1, 1]",
    "max_bytes": "1000000",
    "max_pixels": "1000000",
}


def image_task(*, labels: Sequence[str] = (), decoder: str = "", **preprocess: str) -> ImageTask:
    """An image task whose size is the model's; without a decoder the outputs tell what they are."""
    post = {"labels": json.dumps(list(labels))}
    if decoder:
        post |= {"decoder": decoder, "score_threshold": "0.3"}
        post |= {"iou_threshold": "0.5", "max_detections": "20", "top_k": "3"}
    return ImageTask(preprocess={**PREPROCESS, **preprocess}, postprocess=post)


def picture(color: int = 100, size: tuple[int, int] = (40, 48), form: str = "PNG", mode: str = "RGB") -> bytes:
    """A plain image of a grey level."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    buffer = io.BytesIO()
    Image.new(mode, size, color if channels == 1 else (color,) * channels).save(buffer, form)
    return buffer.getvalue()


def zip_bytes(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tar_bytes(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def stored(folder: Path, data: bytes) -> Path:
    path = folder / "dataset"
    path.write_bytes(data)
    return path


def coco(
    objects: Mapping[str, Sequence[tuple[int, Sequence[float]]]], names: Mapping[int, str], **changes: Any
) -> bytes:
    """COCO JSON of objects (category id, x y width height) by file name, and the categories' names."""
    annotations = [
        {"id": 0, "image_id": image, "category_id": category, "bbox": list(box), "iscrowd": 0}
        for image, found in enumerate(objects.values(), start=1)
        for category, box in found
    ]
    document = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(objects, start=1)],
        "annotations": [{**annotation, "id": number} for number, annotation in enumerate(annotations, start=1)],
        "categories": [{"id": number, "name": name} for number, name in names.items()],
    }
    return json.dumps({**document, **changes}).encode()


def noise(seed: int, size: tuple[int, int] = (40, 48)) -> bytes:
    """An image that no other seed gives."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
