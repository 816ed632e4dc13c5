"""Simplify a graph with onnxslim and keep the result only if it computes the same.

onnxslim folds constants and fuses normalisation; it does not check itself. A simplifier that fails or changes a
number is no reason to fail a conversion: the source graph is used and the report says so.
"""

import contextlib
import sys
from dataclasses import dataclass
from typing import Final

import onnxslim
from onnx import ModelProto

from visionmodel_converter.failures import ConversionFailure, first_line
from visionmodel_converter.graph.agreement import relative_difference
from visionmodel_converter.graph.onnx_model import CheckedModel, checked
from visionmodel_converter.graph.session import open_session, random_inputs

BATCHES: Final = (1, 3)
TOLERANCE: Final = 1e-5
"""Largest difference allowed, relative to the largest output value; float32 reordering stays near 1e-6."""


@dataclass(frozen=True, slots=True)
class Simplified:
    """The model to go on with and a sentence on what was done."""

    model: CheckedModel
    applied: bool
    note: str


def simplify(source: CheckedModel, *, threads: int, seed: int) -> Simplified:
    """Return the simplified model, or the source with the reason why it was kept."""
    copy = ModelProto()
    copy.CopyFrom(source.proto)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is the progress stream
            slim = onnxslim.slim(copy)
        candidate = checked(slim, "the simplified graph")
    except ConversionFailure as error:
        return _kept(source, error.message)
    except Exception as error:  # third-party code over a stranger's graph may raise anything
        return _kept(source, f"onnxslim failed: {first_line(error)}")
    if (candidate.inputs, candidate.outputs) != (source.inputs, source.outputs):
        return _kept(source, "the simplified graph has other inputs or outputs")
    difference = _largest_difference(source, candidate, threads=threads, seed=seed)
    if not difference <= TOLERANCE:
        return _kept(source, f"the simplified graph differs by {difference:.2g}, more than {TOLERANCE:g}")
    return Simplified(
        model=candidate,
        applied=True,
        note=f"{source.nodes} nodes became {candidate.nodes}; outputs agree within {difference:.2g} at batch 1 and 3",
    )


def _kept(source: CheckedModel, why: str) -> Simplified:
    return Simplified(model=source, applied=False, note=f"not simplified: {why}")


def _largest_difference(source: CheckedModel, candidate: CheckedModel, *, threads: int, seed: int) -> float:
    run_source = open_session(source.serialized(), shown="the source graph", threads=threads)
    try:
        run_candidate = open_session(candidate.serialized(), shown="the simplified graph", threads=threads)
        differences = []
        for batch in BATCHES:
            inputs = random_inputs(source.inputs, batch=batch, seed=seed + batch)
            expected, actual = run_source(inputs), run_candidate(inputs)
            differences += [relative_difference(expected[name], actual[name]) for name in expected]
    except ConversionFailure:
        return float("inf")
    return max(differences)
