"""How fast a model runs, and whether that is fast enough.

A run is timed as serving runs it: one batch in, all outputs out, one run at a time. The floor of what is measured is
that of NVIDIA's trtexec: 200 ms of warm-up, then 3 s, ended early by 1000 runs. Candidates are compared in
alternating blocks of one run of the program, because on a shared machine two measurements a minute apart differ by
more than two precisions do.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from visionmodel_contract.conversion import LatencyGoal, SpeedRequest, ThroughputGoal
from visionmodel_contract.precision import Goal
from visionmodel_contract.report import GateResult, SpeedResult
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.memory import memory_gate
from visionmodel_converter.graph.session import Run, Tensors

Clock = Callable[[], float]
"""Seconds from any start, never backwards; `time.perf_counter` outside of tests."""

WARM_UP_SECONDS: Final = 0.2
MEASURED_SECONDS: Final = 3.0
ENOUGH_RUNS: Final = 1000
MIN_RUNS: Final = 10
ROUNDS: Final = 20
"""Blocks that each compared candidate gets: 150 ms long, well above a scheduler's period of 100 ms."""
MILLISECONDS: Final = 1000.0


def measure_speed(run: Run, inputs_of: Callable[[int], Tensors], *, batch: int, clock: Clock) -> SpeedResult:
    """Time runs of one batch size after a warm-up.

    Args:
        run: the model as serving opens it.
        inputs_of: gives the inputs of a batch size; called once.
        batch: samples per run.
        clock: the time.
    """
    inputs = inputs_of(batch)
    warm_up(run, inputs, clock)
    return speed_result(timed(run, inputs, clock, seconds=MEASURED_SECONDS, most=ENOUGH_RUNS, least=MIN_RUNS), batch)


def warm_up(run: Run, inputs: Tensors, clock: Clock) -> None:
    """Run for 200 ms, at least once: the first runs allocate memory and choose kernels."""
    timed(run, inputs, clock, seconds=WARM_UP_SECONDS, most=ENOUGH_RUNS, least=1)


def timed(run: Run, inputs: Tensors, clock: Clock, *, seconds: float, most: int, least: int) -> list[float]:
    """Return the seconds of each run: at least `least` runs, then until `seconds` are over or `most` are done."""
    times: list[float] = []
    start = before = clock()
    while len(times) < least or (len(times) < most and before - start < seconds):
        run(inputs)
        after = clock()
        times.append(after - before)
        before = after
    return times


def speed_result(times: Sequence[float], batch: int) -> SpeedResult:
    """Return the percentiles of so many seconds each, in milliseconds, and samples per second at the mean."""
    mean = sum(times) / len(times)
    return SpeedResult(
        batch=batch,
        runs=len(times),
        p50_ms=percentile(times, 50) * MILLISECONDS,
        p90_ms=percentile(times, 90) * MILLISECONDS,
        p95_ms=percentile(times, 95) * MILLISECONDS,
        p99_ms=percentile(times, 99) * MILLISECONDS,
        per_second=batch / mean if mean > 0 else math.inf,
    )


def percentile(times: Sequence[float], percent: int) -> float:
    """Return the shortest measured time that at least `percent` of the runs did not exceed (nearest rank).

    No interpolation, so the value was really measured; with fewer than 100 runs p99 is the longest one. Definition 1
    of Hyndman and Fan, Sample Quantiles in Statistical Packages, The American Statistician 50 (1996).
    """
    return sorted(times)[math.ceil(len(times) * percent / 100) - 1]


@dataclass(frozen=True, slots=True)
class Compared:
    """One candidate of a comparison.

    Attributes:
        result: all its runs together.
        ratio: its median time over the first candidate's, below 1 where it is faster: the median of the rounds.
        low: the lower quartile of the rounds' ratios; with `high`, how far the machine's noise reaches.
        high: the upper quartile.
    """

    result: SpeedResult
    ratio: float
    low: float
    high: float

    @property
    def improvement_percent(self) -> float:
        """How much less time than the first candidate a run takes, in percent; negative where it is slower."""
        return 100 * (1 - self.ratio)


