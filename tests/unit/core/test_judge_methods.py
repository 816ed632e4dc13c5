"""The judge's methods, its certificate and its latency tails, tick by tick through status and back."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionmodel_operator.api.spec import Analysis, Gate, Method
from visionmodel_operator.core.counters import Counts, Tick
from visionmodel_operator.core.judge import (
    ErrorRate,
    Harm,
    Inconclusive,
    JudgeConfig,
    JudgeState,
    LatencyTail,
    Pass,
    Verdict,
    alpha_per_test,
    config_from_analysis,
    initial_state,
    judge,
    log_evidence_of,
    state_from_dict,
    state_to_dict,
    verdict_of,
)
from visionmodel_operator.core.judge_config import planned_ticks
from visionmodel_operator.core.judge_state import MetricState
from visionmodel_operator.core.judge_tail import blind_tails

INF = math.inf
ERRORS = ErrorRate("errors")
TAIL = LatencyTail("p99", quantile=0.99)
TEMPERED = JudgeConfig((ERRORS,), method=Method.TEMPERED)
PAIRED = JudgeConfig((ERRORS,), method=Method.PAIRED)
CERTIFIED = JudgeConfig((replace(ERRORS, max_ratio=2.0),), gate=Gate.CERTIFICATE)


def ticks_of(rows: Iterable[tuple[Counts | None, Counts | None]]) -> list[Tick]:
    return [Tick(1000 + 15.0 * (index + 1), canary, stable) for index, (canary, stable) in enumerate(rows)]


def counted(rows: Iterable[tuple[int, int, int, int]]) -> list[Tick]:
    return ticks_of((Counts(a, b), Counts(c, d)) for a, b, c, d in rows)


def judged(ticks: Sequence[Tick], config: JudgeConfig) -> tuple[JudgeState, Verdict]:
    return judge(initial_state(1000.0), ticks, config)


def ticks_until_harm(ticks: Sequence[Tick], config: JudgeConfig) -> int | None:
    _, found = judged(ticks, config)
    return round((found.tick - 1000) / 15) if isinstance(found, Harm) else None


BAD = [(100, 12, 900, 9)] * 40
BURSTS = [(150, 30 * (index % 10 == 3), 1350, 270 * (index % 10 == 8)) for index in range(120)]
LATE = [(150, 2, 1350, 18)] * 180 + [(150, 5, 1350, 18)] * 60


@pytest.mark.parametrize("method", Method)
def test_every_method_finds_a_bad_canary(method: Method) -> None:
    assert isinstance(judged(counted(BAD), JudgeConfig((ERRORS,), method=method))[1], Harm)


@pytest.mark.parametrize("method", Method)
def test_no_method_turns_an_equal_canary_back(method: Method) -> None:
    ticks = counted([(100, 1, 900, 9)] * 200)
    assert isinstance(judged(ticks, JudgeConfig((ERRORS,), method=method))[1], Pass)


def test_bursts_that_hit_one_side_at_a_time_fool_counts_alone() -> None:
    assert ticks_until_harm(counted(BURSTS), JudgeConfig((ERRORS,))) is not None
    assert ticks_until_harm(counted(BURSTS), PAIRED) is None


def test_a_fault_that_begins_late_is_found_sooner_by_tempered_counts() -> None:
    plain, tempered = (
        ticks_until_harm(counted(LATE), config)
        for config in (replace(TEMPERED, method=Method.COUNTS), replace(TEMPERED, planned_seconds=240 * 15))
    )
    assert tempered is not None
    assert tempered > 180
    assert plain is None or tempered < plain


def test_a_noisy_metric_bets_on_no_late_fault() -> None:
    state, _ = judged(counted(BURSTS), TEMPERED)
    late = state.metrics[0].late
    assert late is not None
    assert late.log_sums == pytest.approx([math.log(len(BURSTS))] * 13, abs=1e-6)


@pytest.mark.parametrize("method", Method)
def test_each_metric_tells_its_own_evidence(method: Method) -> None:
    config = JudgeConfig((ERRORS, TAIL), method=method)
    state, found = judged(ticks_of([EVEN] * 3 + [(replace(SLOW[0], errors=9), SLOW[1])]), config)
    told = [log_evidence_of(metric, known) for metric, known in zip(config.metrics, state.metrics, strict=True)]
    assert [round(max(0.0, value or 0.0), 1) for value in told] == [
        float(report.message.split("evidence ")[1].split()[0]) for report in verdict_of(state, config).totals.metrics
    ]
    assert found.totals.evidence == pytest.approx(max(value or 0.0 for value in told), abs=1e-6)
    assert log_evidence_of(TAIL, MetricState("p99")) is None


def test_auto_remembers_what_paired_does() -> None:
    assert judged(counted(BAD), replace(PAIRED, method=Method.AUTO)) == judged(counted(BAD), PAIRED)


@pytest.mark.parametrize("method", [Method.COUNTS, Method.TEMPERED])
def test_a_tolerated_ratio_holds_under_each_method_by_counts(method: Method) -> None:
    config = JudgeConfig((replace(ERRORS, tolerate_ratio=15.0),), method=method)
    assert isinstance(judged(counted(BAD), config)[1], Pass)


def test_a_certificate_is_waited_for_and_then_given() -> None:
    few, many = counted([(100, 1, 900, 9)] * 5), counted([(100, 1, 900, 9)] * 15)
    _, doubt = judged(few, CERTIFIED)
    assert isinstance(doubt, Inconclusive)
    assert doubt.reason == "NotProvenSafe"
    assert doubt.message == (
        "errors: not yet proven to fail less than 2 times as often as stable; evidence 1.1 of 3.0"
        " (5 % false-promotion rate)"
    )
    assert isinstance(judged(few, replace(CERTIFIED, gate=Gate.NO_HARM))[1], Pass)
    assert isinstance(judged(many, CERTIFIED)[1], Pass)
    assert isinstance(judged(many, replace(CERTIFIED, false_promotion_rate=0.001))[1], Inconclusive)


def test_a_dry_run_needs_no_certificate() -> None:
    config = replace(CERTIFIED, metrics=(replace(ERRORS, gating=False),))
    assert isinstance(judged(counted([(200, 1, 900, 9)]), config)[1], Pass)


def test_no_errors_prove_nothing() -> None:
    assert isinstance(judged(counted([(1000, 0, 9000, 0)] * 20), CERTIFIED)[1], Inconclusive)


def side(requests: int, above_20: int, above_40: int) -> Counts:
    """Counts with bucket edges at 20 and 40 ms."""
    return Counts(requests, 0, ((20.0, requests - above_20), (40.0, requests - above_40), (INF, requests)))


EVEN = (side(100, 5, 1), side(900, 45, 9))
SLOW = (side(100, 25, 6), side(900, 45, 9))
TAILS = JudgeConfig((TAIL,))


def test_edges_are_chosen_from_stable_and_then_judged() -> None:
    state, found = judged(ticks_of([EVEN]), TAILS)
    assert blind_tails(state, TAILS.metrics) == (
        [],
        ["p99: 900 of 1000 requests of stable seen to choose bucket edges from"],
    )
    assert isinstance(found, Inconclusive)
    state, found = judged(ticks_of([EVEN] * 3), TAILS)
    assert blind_tails(state, TAILS.metrics) == ([], [])
    assert isinstance(found, Pass)


def test_a_heavier_tail_is_harm_and_a_passing_burst_is_not() -> None:
    _, found = judged(ticks_of([EVEN] * 3 + [SLOW] * 30), TAILS)
    assert isinstance(found, Harm)
    assert (found.metric, found.reason) == ("p99", "CanarySlower")
    assert found.message.startswith("p99: requests slower than 20, 40 ms, canary against stable; evidence ")
    burst = (side(100, 90, 80), side(900, 45, 9))
    assert isinstance(judged(ticks_of([EVEN] * 10 + [burst] + [EVEN] * 10), TAILS)[1], Pass)


def test_a_tolerated_slowdown_is_no_harm() -> None:
    slower = (side(100, 25, 5), side(900, 45, 9))
    rows = [EVEN] * 3 + [slower] * 40
    assert isinstance(judged(ticks_of(rows), TAILS)[1], Harm)
    assert isinstance(judged(ticks_of(rows), JudgeConfig((replace(TAIL, tolerate_ratio=1.5),)))[1], Pass)


def test_without_a_usable_edge_the_metric_is_blind_and_nothing_passes() -> None:
    state, found = judged(ticks_of([(side(100, 0, 0), side(2000, 0, 0))] * 9), TAILS)
    blind, waiting = blind_tails(state, TAILS.metrics)
    assert (waiting, len(blind)) == ([], 1)
    assert blind[0] == (
        "p99: no edge of the gateway's histogram (20, 40 ms) has 0.2 to 20 % of stable's 18000 requests beyond it"
    )
    assert isinstance(found, Inconclusive)
    assert found.reason == "MetricSilent"
    assert found.totals.metrics[0].message == blind[0]


def test_no_histogram_is_no_edge() -> None:
    state, found = judged(counted([(100, 0, 2000, 0)]), TAILS)
    assert isinstance(found, Inconclusive)
    assert blind_tails(state, TAILS.metrics)[1] == [
        "p99: 0 of 1000 requests of stable seen to choose bucket edges from"
    ]


def test_buckets_that_changed_begin_the_choice_again_or_end_the_judging() -> None:
    other = Counts(900, 0, ((30.0, 850), (INF, 900)))
    state, _ = judged(ticks_of([EVEN, (side(100, 5, 1), other)]), TAILS)
    assert blind_tails(state, TAILS.metrics)[1] == [
        "p99: 900 of 1000 requests of stable seen to choose bucket edges from"
    ]
    state, found = judged(ticks_of([EVEN] * 3 + [(side(100, 5, 1), other)]), TAILS)
    assert found.totals.metrics[0].message == "p99: the gateway's buckets are no longer those that were chosen"


def test_a_tail_shares_the_false_rollback_rate() -> None:
    config = JudgeConfig((replace(ERRORS, slo_max=0.1), TAIL, LatencyTail("dry", gating=False)))
    assert alpha_per_test(config) == pytest.approx(0.01 / 3)


def test_config_from_the_new_fields() -> None:
    analysis = Analysis.model_validate(
        {
            "interval": "10s",
            "method": "Tempered",
            "gate": "Certificate",
            "falsePromotionRate": 0.1,
            "metrics": [
                {"name": "errors", "type": "ErrorRate", "maxRatio": 1.5},
                {"name": "p99", "type": "LatencyTail", "quantile": 0.99, "tolerateRatio": 1.1},
            ],
        }
    )
    config = config_from_analysis(analysis)
    assert config == JudgeConfig(
        (ErrorRate("errors", max_ratio=1.5), LatencyTail("p99", 0.99, 1.1)),
        min_requests=100,
        interval=10.0,
        method=Method.TEMPERED,
        gate=Gate.CERTIFICATE,
        false_promotion_rate=0.1,
    )
    assert planned_ticks(config) == 360


@st.composite
def sides(draw: st.DrawFn) -> Counts | None:
    if draw(st.integers(0, 9)) == 9:
        return None
    requests = draw(st.integers(0, 700))
    above_20 = draw(st.integers(0, requests // 5))
    counts = side(requests, above_20, draw(st.integers(0, above_20)))
    return replace(counts, errors=draw(st.integers(0, min(requests, 9))))


def reloaded(state: JudgeState) -> JudgeState:
    """Return the state as another process reads it from status; that API writes 5.0 as 5."""
    text = json.dumps(state_to_dict(state), allow_nan=False)
    return state_from_dict(
        json.loads(text, parse_float=lambda number: int(float(number)) if float(number).is_integer() else float(number))
    )


@pytest.mark.parametrize("method", Method)
@settings(max_examples=25)
@given(rows=st.lists(st.tuples(sides(), sides()), min_size=1, max_size=10))
def test_killed_at_every_tick_the_verdict_is_the_same(
    method: Method, rows: list[tuple[Counts | None, Counts | None]]
) -> None:
    config = JudgeConfig((ERRORS, TAIL), method=method, gate=Gate.CERTIFICATE)
    at_once, expected = judged(ticks_of(rows), config)
    killed = initial_state(1000.0)
    for tick in ticks_of(rows):
        killed = reloaded(judge(killed, [tick], config)[0])
    assert killed == at_once
    assert verdict_of(killed, config) == expected


FIVE = {
    "three errors, two tails": (*(ErrorRate("m" * 30 + str(index), slo_max=0.01) for index in range(3)),
                                *(LatencyTail("t" * 30 + str(index)) for index in range(2))),
    "five errors": tuple(ErrorRate("m" * 20 + str(index)) for index in range(5)),
}  # fmt: skip


@pytest.mark.parametrize("metrics", FIVE.values(), ids=FIVE)
@pytest.mark.parametrize("method", Method)
def test_the_state_of_five_metrics_stays_under_4_kib(
    method: Method, metrics: tuple[ErrorRate | LatencyTail, ...]
) -> None:
    rows = [
        (replace(side(1_234, 123, 45), errors=321), replace(side(65_432, 3210, 1_234), errors=987)) for _ in range(300)
    ]
    config = JudgeConfig(metrics, method=method, gate=Gate.CERTIFICATE)
    state, found = judged(ticks_of(rows), config)
    assert isinstance(found, Harm)
    assert len(json.dumps(state_to_dict(state), separators=(",", ":"))) < 4096
