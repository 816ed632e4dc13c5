"""Timing by a clock that only runs move, and goals that fail closed."""

import math
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visionmodel_contract.conversion import LatencyGoal, SpeedRequest, ThroughputGoal
from visionmodel_contract.precision import Goal
from visionmodel_contract.report import GateResult, SpeedResult
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.speed import (
    batches_of,
    compare_speed,
    measure_speed,
    percentile,
    refuse_missed_speed,
    speed_gates,
)
from visionmodel_converter.graph.session import Run, Tensors


class Machine:
    """A clock, and runs that take the time they are told; remembers who ran."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []
        self.slowness: Callable[[float], float] = lambda _now: 1.0

    def clock(self) -> float:
        return self.now

    def run(self, seconds: Iterator[float], name: str = "") -> Run:
        def run(_inputs: Tensors) -> dict[str, NDArray[Any]]:
            self.now += next(seconds) * self.slowness(self.now)
            self.ran.append(name)
            return {}

        return run


def inputs_of(batch: int) -> Tensors:
    return {"x": np.zeros((batch, 1), np.float32)}


@pytest.mark.parametrize(
    ("seconds", "warm_up", "runs"),
    [
        pytest.param(0.001, 200, 1000, id="fast: 1000 runs"),
        pytest.param(0.0078125, 26, 384, id="middling: 3 s"),
        pytest.param(1.0, 1, 10, id="slow: 10 runs"),
    ],
)
def test_how_long_is_measured(seconds: float, warm_up: int, runs: int) -> None:
    machine = Machine()
    result = measure_speed(machine.run(cycle([seconds])), inputs_of, batch=4, clock=machine.clock)
    assert result.runs == runs
    assert abs(len(machine.ran) - runs - warm_up) <= 1  # 200 sums of 0.001 are not exactly 0.2
    assert result.p50_ms == result.p99_ms == pytest.approx(1000 * seconds)
    assert result.per_second == pytest.approx(4 / seconds)


def test_warm_up_is_not_counted() -> None:
    machine = Machine()
    times = iter([5.0, *[0.001] * 2000])
    assert measure_speed(machine.run(times), inputs_of, batch=1, clock=machine.clock).p99_ms == pytest.approx(1.0)


def test_runs_get_the_inputs_of_the_batch() -> None:
    machine, seen = Machine(), set()
    plain = machine.run(cycle([0.01]))

    def run(inputs: Tensors) -> dict[str, NDArray[Any]]:
        seen.add(inputs["x"].shape)
        return plain(inputs)

    measure_speed(run, inputs_of, batch=7, clock=machine.clock)
    assert seen == {(7, 1)}


@pytest.mark.parametrize(
    ("times", "percent", "value"),
    [
        pytest.param([3.0], 99, 3.0, id="one run"),
        pytest.param([1.0, 2.0, 3.0, 4.0], 50, 2.0, id="no interpolation"),
        pytest.param([float(n) for n in range(1, 101)], 99, 99.0, id="the 99th of 100"),
        pytest.param([float(n) for n in range(99, 0, -1)], 99, 99.0, id="the longest of 99"),
        pytest.param([float(n) for n in range(1, 1001)], 95, 950.0, id="of 1000"),
    ],
)
def test_percentile_is_the_nearest_rank(times: list[float], percent: int, value: float) -> None:
    assert percentile(times, percent) == value


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_percentile_is_the_smallest_value_that_covers_enough(times: list[float], percent: int) -> None:
    value = percentile(times, percent)
    assert value in times
    assert 100 * sum(time <= value for time in times) >= percent * len(times)
    assert 100 * sum(time < value for time in times) < percent * len(times)


def test_comparison_survives_a_machine_that_slows_down() -> None:
    """The machine gets ten times slower half-way; B still takes three quarters of A's time."""
    machine = Machine()
    machine.slowness = lambda now: 1.0 if now < 2.0 else 10.0
    runs = {"a": machine.run(cycle([0.004]), "a"), "b": machine.run(cycle([0.003]), "b")}
    compared = compare_speed(runs, inputs_of, batch=2, clock=machine.clock)
    assert compared["a"].ratio == 1.0
    assert compared["b"].ratio == pytest.approx(0.75)
    assert compared["b"].improvement_percent == pytest.approx(25.0)
    assert compared["b"].low == pytest.approx(compared["b"].high)


def test_comparison_alternates_and_mirrors_its_blocks() -> None:
    machine = Machine()
    runs = {name: machine.run(cycle([0.2]), name) for name in "ab"}
    compared = compare_speed(runs, inputs_of, batch=1, clock=machine.clock)
    assert "".join(machine.ran) == "ab" + "abba" * 10
    assert compared["b"].result.runs == 20


def test_noise_shows_in_the_quartiles() -> None:
    machine = Machine()
    runs = {"a": machine.run(cycle([1.0]), "a"), "b": machine.run(cycle([0.5, 1.5]), "b")}
    compared = compare_speed(runs, inputs_of, batch=1, clock=machine.clock)
    assert (compared["b"].low, compared["b"].high) == (0.5, 1.5)


