"""Open a model in the runtime that will serve it, with the options that serving will give it."""

from visionmodel_contract.precision import Backend
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.graph.openvino import compile_openvino
from visionmodel_converter.graph.session import Run, open_served


def open_backend(backend: Backend, model: bytes, *, shown: str, options: RuntimeOptions) -> Run:
    """Load a serialized ONNX model; raises RuntimeRefuses or BackendNotInstalled."""
    match backend:
        case Backend.ONNX_RUNTIME:
            return open_served(model, shown=shown, options=options)
        case Backend.OPENVINO:
            return compile_openvino(model, shown=shown, options=options).run
