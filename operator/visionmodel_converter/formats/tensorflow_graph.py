"""From a TensorFlow function to ONNX by tf2onnx; shared by SavedModel and Keras.

By `from_function`: `from_keras` of tf2onnx 1.17 fails on Sequential models of Keras 3, and its SavedModel reader is
not public. TensorFlow 2.21, Keras 3.15 and tf2onnx 1.17 work together (measured); the extra's lock pins them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.formats.loaded import OPSET, Loaded


def graph_of(function: Callable[..., Any], signature: Sequence[Any], run: Callable[..., Any]) -> Loaded:
    """Trace a function of tensors; `run` gives its outputs in TensorFlow. Raises ExportFailed.

    Args:
        function: a `tf.function`.
        signature: one `tf.TensorSpec` per argument.
        run: the same computation, eagerly, with the same arguments.
    """
    import tensorflow as tf
    import tf2onnx

    try:
        model, _ = tf2onnx.convert.from_function(function, input_signature=list(signature), opset=OPSET)
    except Exception as error:  # tf2onnx raises whatever its rewriters meet
        raise ConversionFailure(
            Reason.EXPORT_FAILED,
            f"tf2onnx {tf2onnx.__version__} cannot express it in ONNX opset {OPSET}: {first_line(error)}; replace the "
            "operation, or export to ONNX where it was trained",
        ) from error

    def outputs(arrays: Sequence[Any]) -> list[Any]:
        return [tensor.numpy() for tensor in tf.nest.flatten(run(*(tf.constant(array) for array in arrays)))]

    return Loaded(model.SerializeToString(), outputs)
