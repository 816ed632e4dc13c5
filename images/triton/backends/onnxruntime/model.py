"""A stand-in for the vendor's onnxruntime backend, for machines where only the wheel of Triton is available.

Triton's python backend imports this file for each instance of a model with `backend: "onnxruntime"`, so that the
config.pbtxt of production works unchanged. What it shares with the other stand-in is in `stand_in.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnxruntime

if TYPE_CHECKING:
    from images.triton.backends.shared import model_contract as contract
    from images.triton.backends.shared.stand_in import Arrays, Opened, StandIn
else:
    # The stub puts this file's folder on the path; its parents are no packages there.
    import model_contract as contract
    from stand_in import Arrays, Opened, StandIn

PROVIDER: Final = "CPUExecutionProvider"


class TritonPythonModel(StandIn):
    """One instance of a model; the name is the one that Triton's stub looks for."""

    def _open(self, config: Mapping[str, Any], path: Path) -> Opened:
        session = onnxruntime.InferenceSession(str(path), sess_options=_session_options(config), providers=[PROVIDER])
        contract.check_providers(config, PROVIDER, session.get_providers())

        def run(outputs: Sequence[str], feed: Arrays) -> Arrays:
            return dict(zip(outputs, session.run(outputs, feed), strict=True))

        return Opened(_provided(session.get_inputs()), _provided(session.get_outputs()), run)

    def _error_text(self, message: str) -> str:
        return contract.error_text(message)


def _session_options(config: Mapping[str, Any]) -> Any:
    settings = contract.session_settings(config)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = settings.inter_op_threads
    if settings.parallel:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, settings.graph_level)
    return options


def _provided(nodes: Sequence[Any]) -> tuple[contract.TensorContract, ...]:
    return tuple(contract.TensorContract(node.name, node.type, contract.shape_of(node.shape)) for node in nodes)
