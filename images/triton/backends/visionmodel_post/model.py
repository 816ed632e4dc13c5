"""Last step of a detector: raw outputs and the images' geometry in, boxes in the source images out.

Triton's python backend imports this file for each instance of a model with `backend: "visionmodel_post"`. Its inputs
have the names that the decoder of `visionmodel_pipeline` reads; the ensemble maps the network's own names to them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from visionmodel_pipeline.decoders import DECODERS
from visionmodel_pipeline.detections import detect
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.settings import PostSettings


class TritonPythonModel:
    """One instance; the name and the methods are those that Triton's stub calls."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the parameters; whatever is raised here is the reason why the model did not load."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        self._settings = PostSettings.from_parameters(parameters)
        self._inputs = DECODERS[self._settings.decoder].outputs

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request by itself."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        raw = {name: _array(request, name) for name in self._inputs}
        found = [
            detect({name: array[index] for name, array in raw.items()}, Geometry.from_array(values), self._settings)
            for index, values in enumerate(_array(request, "geometry"))
        ]
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor("num_detections", np.array([[one.count] for one in found], dtype=np.int32)),
                pb_utils.Tensor("boxes", np.stack([one.boxes for one in found])),
                pb_utils.Tensor("scores", np.stack([one.scores for one in found])),
                pb_utils.Tensor("labels", np.stack([one.labels for one in found])),
            ]
        )


def _array(request: Any, name: str) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return array
