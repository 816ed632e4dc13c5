"""The formats a source may have, and which one a file's name promises.

Shared, because the operator chooses the Job's image by the format before anything is fetched, and the converter holds
the fetched content against what was promised.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit


class SourceFormat(StrEnum):
    """Formats that hold a whole network, so that an ONNX graph can be made of them."""

    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch-export"
    SAVED_MODEL = "tensorflow-savedmodel"
    KERAS = "keras"
    TFLITE = "tflite"


FORMATS_OF_SUFFIXES: Final[Mapping[str, SourceFormat]] = {
    ".onnx": SourceFormat.ONNX,
    ".pt2": SourceFormat.TORCH_EXPORT,
    ".keras": SourceFormat.KERAS,
    ".h5": SourceFormat.KERAS,
    ".hdf5": SourceFormat.KERAS,
    ".tflite": SourceFormat.TFLITE,
}
"""Suffixes that mean one format. `.pt` and `.pth` do not: they may be TorchScript or a state dict without a graph."""

CODE_FORMATS: Final = frozenset((SourceFormat.TORCHSCRIPT, SourceFormat.TORCH_EXPORT))
"""Formats whose loading may run code from the file: TorchScript is code, a torch.export archive holds pickles and
expressions that are evaluated. They need `trustPickle`."""


def format_of_name(uri: str) -> SourceFormat | None:
    """Return the format that a URI's file name promises, or None where the name leaves it open."""
    name = urlsplit(uri).path.rpartition("/")[2].lower()
    return next((found for suffix, found in FORMATS_OF_SUFFIXES.items() if name.endswith(suffix)), None)
