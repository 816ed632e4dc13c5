"""Make one precision of a source and let it prove itself: right on the data, sane on odd inputs, executed as promised.

Called by `trials` for each precision. A candidate that misses its goals is repaired where that can help (nodes kept
in FP32), within a bounded number of attempts; what it still cannot prove is its failure, kept as a value so that
other precisions go on.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from visionmodel_contract.conversion import ConversionRequest, MetricGoal
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.precision import Backend, CalibrationMethod, Precision, Quantizer
from visionmodel_contract.report import CandidateResult, GateResult, PrecisionShare
from visionmodel_converter.environment import DEFAULT_MODELOPT_PYTHON
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.comparison import Comparison, Worst
from visionmodel_converter.gates.edge_cases import check_edge_cases, refuse_failed_edge_cases
from visionmodel_converter.gates.goals import HIGHER_IS_BETTER, Measured, goals_of, judge, refuse_missed_goals
from visionmodel_converter.gates.parity import measure
from visionmodel_converter.gates.proof import prove_precision
from visionmodel_converter.gates.samples import InputBatches, Samples
from visionmodel_converter.gates.tasks import kind_of
from visionmodel_converter.graph.backends import open_compared
from visionmodel_converter.graph.onnx_model import CheckedModel
from visionmodel_converter.graph.session import Run
from visionmodel_converter.precision.calibration import methods_of
from visionmodel_converter.precision.fp16 import fp16_variant, fp16_within
from visionmodel_converter.precision.int8 import Calibrated, calibrated, quantised
from visionmodel_converter.precision.layout import Layout
from visionmodel_converter.precision.modelopt import modelopt_methods, modelopt_variants
from visionmodel_converter.precision.overflow import overflowing_nodes
from visionmodel_converter.precision.qdq import arrived_variant
from visionmodel_converter.precision.sensitivity import NodeLoss, int8_within, sensitivity
from visionmodel_converter.precision.variant import Variant
from visionmodel_converter.report import EdgeCaseResult, NodeSensitivity, is_finite
from visionmodel_converter.shown import display_uri
from visionmodel_converter.storage import Storage

BATCH: Final = 8
OF_ONE_PRECISION: Final = frozenset(
    (
        ExitCode.UNSUPPORTED_MODEL,
        ExitCode.PARITY_FAILED,
        ExitCode.GATE_FAILED,
        ExitCode.PRECISION_NOT_REACHED,
    )
)
"""Failures that say something about one precision. Missing data or a missing runtime would refuse them all, and must
not be remembered as if the model had missed a goal."""
OVERFLOW_BATCHES: Final = 8
"""Batches whose values are looked at before a graph becomes FP16."""
MOST_SENSITIVE: Final = 10
"""Nodes named in the report."""
WORST_SAMPLES: Final = 8
"""Samples that are kept to be drawn."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every candidate of one conversion is made from and measured with.

    Attributes:
        base: the graph to make candidates from: the source, simplified where that was asked for.
        run_source: the graph as it came, which is what candidates must agree with.
        samples: the evaluation data; the calibration data where there is none.
        calibration: samples for INT8 scales.
        cpu: name of the CPU that everything is timed on.
        modelopt_python: Python of the environment with ModelOpt.
        storage: what may still be written, as its samples are.
    """

    request: ConversionRequest
    base: CheckedModel
    run_source: Run
    samples: Samples | None
    calibration: Samples | None
    threads: int
    seed: int
    cpu: str = ""
    modelopt_python: Path = Path(DEFAULT_MODELOPT_PYTHON)
    storage: Storage = field(default_factory=Storage)

    @property
    def backend(self) -> Backend:
        """What will execute the artifact."""
        return self.request.options.backend

    @property
    def layout(self) -> Layout:
        """For whose kernels INT8 is placed."""
        return Layout.TENSORRT if self.backend is Backend.TENSORRT else Layout.CPU

    @property
    def half_rest(self) -> bool:
        """Whether what stays out of INT8 becomes FP16: TensorRT has kernels for it, the CPU has none."""
        return self.layout is Layout.TENSORRT

    @property
    def executes_here(self) -> bool:
        """Whether this machine runs the network as serving will."""
        return not self.request.gates.accelerated

    @property
    def is_pruned(self) -> bool:
        """Whether weights of the base were set to 0, so that even FP32 computes something else than the source."""
        return self.request.options.pruning is not None

    def goals(self, precision: Precision) -> tuple[MetricGoal, ...]:
        """Return what a precision has to reach."""
        labelled = self.samples.labelled if self.samples else frozenset()
        kind = kind_of(self.request.task, self.base.outputs, labelled)
        return goals_of(
            self.request.gates.parity, precision, kind, has_labels=kind in labelled, is_pruned=self.is_pruned
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """A variant and how it did against its goals.

    Attributes:
        worst: the samples on which it is furthest from the source, worst first.
        sensitivity: the most sensitive nodes of an INT8 variant.
    """

    variant: Variant
    measured: dict[str, Measured]
    gates: tuple[GateResult, ...]
    worst: tuple[Comparison, ...] = ()
    sensitivity: tuple[NodeSensitivity, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every goal was met."""
        return all(gate.passed for gate in self.gates)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A precision that could be made, after its trial; `failure` is why it may not serve, None where it may."""

    result: CandidateResult
    variant: Variant
    measured: dict[str, Measured]
    worst: tuple[Comparison, ...] = ()
    edge_cases: tuple[EdgeCaseResult, ...] = ()
    sensitivity: tuple[NodeSensitivity, ...] = ()
    failure: ConversionFailure | None = None


@dataclass(frozen=True, slots=True)
class Impossible:
    """A precision that could not even be made."""

    result: CandidateResult
    failure: ConversionFailure


def tried(bench: Bench, precision: Precision) -> Candidate | Impossible:
    """Make a precision and try it; a failure that another precision would share is the conversion's and goes on."""
    try:
        return proven(bench, best_of(bench, precision))
    except ConversionFailure as failure:
        if failure.exit_code not in OF_ONE_PRECISION:
            raise
        return Impossible(CandidateResult(precision=precision, refused=failure.message), failure)


