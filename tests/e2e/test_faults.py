"""What must not cost a request: the operator killed, Prometheus away, people and robots in between.

Every test runs under steady load, and no user's request may be lost.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from e2e.judgement import MONITORING, PROMETHEUS, judged_again, recorded
from e2e.scene import (
    HALF,
    INTERVAL,
    WAITING,
    Scene,
    Status,
    assert_nothing_lost,
    attempt,
    is_in,
    newest,
    pause,
    weight,
)
from visionmodel_demo.kube import wait_for
from visionmodel_demo.platform import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CORRECTION_SECONDS = 60
FOREIGN_WRITER = "some-robot"


# ---------------------------------------------------------------------------------------------- the operator dies


@pytest.mark.fault("operator killed while a step is observed and while it promotes")
def test_operator_killed_twice_in_a_good_canary(scene: Scene) -> None:
    """Once while a step is observed, its process; once while the traffic moves over, its pod."""
    stable = scene.serve()
    with scene.under_load():
        scene.model.apply(scene.document("v2"))
        scene.wait_phase("Progressing", "Observing")
        if scene.platform.is_ours:
            scene.operator.kill_process()
        else:
            scene.operator.delete_pod()
        scene.model.wait(lambda status: status.get("phase") in ("Promoting", "Draining"), what="Promoting", timeout=180)
        scene.operator.delete_pod()
        status = scene.wait_settled()
    assert newest(status) == ("Promoted", "Promoted")
    assert [entry["outcome"] for entry in status["history"]] == ["Promoted", "Promoted"]
    assert status["history"][0]["requests"] >= 20, "nothing is promoted unjudged"
    assert status["stable"]["revision"] != stable
    assert sorted(scene.weights()) == [0, 1_000_000]


@pytest.mark.fault("operator killed while a failing canary is turned back")
def test_operator_killed_while_a_failing_canary_is_turned_back(scene: Scene) -> None:
    stable = scene.serve()
    with scene.under_load(failing=True):
        scene.model.apply(scene.document("v3-failing"))
        scene.wait_phase("Aborting")
        scene.operator.delete_pod()
        status = scene.wait_settled()
    assert newest(status) == ("Aborted", "HarmDetected")
    assert (status["phase"], status["stable"]["revision"]) == ("Degraded", stable)


# ---------------------------------------------------------------------------------------------- Prometheus is away


@dataclass
class Watched:
    """What a rollout did while something was away."""

    weights: set[float] = field(default_factory=set)
    steps: set[int] = field(default_factory=set)

    def look(self, status: Status) -> None:
        """Note where the canary is."""
        if "canary" in status:
            self.weights.add(status["canary"]["weight"])
            self.steps.add(status["canary"]["step"])


@contextmanager
def without_prometheus(platform: Platform) -> Iterator[None]:
    """Prometheus stopped within the block, and back afterwards whatever happens."""
    kube = platform.kube
    kube.run("scale", f"deployment/{PROMETHEUS}", "-n", MONITORING, "--replicas=0")
    try:
        selector = f"app={PROMETHEUS}"
        wait_for(lambda: not kube.items("pods", MONITORING, selector), timeout=60, what="Prometheus to stop")
        yield
    finally:
        kube.run("scale", f"deployment/{PROMETHEUS}", "-n", MONITORING, "--replicas=1")
        kube.run("rollout", "status", f"deployment/{PROMETHEUS}", "-n", MONITORING, "--timeout=120s")


@pytest.mark.fault("Prometheus gone for several intervals")
def test_prometheus_away_holds_the_rollout_and_changes_no_evidence(scene: Scene) -> None:
    scene.serve()
    steps = (weight(50), pause("10s"), weight(60), pause())
    watched = Watched()
    with scene.under_load():
        scene.model.apply(scene.document("v2", *steps, minSamples=100, metricsGrace="1s"))
        scene.model.wait(lambda status: _used_ticks(status) > 0, what="the first evidence", timeout=120)
        with without_prometheus(scene.platform):
            held = scene.model.wait(is_in("Held", "MetricsUnavailable"), what="a hold", timeout=90, look=watched.look)
            metrics = scene.model.condition("MetricsAvailable")
            # An outage shorter than an interval costs no tick: the next scrape bridges it.
            what = "several intervals without metrics"
            scene.model.wait(lambda status: _silence(status) > 4 * INTERVAL, what=what, timeout=90, look=watched.look)
        status = scene.wait_phase("Held", "Paused")
        evidence, again = _settled_evidence(scene)
        scene.model.annotate("promote", attempt(status))
        ended = scene.wait_settled()
    assert (watched.weights, watched.steps) == ({50}, {1})
    assert held["rollout"]["hold"]["reason"] == "MetricsUnavailable"
    assert metrics["status"] == "False"
    assert evidence.skipped, "the gap must have cost ticks"
    assert evidence == again
    assert newest(ended) == ("Promoted", "Promoted")


def _used_ticks(status: Status) -> int:
    return int(status.get("rollout", {}).get("judge", {}).get("usedTicks", 0))


def _silence(status: Status) -> float:
    """Return the seconds since the end of the newest tick that was judged."""
    return time.time() - float(status["rollout"]["judge"]["lastTick"])


def _settled_evidence(scene: Scene) -> tuple[Any, Any]:
    status = scene.model.status()
    return recorded(status), judged_again(scene.platform, scene.namespace, scene.name, status)


# ---------------------------------------------------------------------------------------------- a foreign hand


@pytest.mark.fault("route edited by hand, twice")
def test_edited_route_is_put_right_at_most_once_a_minute(scene: Scene) -> None:
    scene.serve()
    with scene.under_load():
        scene.model.apply(scene.document("v2", *WAITING))
        scene.wait_phase("Held", "Paused")
        generation = scene.route()["metadata"]["generation"]
        first = _edit_and_wait(scene)
        second = _edit_and_wait(scene)
        status = scene.model.status()
        scene.model.annotate("promote", attempt(status))
        ended = scene.wait_settled()
    assert (second[0] - first[0]).total_seconds() >= CORRECTION_SECONDS
    # Two edits and two corrections: nobody wrote a third time.
    assert (first[1], second[1]) == (generation + 2, generation + 4)
    told = scene.events("RouteCorrected")
    assert [event["type"] for event in told] == ["Warning"]
    assert FOREIGN_WRITER in told[0]["message"]
    assert newest(ended) == ("Promoted", "Promoted")


def _edit_and_wait(scene: Scene) -> tuple[datetime, int]:
    """Change the weights by hand; return when that was put right, and the route's generation afterwards."""
    before = scene.model.status()["traffic"].get("correctedAt")
    edit = [
        {"op": "replace", "path": f"/spec/rules/0/backendRefs/{slot}/weight", "value": value}
        for slot, value in enumerate((300_000, 700_000))
    ]
    text = json.dumps(edit)
    scene.platform.kube.run(
        *("patch", "httproute", scene.name, "-n", scene.namespace, "--type=json", "-p", text),
        f"--field-manager={FOREIGN_WRITER}",
    )

    def is_right(status: Status) -> bool:
        traffic = status["traffic"]
        return traffic.get("correctedAt") != before and "verifiedAt" in traffic

    status = scene.model.wait(is_right, what="the route to be put right", timeout=CORRECTION_SECONDS + 30)
    assert scene.weights() == [500_000, 500_000]
    return datetime.fromisoformat(status["traffic"]["correctedAt"]), scene.route()["metadata"]["generation"]


