"""Open a model in the runtime that will serve it; before an engine is built of it, TensorRT's runs in onnxruntime."""

from visionmodel_contract.precision import Backend
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.graph.openvino import compile_openvino, open_openvino
from visionmodel_converter.graph.session import Run, open_served, open_session


def open_backend(backend: Backend, model: bytes, *, shown: str, options: RuntimeOptions) -> Run:
    """Load a serialized ONNX model with the options that serving will give it, for speed and memory.

    Raises:
        ConversionFailure: RuntimeRefuses or BackendNotInstalled.
    """
    match backend:
        case Backend.ONNX_RUNTIME | Backend.TENSORRT:
            return open_served(model, shown=shown, options=options)
        case Backend.OPENVINO:
            return compile_openvino(model, shown=shown, options=options).run


def open_compared(backend: Backend, model: bytes, *, shown: str, threads: int) -> Run:
    """Load a serialized ONNX model for comparisons with its source: same results on every run; raises as above."""
    match backend:
        case Backend.ONNX_RUNTIME | Backend.TENSORRT:
            return open_session(model, shown=shown, threads=threads)
        case Backend.OPENVINO:
            return open_openvino(model, shown=shown, threads=threads)
