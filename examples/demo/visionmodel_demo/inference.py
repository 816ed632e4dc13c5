"""One inference as a client makes it: tritonclient through the gateway, boxes decoded and drawn."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput

from example_models.grid import Detection, decode_grid, draw_boxes

INPUT = "images"


def detect(address: str, model: str, image: NDArray[np.float32]) -> tuple[list[Detection], str]:
    """Return what the model finds in one image [3, H, W] in 0..1, and the revision that answered."""
    with InferenceServerClient(address) as client:
        tensor = InferInput(INPUT, [1, *image.shape], "FP32")
        tensor.set_data_from_numpy(image[None].astype(np.float32))
        result = client.infer(model, [tensor])
        boxes, scores = result.as_numpy("boxes"), result.as_numpy("scores")
    return list(decode_grid(boxes[0], scores[0])), str(result.get_response().get("model_version", ""))


def save_drawing(image: NDArray[np.float32], found: list[Detection], path: Path) -> None:
    """Write the image with its boxes as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_boxes(image, found).save(path)
