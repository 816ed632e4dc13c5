"""The child's answer, its ways to fail, and the limit; real models are measured in tests/component."""

import pytest

from unit.converter import tiny_models
from visionmodel_contract.precision import Backend, Goal
from visionmodel_contract.report import GateResult, TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.memory import measure_memory, memory_gate
from visionmodel_converter.gates.memory_child import peak_bytes

STATUS = "Name:\tpython\nVmPeak:\t  900000 kB\nVmHWM:\t   41236 kB\nVmRSS:\t   40000 kB\n"


def test_peak_is_the_resident_one_in_bytes() -> None:
    assert peak_bytes(STATUS) == 41236 * 1024


@pytest.mark.parametrize(
    ("peak", "passed"),
    [
        pytest.param(1000, True, id="at the limit"),
        pytest.param(1001, False, id="above"),
        pytest.param(0, False, id="nothing measured"),
    ],
)
def test_limit(peak: int, passed: bool) -> None:
    assert memory_gate(1000, peak) == GateResult(
        metric="peakMemoryBytes", goal=Goal.THRESHOLD, limit=1000, value=peak, passed=passed, samples=1
    )


def failure_of(model: bytes, deadline: float) -> ConversionFailure:
    with pytest.raises(ConversionFailure) as caught:
        measure_memory(
            model,
            shown="m.onnx",
            backend=Backend.ONNX_RUNTIME,
            inputs=(TensorSpec(name="x", dtype="float32", dims=(-1, 4)),),
            batch=1,
            threads=1,
            deadline=deadline,
        )
    return caught.value


def test_child_that_takes_too_long() -> None:
    failure = failure_of(tiny_models.to_bytes(tiny_models.classifier()), deadline=0.001)
    assert failure.reason is Reason.MEMORY_NOT_MEASURED
    assert failure.message.startswith(
        "m.onnx: its peak memory could not be measured: loading and 3 runs took longer than 0.001 s; give the "
    )