# ---------------------------------------------------------------------------------------------- a change of mind


@pytest.mark.fault("a newer revision in the middle of a canary")
def test_newer_revision_replaces_the_one_on_trial(scene: Scene) -> None:
    scene.serve()
    with scene.under_load():
        scene.model.apply(scene.document("v2", *WAITING))
        first = scene.wait_phase("Held", "Paused")["rollout"]["revision"]
        newer = scene.document("v2", *HALF)
        newer["spec"]["serving"]["batching"]["maxBatchSize"] = 4
        scene.model.apply(newer)
        status = scene.wait_settled()
    ended = [(entry["outcome"], entry["revision"]) for entry in status["history"][:2]]
    assert ended == [("Promoted", status["stable"]["revision"]), ("Superseded", first)]
    assert status["stable"]["revision"] != first


@pytest.mark.fault("a newer revision in the middle of a canary, under Queue and Reject")
def test_newer_revision_waits_or_is_refused(scene: Scene) -> None:
    """Queue and Reject in one story: the first canary is finished while both newer revisions are named."""
    scene.serve()
    with scene.under_load():
        first = _wait_with(scene, "Queue", _with_batch(scene, 4, *HALF), "Queued")
        scene.model.annotate("promote", first)
        finished = ("Promoted", first.split("/")[0])
        scene.model.wait(lambda status: finished in _ended(status)[1:], what="the one that waited", timeout=240)
        second = _wait_with(scene, "Reject", _with_batch(scene, 2, *WAITING), "Rejected", batch=6)
        scene.model.annotate("promote", second)
        refused = scene.model.wait(is_in("Degraded", "Rejected"), what="a refusal that lasts", timeout=180)
    assert [outcome for outcome, _ in _ended(refused)] == ["Promoted", "Rejected", *["Promoted"] * 3]
    assert refused["stable"]["revision"] == second.split("/")[0]
    assert scene.model.condition("Ready")["status"] == "True"