REQUEST = SpeedRequest(
    latency=(LatencyGoal(percentile="p99", batch=1, max_ms=10), LatencyGoal(percentile="p50", batch=8, max_ms=20)),
    throughput=(ThroughputGoal(batch=8, min_per_second=100),),
    max_memory_bytes=1000,
    max_batch=4,
)


def speed(batch: int, p50: float = 1.0, p99: float = 2.0, per_second: float = 500.0) -> SpeedResult:
    return SpeedResult(batch=batch, runs=50, p50_ms=p50, p90_ms=p50, p95_ms=p99, p99_ms=p99, per_second=per_second)


def test_every_batch_of_goals_and_serving_is_measured() -> None:
    assert batches_of(REQUEST) == (1, 4, 8)
    assert batches_of(SpeedRequest(max_batch=0)) == (1,)


def test_goals_that_are_met() -> None:
    assert speed_gates(REQUEST, [speed(1), speed(8)], 1000) == (
        _gate("p99Ms[batch=1]", 10, 2.0),
        _gate("p50Ms[batch=8]", 20, 1.0),
        _gate("perSecond[batch=8]", 100, 500.0),
        _gate("peakMemoryBytes", 1000, 1000, samples=1),
    )


def _gate(metric: str, limit: float, value: float, samples: int = 50) -> GateResult:
    return GateResult(metric=metric, goal=Goal.THRESHOLD, limit=limit, value=value, passed=True, samples=samples)


@pytest.mark.parametrize(
    ("results", "memory", "missed"),
    [
        pytest.param([speed(1, p99=10.1), speed(8)], 1, ["p99Ms[batch=1]"], id="too slow"),
        pytest.param([speed(1), speed(8, per_second=99.0)], 1, ["perSecond[batch=8]"], id="too few"),
        pytest.param([speed(1), speed(8)], 1001, ["peakMemoryBytes"], id="too much memory"),
        pytest.param([speed(1), speed(8)], None, ["peakMemoryBytes"], id="memory not measured"),
        pytest.param([speed(1), speed(8)], 0, ["peakMemoryBytes"], id="no memory at all"),
        pytest.param([speed(1)], 1, ["p50Ms[batch=8]", "perSecond[batch=8]"], id="batch not measured"),
        pytest.param([speed(1, p99=math.nan), speed(8)], 1, ["p99Ms[batch=1]"], id="not a number"),
        pytest.param([speed(1, p99=0.0), speed(8)], 1, ["p99Ms[batch=1]"], id="no time at all"),
        pytest.param([speed(1), speed(8, per_second=math.inf)], 1, ["perSecond[batch=8]"], id="infinitely many"),
        pytest.param(
            [], None, ["p99Ms[batch=1]", "p50Ms[batch=8]", "perSecond[batch=8]", "peakMemoryBytes"], id="none"
        ),
    ],
)
def test_goals_fail_closed(results: list[SpeedResult], memory: int | None, missed: list[str]) -> None:
    gates = speed_gates(REQUEST, results, memory)
    assert [gate.metric for gate in gates if not gate.passed] == missed
    with pytest.raises(ConversionFailure) as caught:
        refuse_missed_speed(gates, cpu="AMD EPYC")
    assert (caught.value.reason, [gate.metric for gate in caught.value.gates]) == (Reason.SPEED_GATE_FAILED, missed)
    assert all(name in caught.value.message for name in missed)


@pytest.mark.parametrize("limit", [math.nan, math.inf])
def test_a_limit_that_is_no_number_is_met_by_nothing(limit: float) -> None:
    request = SpeedRequest(latency=(LatencyGoal(max_ms=limit),), throughput=(ThroughputGoal(min_per_second=-limit),))
    assert [gate.passed for gate in speed_gates(request, [speed(1)], None)] == [False, False]


def test_met_goals_raise_nothing() -> None:
    gates = speed_gates(REQUEST, [speed(1), speed(8)], 1)
    refuse_missed_speed(gates, cpu="AMD EPYC")
    assert [gate.passed for gate in gates] == [True] * 4


def test_sentence_names_value_limit_and_remedy() -> None:
    with pytest.raises(ConversionFailure) as caught:
        refuse_missed_speed(speed_gates(REQUEST, [speed(1, p99=12.5)], 5000), cpu="AMD EPYC")
    assert caught.value.message == (
        "p99Ms[batch=1] is 12.5 over 50 runs, the goal is <= 10; p50Ms[batch=8] was not measured, the goal is <= 20; "
        "perSecond[batch=8] was not measured, the goal is >= 100; peakMemoryBytes is 5000 over 1 runs, the goal is "
        "<= 1000; measured on AMD EPYC; nothing was published: give the pod more CPU, choose a lower precision or a "
        "smaller model, or relax the limits in conversion.gates; where another node is faster, retry"
    )