def proven(bench: Bench, judged: Judged) -> Candidate:
    """Return the candidate with its proofs, or with the first one that it could not give."""
    variant, failure = judged.variant, None
    share: PrecisionShare | None = None
    edge_cases: tuple[EdgeCaseResult, ...] = ()
    try:
        refuse_missed_goals(judged.gates, is_pruned=bench.is_pruned)
        edge_cases = _edge_cases(bench, variant)
        refuse_failed_edge_cases(edge_cases)
        if bench.executes_here:
            share = prove_precision(bench.backend, variant.model, variant.precision, seed=bench.seed)
    except ConversionFailure as found:
        if found.exit_code not in OF_ONE_PRECISION:
            raise
        failure = found
    row = _row(judged, share, failure)
    return Candidate(row, variant, judged.measured, judged.worst, edge_cases, judged.sensitivity, failure)


def _edge_cases(bench: Bench, variant: Variant) -> tuple[EdgeCaseResult, ...]:
    model, task = variant.model, bench.request.task
    return check_edge_cases(
        bench.run_source, _run_of(bench, variant), inputs=model.inputs, outputs=model.outputs, task=task
    )


def best_of(bench: Bench, precision: Precision) -> Judged:
    """Return the best variant of a precision that could be made. Raises ConversionFailure where none could."""
    match precision:
        case Precision.FP32:
            return judged_variant(bench, Variant(precision, bench.base, None, (), ()))
        case Precision.FP16:
            return _best_fp16(bench)
        case Precision.INT8:
            return _best_int8(bench)


def _best_fp16(bench: Bench) -> Judged:
    """Plain FP16 but for nodes whose values overflow on the samples; with more of it in FP32 where goals are missed."""
    kept: frozenset[str] = frozenset()
    if bench.samples is not None:
        some = InputBatches(bench.samples, BATCH)[:OVERFLOW_BATCHES]
        kept = overflowing_nodes(bench.base, some, threads=bench.threads)
    plain = judged_variant(bench, fp16_variant(bench.base, kept=kept, threads=bench.threads))
    if plain.passed:
        return plain
    mended = fp16_within(bench.base, partial(_passes, bench), threads=bench.threads)
    return plain if mended is None else judged_variant(bench, mended)


