"""Threads per instance, and the words in which each of Triton's backends is told."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_contract.precision import Backend
from visionmodel_contract.runtime import RuntimeOptions, runtime_options


@pytest.mark.parametrize(
    ("cpus", "instances", "threads"),
    [
        pytest.param(Decimal("0.25"), 1, 1, id="less than one CPU"),
        pytest.param(Decimal("1.9"), 1, 1, id="no thread on a part of a CPU"),
        pytest.param(Decimal(4), 1, 4, id="whole CPUs"),
        pytest.param(Decimal(4), 3, 1, id="shared unevenly"),
        pytest.param(Decimal(2), 8, 1, id="more instances than CPUs"),
        pytest.param(2.0, 1, 2, id="a number of the cgroup"),
    ],
)
def test_threads(cpus: Decimal | float, instances: int, threads: int) -> None:
    assert runtime_options(cpus, instances) == RuntimeOptions(threads, inter_op_threads=1)


@given(st.decimals("0.01", 128, places=2), st.integers(1, 64))
def test_instances_never_have_more_threads_than_cpus_beyond_one_each(cpus: Decimal, instances: int) -> None:
    threads = runtime_options(cpus, instances).threads
    assert threads == 1 or threads * instances <= cpus


@pytest.mark.parametrize(
    ("backend", "parameters"),
    [
        (Backend.ONNX_RUNTIME, {"intra_op_thread_count": "3", "inter_op_thread_count": "1"}),
        (Backend.TENSORRT, {}),
        (
            Backend.OPENVINO,
            {
                "INFERENCE_NUM_THREADS": "3",
                "NUM_STREAMS": "1",
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32",
            },
        ),
    ],
)
def test_parameters(backend: Backend, parameters: dict[str, str]) -> None:
    assert RuntimeOptions(3).parameters(backend) == parameters
