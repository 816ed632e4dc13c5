"""Keras models (.keras and HDF5) to ONNX, through a TensorFlow function. Runs in the child.

Lambda layers hold marshalled Python code. Keras refuses them in safe mode; they are looked for before, so that the
refusal names the layer, and because safe mode did not hold for HDF5 in every version.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from visionmodel_contract.conversion import SourceInput
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.formats.loaded import Loaded
from visionmodel_converter.formats.tensorflow_graph import graph_of


def load(source: Path, inputs: Sequence[SourceInput]) -> Loaded:
    """Return the graph of a model. Raises ConversionFailure."""
    import keras
    import tensorflow as tf

    _refuse_lambda_layers(_configuration(source))
    try:
        model = keras.saving.load_model(str(source), compile=False, safe_mode=True)
        wanted = [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in model.inputs]
    except Exception as error:  # Keras raises whatever a layer's constructor does
        raise ConversionFailure(
            Reason.LOADER_REFUSES,
            f"Keras {keras.__version__} cannot load the model: {first_line(error)}; layers of your own are not in the "
            "file: save it with model.export(folder) and use tensorflow-savedmodel",
        ) from error

    def call(*tensors: Any) -> Any:
        return model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)

    return graph_of(tf.function(call), wanted, call)


def _configuration(source: Path) -> Any:
    """Return the architecture as the file holds it. Raises NoGraph or LoaderRefuses."""
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(source, "r") as file:
            text = file.attrs.get("model_config")
            if text is None:
                raise ConversionFailure(
                    Reason.NO_GRAPH,
                    "the HDF5 file holds weights but no architecture (model.save_weights); save it with model.save",
                )
            return json.loads(text)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise ConversionFailure(
            Reason.LOADER_REFUSES,
            f"the file is damaged: {first_line(error)}; compare its size with the original and upload it again",
        ) from error


def _refuse_lambda_layers(configuration: Any) -> None:
    for layer in _objects(configuration):
        if layer.get("class_name") == "Lambda" or layer.get("class_name") == "__lambda__":
            name = (layer.get("config") or {}).get("name", "?") if isinstance(layer.get("config"), dict) else "?"
            raise ConversionFailure(
                Reason.LAMBDA_LAYER,
                f"layer {name!r} is a Lambda: Python code inside the file, which is not run; write it as layers or "
                "keras.ops, or save the model with model.export(folder) and use tensorflow-savedmodel",
            )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)
