"""The process whose memory `gates.memory` measures: a MemoryTask on stdin, the peak in bytes on stdout."""

import importlib
import sys
from pathlib import Path
from typing import Final

from visionmodel_contract.precision import Backend
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.failures import ConversionFailure
from visionmodel_converter.gates.memory import MemoryTask
from visionmodel_converter.graph.backends import open_backend
from visionmodel_converter.graph.openvino import openvino_library
from visionmodel_converter.graph.session import random_inputs

STATUS: Final = Path("/proc/self/status")
PEAK: Final = "VmHWM:"
KIBIBYTE: Final = 1024


def main() -> int:
    """Do the task; the last line of stderr says what went wrong."""
    task = MemoryTask.model_validate_json(sys.stdin.read())
    try:
        run_task(task)
    except ConversionFailure as failure:
        sys.stderr.write(failure.message + "\n")
        return 1
    sys.stdout.write(str(peak_bytes(STATUS.read_text(encoding="ascii"))))
    return 0


def run_task(task: MemoryTask) -> None:
    """Import the backend's runtime and, if there is a model, load it and run it."""
    if task.backend is Backend.OPENVINO:
        openvino_library()
    else:
        importlib.import_module("onnxruntime")
    if task.model is not None:
        options = RuntimeOptions(task.threads)
        run = open_backend(task.backend, task.model.read_bytes(), shown="the model", options=options)
        inputs = random_inputs(task.inputs, batch=task.batch, seed=0)
        for _ in range(task.runs):
            run(inputs)


def peak_bytes(status: str) -> int:
    """Return the peak resident memory that the kernel reports in a process's `status` file."""
    line = next(line for line in status.splitlines() if line.startswith(PEAK))
    return int(line.removeprefix(PEAK).split()[0]) * KIBIBYTE


if __name__ == "__main__":
    sys.exit(main())
