"""The device that engines are built for and proven on: what a build needs of it, and nothing more.

`gpu.Gpu` is the real one. A fake stands in for it where there is no GPU; one contract test holds both to what is
written here.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from visionmodel_contract.build import EngineOptions, EngineTarget
from visionmodel_converter.engines.engine import Engine, Progress
from visionmodel_converter.engines.profiles import ShapeBounds
from visionmodel_converter.graph.session import Outputs, Tensors


class LoadedEngine(Protocol):
    """An engine on the device, until its context ends."""

    @property
    def device_memory_bytes(self) -> int:
        """Memory of the device that loading it and one run at the largest shapes took."""

    def run(self, inputs: Tensors) -> Outputs:
        """Return the outputs by name, on the host; the arrays are the caller's.

        Raises ConversionFailure: EngineRefused, or DeviceFailed where the same engine may run another time.
        """


class Device(Protocol):
    """One GPU with the TensorRT beside it."""

    @property
    def target(self) -> EngineTarget:
        """What an engine built here is bound to."""

    @property
    def driver(self) -> str:
        """Version of CUDA that the driver can run."""

    def build(
        self,
        model: bytes,
        profile: Mapping[str, ShapeBounds],
        options: EngineOptions,
        *,
        timing_cache: bytes = b"",
        progress: Progress,
    ) -> Engine:
        """Return the engine of an ONNX file. Raises EngineRefused or DeviceFailed.

        It begins with the timings of an earlier build on a device with the same target; what is anything else is left
        out, which the engine tells.
        """

    def load(self, plan: bytes) -> AbstractContextManager[LoadedEngine]:
        """Load an engine that `build` returned here or on a device with the same target.

        Raises ConversionFailure: EngineRefused or DeviceFailed.
        """
