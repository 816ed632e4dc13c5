"""A stand-in for the vendor's onnxruntime backend, for machines where only the wheel of Triton is available.

Triton's python backend imports this file for each instance of a model with `backend: "onnxruntime"`, so that the
config.pbtxt of production works unchanged. Like the vendor's: one session per instance, the requests that Triton's
scheduler hands over together run as one batch, and when that run fails every one of them fails with INTERNAL
(HTTP 500, gRPC 13). Not like it: CPU only, no ragged or string tensors, no reshape, no configuration completed from
the model; a configuration that asks for these is refused when the model loads.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    from images.triton.backends.onnxruntime import model_contract as contract
else:
    # The stub puts this file's folder on the path; its parents are no packages there.
    import model_contract as contract

Arrays = dict[str, np.ndarray[Any, Any]]


class TritonPythonModel:
    """One instance of a model; the name and the methods are those that Triton's stub calls."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the session; whatever is raised here is the reason why the model did not load."""
        config = json.loads(args["model_config"])
        if args["model_instance_kind"] != "CPU":
            raise pb_utils.TritonModelException(f"model '{config['name']}': this server runs on the CPU only")
        path = contract.model_file(config, Path(args["model_repository"]) / args["model_version"])
        self._session = onnxruntime.InferenceSession(
            str(path), sess_options=_session_options(config), providers=["CPUExecutionProvider"]
        )
        inputs = contract.configured_tensors(config, "input")
        outputs = contract.configured_tensors(config, "output")
        contract.check_tensors(config, "input", inputs, _provided(self._session.get_inputs()))
        contract.check_tensors(config, "output", outputs, _provided(self._session.get_outputs()))
        self._inputs = tuple(tensor.name for tensor in inputs)
        self._outputs = tuple(tensor.name for tensor in outputs)
        self._batched = contract.max_batch_size(config) > 0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests that the scheduler found to be of equal shapes, in their order."""
        feeds = [{name: _array(request, name) for name in self._inputs} for request in requests]
        try:
            results = self._run_joined(feeds) if self._batched else [self._run(feed) for feed in feeds]
        # onnxruntime's exceptions share no base class below Exception, and all of them are a failed run.
        except Exception as error:
            # Raised, not returned in the responses: Triton counts a response that carries an error as a success.
            raise pb_utils.TritonModelException(contract.error_text(str(error))) from None
        return [_response(request, result) for request, result in zip(requests, results, strict=True)]

    def _run_joined(self, feeds: Sequence[Arrays]) -> list[Arrays]:
        if len(feeds) == 1:
            return [self._run(feeds[0])]
        joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in self._inputs}
        result = self._run(joined)
        places = contract.slices_of([len(feed[self._inputs[0]]) for feed in feeds])
        return [{name: result[name][place] for name in self._outputs} for place in places]

    def _run(self, feed: Arrays) -> Arrays:
        return dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))


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


def _array(request: Any, name: str) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return array


def _response(request: Any, result: Arrays) -> Any:
    wanted = set(request.requested_output_names())
    tensors = [pb_utils.Tensor(name, np.ascontiguousarray(value)) for name, value in result.items() if name in wanted]
    return pb_utils.InferenceResponse(output_tensors=tensors)
