"""Try every precision that was asked for, time those that may serve side by side, and choose one.

What happens between Simplify and Publish. One precision asked for: it is made or its failure is the conversion's.
Several: each failure is a row of the table, and only when none may serve does the conversion fail.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from visionmodel_contract.conversion import ConversionRequest
from visionmodel_contract.precision import Backend, Precision
from visionmodel_contract.report import CandidateResult, SpeedResult
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.candidates import Bench, Candidate, Impossible, judged_variant, proven, tried
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.memory import measure_memory
from visionmodel_converter.gates.speed import Clock, batches_of, compare_speed, refuse_missed_speed, speed_gates
from visionmodel_converter.graph.backends import open_backend
from visionmodel_converter.graph.session import Tensors, random_inputs
from visionmodel_converter.journal import Journal
from visionmodel_converter.precision.variant import Variant
from visionmodel_converter.report import is_finite
from visionmodel_converter.selection import with_choice
from visionmodel_converter.stages import Stage

Tried = Candidate | Impossible


@dataclass(frozen=True, slots=True)
class Outcome:
    """The candidate that serves, and every row of the table it was chosen from."""

    chosen: Candidate
    results: tuple[CandidateResult, ...]


def refuse_unprovable(request: ConversionRequest, threads: int) -> None:
    """Raise BadRequest, before anything is read, for what this Job cannot measure: devices and CPUs that it has not."""
    speed, precisions = request.gates.speed, request.options.precisions
    if (speed.latency or speed.throughput) and (speed.threads or 0) > threads:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"serving gives an instance {speed.threads} threads and this Job has {threads}, so its times would not be"
            " serving's; lower the serving CPUs or raise serving.instances, or have the platform team raise the Jobs'",
        )
    if not request.gates.accelerated:
        return
    if len(precisions) > 1 or speed.latency or speed.throughput or speed.max_memory_bytes is not None:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            "time and memory of a network that serves on accelerators cannot be measured on the CPU of this Job; leave"
            " accelerators empty, or leave out gates.latency, throughput and memory and ask for one precision",
        )
    if Precision.INT8 in precisions and request.options.backend is not Backend.TENSORRT:
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            "int8 on accelerators needs an engine that is built on the device; use backend TensorRT, ask for fp16 or"
            " fp32, or leave accelerators empty",
        )


def try_precisions(bench: Bench, journal: Journal, clock: Clock = time.perf_counter) -> Outcome:
    """Return the outcome of all trials. Raises ConversionFailure when nothing may serve."""
    trials: list[Tried] = []
    for precision in bench.request.options.precisions:
        journal.begin(Stage.PARITY, f"making {precision} and comparing it with its source")
        trials.append(tried(bench, precision))
    return _chosen(bench, with_speed(bench, trials, journal, clock), journal)


def try_published(bench: Bench, precision: Precision, journal: Journal, clock: Clock = time.perf_counter) -> Outcome:
    """Judge a published artifact, which is the bench's base, by other goals than it was made under."""
    journal.begin(Stage.PARITY, "comparing the artifact with its source")
    candidate = proven(bench, judged_variant(bench, Variant(precision, bench.base, None, (), ())))
    return _chosen(bench, with_speed(bench, [candidate], journal, clock), journal)


def with_speed(bench: Bench, trials: Sequence[Tried], journal: Journal, clock: Clock) -> list[Tried]:
    """Return the trials with times and memory where anything depends on them.

    All of one batch size are timed in alternating blocks, because on a shared machine two measurements a minute
    apart differ by more than two precisions do.
    """
    able = {index: one for index, one in enumerate(trials) if isinstance(one, Candidate) and one.failure is None}
    finished = list(trials)
    if not able or not _is_timed(bench):
        return finished
    journal.begin(Stage.SPEED, f"timing {len(able)} candidate(s)")
    options = RuntimeOptions(threads=min(bench.threads, bench.request.gates.speed.threads or bench.threads))
    times = _times(bench, able, options, clock)
    for index, one in able.items():
        finished[index] = _measured(bench, one, times[index], options)
    return finished


def _is_timed(bench: Bench) -> bool:
    speed = bench.request.gates.speed
    has_goals = bool(speed.latency or speed.throughput or speed.max_memory_bytes)
    return has_goals or len(bench.request.options.precisions) > 1


def _times(
    bench: Bench, able: dict[int, Candidate], options: RuntimeOptions, clock: Clock
) -> dict[int, list[SpeedResult]]:
    runs = {
        str(index): open_backend(
            bench.backend, one.variant.model.serialized(), shown=f"the {one.result.precision} graph", options=options
        )
        for index, one in able.items()
    }

    def inputs_of(batch: int) -> Tensors:
        return random_inputs(bench.base.inputs, batch=batch, seed=bench.seed)

    times: dict[int, list[SpeedResult]] = {index: [] for index in able}
    for batch in batches_of(bench.request.gates.speed):
        for name, compared in compare_speed(runs, inputs_of, batch=batch, clock=clock).items():
            times[int(name)].append(compared.result)
    return times


def _measured(bench: Bench, one: Candidate, times: Sequence[SpeedResult], options: RuntimeOptions) -> Candidate:
    speed = bench.request.gates.speed
    peak = _peak_memory(bench, one, options)
    limits = speed_gates(speed, times, peak)
    failure: ConversionFailure | None = None
    try:
        refuse_missed_speed(limits, cpu=bench.cpu)
    except ConversionFailure as found:
        failure = found
    row = {
        "speed": tuple(times),
        "measured_on": bench.cpu or None,
        "peak_memory_bytes": peak,
        "gates": tuple(filter(is_finite, (*one.result.gates, *limits))),
        "refused": failure.message if failure else None,
    }
    return replace(one, result=one.result.model_copy(update=row), failure=failure)


def _peak_memory(bench: Bench, one: Candidate, options: RuntimeOptions) -> int | None:
    """Return the peak; where no limit asks for it, a peak that cannot be measured is an empty cell of the table."""
    speed = bench.request.gates.speed
    try:
        return measure_memory(
            one.variant.model.serialized(),
            shown=f"the {one.result.precision} graph",
            backend=bench.backend,
            inputs=bench.base.inputs,
            batch=speed.max_batch,
            threads=options.threads,
        ).host
    except ConversionFailure:
        if speed.max_memory_bytes is not None:
            raise
        return None


def _chosen(bench: Bench, trials: Sequence[Tried], journal: Journal) -> Outcome:
    """Return the choice. Raises the only candidate's failure, or GateFailed with the reason of each."""
    goals = sum(len(one.result.gates) for one in trials)
    journal.begin(Stage.GATE, f"judging {goals} goal(s) of {len(trials)} candidate(s)")
    results = with_choice([one.result for one in trials], bench.request.options.min_improvement_percent)
    for one, row in zip(trials, results, strict=True):
        if row.chosen and isinstance(one, Candidate):
            return Outcome(replace(one, result=row), results)
    if len(trials) == 1 and trials[0].failure is not None:
        raise trials[0].failure
    reasons = "; ".join(f"{row.precision}: {row.refused}" for row in results)
    raise ConversionFailure(
        Reason.GATE_FAILED,
        f"no precision may serve: {reasons}",
        gates=tuple(gate for row in results for gate in row.gates if not gate.passed),
    )
