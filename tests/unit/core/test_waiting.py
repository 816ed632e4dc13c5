"""A rollout goes on by the spec that it began with, and says what becomes of the newer one."""

from typing import Any

import pytest

from unit.core import builders
from unit.core import scenarios as s
from unit.core.simulated_cluster import Cluster
from visionmodel_operator.api.conditions import ConditionType, Outcome
from visionmodel_operator.api.status import Condition
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.waiting import spec_on_trial, spec_to_keep

QUEUE = {"onNewRevision": "Queue"}
IMAGE_TASK: dict[str, Any] = {
    "task": {"type": "Classification", "labels": ["a", "b"], "input": {"height": 8, "width": 8}},
    "accelerators": [{"product": "NVIDIA-L4"}],
    "conversion": {"precision": "fp16"},
    "serving": {"batching": {"maxBatchSize": 4}, "pod": {"env": [{"name": "A", "value": "b"}]}},
}


def held_at_the_first_step(policy: str) -> Cluster:
    cluster = s.with_candidate(rollout={"onNewRevision": policy, "paused": True})
    cluster.advance_to("Held")
    return cluster


def pending(cluster: Cluster) -> Condition:
    found = next(c for c in cluster.recorded.conditions if c.type is ConditionType.PLAN_CHANGE_PENDING)
    return found


@pytest.mark.parametrize("sections", [{}, IMAGE_TASK, builders.TENSORRT], ids=["tensor", "image", "engines"])
def test_kept_spec_names_the_revision_that_it_was_kept_for(sections: dict[str, Any]) -> None:
    spec = builders.spec(2, rollout=QUEUE, **sections)
    cluster = s.with_candidate(rollout=QUEUE)
    cluster.advance_to("Converting")
    recorded = cluster.recorded
    assert recorded.rollout is not None
    kept = {"revision": revision_of(spec), "spec": spec_to_keep(spec), "newer": "0123456789"}
    status = recorded.model_copy(update={"rollout": recorded.rollout.model_copy(update=kept)})
    live = builders.spec(3, rollout=QUEUE, serving={"replicas": 7}, progressDeadlineSeconds=9)
    on_trial = spec_on_trial(live, status)
    assert revision_of(on_trial) == revision_of(spec)
    assert (on_trial.serving.replicas, on_trial.progress_deadline_seconds) == (7, 9)


def test_a_rollout_that_restarts_keeps_no_spec() -> None:
    rollout = s.observing().recorded.rollout
    assert rollout is not None
    assert rollout.spec == {}


def test_what_another_operator_kept_and_this_one_reads_otherwise_is_replaced() -> None:
    cluster = held_at_the_first_step("Queue")
    cluster.status["rollout"]["spec"]["model"]["digest"] = builders.source_digest(9)
    cluster.use_model(3)
    # The invariant of every pass does not hold here: nothing can go on by a spec that is not known.
    cluster.check = lambda *_: None
    cluster.advance_to(("Aborting", "Superseded"))
    assert cluster.recorded.rollout is not None
    assert cluster.recorded.rollout.newer is None


@pytest.mark.parametrize(("policy", "reason"), [("Queue", "Queued"), ("Reject", "Rejected")])
def test_condition_and_event_tell_of_the_newer_revision(policy: str, reason: str) -> None:
    cluster = held_at_the_first_step(policy)
    candidate = cluster.target
    assert pending(cluster).status == "False"
    cluster.use_model(3)
    cluster.advance(5)
    condition = pending(cluster)
    assert (condition.status, condition.reason) == ("True", reason)
    assert cluster.target in condition.message
    told = [event for event in cluster.events if event.reason == reason]
    assert [(event.message, event.warning) for event in told] == [(condition.message, policy == "Reject")]
    assert cluster.recorded.canary is not None
    assert cluster.recorded.canary.revision == candidate
    assert cluster.recorded.target_revision == cluster.target
    cluster.use_model(2)
    cluster.advance(5)
    assert pending(cluster).status == "False"


def test_the_policy_is_the_one_that_the_rollout_began_with() -> None:
    cluster = held_at_the_first_step("Queue")
    cluster.change(rollout={"onNewRevision": "Restart"})
    cluster.advance(2)
    assert (pending(cluster).status, pending(cluster).reason) == ("True", "NewRevision")
    cluster.use_model(3)
    cluster.advance(5)
    assert cluster.is_in("Held")


def test_a_refusal_is_in_the_history_while_the_spec_names_the_revision() -> None:
    cluster = held_at_the_first_step("Reject")
    cluster.use_model(3)
    cluster.advance(5)
    refused, revision = cluster.recorded.history[0], cluster.target
    assert (refused.revision, refused.outcome, refused.attempt) == (revision, Outcome.REJECTED, 1)
    assert f"visionmodel.dev/retry={revision}/1" in refused.message
    cluster.use_model(2)
    cluster.advance(5)
    assert revision not in {entry.revision for entry in cluster.recorded.history}


def test_a_queue_holds_the_newest_revision_only() -> None:
    cluster = held_at_the_first_step("Queue")
    for model in (4, 3):
        cluster.use_model(model)
        cluster.advance(5)
    newest = cluster.target
    cluster.change(rollout={"paused": False})
    cluster.advance_to(("Healthy", "Promoted"))
    cluster.advance_to("Converting")
    assert cluster.recorded.rollout is not None
    assert cluster.recorded.rollout.revision == newest
    cluster.advance_to(("Healthy", "Promoted"))
    outcomes = [(entry.revision == newest, entry.outcome) for entry in cluster.recorded.history[:2]]
    assert outcomes == [(True, Outcome.PROMOTED), (False, Outcome.PROMOTED)]


def test_replicas_of_the_live_spec_apply_to_the_rollout_that_goes_on() -> None:
    cluster = held_at_the_first_step("Queue")
    cluster.use_model(3)
    cluster.change(serving={"replicas": 4}, rollout={"paused": False})
    cluster.advance_to("Draining")
    assert cluster.recorded.stable is not None
    assert cluster.ready(cluster.recorded.stable.revision) == 4
