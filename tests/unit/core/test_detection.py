"""Whether a rollout can detect a doubling of the error rate: as the simulation has it, said once."""

import random
from dataclasses import replace
from typing import Any

import pytest

from unit.core import builders
from unit.core import scenarios as s
from unit.core.simulated_cluster import Cluster
from visionmodel_operator.core.counters import Counts, Tick
from visionmodel_operator.core.detection import blind_spot, is_forecast_due, judged_requests
from visionmodel_operator.core.forecast import ExpectedTraffic, forecast
from visionmodel_operator.core.operations import Event
from visionmodel_operator.core.plan import plan_from_steps
from visionmodel_operator.core.recent_traffic import RecentTraffic, recent_ends, recent_traffic

DEFAULT_STEPS = [part for weight in (5, 25, 50) for part in ({"setWeight": weight}, {"pause": {"duration": "5m"}})]
LONGER = [part for weight in (5, 10, 25, 50) for part in ({"setWeight": weight}, {"pause": {"duration": "5m"}})]


def asked(steps: list[Any], **analysis: Any) -> Any:
    """Return a rollout's section with this plan and otherwise the API's defaults."""
    document = builders.spec_document(1)
    document["rollout"] = {"steps": steps, "analysis": analysis}
    return builders.parsed(document).rollout


CASES: dict[str, tuple[Any, ExpectedTraffic, bool]] = {
    "the example of docs/plan.md": (asked(DEFAULT_STEPS), ExpectedTraffic(20, 0.005), True),
    "ten times the traffic": (asked(DEFAULT_STEPS), ExpectedTraffic(200, 0.005), False),
    "few errors": (asked(LONGER), ExpectedTraffic(200, 0.0002), True),
    "many errors": (asked(DEFAULT_STEPS), ExpectedTraffic(20, 0.05), False),
    "a trace": (asked([{"setWeight": 0.1}, {"pause": {"duration": "5m"}}]), ExpectedTraffic(200, 0.005), True),
}


@pytest.mark.parametrize(("rollout", "traffic", "is_blind"), CASES.values(), ids=CASES.keys())
def test_the_formula_says_what_the_simulation_finds(rollout: Any, traffic: ExpectedTraffic, *, is_blind: bool) -> None:
    plan = plan_from_steps(rollout.steps)
    simulated = forecast(plan, rollout.analysis, traffic, random.Random(1), ratios=(2.0,), runs=100)
    found = simulated.ratios[0].found
    assert (found < 0.5) == is_blind, found
    assert (blind_spot(list(plan), rollout.analysis, traffic) is not None) == is_blind


def test_the_numbers_are_said() -> None:
    rollout = asked(DEFAULT_STEPS)
    said = blind_spot(list(plan_from_steps(rollout.steps)), rollout.analysis, ExpectedTraffic(20, 0.005))
    assert said == (
        "This rollout cannot detect a doubling of the error rate: at 20 requests per second of which 0.5 % fail, its"
        " steps judge as much as 2,882 requests of a small canary, and half of them are found after 3,730. Longer"
        " steps, larger weights or more traffic find more."
    )


def test_requests_of_the_warm_up_and_of_whole_steps_tell_nothing() -> None:
    steps = [{"setWeight": 10}, {"pause": {"duration": "1m"}}, {"setWeight": 100}, {"pause": {"duration": "1m"}}]
    rollout = asked(steps, warmup="20s", minSamples=0)
    plan = list(plan_from_steps(rollout.steps))
    assert judged_requests(plan, rollout.analysis, ExpectedTraffic(10, 0.01)) == pytest.approx(40 * 10 * 0.1 * 0.9)


NOT_SAID: dict[str, Any] = {
    "a step is open until promoted": asked([{"setWeight": 5}, {"pause": {}}]),
    "no error rate is tested": asked(DEFAULT_STEPS, metrics=[{"name": "latency", "type": "LatencyRatio"}]),
    "nothing is gating": asked(DEFAULT_STEPS, metrics=[{"name": "errors", "type": "ErrorRate", "gating": False}]),
}


