"""Run a graph in onnxruntime on the CPU, the same way on every machine of the same kind."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason, first_line

Tensors = Mapping[str, NDArray[Any]]
Run = Callable[[Tensors], dict[str, NDArray[Any]]]
"""Inputs by name to outputs by name."""

FREE_AXIS_SIZE = 128
"""Stands for a free axis other than the batch in random inputs: a multiple of every usual stride."""


def cpu_threads(cgroup: Path, online: int) -> int:
    """Return how many threads fit into the CPU limit of this container, at least 1, at most `online`.

    Reads cgroup v2 (`cpu.max`) or v1 (`cpu/cpu.cfs_quota_us`); without a limit all CPUs that are online. More
    threads than the quota would be throttled together and slow each other down.
    """
    quota = _cgroup_quota(cgroup)
    return online if quota is None else max(1, min(online, math.ceil(quota)))


def _cgroup_quota(cgroup: Path) -> float | None:
    unified = cgroup / "cpu.max"
    if unified.is_file():
        limit, _, period = unified.read_text(encoding="ascii").strip().partition(" ")
        return None if limit == "max" else int(limit) / int(period or 100_000)
    quota, period_file = cgroup / "cpu" / "cpu.cfs_quota_us", cgroup / "cpu" / "cpu.cfs_period_us"
    if quota.is_file() and period_file.is_file():
        limit_us = int(quota.read_text(encoding="ascii"))
        return None if limit_us < 0 else limit_us / int(period_file.read_text(encoding="ascii"))
    return None


def open_session(model: bytes, *, shown: str, threads: int) -> Run:
    """Load a serialized model and return a function that runs it; raises RuntimeRefuses."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        raise _refusal(shown, "load", error) from error
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Tensors) -> dict[str, NDArray[Any]]:
        try:
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))
        except Exception as error:
            shapes = {name: list(array.shape) for name, array in inputs.items()}
            raise _refusal(shown, f"run with inputs {shapes}", error) from error

    return run


def _refusal(shown: str, action: str, error: Exception) -> ConversionFailure:
    return ConversionFailure(
        Reason.RUNTIME_REFUSES,
        f"{shown}: onnxruntime {onnxruntime.__version__} could not {action}: {first_line(error)}; the graph passed "
        "the checker, so an operator, type or shape is not supported on the CPU: change it in the export",
    )


def random_inputs(specs: tuple[TensorSpec, ...], *, batch: int, seed: int) -> dict[str, NDArray[Any]]:
    """Return seeded inputs in a plausible range: floats in [0, 1), bytes in 0..255, other integers 0 or 1."""
    generator = np.random.default_rng(seed)
    return {spec.name: _random_array(generator, spec, batch) for spec in specs}


def _random_array(generator: np.random.Generator, spec: TensorSpec, batch: int) -> NDArray[Any]:
    shape = (batch, *(FREE_AXIS_SIZE if dim < 0 else dim for dim in spec.dims[1:]))
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return generator.random(shape, dtype=np.float64).astype(dtype)
    return generator.integers(0, 256 if spec.dtype == "uint8" else 2, shape).astype(dtype)
