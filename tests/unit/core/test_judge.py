"""Verdicts of the judge: who is turned back, on what evidence, and that restarts change nothing."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionmodel_operator.api.spec import Analysis
from visionmodel_operator.core.counters import Counts, Tick
from visionmodel_operator.core.judge import (
    ErrorRate,
    Harm,
    Inconclusive,
    JudgeConfig,
    JudgeState,
    LatencyRatio,
    NoData,
    Pass,
    Threshold,
    Verdict,
    alpha_per_test,
    config_from_analysis,
    initial_state,
    judge,
    min_samples,
    quantile_ms,
    start_step,
    state_from_dict,
    state_to_dict,
    verdict_of,
)
from visionmodel_operator.core.sequential.logarithms import log_threshold

STARTED = 1_000.0
ERRORS = ErrorRate("errors")
LATENCY = LatencyRatio("latency", quantile=0.5, max_ratio=3, floor_ms=20)
QUEUE = Threshold("queue", maximum=500)


def end(index: int) -> float:
    return STARTED + 15.0 * (index + 1)


def tick(index: int, canary: Counts | None, stable: Counts | None, reason: str = "") -> Tick:
    return Tick(end(index), canary, stable, reason)


def counted(rows: Sequence[tuple[int, int, int, int]]) -> list[Tick]:
    return [tick(index, Counts(a, b), Counts(c, d)) for index, (a, b, c, d) in enumerate(rows)]


def verdict(ticks: Sequence[Tick], config: JudgeConfig) -> Verdict:
    return judge(initial_state(STARTED), ticks, config)[1]


def at_latency(ms: float, requests: int = 40) -> Counts:
    """Counts whose requests all took between half and once `ms`."""
    return Counts(requests, 0, ((ms / 2, 0), (ms, requests), (math.inf, requests)))


def test_errors_of_the_canary_are_harm_with_the_numbers_in_the_message() -> None:
    found = verdict(counted([(120, 2, 1080, 2), (120, 10, 1080, 1)]), JudgeConfig((ERRORS,)))
    assert isinstance(found, Harm)
    assert (found.metric, found.reason, found.tick, found.message) == (
        "errors",
        "CanaryErrorsHigher",
        end(1),
        "errors: canary 12 of 240 (5.0 %), stable 3 of 2160 (0.14 %); evidence 18.1 >= 4.6 (1 % false-rollback rate)",
    )
    assert found.totals.evidence == pytest.approx(18.147749, abs=1e-5)


def test_harm_fires_before_there_are_enough_requests_to_pass() -> None:
    assert isinstance(verdict(counted([(20, 9, 180, 0)]), JudgeConfig((ERRORS,))), Harm)


def test_harm_stays_whatever_comes_after() -> None:
    bad, good = (50, 20, 450, 0), (5_000, 5, 45_000, 4_000)
    config = JudgeConfig((ERRORS,))
    first, later = verdict(counted([bad]), config), verdict(counted([bad, good, good]), config)
    assert isinstance(first, Harm)
    assert isinstance(later, Harm)
    assert (later.tick, later.message) == (first.tick, first.message)


def test_an_equal_canary_passes_with_enough_requests() -> None:
    found = verdict(counted([(60, 1, 540, 9), (60, 1, 540, 9)]), JudgeConfig((ERRORS,)))
    assert isinstance(found, Pass)
    assert found.message.startswith("no harm in 120 canary requests of this step (evidence ")
    assert (found.totals.canary_requests, found.totals.stable_errors, found.totals.used_ticks) == (120, 18, 2)
    assert found.totals.threshold == pytest.approx(4.60517)


def test_a_tolerated_ratio_is_no_harm() -> None:
    ticks = counted([(400, 24, 3600, 72)])  # three times stable's rate
    assert isinstance(verdict(ticks, JudgeConfig((ERRORS,))), Harm)
    assert isinstance(verdict(ticks, JudgeConfig((ErrorRate("errors", tolerate_ratio=3.0),))), Pass)


@pytest.mark.parametrize(("needed", "expected"), [(None, 100), (0, 0), (250, 250)])
def test_min_samples(needed: int | None, expected: int) -> None:
    config = JudgeConfig((ERRORS,), min_requests=needed)
    assert min_samples(config) == expected
    rows = [(99, 0, 900, 0)]
    assert isinstance(verdict(counted(rows), config), Pass if expected == 0 else Inconclusive)


def test_too_few_requests_is_inconclusive() -> None:
    found = verdict(counted([(34, 0, 306, 0)]), JudgeConfig((ERRORS,)))
    assert isinstance(found, Inconclusive)
    assert (found.reason, found.message) == ("TooFewRequests", "34 of 100 canary requests in this step")


def test_a_step_asks_for_its_own_requests_and_keeps_the_evidence() -> None:
    config = JudgeConfig((ERRORS,))
    state, first = judge(initial_state(STARTED), counted([(120, 1, 1080, 1)]), config)
    state = start_step(state, end(0))
    fresh = verdict_of(state, config)
    assert isinstance(first, Pass)
    assert isinstance(fresh, Inconclusive)
    assert (fresh.totals.canary_requests, fresh.totals.evidence) == (120, first.totals.evidence)


WHOLE_TICKS: Mapping[str, tuple[float, int]] = {
    "before the first tick": (STARTED - 1, 3),
    "with the first tick": (STARTED, 3),
    "within the first tick": (STARTED + 1, 2),
    "with the second tick": (end(0), 2),
    "within the last tick": (end(2) - 1, 0),
    "after the last tick": (end(2), 0),
}


@pytest.mark.parametrize(("started", "whole"), WHOLE_TICKS.values(), ids=WHOLE_TICKS.keys())
def test_only_ticks_that_lie_wholly_in_a_step_count_for_it(started: float, whole: int) -> None:
    config = JudgeConfig((ERRORS, LATENCY, QUEUE), min_requests=0)
    ticks = [tick(index, at_latency(10), at_latency(10)) for index in range(3)]
    values = {end(index): {"queue": 1.0} for index in range(3)}
    state, _ = judge(start_step(initial_state(STARTED), started), ticks, config, values)
    assert (state.step_requests, [metric.judged for metric in state.metrics]) == (40 * whole, [whole] * 3)
    everything, _ = judge(initial_state(STARTED), ticks, config, values)
    unstepped = replace(state, step_started=None, step_requests=120, metrics=everything.metrics)
    assert unstepped == everything, "the rollout's own evidence is the same"
    assert [replace(metric, judged=3) for metric in state.metrics] == list(everything.metrics)


def test_harm_at_the_change_of_weight_is_harm() -> None:
    state = start_step(initial_state(STARTED), STARTED + 1)
    assert isinstance(judge(state, counted([(50, 20, 450, 0)]), JudgeConfig((ERRORS,)))[1], Harm)


def test_a_state_without_the_start_of_its_step_is_read_as_before() -> None:
    config = JudgeConfig((ERRORS,))
    state, _ = judge(start_step(initial_state(STARTED), STARTED), counted([(60, 0, 540, 0)]), config)
    document = state_to_dict(state)
    assert document.pop("stepStartedAt") == STARTED
    old = state_from_dict(document)
    assert old == replace(state, step_started=None)
    after, found = judge(old, [tick(1, Counts(60, 0), Counts(540, 0))], config)
    assert (after.step_requests, type(found)) == (120, Pass)


def test_a_dry_run_reports_and_never_acts() -> None:
    config = JudgeConfig((ERRORS, ErrorRate("dry", gating=False)))
    strict = JudgeConfig((ErrorRate("errors", tolerate_ratio=100), ErrorRate("dry", gating=False)))
    ticks = counted([(100, 40, 900, 1)])
    assert isinstance(verdict(ticks, config), Harm)
    found = verdict(ticks, strict)
    assert isinstance(found, Pass)
    assert [(report.name, report.harmful) for report in found.totals.metrics] == [("errors", False), ("dry", True)]


SLO = ErrorRate("errors", slo_max=0.02)
SLO_CASES: Mapping[str, tuple[tuple[int, int, int, int], type[object], str]] = {
    "stable meets it": ((1000, 60, 9000, 170), Harm, "CanaryErrorsHigher"),
    "stable is idle": ((1000, 60, 0, 0), Harm, "ErrorRateAboveSlo"),
    "both miss it": ((1000, 60, 9000, 540), Inconclusive, "UpstreamIncident"),
    "both meet it": ((1000, 15, 9000, 135), Pass, ""),
    "canary only just above": ((200, 5, 1800, 20), Pass, ""),
}


@pytest.mark.parametrize("case", SLO_CASES)
def test_the_floor_aborts_only_while_stable_meets_it_or_is_idle(case: str) -> None:
    row, kind, reason = SLO_CASES[case]
    found = verdict(counted([row]), JudgeConfig((SLO,)))
    assert type(found) is kind
    assert getattr(found, "reason", "") == reason


def test_the_floor_finds_harm_that_the_tolerated_ratio_hides() -> None:
    found = verdict(
        counted([(1000, 60, 9000, 170)]), JudgeConfig((ErrorRate("errors", tolerate_ratio=4, slo_max=0.02),))
    )
    assert isinstance(found, Harm)
    assert (found.reason, found.message) == (
        "ErrorRateAboveSlo",
        "errors: canary 60 of 1000 (6.0 %) above the limit of 2 %, stable 170 of 9000 (1.9 %);"
        " evidence 22.8 >= 5.3 (1 % false-rollback rate)",
    )


def test_an_incident_ends_when_the_totals_recover() -> None:
    config = JudgeConfig((SLO,))
    state, during = judge(initial_state(STARTED), counted([(200, 30, 1800, 270)]), config)
    _, after = judge(state, [tick(1, Counts(3000, 0), Counts(27_000, 0))], config)
    assert (type(during), type(after)) == (Inconclusive, Pass)


def test_the_false_rollback_rate_is_split_over_the_tests_that_claim_it() -> None:
    dry = ErrorRate("dry", gating=False)
    assert [
        alpha_per_test(JudgeConfig(metrics, 0.06))
        for metrics in ((), (LATENCY,), (ERRORS, LATENCY, QUEUE, dry), (ERRORS, ErrorRate("b")), (SLO, ErrorRate("b")))
    ] == [0.06, 0.06, 0.06, 0.03, 0.02]


LATENCY_CASES: Mapping[str, tuple[Sequence[tuple[Counts, Counts]], type[object]]] = {
    "three slow ticks in a row": ([(at_latency(100), at_latency(10))] * 3, Harm),
    "two slow ticks": ([(at_latency(100), at_latency(10))] * 2 + [(at_latency(10), at_latency(10))], Pass),
    "a good tick ends the row": (
        [(at_latency(100 if index != 2 else 10), at_latency(10)) for index in range(5)],
        Pass,
    ),
    "a silent tick does not end the row": (
        [(at_latency(100, 40 if index != 1 else 4), at_latency(10)) for index in range(4)],
        Harm,
    ),
    "under the floor": ([(at_latency(20), at_latency(1))] * 4, Pass),
    "within the ratio": ([(at_latency(100), at_latency(40))] * 4, Pass),
    "too few requests of stable": ([(at_latency(100), at_latency(10, 4))] * 4, Inconclusive),
    "no histogram": ([(Counts(40, 0), Counts(40, 0))] * 4, Inconclusive),
}


@pytest.mark.parametrize("case", LATENCY_CASES)
def test_latency(case: str) -> None:
    rows, kind = LATENCY_CASES[case]
    ticks = [tick(index, *sides) for index, sides in enumerate(rows)]
    assert type(verdict(ticks, JudgeConfig((LATENCY,), min_requests=0))) is kind


def test_latency_says_what_it_saw() -> None:
    ticks = [tick(index, at_latency(100), at_latency(10)) for index in range(3)]
    found = verdict(ticks, JudgeConfig((LATENCY,)))
    assert isinstance(found, Harm)
    assert (found.reason, found.tick, found.message) == (
        "CanarySlower",
        end(2),
        "latency: p50 canary 75 ms, stable 7.5 ms; limit 3 times stable's and above 20 ms; 3 ticks in a row",
    )


def test_a_silent_gating_metric_never_passes_in_silence() -> None:
    found = verdict(
        counted([(200, 0, 1800, 0)]), JudgeConfig((ERRORS, LATENCY, replace(LATENCY, name="dry", gating=False)))
    )
    assert isinstance(found, Inconclusive)
    assert (found.reason, found.message) == ("MetricSilent", "nothing to judge yet in this step: latency")


def test_errors_without_a_stable_to_compare_with_are_silent() -> None:
    found = verdict(counted([(200, 50, 0, 0)]), JudgeConfig((ERRORS,)))
    assert isinstance(found, Inconclusive)
    assert found.reason == "MetricSilent"


QUANTILES: Mapping[str, tuple[tuple[tuple[float, int], ...], float, float | None]] = {
    "no buckets": ((), 0.5, None),
    "no requests": (((10.0, 0), (math.inf, 0)), 0.5, None),
    "first bucket from 0": (((10.0, 4), (math.inf, 4)), 0.5, 5.0),
    "linear": (((10.0, 2), (20.0, 10), (math.inf, 10)), 0.9, 18.75),
    "on an edge": (((10.0, 5), (20.0, 10), (math.inf, 10)), 0.5, 10.0),
    "empty buckets in between": (((10.0, 5), (20.0, 5), (30.0, 10), (math.inf, 10)), 0.75, 25.0),
    "above the last edge": (((10.0, 5), (math.inf, 10)), 0.9, 10.0),
    "only above": (((10.0, 0), (math.inf, 10)), 0.1, 10.0),
}


@pytest.mark.parametrize("case", QUANTILES)
def test_quantile(case: str) -> None:
    buckets, quantile, expected = QUANTILES[case]
    assert quantile_ms(buckets, quantile) == expected


THRESHOLD_CASES: Mapping[str, tuple[Sequence[float | None], type[object]]] = {
    "three above": ([600, 501, 900], Harm),
    "at the limit": ([500, 500, 500], Pass),
    "a good one between": ([600, 600, 1, 600], Pass),
    "missing is neither": ([600, None, 600, math.nan, 600], Harm),
    "never there": ([None, math.nan, math.inf, None], Inconclusive),
}


@pytest.mark.parametrize("case", THRESHOLD_CASES)
def test_threshold(case: str) -> None:
    numbers, kind = THRESHOLD_CASES[case]
    ticks = counted([(50, 0, 450, 0)] * len(numbers))
    values = {end(index): {"queue": number} for index, number in enumerate(numbers)}
    _, found = judge(initial_state(STARTED), ticks, JudgeConfig((QUEUE,)), values)
    assert type(found) is kind


def test_threshold_below_its_minimum() -> None:
    config = JudgeConfig((Threshold("agreement", minimum=0.98, failure_limit=1),))
    _, found = judge(initial_state(STARTED), counted([(50, 0, 450, 0)]), config, {end(0): {"agreement": 0.9}})
    assert isinstance(found, Harm)
    assert (found.reason, found.message) == ("OutOfRange", "agreement: 0.9 (min 0.98); 1 ticks in a row")


def test_no_ticks_is_no_data_since_the_start() -> None:
    found = verdict([], JudgeConfig((ERRORS,)))
    assert isinstance(found, NoData)
    assert (found.reason, found.since) == ("NoTicks", STARTED)


def test_missing_data_delays_and_is_counted() -> None:
    config = JudgeConfig((ERRORS,))
    gap = [tick(1, None, Counts(10, 0), "canary NoSeries"), tick(2, None, None, "canary NoSeries, stable NotScraped")]
    state, during = judge(initial_state(STARTED), [*counted([(120, 0, 1080, 0)]), *gap], config)
    _, after = judge(state, [tick(3, Counts(1, 0), Counts(9, 0))], config)
    assert isinstance(during, NoData)
    assert (during.reason, during.since) == ("canary NoSeries, stable NotScraped", end(0))
    assert during.totals.skipped == (("canary NoSeries", 2), ("stable NotScraped", 1))
    assert isinstance(after, Pass)
    assert after.totals.stable_requests == 1089


def test_harm_is_not_forgotten_while_data_are_missing() -> None:
    ticks = [*counted([(50, 20, 450, 0)]), tick(1, None, None, "canary NoSeries")]
    assert isinstance(verdict(ticks, JudgeConfig((ERRORS,))), Harm)


def test_late_and_repeated_ticks_are_dropped_and_counted() -> None:
    config = JudgeConfig((ERRORS,))
    ticks = counted([(60, 3, 540, 9)] * 3)
    state, _ = judge(initial_state(STARTED), ticks[1:], config)
    again, found = judge(state, [ticks[0], ticks[2], ticks[2]], config)
    assert (again, found.totals.dropped) == (state, 3)


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        JudgeConfig((ERRORS, Threshold("errors")))


def test_config_from_the_default_analysis() -> None:
    assert config_from_analysis(Analysis()) == JudgeConfig(
        (ErrorRate("errors"), LatencyRatio("latency", quantile=0.9, max_ratio=3.0, floor_ms=10.0)), 0.01, 100
    )


def test_config_from_every_kind_of_metric() -> None:
    analysis = Analysis.model_validate(
        {
            "falseRollbackRate": 0.05,
            "interval": "1m",
            "metrics": [
                {"name": "errors", "type": "ErrorRate", "tolerateRatio": 1.5, "sloMax": 0.02, "gating": False},
                {"name": "slow", "type": "LatencyRatio", "quantile": 0.5, "floor": "1s", "failureLimit": 2},
                {"name": "queue", "type": "Threshold", "query": "up", "thresholdRange": {"max": 3}},
                {"name": "all", "type": "ErrorRate", "sloMax": 1},
            ],
        }
    )
    config = config_from_analysis(analysis)
    assert config.interval == 60.0
    assert config.metrics == (
        ErrorRate("errors", 1.5, 0.02, gating=False),
        LatencyRatio("slow", 0.5, 3.0, 1000.0, failure_limit=2),
        Threshold("queue", None, 3.0),
        ErrorRate("all"),
    )


CONFIG = JudgeConfig(
    (
        ErrorRate("errors", tolerate_ratio=1.2, slo_max=0.05),
        LATENCY,
        replace(QUEUE, failure_limit=2),
        ErrorRate("dry", gating=False),
        LatencyRatio("tail", quantile=0.99, max_ratio=1.5, floor_ms=1, failure_limit=1),
    )
)


@st.composite
def sides(draw: st.DrawFn) -> Counts | None:
    requests = draw(st.integers(0, 60))
    if requests == 59:
        return None
    low = draw(st.integers(0, requests))
    buckets = ((5.0, low // 2), (80.0, low), (math.inf, requests)) if draw(st.booleans()) else ()
    return Counts(requests, draw(st.integers(0, min(requests, 6))), buckets)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Tick], dict[float, dict[str, float | None]]]:
    ticks, values = [], {}
    for index in range(draw(st.integers(1, 12))):
        canary, stable = draw(sides()), draw(sides())
        missing = [f"{name} NoSeries" for name, side in (("canary", canary), ("stable", stable)) if side is None]
        ticks.append(tick(index, canary, stable, ", ".join(missing)))
        values[end(index)] = {"queue": draw(st.none() | st.floats(0, 1000))}
    return ticks, values


def reloaded(state: JudgeState) -> JudgeState:
    """Return the state as another process reads it from status; that API writes 5.0 as 5."""
    text = json.dumps(state_to_dict(state), allow_nan=False)
    whole = json.loads(
        text, parse_float=lambda number: int(float(number)) if float(number).is_integer() else float(number)
    )
    return state_from_dict(whole)


@settings(max_examples=40)
@given(histories(), st.data())
def test_restarts_and_overlapping_ranges_change_nothing(
    history: tuple[list[Tick], dict[float, dict[str, float | None]]], data: st.DataObject
) -> None:
    ticks, values = history
    begin = start_step(initial_state(STARTED), STARTED + data.draw(st.integers(0, 60)))
    at_once, expected = judge(begin, ticks, CONFIG, values)
    killed = begin
    for one in ticks:
        killed = reloaded(judge(killed, [one], CONFIG, values)[0])
    overlapping = begin
    for index in range(len(ticks)):
        back = data.draw(st.integers(0, index))
        overlapping = reloaded(judge(overlapping, ticks[back : index + 1], CONFIG, values)[0])
    assert killed == at_once
    assert overlapping == at_once
    assert verdict_of(killed, CONFIG) == expected


@settings(max_examples=40)
@given(histories())
def test_a_verdict_of_harm_names_evidence_that_exists(
    history: tuple[list[Tick], dict[float, dict[str, float | None]]],
) -> None:
    ticks, values = history
    state, found = judge(initial_state(STARTED), ticks, CONFIG, values)
    if isinstance(found, Harm):
        assert found.tick in {one.end for one in ticks}
        assert found.metric in {metric.name for metric in CONFIG.metrics if metric.gating}
        # the same ticks up to the finding are enough for it, one fewer is not
        before = [one for one in ticks if one.end < found.tick]
        assert not isinstance(judge(initial_state(STARTED), before, CONFIG, values)[1], Harm)
    assert state.used_ticks == sum(one.canary is not None and one.stable is not None for one in ticks)


def test_the_state_of_five_metrics_stays_under_4_kib() -> None:
    metrics = tuple(ErrorRate("m" * 60 + str(index), slo_max=0.0123) for index in range(5))
    rows = [(123_456, 12_345, 7_654_321, 7)] * 300
    gaps = [tick(index, None, None, f"canary Reason{index}, stable Reason{index}") for index in range(300, 340)]
    state, found = judge(initial_state(1_790_000_000.123), [*counted(rows), *gaps], JudgeConfig(metrics))
    assert isinstance(found, Harm)
    assert len(json.dumps(state_to_dict(state), separators=(",", ":"))) < 4096
    assert len(state.skipped) <= 17


def test_the_stated_rate_holds_over_many_looks() -> None:
    """A coarse check on fixed pseudo-random counts: far fewer than 1 in 20 equal canaries may be turned back."""
    config = JudgeConfig((ERRORS,), false_rollback_rate=0.05)
    seed, turned_back = 1, 0
    for _ in range(60):
        rows = []
        for _ in range(30):
            errors = []
            for trials in (20, 180):
                hits = 0
                for _ in range(trials // 10):
                    seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
                    hits += (seed >> 33) % 1000 < 200  # about 2 % of the requests
                errors.append(hits)
            rows.append((20, min(20, errors[0]), 180, errors[1]))
        turned_back += isinstance(verdict(counted(rows), config), Harm)
    assert turned_back <= 6
    assert log_threshold(0.05) == pytest.approx(2.9957, abs=1e-4)


@pytest.mark.parametrize("broken", [{}, {"startedAt": "x"}, {"startedAt": 1.0, "skipped": {}}])
def test_a_foreign_document_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError, TypeError)):
        state_from_dict(broken)
