"""Nodes whose values would leave FP16's range, found on the FP32 graph.

Running the FP16 graph on the CPU cannot show it: onnxruntime drops the casts between neighbouring nodes and computes
in FP32, so a square of 300 that is infinite on a GPU comes out right here. ModelOpt's AutoCast looks at the ranges
for the same reason.
"""

from collections.abc import Sequence
from typing import Final

from onnx import ModelProto

from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.graph.session import Tensors
from visionmodel_converter.precision.calibration import largest_magnitudes, refuse_unfit_samples
from visionmodel_converter.precision.fp16 import MAX_HALF
from visionmodel_converter.precision.topology import named

MARGIN: Final = 2.0
"""Images nobody calibrated with may reach further than those somebody did."""


def overflowing_nodes(source: CheckedModel, samples: Sequence[Tensors], *, threads: int) -> frozenset[str]:
    """Return the nodes that make or read a value beyond half of FP16's range over the samples: `kept` of FP16.

    Names are those of `topology.named`; an infinite or NaN value counts. Raises CalibrationInvalid on samples that do
    not fit the model.
    """
    refuse_unfit_samples(samples, source.inputs)
    return wide_nodes(named(source.proto), samples, threads=threads)


def wide_nodes(model: ModelProto, samples: Sequence[Tensors], *, threads: int) -> frozenset[str]:
    """Return the same for a graph whose nodes have names, over samples that fit."""
    largest = largest_magnitudes(model, samples, threads=threads)
    wide = {name for name, value in largest.items() if not value * MARGIN <= MAX_HALF}
    return frozenset(node.name for node in model.graph.node if wide.intersection((*node.input, *node.output)))
