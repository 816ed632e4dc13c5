"""How much host memory it takes to load a model and run it, measured in a process of its own.

A fresh child, because the converter's own peak is that of the whole conversion. The peak is VmHWM of /proc/self/status
and not `ru_maxrss` of getrusage: the latter survives exec, and a child of a 400 MB parent reports 400 MB (measured).
What the same imports take without a model is measured the same way and taken off. Memory of a device is not in it:
TensorRT's engine reports that itself, and `Measurement` has room for it.
"""

import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from visionmodel_contract.precision import Backend, Goal
from visionmodel_contract.report import GateResult, TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason, first_line

CHILD: Final = "visionmodel_converter.gates.memory_child"
DEADLINE_SECONDS: Final = 120.0
RUNS: Final = 3
"""The second run may still grow the arena by what the first one left in the wrong places."""


class MemoryTask(BaseModel):
    """What the child does: nothing but its imports, or a model as well."""

    backend: Backend
    model: Path | None = None
    inputs: tuple[TensorSpec, ...] = ()
    batch: int = 1
    threads: int = 1
    runs: int = RUNS


@dataclass(frozen=True, slots=True)
class Measurement:
    """Peaks in bytes; a device's is None where there is none."""

    host: int
    device: int | None = None


def measure_memory(
    model: bytes,
    *,
    shown: str,
    backend: Backend,
    inputs: tuple[TensorSpec, ...],
    batch: int,
    threads: int,
    deadline: float = DEADLINE_SECONDS,
) -> Measurement:
    """Load and run a serialized model in a child and return what it took beyond the runtime itself.

    Raises:
        ConversionFailure: MemoryNotMeasured when the child fails, is killed or takes longer than `deadline` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        idle = _peak(MemoryTask(backend=backend), shown, deadline)
        task = MemoryTask(backend=backend, model=path, inputs=inputs, batch=batch, threads=threads)
        return Measurement(host=max(0, _peak(task, shown, deadline) - idle))


def _peak(task: MemoryTask, shown: str, deadline: float) -> int:
    command = [sys.executable, "-m", CHILD]
    try:
        done = subprocess.run(
            command,
            input=task.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _not_measured(shown, f"loading and {task.runs} runs took longer than {deadline:g} s") from error
    if done.returncode < 0:
        raise _not_measured(
            shown, f"the process was ended by signal {-done.returncode}, as it is where memory is short"
        )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise _not_measured(shown, lines[-1][:300])
    try:
        return int(done.stdout)
    except ValueError as error:
        raise _not_measured(shown, first_line(error)) from error


def _not_measured(shown: str, why: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.MEMORY_NOT_MEASURED,
        f"{shown}: its peak memory could not be measured: {why}; give the conversion more memory or a smaller "
        "maxBatchSize, or leave gates.memory out",
    )


def memory_gate(limit: int, peak: int | None) -> GateResult:
    """Compare a peak with its limit, both in bytes; a peak that was not measured does not meet it."""
    return GateResult(
        metric="peakMemoryBytes",
        goal=Goal.THRESHOLD,
        limit=limit,
        value=math.nan if peak is None else peak,
        passed=peak is not None and 0 < peak <= limit,
        samples=0 if peak is None else 1,
    )
