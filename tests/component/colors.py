"""A segmenter with fixed weights, and pictures that it is right about: one colour, one class."""

from io import BytesIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

COLORS = {"ground": (20, 20, 20), "red": (230, 30, 30), "green": (30, 230, 30), "blue": (30, 30, 230)}
HEIGHT, WIDTH, STRIDE = 48, 64, 2


def color_network() -> bytes:
    """`images` [N, 3, 48, 64] from 0 to 1 to `masks` [N, 4, 24, 32]: each colour's lead over the two others."""
    lead = np.full((4, 3), -1.0, np.float32)
    lead[0] = 0  # the ground leads where no colour does
    lead[1:] += 3 * np.eye(3, dtype=np.float32)
    kernel = np.repeat(np.repeat(lead[..., None, None], STRIDE, axis=2), STRIDE, axis=3) / STRIDE**2
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "kernel", "bias"], ["masks"], strides=[STRIDE] * 2)],
        "colors",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("masks", TensorProto.FLOAT, ["N", 4, HEIGHT // STRIDE, WIDTH // STRIDE])],
        [
            numpy_helper.from_array(kernel.astype(np.float32), "kernel"),
            numpy_helper.from_array(np.array([0.5, 0, 0, 0], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def picture(seed: int, size: tuple[int, int]) -> tuple[Image.Image, NDArray[np.uint8]]:
    """Rectangles of one colour each on the ground, and the class of every pixel [height, width]."""
    rng = np.random.default_rng(seed)
    names = list(COLORS)
    shown, classes = Image.new("RGB", size, COLORS["ground"]), Image.new("L", size, 0)
    for number in (1, 2, 3):
        left, top = (int(rng.integers(0, max(1, side * 3 // 4))) for side in size)
        box = (left, top, left + size[0] // 4, top + size[1] // 4)
        ImageDraw.Draw(shown).rectangle(box, COLORS[names[number]])
        ImageDraw.Draw(classes).rectangle(box, number)
    return shown, np.asarray(classes)


def file_of(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **({"quality": 95} if form == "JPEG" else {}))
    return buffer.getvalue()
