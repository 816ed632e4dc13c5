"""What every loader gives: an ONNX graph, and the framework's own way to run the network, to compare it with.

A loader is a function `load(source, inputs) -> Loaded` in a module of its own that imports its framework inside; the
child process finds it in LOADERS. What a loader knows to be wrong it raises as a ConversionFailure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from visionmodel_contract.conversion import SourceInput
from visionmodel_contract.formats import SourceFormat

Tensors = Mapping[str, NDArray[Any]]
OPSET: Final = 17


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network in both shapes.

    Attributes:
        model: the serialized ONNX graph.
        run: the framework's outputs for inputs, in the order of the graph's inputs and outputs.
        sizes: for inputs with further free axes, a shape that the network is known to take.
    """

    model: bytes
    run: Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[Any]]]
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


Load = Callable[[Path, Sequence[SourceInput]], Loaded]


@dataclass(frozen=True, slots=True)
class Loader:
    """Where the loader of a format is and what it needs.

    Attributes:
        module: below this package.
        extra: the optional dependencies of the distribution, and the image `converter-<extra>`.
        packages: what it imports; the first tells whether the extra is installed.
        suffix: what the framework insists that the file's name ends in; "" for a folder.
    """

    module: str
    extra: str
    packages: tuple[str, ...]
    suffix: str


TORCH: Final = ("torch", "torchvision", "onnxscript")
"""torchvision registers the operators of its detectors (nms, roi_align) with torch when it is imported."""
TENSORFLOW: Final = ("tf2onnx", "tensorflow", "keras", "h5py")

LOADERS: Final[Mapping[SourceFormat, Loader]] = {
    SourceFormat.TORCHSCRIPT: Loader("torchscript", "torch", TORCH, ".pt"),
    SourceFormat.TORCH_EXPORT: Loader("torch_export", "torch", TORCH, ".pt2"),
    SourceFormat.SAVED_MODEL: Loader("saved_model", "tensorflow", TENSORFLOW, ""),
    SourceFormat.KERAS: Loader("keras_model", "tensorflow", TENSORFLOW, ".keras"),
    SourceFormat.TFLITE: Loader("tflite", "tensorflow", TENSORFLOW, ".tflite"),
}


def load_function(source_format: SourceFormat) -> Load:
    """Import the loader of a format; raises ImportError where its framework is missing."""
    found: Load = import_module(f"visionmodel_converter.formats.{LOADERS[source_format].module}").load
    return found
