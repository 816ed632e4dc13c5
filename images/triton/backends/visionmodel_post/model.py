"""Last step of an image model: raw outputs and the images' geometry in, the task's answer out.

Triton's python backend imports this file for each instance of a model with `backend: "visionmodel_post"`. Its inputs
have the names that the decoder of `visionmodel_pipeline` reads; the ensemble maps the network's own names to them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from visionmodel_pipeline.answers import answers, raw_names
from visionmodel_pipeline.decoding import BadImage
from visionmodel_pipeline.geometry import Geometry
from visionmodel_pipeline.settings import output_settings


class TritonPythonModel:
    """One instance; the name and the methods are those that Triton's stub calls."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the parameters; whatever is raised here is the reason why the model did not load."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        self._settings = output_settings(parameters)
        self._inputs = raw_names(self._settings)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request by itself."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        raw = {name: _array(request, name) for name in self._inputs}
        geometries = [Geometry.from_array(values) for values in _array(request, "geometry")]
        try:
            found = answers(raw, geometries, self._settings)
        except BadImage as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor(name, array) for name, array in found.items()]
        )


def _array(request: Any, name: str) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return array
