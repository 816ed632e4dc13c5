"""One candidate artifact in one precision, and the proof that it is a graph that runs.

Made by `fp16`, `int8`, `sensitivity` and `qdq`; judged by whoever asked, through the task's metric.
"""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from onnx import ModelProto

from visionmodel_contract.precision import CalibrationMethod, Precision
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import CheckedModel, checked
from visionmodel_converter.graph.session import open_session, random_inputs

BATCHES: Final = (1, 3)
SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """A checked graph in one precision, with the same inputs and outputs as its source.

    Attributes:
        precision: what most of its arithmetic is done in.
        model: the graph; its bytes are the same on every run.
        method: how INT8 scales were chosen; None where there are none or where they came with the model.
        kept_fp32: names of the nodes left in FP32, in the graph's order.
        notes: sentences for the report: what was kept, and why.
    """

    precision: Precision
    model: CheckedModel
    method: CalibrationMethod | None
    kept_fp32: tuple[str, ...]
    notes: tuple[str, ...]


def proven(model: ModelProto, source: CheckedModel, *, what: str, threads: int) -> CheckedModel:
    """Return the graph once it passed the full check, kept its source's tensors and ran in onnxruntime.

    `what` names the graph in messages ("the FP16 graph"). Raises PrecisionImpossible.
    """
    try:
        candidate = checked(model, what)
        run = open_session(candidate.serialized(), shown=what, threads=threads)
        for batch in BATCHES:
            run(random_inputs(source.inputs, batch=batch, seed=SEED))
    except ConversionFailure as error:
        raise ConversionFailure(
            Reason.PRECISION_IMPOSSIBLE, f"{error.message}; ask for another precision, or keep fp32"
        ) from error
    if (candidate.inputs, candidate.outputs) != (source.inputs, source.outputs):
        raise ConversionFailure(
            Reason.PRECISION_IMPOSSIBLE,
            f"{what} has other inputs or outputs than its source: {_specs(candidate)} instead of {_specs(source)}; "
            "ask for another precision, or keep fp32",
        )
    return candidate


def _specs(model: CheckedModel) -> str:
    return ", ".join(f"{spec.name} {spec.dtype}{list(spec.dims)}" for spec in model.inputs + model.outputs)


@contextlib.contextmanager
def library_output_on_stderr() -> Iterator[None]:
    """Send what libraries print to stderr: stdout is the progress stream, one JSON document a line."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
