"""TensorFlow SavedModel to ONNX: the graph of its serving signature. Runs in the child."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from visionmodel_contract.conversion import SourceInput
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.formats.loaded import Loaded
from visionmodel_converter.formats.tensorflow_graph import graph_of

DEFAULT_SIGNATURE: Final = "serving_default"
PYTHON_OPERATIONS: Final = frozenset(("PyFunc", "PyFuncStateless", "EagerPyFunc"))


def load(source: Path, inputs: Sequence[SourceInput]) -> Loaded:
    """Return the graph of a SavedModel folder. Raises ConversionFailure."""
    import tensorflow as tf

    _refuse_python_functions(source)
    try:
        model = tf.saved_model.load(str(source))
        signatures = dict(model.signatures)
    except Exception as error:  # TensorFlow's errors share no base class
        raise ConversionFailure(
            Reason.LOADER_REFUSES,
            f"TensorFlow {tf.__version__} cannot load the SavedModel: {first_line(error)}; upload the whole folder "
            "with its variables",
        ) from error
    signature = _signature(signatures)
    specs = signature.structured_input_signature[1]
    names = list(specs)

    def call(*tensors: Any) -> Any:
        return signature(**dict(zip(names, tensors, strict=True)))

    wanted = [tf.TensorSpec(specs[name].shape, specs[name].dtype, name=name) for name in names]
    return graph_of(tf.function(call), wanted, call)


def _signature(signatures: dict[str, Any]) -> Any:
    if DEFAULT_SIGNATURE in signatures:
        return signatures[DEFAULT_SIGNATURE]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    raise ConversionFailure(
        Reason.NO_GRAPH,
        f"the SavedModel has the signatures {sorted(signatures)} and none is {DEFAULT_SIGNATURE!r}; save it with "
        "model.export(folder), or with signatures={'serving_default': ...}",
    )


def _refuse_python_functions(source: Path) -> None:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    document = saved_model_pb2.SavedModel()
    try:
        document.ParseFromString((source / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise ConversionFailure(
            Reason.LOADER_REFUSES, "saved_model.pb is truncated or damaged; save and upload the folder again"
        ) from error
    for node in _nodes(document):
        if node.op in PYTHON_OPERATIONS:
            raise ConversionFailure(
                Reason.PYTHON_FUNCTION,
                f"node {node.name!r} is a {node.op} (tf.py_function or tf.numpy_function): it calls Python code of the "
                "training program, which is not in the file; write it with TensorFlow operations",
            )


def _nodes(document: Any) -> Iterator[Any]:
    for graph in document.meta_graphs:
        yield from graph.graph_def.node
        for function in graph.graph_def.library.function:
            yield from function.node_def