def _best_int8(bench: Bench) -> Judged:
    arrived = arrived_variant(bench.base, layout=bench.layout, shown=display_uri(bench.request.source.uri))
    if arrived is not None:
        return judged_variant(bench, arrived)
    asked = bench.request.options.calibration
    if bench.calibration is None or asked is None:
        raise ConversionFailure(
            Reason.CALIBRATION_MISSING,
            "int8 needs sample inputs to choose scales from; set conversion.calibration.storageUri, or export a model"
            " that is quantised already",
        )
    samples = InputBatches(bench.calibration, BATCH)
    if asked.quantizer is Quantizer.MODEL_OPT:
        return _best_by_modelopt(bench, samples, modelopt_methods(asked.method))
    methods = methods_of(asked.method)
    ready, best = max(_calibrated_by(bench, samples, methods), key=lambda pair: _rank(pair[1]))
    losses = sensitivity(ready, samples)
    if not best.passed:
        mended = int8_within(ready, losses, partial(_passes, bench), fp16=bench.half_rest)
        best = best if mended is None else judged_variant(bench, mended)
    return replace(best, sensitivity=tuple(_named(losses[:MOST_SENSITIVE])))


def _best_by_modelopt(bench: Bench, samples: InputBatches, methods: Sequence[CalibrationMethod]) -> Judged:
    """Return what the best method gives; its placement is ModelOpt's own, so nothing is kept in FP32 after it."""
    made = modelopt_variants(
        bench.base,
        samples,
        methods,
        python=bench.modelopt_python,
        threads=bench.threads,
        storage=bench.storage,
    )
    return max((judged_variant(bench, variant) for variant in made), key=_rank)


def _calibrated_by(
    bench: Bench, samples: InputBatches, methods: Sequence[CalibrationMethod]
) -> list[tuple[Calibrated, Judged]]:
    """Return what each method gives; raises the last one's failure when none gives a network that runs."""
    found: list[tuple[Calibrated, Judged]] = []
    failure: ConversionFailure | None = None
    for method in methods:
        try:
            ready = calibrated(bench.base, samples, method, layout=bench.layout, threads=bench.threads)
            found.append((ready, judged_variant(bench, quantised(ready, fp16=bench.half_rest))))
        except ConversionFailure as refusal:
            if refusal.exit_code not in OF_ONE_PRECISION:
                raise
            failure = refusal
    if not found and failure is not None:
        raise failure
    return found


def _passes(bench: Bench, variant: Variant) -> bool:
    """Whether a variant meets its goals; one that gives NaN meets none."""
    try:
        return judged_variant(bench, variant).passed
    except ConversionFailure as failure:
        if failure.exit_code not in OF_ONE_PRECISION:
            raise
        return False


def _rank(judged: Judged) -> tuple[int, float]:
    """Order by the goals met, then by the value of the first one, which is the task's metric by default."""
    met = sum(gate.passed for gate in judged.gates)
    first = judged.gates[0]
    value = first.value if HIGHER_IS_BETTER[first.metric] else -first.value
    return met, -math.inf if math.isnan(value) else value


def _named(losses: Sequence[NodeLoss]) -> Iterator[NodeSensitivity]:
    return (
        NodeSensitivity(node=one.node, operator=one.op_type, loss=one.loss if math.isfinite(one.loss) else None)
        for one in losses
    )


def judged_variant(bench: Bench, variant: Variant) -> Judged:
    """Measure a variant against the source and its goals.

    INT8 scales are chosen for real samples: on random inputs it must stay finite, and no more.
    """
    goals, worst = bench.goals(variant.precision), Worst(WORST_SAMPLES)
    measured = measure(
        bench.run_source,
        _run_of(bench, variant),
        bench.samples,
        goals,
        inputs=variant.model.inputs,
        outputs=variant.model.outputs,
        task=bench.request.task,
        seed=bench.seed,
        random_counts=variant.precision is not Precision.INT8,
        worst=worst,
    )
    return Judged(variant, measured, judge(goals, measured), tuple(worst.worst_first()))


def _run_of(bench: Bench, variant: Variant) -> Run:
    shown = f"the {variant.precision} graph"
    return open_compared(bench.backend, variant.model.serialized(), shown=shown, threads=bench.threads)


def _row(judged: Judged, share: PrecisionShare | None, failure: ConversionFailure | None) -> CandidateResult:
    variant = judged.variant
    return CandidateResult(
        precision=variant.precision,
        method=variant.method,
        size_bytes=len(variant.model.serialized()),
        nodes=variant.model.nodes,
        gates=tuple(gate for gate in judged.gates if is_finite(gate)),
        share=share,
        refused=failure.message if failure else None,
    )
