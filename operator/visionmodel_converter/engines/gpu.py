"""The first GPU of this machine, through NVIDIA's own libraries: TensorRT, Polygraphy's runner and CUDA's bindings.

All of them are imported when a device is asked for, because only the TensorRT image has them. A contract test checks
every name that is used of them against the real packages.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from visionmodel_contract.build import EngineOptions, EngineTarget
from visionmodel_converter.engines.device import LoadedEngine
from visionmodel_converter.engines.engine import (
    Engine,
    Progress,
    deserialized,
    device_failed,
    device_failure,
    engine_from_onnx,
    largest_shapes,
    remembering_logger,
    tensorrt_module,
)
from visionmodel_converter.engines.profiles import ShapeBounds
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.graph.session import Outputs, Tensors

if TYPE_CHECKING:
    from cuda.bindings import runtime as cuda
    from polygraphy.backend import trt as polygraphy

FIRST: Final = 0
"""A build Job asks for one device and sees no other."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """As `device.Device`; made by `first_gpu`."""

    target: EngineTarget
    driver: str

    def build(
        self,
        model: bytes,
        profile: Mapping[str, ShapeBounds],
        options: EngineOptions,
        *,
        timing_cache: bytes = b"",
        progress: Progress,
    ) -> Engine:
        """As `Device.build`."""
        return engine_from_onnx(model, profile, options, timing_cache=timing_cache, progress=progress)

    def load(self, plan: bytes) -> AbstractContextManager[LoadedEngine]:
        """As `Device.load`."""
        return _loaded(plan)


def first_gpu() -> Gpu:
    """Return the device. Raises TensorRTMissing, NoTensorRTDevice or DeviceFailed."""
    trt, cuda = tensorrt_module(), _cuda()
    found = _answer(cuda, cuda.cudaGetDeviceProperties(FIRST))
    runtime = _version(_answer(cuda, cuda.getLocalRuntimeVersion()))
    return Gpu(_target(trt.__version__, runtime, found), _version(_answer(cuda, cuda.cudaDriverGetVersion())))


def _target(tensorrt: str, runtime: str, found: "cuda.cudaDeviceProp") -> EngineTarget:
    return EngineTarget(
        tensorrt=tensorrt,
        cuda=runtime,
        product=found.name.decode(),
        compute_capability=f"{found.major}.{found.minor}",
        multiprocessors=found.multiProcessorCount,
    )


@dataclass(frozen=True, slots=True)
class _Running:
    """An active runner; it hands out its own buffers, which the next run overwrites, so they are copied."""

    runner: Any
    logger: Any
    device_memory_bytes: int

    def run(self, inputs: Tensors) -> Outputs:
        outputs = _inferred(self.runner, inputs, self.logger)
        return {name: np.array(array) for name, array in outputs.items()}


@contextmanager
def _loaded(plan: bytes) -> Iterator[LoadedEngine]:
    from polygraphy.backend.trt import TrtRunner

    cuda = _cuda()
    free = _free_bytes(cuda)
    logger = remembering_logger(tensorrt_module())
    engine = deserialized(plan, logger)
    # Polygraphy prints its warnings, and stdout is the progress stream
    told = _told("be given a context", "serve with backend ONNXRuntime", logger)
    with redirect_stdout(sys.stderr), told, TrtRunner(engine) as runner:
        _inferred(runner, largest_shapes(engine), logger)
        yield _Running(runner, logger, max(0, free - _free_bytes(cuda)))


def _inferred(runner: "polygraphy.TrtRunner", inputs: Tensors, logger: Any) -> dict[str, Any]:
    shapes = {name: list(array.shape) for name, array in inputs.items()}
    remedy = "widen conversion.batch or conversion.dynamicShapes where these shapes lie outside of them"
    with _told(f"run with inputs {shapes}", remedy, logger):
        outputs: dict[str, Any] = runner.infer(dict(inputs))
    return outputs


@contextmanager
def _told(what: str, remedy: str, logger: Any) -> Iterator[None]:
    """Tell Polygraphy's exceptions as failures: of the device where CUDA or TensorRT says so, else of the engine."""
    from polygraphy.exception import PolygraphyException

    logger.messages = []
    try:
        yield
    except PolygraphyException as error:
        cuda = _cuda()
        _answer(cuda, cuda.cudaDeviceSynchronize())  # a fault that stays, as after an Xid, is told by every call
        raise device_failure([str(error), *logger.messages]) or ConversionFailure(
            Reason.ENGINE_REFUSED, f"the engine could not {what}: {first_line(error)}; {remedy}"
        ) from error


def _cuda() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise ConversionFailure(
            Reason.TENSORRT_MISSING,
            f"this image has no bindings of CUDA ({error}); the platform team must set the TensorRT converter image",
        ) from error
    return runtime


def _free_bytes(cuda: Any) -> int:
    free, _total = _answer(cuda, cuda.cudaMemGetInfo())
    return int(free)


def _answer(cuda: Any, result: Any) -> Any:
    """Return what a call gives besides its error code. Raises NoTensorRTDevice or DeviceFailed."""
    error, *values = result
    if int(error) != 0:
        raise _failure(cuda, error)
    return values[0] if len(values) == 1 else values


def _version(number: int) -> str:
    """CUDA writes 12.9 as 12090."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _failure(cuda: Any, error: Any) -> ConversionFailure:
    _, words = cuda.cudaGetErrorString(error)
    codes = cuda.cudaError_t
    if error not in (
        codes.cudaErrorNoDevice,
        codes.cudaErrorInvalidDevice,
        codes.cudaErrorInsufficientDriver,
        codes.cudaErrorStubLibrary,
        codes.cudaErrorSystemDriverMismatch,
        codes.cudaErrorCompatNotSupportedOnDevice,
    ):
        return device_failed(f"CUDA says: {words.decode()}")
    return ConversionFailure(
        Reason.NO_TENSORRT_DEVICE,
        f"TensorRT has no device here (CUDA says: {words.decode()}); accelerators must name a resource of real GPUs,"
        " on nodes with NVIDIA's driver and container toolkit, and serving.pod.runtimeClassName where those need one",
    )
