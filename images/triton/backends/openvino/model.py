"""A stand-in for the vendor's openvino backend, for machines where only the wheel of Triton is available.

Triton's python backend imports this file for each instance of a model with `backend: "openvino"`, so that the
config.pbtxt of production works unchanged; what it shares with the other stand-in is in `stand_in.py`. One thing more
than the vendor's: the parameter INFERENCE_PRECISION_HINT, without which OpenVINO computes FP32 graphs in BF16 on CPUs
that can. The wheel is only in the image target `wheel-openvino`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openvino

if TYPE_CHECKING:
    from images.triton.backends.shared import model_contract as contract
    from images.triton.backends.shared.stand_in import Arrays, Opened, StandIn
else:
    # The stub puts this file's folder on the path; its parents are no packages there.
    import model_contract as contract
    from stand_in import Arrays, Opened, StandIn


class TritonPythonModel(StandIn):
    """One instance of a model; the name is the one that Triton's stub looks for."""

    def _open(self, config: Mapping[str, Any], path: Path) -> Opened:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(str(path)), "CPU", contract.openvino_properties(config))
        request = compiled.create_infer_request()

        def run(outputs: Sequence[str], feed: Arrays) -> Arrays:
            found = request.infer(feed)
            return {name: found[compiled.output(name)] for name in outputs}

        inputs, outputs = contract.configured_names(config, "input"), contract.configured_names(config, "output")
        return Opened(_provided(compiled.inputs, inputs), _provided(compiled.outputs, outputs), run)

    def _error_text(self, message: str) -> str:
        return contract.openvino_error_text(message)


def _provided(ports: Sequence[Any], configured: Sequence[str]) -> tuple[contract.TensorContract, ...]:
    return tuple(_tensor(port, configured) for port in ports)


def _tensor(port: Any, configured: Sequence[str]) -> contract.TensorContract:
    """Take the configured one of a tensor's names: OpenVINO gives it those of every Identity around it as well."""
    names = port.get_names()
    name = next((name for name in configured if name in names), port.get_any_name())
    shape = [dim.get_length() if dim.is_static else None for dim in port.get_partial_shape()]
    element = port.get_element_type().get_type_name()
    return contract.TensorContract(name, contract.OPENVINO_TYPES.get(element, element), contract.shape_of(shape))