def _ended(status: Status) -> list[tuple[str, str]]:
    return [(entry["outcome"], entry["revision"]) for entry in status["history"]]


def _with_batch(scene: Scene, size: int, *steps: Any) -> dict[str, Any]:
    document = scene.document("v2", *steps)
    document["spec"]["serving"]["batching"]["maxBatchSize"] = size
    return document


def _wait_with(scene: Scene, policy: str, newer: dict[str, Any], reason: str, *, batch: int = 8) -> str:
    """Name a newer revision while a canary waits for its promotion; return the attempt of the canary."""
    document = _with_batch(scene, batch, *WAITING)
    for each in (document, newer):
        each["spec"]["rollout"]["onNewRevision"] = policy
    scene.model.apply(document)
    asked = attempt(scene.wait_phase("Held", "Paused"))
    scene.model.apply(newer)
    wait_for(
        lambda: scene.model.condition("PlanChangePending")["reason"] == reason, timeout=60, what=f"reason {reason}"
    )
    status = scene.model.status()
    assert (status["phase"], attempt(status)) == ("Held", asked)
    return asked


@pytest.mark.fault("the spec returns to stable in the middle of a canary")
def test_return_to_the_stable_revision_ends_the_canary(scene: Scene) -> None:
    stable = scene.serve()
    with scene.under_load():
        scene.model.apply(scene.document("v2", *WAITING))
        canary = scene.wait_phase("Held", "Paused")["rollout"]["revision"]
        scene.model.apply(scene.document("v1", *WAITING))
        status = scene.wait_settled()
    assert newest(status) == ("Aborted", "Reverted")
    assert (status["phase"], status["stable"]["revision"]) == ("Healthy", stable)
    # The rollout ends when nothing asks for its pods any more; that they go is the Deployment controller's work.
    wait_for(lambda: not scene.pods(canary), timeout=60, what=f"the pods of {canary} to go")


@pytest.mark.fault("aborted by annotation, retried, promoted")
def test_abort_by_annotation_and_retry(scene: Scene) -> None:
    stable = scene.serve()
    with scene.under_load():
        scene.model.apply(scene.document("v2", *WAITING))
        asked = attempt(scene.wait_phase("Held", "Paused"))
        scene.model.annotate("abort", asked)
        aborted = scene.wait_settled()
        scene.model.annotate("retry", asked)
        again = scene.wait_phase("Held", "Paused")
        # The stale abort names the first attempt and must not touch the second.
        scene.model.annotate("promote", attempt(again))
        promoted = scene.wait_settled()
    assert newest(aborted) == ("Aborted", "User")
    assert (aborted["phase"], aborted["stable"]["revision"]) == ("Degraded", stable)
    assert attempt(again) == asked.removesuffix("/1") + "/2"
    assert newest(promoted) == ("Promoted", "Promoted")


@pytest.mark.fault("paused by annotation and by plan")
def test_pauses_hold_until_somebody_promotes(scene: Scene) -> None:
    """A pause by annotation, then the plan's own; a promotion meant for another attempt moves nothing."""
    scene.serve()
    with scene.under_load():
        scene.model.annotate("pause", "true")
        scene.model.apply(scene.document("v2", *WAITING))
        paused = scene.wait_phase("Held", "Paused")
        scene.model.annotate("promote", f"{paused['rollout']['revision']}/9")
        scene.platform.kube.run("annotate", "visionmodel", scene.name, "-n", scene.namespace, "visionmodel.dev/pause-")
        planned = scene.model.wait(
            lambda status: is_in("Held", "Paused")(status) and "waits for promotion" in status["message"],
            what="the plan's pause",
            timeout=120,
        )
        step = f"{attempt(planned)}/1"
        assert step in planned["message"]
        scene.model.annotate("promote", step)
        ended = scene.wait_settled()
    assert "annotation" in paused["message"]
    assert planned["consumedActions"] == []
    assert ended["consumedActions"] == [f"promote={step}"]
    assert newest(ended) == ("Promoted", "Promoted")


@pytest.mark.fault("deleted in the middle of a canary")
def test_deletion_in_the_middle_of_a_canary_leaves_nothing(scene: Scene) -> None:
    scene.serve()
    with scene.load() as load:
        scene.model.apply(scene.document("v2", *WAITING))
        scene.wait_phase("Held", "Paused")
        assert scene.children() != []
        until = load.elapsed()
        scene.platform.kube.delete("visionmodel", scene.name, scene.namespace)
    scene.reports.append(load.report(until=until))
    # A quick cluster is in the middle of the canary after a few seconds of load.
    assert_nothing_lost(scene.reports[-1], least=50)
    wait_for(lambda: not scene.children(), timeout=60, what="the children to go", last=lambda: str(scene.children()))
    assert scene.model.read() == {}
