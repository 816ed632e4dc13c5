"""TFLite to ONNX by tf2onnx, compared with TensorFlow's own interpreter. Runs in the child.

`tf.lite.Interpreter` is still in TensorFlow 2.21, deprecated; its successor package is one more runtime, so the
`tensorflow` extra is pinned below the version that drops it. There is no smaller extra: tf2onnx imports TensorFlow.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visionmodel_contract.conversion import SourceInput
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.formats.loaded import OPSET, Loaded


def load(source: Path, inputs: Sequence[SourceInput]) -> Loaded:
    """Return the graph of a flatbuffer. Raises ConversionFailure: CustomOperator, LoaderRefuses or ExportFailed."""
    import tensorflow as tf
    import tf2onnx

    _refuse_custom_operators(source)
    try:
        interpreter = tf.lite.Interpreter(model_path=str(source))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ConversionFailure(
            Reason.LOADER_REFUSES,
            f"TensorFlow {tf.__version__} cannot load the flatbuffer: {first_line(error)}; convert it again with "
            "tf.lite.TFLiteConverter",
        ) from error
    try:
        model, _ = tf2onnx.convert.from_tflite(str(source), opset=OPSET)
    except Exception as error:  # tf2onnx raises whatever its rewriters meet
        raise ConversionFailure(
            Reason.EXPORT_FAILED,
            f"tf2onnx {tf2onnx.__version__} cannot express it in ONNX opset {OPSET}: {first_line(error)}; take the "
            "SavedModel that it was made from (tensorflow-savedmodel)",
        ) from error
    order = [value.name for value in model.graph.input]
    results = [value.name for value in model.graph.output]

    def run(arrays: Sequence[Any]) -> list[Any]:
        details = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
        for name, array in zip(order, arrays, strict=True):
            interpreter.resize_tensor_input(details[name], array.shape)
        interpreter.allocate_tensors()
        for name, array in zip(order, arrays, strict=True):
            interpreter.set_tensor(details[name], array)
        interpreter.invoke()
        found = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
        return [interpreter.get_tensor(found[name]) for name in results]

    return Loaded(model.SerializeToString(), run)


def _refuse_custom_operators(source: Path) -> None:
    from tensorflow.lite.python import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(source.read_bytes(), 0)
        codes = [model.OperatorCodes(index).CustomCode() for index in range(model.OperatorCodesLength())]
    except Exception as error:  # the flatbuffer reader checks nothing: struct errors, index errors, recursion
        raise ConversionFailure(
            Reason.LOADER_REFUSES, f"the flatbuffer is truncated or damaged ({first_line(error)}); upload it again"
        ) from error
    custom = [code.decode(errors="replace") for code in codes if code]
    if custom:
        raise ConversionFailure(
            Reason.CUSTOM_OPERATOR,
            f"the operator {custom[0]!r} is not of TFLite itself; convert the model with "
            "target_spec.supported_ops = [TFLITE_BUILTINS], without allow_custom_ops and without Flex operators",
        )
