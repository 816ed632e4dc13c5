"""A rollout that the operator judged, judged again from the same samples; and what cannot be judged again."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fakes.metrics import FakeMetrics, Load
from unit.core import builders
from unit.test_reconcile import FIRST, NAME, NAMESPACE, SECOND, Stage
from visionmodel_cli import replay
from visionmodel_cli.failures import Failure
from visionmodel_cli.measured import History, measured_traffic

STEPS = [{"setWeight": 10}, {"pause": {"duration": "10m"}}]
QUEUE = {"name": "queue", "type": "Threshold", "query": 'queue{to="{{stable}}"}', "thresholdRange": {"max": 1}}
METRICS: list[dict[str, Any]] = [{"name": "errors", "type": "ErrorRate"}, {"name": "latency", "type": "LatencyRatio"}]


def stage_with(error_share: float, seconds: int, metrics: list[dict[str, Any]] | None = None) -> Stage:
    """Return a rollout at 10 % that was judged for some time."""
    stage = Stage()
    analysis = {"interval": "5s", "warmup": "10s", "minSamples": 20, "metrics": metrics or METRICS}
    stage.kube.add_model(NAME, builders.spec_document(1, rollout={"steps": STEPS, "analysis": analysis}))
    stage.become_canary()
    now = stage.now().timestamp()
    stage.metrics.started = now - 60
    slots = stage.kube.status(NAME)["traffic"]["slots"]
    for revision, per_second, share in ((FIRST, 90.0, 0.01), (SECOND, 10.0, error_share)):
        stage.metrics.loads.append(Load(slots.index(revision), now - 30, now + 3600, per_second, share))
    stage.live_through(seconds)
    return stage


def snapshot(stage: Stage) -> Any:
    body = stage.kube.store.get("VisionModel", NAMESPACE, NAME)
    assert body is not None
    return replay.snapshot_of(body)


def again(stage: Stage, since: datetime | None = None, until: datetime | None = None) -> replay.Replay:
    trial = replay.trial_of(snapshot(stage), since, until)
    return replay.replayed(trial, History(stage.metrics, "envoy-gateway"))


@pytest.fixture(scope="module")
def aborted() -> Stage:
    """Return a rollout that was turned back; not to be changed."""
    return stage_with(0.3, 75)


UNDER_WAY = {"no harm": (METRICS, "Pass"), "a query that is silent": ([*METRICS, QUEUE], "Inconclusive")}


@pytest.mark.parametrize(("metrics", "verdict"), UNDER_WAY.values(), ids=UNDER_WAY.keys())
def test_a_rollout_under_way_gives_the_recorded_judgement(metrics: list[dict[str, Any]], verdict: str) -> None:
    found = again(stage_with(0.01, 40, metrics))
    assert found.name == verdict
    assert found.state == found.trial.recorded
    assert replay.document_of(found)["same"] is True


def test_a_query_is_asked_as_in_the_rollout() -> None:
    stage = stage_with(0.01, 40, [QUEUE])
    stage.metrics.queries.clear()
    stage.metrics.values = {f'queue{{to="{FIRST}"}}': 0.5}
    found = again(stage)
    assert f'queue{{to="{FIRST}"}}' in stage.metrics.queries
    assert "queue: 0.5 (max 1)" in found.verdict.totals.metrics[0].message


def test_a_rollout_that_was_turned_back_fails_again(aborted: Stage) -> None:
    assert aborted.kube.status(NAME)["history"][0]["reason"] == "HarmDetected"
    document = replay.document_of(again(aborted))
    assert document["verdict"] == "Fail"
    assert (document["same"], document["difference"]) == (True, "")
    assert document["recorded"]["requests"] == document["canary"]["requests"] > 0
    assert document["ticks"][-1]["logEvidence"] >= document["threshold"]


def test_the_recorded_verdict_is_missed_when_samples_are_gone_or_others() -> None:
    stage = stage_with(0.01, 40)
    stage.metrics.loads.clear()
    gone = replay.document_of(again(stage))
    assert gone["verdict"] == "NoData"
    assert gone["same"] is False
    assert gone["difference"].startswith("verdict recorded Pass, now NoData, canary requests recorded ")
    assert "Prometheus may not hold that time any more" in gone["message"]


def test_a_replay_up_to_a_time_says_what_was_known_then() -> None:
    stage = stage_with(0.01, 40)
    whole = again(stage)
    third = whole.ticks[2][0].end
    part = again(stage, until=datetime.fromtimestamp(third, UTC) + timedelta(seconds=1))
    assert [tick.end for tick, _ in part.ticks] == [tick.end for tick, _ in whole.ticks[:3]]
    assert replay.document_of(part)["same"] is True


def test_since_picks_the_rollout(aborted: Stage) -> None:
    ended = datetime.fromisoformat(aborted.kube.status(NAME)["history"][0]["judgedTo"])
    assert again(aborted, since=ended - timedelta(seconds=5)).trial.revision == SECOND
    with pytest.raises(Failure, match=r"no rollout of VisionModel 'shapes' was judged at .* or later"):
        again(aborted, since=ended + timedelta(seconds=5))


def test_an_edit_of_what_judges_nothing_changes_no_verdict(aborted: Stage) -> None:
    body = copy.deepcopy(aborted.kube.store.get("VisionModel", NAMESPACE, NAME))
    assert body is not None
    body["spec"]["rollout"]["onNewRevision"] = "Reject"
    assert replay.trial_of(replay.snapshot_of(body), None, None).revision == SECOND


def with_edited_limits(body: dict[str, Any]) -> None:
    body["spec"]["rollout"]["analysis"]["falseRollbackRate"] = 0.05


def of_an_older_operator(body: dict[str, Any]) -> None:
    del body["status"]["history"][0]["slot"]


def never_rolled_out(body: dict[str, Any]) -> None:
    del body["status"]


UNKNOWN: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "edited limits": (with_edited_limits, "the steps or the analysis of the spec were changed since"),
    "an older operator": (of_an_older_operator, "judged at no tick, or by an operator that did not record when"),
    "no rollout": (never_rolled_out, "no rollout of VisionModel 'shapes' was judged"),
}


@pytest.mark.parametrize(("change", "told"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_cannot_be_judged_again(aborted: Stage, change: Callable[[dict[str, Any]], None], told: str) -> None:
    body = copy.deepcopy(aborted.kube.store.get("VisionModel", NAMESPACE, NAME))
    assert body is not None
    change(body)
    with pytest.raises(Failure, match=told):
        replay.trial_of(replay.snapshot_of(body), None, None)


def test_an_outage_is_no_verdict() -> None:
    stage = stage_with(0.01, 30)
    stage.metrics.outage = True
    with pytest.raises(Failure, match="Prometheus does not answer"):
        again(stage)


def test_traffic_is_measured_over_both_backends() -> None:
    metrics = FakeMetrics(route=(NAMESPACE, NAME), lookback=4000)
    metrics.loads = [Load(0, 0.0, 4000.0, 18.0, 0.01), Load(1, 0.0, 4000.0, 2.0)]
    traffic, source = measured_traffic(History(metrics, "envoy-gateway"), NAMESPACE, NAME, 3986.0)
    assert traffic.requests_per_second == pytest.approx(20.0, rel=0.01)
    assert traffic.error_rate == pytest.approx(0.009, rel=0.02)
    assert source.endswith("in 60 minutes")


def test_traffic_that_was_not_seen_cannot_be_measured() -> None:
    metrics = FakeMetrics(route=(NAMESPACE, NAME))
    with pytest.raises(Failure, match=r"holds no request of VisionModel 'shapes' .* give --requests-per-second"):
        measured_traffic(History(metrics, "envoy-gateway"), NAMESPACE, NAME, 4000.0)
