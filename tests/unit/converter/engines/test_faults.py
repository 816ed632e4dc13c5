"""A fault of the GPU is told apart from an engine's and from a missing device, by what NVIDIA's packages say.

The packages are stood in for by what is used of them here; tests/component/tensorrt checks those names against the
real ones, tests/contracts/test_device.py an engine's own faults on a real GPU.
"""

import sys
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from visionmodel_contract.exits import PERMANENT_EXIT_CODES
from visionmodel_converter.engines.device import LoadedEngine
from visionmodel_converter.engines.engine import device_failure
from visionmodel_converter.engines.gpu import Gpu, first_gpu
from visionmodel_converter.failures import ConversionFailure, Reason

MEMORY = "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)"
SHAPES = "IExecutionContext::setInputShape: Error Code 3: API Usage Error (Parameter check failed)"


CudaError = IntEnum(
    "CudaError",
    {
        "cudaSuccess": 0,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorStubLibrary": 34,
        "cudaErrorInsufficientDriver": 35,
        "cudaErrorNoDevice": 100,
        "cudaErrorInvalidDevice": 101,
        "cudaErrorIllegalAddress": 700,
        "cudaErrorSystemDriverMismatch": 803,
        "cudaErrorCompatNotSupportedOnDevice": 804,
    },
)
"""Numbers as in CUDA's driver_types.h."""


class PolygraphyError(Exception):
    """What Polygraphy raises for everything."""


class Machine:
    """NVIDIA's packages on a machine that can be broken.

    Attributes:
        error: what every call to CUDA answers from now on.
        said: what TensorRT logs where it answers with null, or fails.
        broken: which of TensorRT's calls do so.
        raised: Polygraphy's words for it.
    """

    def __init__(self) -> None:
        self.error, self.said, self.broken, self.raised = CudaError.cudaSuccess, "", "", "`execute_async_v3()` failed"
        self.logger: Any = None

    def breaks(self, call: str, value: Any) -> Any:
        """Return a call's value, or null with TensorRT's words in the log."""
        if self.broken != call:
            return value
        self.logger.log("error", self.said)
        return None

    def runtime(self, logger: Any) -> Any:
        """Return a runtime whose engines have one input."""
        self.logger = logger
        engine = SimpleNamespace(
            num_io_tensors=1,
            get_tensor_name=lambda _: "x",
            get_tensor_mode=lambda _: "input",
            get_tensor_dtype=lambda _: np.float32,
            get_tensor_profile_shape=lambda *_: [(1, 4)] * 3,
        )
        return SimpleNamespace(deserialize_cuda_engine=lambda _: self.breaks("load", engine))

    def runner(self, _: Any) -> Any:
        """Return Polygraphy's runner."""
        machine = self

        class Runner:
            def __enter__(self) -> "Runner":
                if not machine.breaks("context", "a context"):
                    raise PolygraphyError("Invalid Context. See error log for details.")
                return self

            def __exit__(self, *_: object) -> None:
                if machine.error:
                    raise PolygraphyError(f"CUDA Error: {machine.error}")

            def infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
                if not machine.breaks("run", "outputs"):
                    raise PolygraphyError(machine.raised)
                return {"y": inputs["x"]}

        return Runner()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    trt = SimpleNamespace(
        __version__="11.2.1",
        ILogger=type("ILogger", (), {"INTERNAL_ERROR": "internal", "ERROR": "error"}),
        Runtime=made.runtime,
        TensorIOMode=SimpleNamespace(INPUT="input"),
        nptype=lambda dtype: dtype,
    )
    properties = SimpleNamespace(name=b"NVIDIA L4", major=8, minor=9, multiProcessorCount=58)
    cuda = SimpleNamespace(
        cudaError_t=CudaError,
        cudaGetDeviceProperties=lambda _: (made.error, properties),
        getLocalRuntimeVersion=lambda: (made.error, 13000),
        cudaDriverGetVersion=lambda: (made.error, 13000),
        cudaMemGetInfo=lambda: (made.error, 2**30, 2**34),
        cudaDeviceSynchronize=lambda: (made.error,),
        cudaGetErrorString=lambda error: (CudaError.cudaSuccess, CudaError(error).name.encode()),
    )
    modules: dict[str, Any] = {
        "tensorrt": trt,
        "cuda": SimpleNamespace(),
        "cuda.bindings": SimpleNamespace(runtime=cuda),
        "polygraphy": SimpleNamespace(),
        "polygraphy.backend": SimpleNamespace(),
        "polygraphy.backend.trt": SimpleNamespace(TrtRunner=made.runner),
        "polygraphy.exception": SimpleNamespace(PolygraphyException=PolygraphyError),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


def run(engine: LoadedEngine) -> Any:
    return engine.run({"x": np.ones((1, 4), np.float32)})


@pytest.mark.parametrize("error", list(CudaError)[1:])
def test_only_a_device_that_is_not_there_is_missed_for_good(error: CudaError, machine: Machine) -> None:
    assert isinstance(first_gpu(), Gpu)
    machine.error = error
    with pytest.raises(ConversionFailure, match=f"CUDA says: {error.name}") as failure:
        first_gpu()
    passing = error in (CudaError.cudaErrorMemoryAllocation, CudaError.cudaErrorIllegalAddress)
    assert failure.value.reason is (Reason.DEVICE_FAILED if passing else Reason.NO_TENSORRT_DEVICE)
    assert (failure.value.exit_code in PERMANENT_EXIT_CODES) is not passing


@pytest.mark.parametrize("call", ["load", "context", "run"])
@pytest.mark.parametrize(
    ("said", "reason"), [(MEMORY, Reason.DEVICE_FAILED), (SHAPES, Reason.ENGINE_REFUSED)], ids=["memory", "shapes"]
)
def test_tensorrt_says_whose_fault_it_is(call: str, said: str, reason: Reason, machine: Machine) -> None:
    device = first_gpu()
    machine.broken, machine.said = call, said
    with pytest.raises(ConversionFailure) as failure, device.load(b"plan"):
        pass
    assert failure.value.reason is reason


def test_a_fault_that_stays_is_the_devices_whatever_was_said(machine: Machine) -> None:
    def falls_over() -> None:
        with first_gpu().load(b"plan") as engine:
            assert run(engine).keys() == {"y"}
            machine.broken, machine.said, machine.error = "run", SHAPES, CudaError.cudaErrorIllegalAddress
            run(engine)

    with pytest.raises(ConversionFailure, match="cudaErrorIllegalAddress") as failure:
        falls_over()
    assert failure.value.reason is Reason.DEVICE_FAILED


def test_an_earlier_fault_is_not_held_against_a_later_run(machine: Machine) -> None:
    with first_gpu().load(b"plan") as engine:
        for said, reason in ((MEMORY, Reason.DEVICE_FAILED), (SHAPES, Reason.ENGINE_REFUSED)):
            machine.broken, machine.said = "run", said
            with pytest.raises(ConversionFailure) as failure:
                run(engine)
            assert failure.value.reason is reason


@pytest.mark.parametrize(
    ("words", "faulty"),
    [
        (MEMORY, True),
        ("Error Code 2: OutOfMemory (Requested size was 1024 bytes.)", True),
        ("Error Code 1: Cuda Runtime (an illegal memory access was encountered)", True),
        ("CUDA Error: 2. To figure out what this means, refer to the documentation", True),
        (SHAPES, False),
        ("Error Code 10: Internal Error (Could not find any implementation for node conv.)", False),
    ],
)
def test_words_for_a_fault_of_the_device(words: str, faulty: bool) -> None:
    failure = device_failure(["first", words])
    assert (failure is not None) is faulty