@pytest.mark.parametrize("rollout", NOT_SAID.values(), ids=NOT_SAID.keys())
def test_nothing_is_said_of_what_cannot_be_known(rollout: Any) -> None:
    assert blind_spot(list(plan_from_steps(rollout.steps)), rollout.analysis, ExpectedTraffic(1, 0.001)) is None


def test_a_tolerated_doubling_is_never_found() -> None:
    metrics = [{"name": "errors", "type": "ErrorRate", "tolerateRatio": 2.0}]
    rollout = asked(DEFAULT_STEPS, metrics=metrics)
    said = blind_spot(list(plan_from_steps(rollout.steps)), rollout.analysis, ExpectedTraffic(1000, 0.1))
    assert said is not None
    assert "none of such canaries is found" in said


# once per rollout


class Asked(Cluster):
    """A cluster whose operator is told the traffic of the last hour when it asks."""

    traffic_before: RecentTraffic | None = None

    def snapshot(self) -> Any:
        seen = super().snapshot()
        return replace(seen, recent_traffic=self.traffic_before) if is_forecast_due(seen) else seen


def warned(cluster: Cluster) -> list[Event]:
    return [event for event in cluster.events if event.reason == "RolloutCannotDetect"]


def rolled_out(before: RecentTraffic | None, **sections: Any) -> Asked:
    cluster = s.with_candidate(**sections)
    cluster.__class__ = Asked
    assert isinstance(cluster, Asked)
    cluster.traffic_before = before
    cluster.advance_to("Progressing", "Promoting")
    return cluster


def test_a_rollout_that_cannot_detect_a_doubling_is_warned_of_once() -> None:
    cluster = rolled_out(RecentTraffic(Counts(3600, 9), 60))
    (event,) = warned(cluster)
    assert event.warning
    assert event.message.startswith("This rollout cannot detect a doubling")
    assert cluster.recorded.rollout is not None
    forecast = cluster.recorded.rollout.forecast
    assert forecast is not None
    assert (forecast.requests_per_second, forecast.error_rate) == (1.0, 0.0025)
    cluster.advance_to("Healthy")
    assert warned(cluster) == [event]
    cluster.use_model(3)
    cluster.advance_to("Progressing")
    assert len(warned(cluster)) == 2, "another rollout"


@pytest.mark.parametrize(
    "before",
    [RecentTraffic(Counts(0, 0), 0), RecentTraffic(Counts(36_000_000, 360_000), 60)],
    ids=["no data", "enough traffic"],
)
def test_no_event(before: RecentTraffic) -> None:
    cluster = rolled_out(before)
    assert warned(cluster) == []
    assert cluster.recorded.rollout is not None
    assert cluster.recorded.rollout.forecast is not None, "it is not asked again"


def test_nothing_is_asked_where_nothing_splits_the_traffic() -> None:
    cluster = rolled_out(RecentTraffic(Counts(3600, 9), 60), gateway=False)
    assert warned(cluster) == []


def test_the_last_hour_is_counted_over_both_backends() -> None:
    ticks = [
        Tick(60.0, Counts(10, 1), Counts(50, 0)),
        Tick(120.0, None, Counts(60, 0)),
        Tick(180.0, None, None, "NotScraped"),
    ]
    recent = recent_traffic(ticks)
    assert recent == RecentTraffic(Counts(120, 1), 2)
    assert recent.expected == ExpectedTraffic(1.0, 1 / 120)
    assert recent_traffic(ticks[1:2]).expected == ExpectedTraffic(1.0, 1 / 60), "no error counts as one"
    assert recent_traffic(ticks[2:]).expected is None
    ends = recent_ends(10_006.0)
    assert (len(ends), ends[-1], ends[-2]) == (60, 10_000.0, 9_940.0)
