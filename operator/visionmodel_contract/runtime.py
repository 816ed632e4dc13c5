"""How many threads a served model gets, and how its runtime is told: the one home for both sides.

The operator writes the numbers into config.pbtxt, the converter opens its measured sessions with them, so that the
gates judge what will be served. A thread needs a whole CPU: with onnxruntime 1.31 under a quota of 1.5 CPUs a second
thread shortened the median from 0.54 to 0.37 ms and tripled p99, from 2.0 to 6.6 ms, as both are throttled together.
"""

from dataclasses import dataclass
from decimal import Decimal
from math import floor
from typing import Final

from visionmodel_contract.precision import Backend

OPENVINO_EXACT: Final = {"INFERENCE_PRECISION_HINT": "f32"}
"""What is neither FP16 nor quantized is computed in FP32. Without it OpenVINO computes FP32 graphs in BF16 on every
CPU that can (AVX512_BF16, AMX), and only the numbers show it. Triton's own openvino backend (2026-08) does not read
this parameter and has none for it; the backend of our CPU image does."""


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """Options of one model instance.

    Attributes:
        threads: that share one operator of the graph; the caller's own is one of them.
        inter_op_threads: operators that may run at once; vision graphs are chains, so one.
    """

    threads: int
    inter_op_threads: int = 1

    def parameters(self, backend: Backend) -> dict[str, str]:
        """Return the options as `parameters` of config.pbtxt, in the words of Triton's backends.

        Not written is what the backends do anyway: all graph optimizations and sequential execution. Neither can
        onnxruntime's spinning be switched off there: it only happens with two threads or more.
        """
        if backend is Backend.TENSORRT:
            return {}  # the engine has its kernels in it, and they run on the device
        if backend is Backend.OPENVINO:
            return {
                "INFERENCE_NUM_THREADS": str(self.threads),
                "NUM_STREAMS": "1",
                "PERFORMANCE_HINT": "LATENCY",
                **OPENVINO_EXACT,
            }
        return {
            "intra_op_thread_count": str(self.threads),
            "inter_op_thread_count": str(self.inter_op_threads),
        }


def runtime_options(cpus: Decimal | float, instances: int = 1) -> RuntimeOptions:
    """Return the options of each of `instances` that share so many CPUs: whole CPUs only, at least one thread.

    Without a number the runtimes take every core of the node, and instances fight for a quota they cannot see.
    """
    return RuntimeOptions(threads=max(1, floor(cpus / instances)))
