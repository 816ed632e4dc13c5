"""Run a graph in onnxruntime on the CPU, the same way on every machine of the same kind."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from visionmodel_contract.report import TensorSpec
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.failures import ConversionFailure, Reason, first_line

Tensors = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]
Run = Callable[[Tensors], Outputs]
"""Inputs by name to outputs by name."""

CPU_PROVIDER: Final = "CPUExecutionProvider"
MAX_CPU_NAME: Final = 64
FREE_AXIS_SIZE = 128
"""Stands for a free axis other than the batch in random inputs: a multiple of every usual stride."""


def cpu_threads(cgroup: Path, online: int) -> int:
    """Return how many threads fit into the CPU limit of this container, at least 1, at most `online`.

    Reads cgroup v2 (`cpu.max`) or v1 (`cpu/cpu.cfs_quota_us`); without a limit all CPUs that are online. More
    threads than the quota would be throttled together and slow each other down.
    """
    quota = _cgroup_quota(cgroup)
    return online if quota is None else max(1, min(online, math.ceil(quota)))


def cpu_model(cpuinfo: Path, machine: str) -> str:
    """Return the name of the CPU, which times depend on: Linux's `model name`, else the machine's kind (as on arm)."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())[:MAX_CPU_NAME]
    return machine


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


def session_options(options: RuntimeOptions) -> Any:
    """Return what Triton's onnxruntime backend makes of the same options in config.pbtxt.

    Everything else stays at onnxruntime's default because the backend leaves it there: all graph optimizations,
    and threads that spin while they wait for work. The latter has no parameter in the backend, so switching it off
    here would measure what is not served: with two threads and 50 requests a second it burns 0.4 CPUs in place of
    0.05 for a median 10 % shorter.
    """
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = options.inter_op_threads
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = 4
    return settings


def open_session(model: bytes, *, shown: str, threads: int) -> Run:
    """Load a serialized model for comparisons: same results on every run; raises RuntimeRefuses."""
    settings = session_options(RuntimeOptions(threads))
    settings.use_deterministic_compute = True
    return run_of(load_session(model, settings, shown=shown), shown)


def open_served(model: bytes, *, shown: str, options: RuntimeOptions, provider: str = CPU_PROVIDER) -> Run:
    """Load a serialized model as serving will, for speed and memory; raises RuntimeRefuses or ProviderNotUsed."""
    return run_of(load_session(model, session_options(options), shown=shown, provider=provider), shown)


def load_session(model: bytes, settings: Any, *, shown: str, provider: str = CPU_PROVIDER) -> Any:
    """Return an onnxruntime session on that provider alone.

    onnxruntime goes on with the CPU when another provider cannot start, and runs there what the provider does not
    know. Both would serve at a fraction of the promised speed, so the first is looked up and the second forbidden.

    Raises:
        ConversionFailure: ProviderNotUsed where the session runs elsewhere, RuntimeRefuses for a model that it
            does not take.
    """
    refuse_missing_provider(provider, onnxruntime.get_available_providers(), shown=shown)
    if provider != CPU_PROVIDER:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(model, settings, providers=[provider])
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        raise _refusal(shown, "load", error) from error
    refuse_missing_provider(provider, session.get_providers(), shown=shown)
    return session


def refuse_missing_provider(asked: str, found: Sequence[str], *, shown: str) -> None:
    """Raise ProviderNotUsed unless the provider that was asked for is among those found."""
    if asked not in found:
        raise ConversionFailure(
            Reason.PROVIDER_NOT_USED,
            f"{shown}: {asked} was asked for, onnxruntime {onnxruntime.__version__} has {', '.join(found)}; use a node "
            "with that device and an image built for it, or leave accelerators empty to run on the CPU",
        )


def run_of(session: Any, shown: str) -> Run:
    """Return a function that runs a session; it raises RuntimeRefuses and names the shapes it was given."""
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
