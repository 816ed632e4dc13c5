"""What the stand-ins for the vendor's backends have in common: requests that Triton joined become one run.

Copied into the folder of each of them, because the stub looks for a backend's modules there. Like the vendor's: one
session per instance, the requests that Triton's scheduler hands over together run as one batch, and when that run
fails every one of them fails with INTERNAL (HTTP 500, gRPC 13). Not like them: CPU only, no ragged or string tensors,
no reshape, no configuration completed from the model; a configuration that asks for these is refused when the model
loads.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    from images.triton.backends.shared import model_contract as contract
else:
    # The stub puts the backend's folder on the path; its parents are no packages there.
    import model_contract as contract

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Opened:
    """A loaded model: what its file has, and how to run it for the outputs of the configuration."""

    inputs: tuple[contract.TensorContract, ...]
    outputs: tuple[contract.TensorContract, ...]
    run: Callable[[Sequence[str], Arrays], Arrays]


class StandIn(ABC):
    """One instance of a model; the methods without underscore are those that Triton's stub calls."""

    @abstractmethod
    def _open(self, config: Mapping[str, Any], path: Path) -> Opened:
        """Load the file; whatever is raised here is the reason why the model did not load."""

    @abstractmethod
    def _error_text(self, message: str) -> str:
        """Put a failed run into the words of the vendor's backend."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model and refuse a configuration that does not fit it."""
        config = json.loads(args["model_config"])
        if args["model_instance_kind"] != "CPU":
            raise pb_utils.TritonModelException(f"model '{config['name']}': this server runs on the CPU only")
        path = contract.model_file(config, Path(args["model_repository"]) / args["model_version"])
        self._model = self._open(config, path)
        inputs = contract.configured_tensors(config, "input")
        outputs = contract.configured_tensors(config, "output")
        contract.check_tensors(config, "input", inputs, self._model.inputs)
        contract.check_tensors(config, "output", outputs, self._model.outputs)
        self._inputs = tuple(tensor.name for tensor in inputs)
        self._outputs = tuple(tensor.name for tensor in outputs)
        self._batched = contract.max_batch_size(config) > 0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests that the scheduler found to be of equal shapes, in their order."""
        feeds = [{name: _array(request, name) for name in self._inputs} for request in requests]
        try:
            results = self._run_joined(feeds) if self._batched else [self._run(feed) for feed in feeds]
        # The runtimes' exceptions share no base class below Exception, and all of them are a failed run.
        except Exception as error:
            # Raised, not returned in the responses: Triton counts a response that carries an error as a success.
            raise pb_utils.TritonModelException(self._error_text(str(error))) from None
        return [_response(request, result) for request, result in zip(requests, results, strict=True)]

    def _run_joined(self, feeds: Sequence[Arrays]) -> list[Arrays]:
        if len(feeds) == 1:
            return [self._run(feeds[0])]
        joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in self._inputs}
        result = self._run(joined)
        places = contract.slices_of([len(feed[self._inputs[0]]) for feed in feeds])
        return [{name: result[name][place] for name in self._outputs} for place in places]

    def _run(self, feed: Arrays) -> Arrays:
        return self._model.run(self._outputs, feed)


def _array(request: Any, name: str) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return array


def _response(request: Any, result: Arrays) -> Any:
    wanted = set(request.requested_output_names())
    tensors = [pb_utils.Tensor(name, np.ascontiguousarray(value)) for name, value in result.items() if name in wanted]
    return pb_utils.InferenceResponse(output_tensors=tensors)
