"""How a step of a canary ends: on fresh evidence of its own, or by time where there is nothing to compare."""

from collections.abc import Mapping
from typing import Any

import pytest

from unit.core import builders, scenarios, walks
from unit.core.simulated_cluster import Cluster
from visionmodel_operator.core import memory
from visionmodel_operator.core.judge_state import JudgeState

OBSERVING = ("Progressing", "Observing")


def candidate(steps: list[builders.Document], **analysis: Any) -> Cluster:
    """Return a cluster that has just begun to observe the first step of model 2."""
    cluster = scenarios.with_candidate(rollout={"steps": steps, "analysis": analysis})
    cluster.advance_to(OBSERVING)
    return cluster


def step_of(cluster: Cluster) -> int | None:
    rollout = cluster.recorded.rollout
    return rollout.step if rollout is not None else None


LONG_PAUSE: list[builders.Document] = [{"setWeight": 10}, {"pause": {"duration": "60s"}}, {"setWeight": 50}]
GAPS: Mapping[str, tuple[int, int]] = {
    "one missed scrape at the end of the pause": (50, 56),
    "no answer at the end of the pause": (40, 65),
    "no answer until the time is up": (45, 90),
}


@pytest.mark.parametrize("policy", ["Hold", "Abort", "Promote"])
@pytest.mark.parametrize("gap", GAPS)
def test_a_gap_in_the_metrics_decides_nothing(gap: str, policy: str) -> None:
    begin, end = GAPS[gap]
    cluster = candidate(LONG_PAUSE, maxStepDuration="20s", metricsGrace="60s", onInconclusive=policy)
    cluster.advance(begin)
    walks.stop_scraping(cluster)
    while begin < end:
        cluster.advance(1)
        begin += 1
        assert (cluster.state, step_of(cluster)) == (OBSERVING, 0)
    walks.scrape_again(cluster)
    cluster.advance_to(("Progressing", "Routing"), limit=25)
    assert step_of(cluster) == 1
    cluster.advance_to(walks.PROMOTED, limit=60)


def test_what_was_undecided_before_an_outage_is_not_decided_in_it() -> None:
    cluster = candidate(
        LONG_PAUSE, maxStepDuration="20s", metricsGrace="60s", onInconclusive="Promote", minSamples=1_000_000
    )
    cluster.advance(45)
    walks.stop_scraping(cluster)
    cluster.advance(45)
    assert (cluster.state, step_of(cluster)) == (OBSERVING, 0)
    walks.scrape_again(cluster)
    cluster.advance(15)
    assert step_of(cluster) == 1


@pytest.mark.parametrize(
    ("analysis", "seconds"),
    [
        pytest.param({}, 60 + 20, id="after the pause"),
        pytest.param({"warmup": "90s"}, 90 + 20, id="after the warm-up where that is longer"),
    ],
)
def test_the_limit_of_a_step_counts_from_when_it_could_first_have_passed(
    analysis: dict[str, Any], seconds: int
) -> None:
    cluster = candidate(LONG_PAUSE, maxStepDuration="20s", minSamples=1_000_000, **analysis)
    cluster.advance(seconds - 5)
    assert cluster.state == OBSERVING
    cluster.advance_to(("Held", "Inconclusive"), limit=10)
    assert "of 1000000 canary requests in this step" in str(cluster.recorded.message)


def judged_in(cluster: Cluster) -> JudgeState:
    assert cluster.recorded.rollout is not None
    state = memory.judge_state(cluster.recorded.rollout)
    assert state is not None
    return state


def test_a_step_passes_on_requests_of_its_own_weight() -> None:
    steps: list[builders.Document] = [{"setWeight": 40}, {"pause": {"duration": "23s"}}, {"setWeight": 60}]
    cluster = candidate(steps, interval="10s")
    cluster.advance_to(("Progressing", "Routing"))
    cluster.advance_to(OBSERVING)
    started, before = cluster.now.timestamp(), judged_in(cluster)
    cluster.advance_to("Promoting", limit=40)
    after = judged_in(cluster)
    assert after.last_used is not None
    assert after.last_used - 10 >= started, "a tick lies wholly in the step"
    assert after.step_requests == 120, "ten seconds of 60 % of 20 requests per second"
    assert after.canary_requests - before.canary_requests > 120, "the tick before it is evidence all the same"


TRACES: Mapping[str, list[builders.Document]] = {
    "to nothing": [{"setWeight": 20}, {"setWeight": 0}, {"pause": {"duration": "30s"}}, {"setWeight": 50}],
    "to everything": [{"setWeight": 20}, {"setWeight": 100}, {"pause": {"duration": "30s"}}, {"setWeight": 50}],
}


@pytest.mark.parametrize("steps", TRACES.values(), ids=TRACES.keys())
@pytest.mark.parametrize("scraped", [True, False], ids=["with-metrics", "without-metrics"])
def test_a_step_without_a_split_ends_by_its_time(steps: list[builders.Document], scraped: bool) -> None:
    cluster = candidate(steps)
    while step_of(cluster) == 0 or not cluster.is_in(OBSERVING):
        cluster.advance(1)
    if not scraped:
        walks.stop_scraping(cluster)
    cluster.advance(29)
    assert (cluster.state, step_of(cluster)) == (OBSERVING, 1)
    cluster.advance(2)
    assert step_of(cluster) == 2
    walks.scrape_again(cluster)
    cluster.advance_to(walks.PROMOTED, limit=90)


def test_a_step_that_is_observed_is_promoted_at_once() -> None:
    cluster = candidate(LONG_PAUSE)
    walks.promote_step(cluster)
    cluster.advance(1)
    assert (step_of(cluster), cluster.recorded.consumed_actions) == (1, [f"promote={cluster.target}/1/1"])


def test_a_hold_for_want_of_metrics_says_why() -> None:
    assert scenarios.metrics_gone().recorded.message == "No metrics for 30s: Prometheus did not answer"