def compare_speed(
    runs: Mapping[str, Run], inputs_of: Callable[[int], Tensors], *, batch: int, clock: Clock
) -> dict[str, Compared]:
    """Time candidates side by side; the first one is what the others are compared with.

    Each round runs a block of every candidate, in turn forwards and backwards, so that neither a slow phase of the
    machine nor the place in the round falls on one candidate. Each gets the runs and seconds of `measure_speed`. A
    round's ratio is that of two medians measured within a fraction of a second.
    """
    inputs = inputs_of(batch)
    for run in runs.values():
        warm_up(run, inputs, clock)
    blocks: dict[str, list[list[float]]] = {name: [] for name in runs}
    for number in range(ROUNDS):
        for name in runs if number % 2 == 0 else reversed(tuple(runs)):
            blocks[name].append(
                timed(
                    runs[name],
                    inputs,
                    clock,
                    seconds=MEASURED_SECONDS / ROUNDS,
                    most=ENOUGH_RUNS // ROUNDS,
                    least=1,
                )
            )
    first = blocks[next(iter(runs))]
    return {name: _compared(own, first, batch) for name, own in blocks.items()}


def _compared(own: Sequence[Sequence[float]], first: Sequence[Sequence[float]], batch: int) -> Compared:
    ratios = [_ratio(percentile(mine, 50), percentile(base, 50)) for mine, base in zip(own, first, strict=True)]
    return Compared(
        result=speed_result([time for block in own for time in block], batch),
        ratio=percentile(ratios, 50),
        low=percentile(ratios, 25),
        high=percentile(ratios, 75),
    )


def _ratio(mine: float, base: float) -> float:
    if base > 0:
        return mine / base
    return 1.0 if mine == base else math.inf


def batches_of(request: SpeedRequest) -> tuple[int, ...]:
    """Return the batch sizes to measure: one sample, the largest batch of serving, and what the goals name."""
    named = {goal.batch for goal in request.latency} | {goal.batch for goal in request.throughput}
    return tuple(sorted({1, max(1, request.max_batch)} | named))


def speed_gates(
    request: SpeedRequest, results: Iterable[SpeedResult], peak_memory: int | None
) -> tuple[GateResult, ...]:
    """Return one result per goal, in the order latency, throughput, memory.

    Fails closed: a batch size that was not measured, a memory that was not, and a number that is not finite and
    positive meet no goal. `peak_memory` is in bytes.
    """
    measured = {result.batch: result for result in results}
    gates = [_latency_gate(goal, measured.get(goal.batch)) for goal in request.latency]
    gates += [_throughput_gate(goal, measured.get(goal.batch)) for goal in request.throughput]
    if request.max_memory_bytes is not None:
        gates.append(memory_gate(request.max_memory_bytes, peak_memory))
    return tuple(gates)


def _latency_gate(goal: LatencyGoal, result: SpeedResult | None) -> GateResult:
    value = math.nan if result is None else float(getattr(result, f"{goal.percentile}_ms"))
    return GateResult(
        metric=f"{goal.percentile}Ms[batch={goal.batch}]",
        goal=Goal.THRESHOLD,
        limit=goal.max_ms,
        value=value,
        passed=_is_measured(value) and math.isfinite(goal.max_ms) and value <= goal.max_ms,
        samples=0 if result is None else result.runs,
    )


def _throughput_gate(goal: ThroughputGoal, result: SpeedResult | None) -> GateResult:
    value = math.nan if result is None else result.per_second
    return GateResult(
        metric=f"perSecond[batch={goal.batch}]",
        goal=Goal.THRESHOLD,
        limit=goal.min_per_second,
        value=value,
        passed=_is_measured(value) and math.isfinite(goal.min_per_second) and value >= goal.min_per_second,
        samples=0 if result is None else result.runs,
    )


def _is_measured(value: float) -> bool:
    return math.isfinite(value) and value > 0


MORE_CPU: Final = (
    "give the pod more CPU, choose a lower precision or a smaller model, or relax the limits in conversion.gates; where"
    " another node is faster, retry"
)
OTHER_DEVICE: Final = (
    "name a faster product in accelerators, choose a lower precision or a smaller model, or relax the limits in "
    "conversion.gates"
)


def refuse_missed_speed(gates: Iterable[GateResult], *, cpu: str, advice: str = MORE_CPU) -> None:
    """Raise SpeedGateFailed with every goal of speed and memory that was missed, and the CPU or device that did."""
    missed = tuple(gate for gate in gates if not gate.passed)
    if missed:
        raise ConversionFailure(
            Reason.SPEED_GATE_FAILED,
            f"{'; '.join(map(_missed_words, missed))}; measured on {cpu}; nothing was published: {advice}",
            gates=missed,
        )


def _missed_words(gate: GateResult) -> str:
    sign = ">=" if gate.metric.startswith("perSecond") else "<="
    if not math.isfinite(gate.value):
        return f"{gate.metric} was not measured, the goal is {sign} {gate.limit:g}"
    return f"{gate.metric} is {gate.value:.4g} over {gate.samples} runs, the goal is {sign} {gate.limit:g}"
