"""First step of an image model: encoded images in, the network's tensor and each image's geometry out.

Triton's python backend imports this file for each instance of a model with `backend: "visionmodel_pre"`. There is no
batching here: one request is one client's, so an image that cannot be read spoils nobody else's request. Such a
request is answered with INVALID_ARG (HTTP 400); the answer carries the error instead of the step raising it, since
Triton turns what is raised into INTERNAL (HTTP 500) and counts it as the model's failure.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from visionmodel_pipeline.decoding import BadImage
from visionmodel_pipeline.preparing import prepare
from visionmodel_pipeline.settings import PreSettings


class TritonPythonModel:
    """One instance; the name and the methods are those that Triton's stub calls."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the parameters; whatever is raised here is the reason why the model did not load."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        self._settings = PreSettings.from_parameters(parameters)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request by itself."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        try:
            prepared = [prepare(data, self._settings) for data in images.reshape(-1)]
        except BadImage as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        tensor = np.stack([tensor for tensor, _ in prepared])
        geometry = np.stack([geometry.to_array() for _, geometry in prepared])
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor("tensor", tensor), pb_utils.Tensor("geometry", geometry)]
        )
