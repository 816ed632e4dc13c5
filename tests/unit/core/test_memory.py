"""Moves on the status, one by one, as whole values."""

from dataclasses import replace
from datetime import timedelta

import pytest

from unit.core import builders
from visionmodel_operator.api.conditions import Outcome, Phase, Reason
from visionmodel_operator.api.spec import OnNewRevision
from visionmodel_operator.api.status import (
    ConversionStatus,
    DrainStatus,
    HistoryEntry,
    HoldStatus,
    KnownRevision,
    PlanStep,
    RevisionStatus,
    RolloutStatus,
    SwapStage,
    TrafficStatus,
    VisionModelStatus,
)
from visionmodel_operator.core import memory
from visionmodel_operator.core.judge_state import initial_state, state_to_dict
from visionmodel_operator.core.weights import TRACE, WHOLE

NOW = builders.START
LATER = NOW + timedelta(seconds=90)
PLAN = (PlanStep(weight_ppm=100_000, min_seconds=15), PlanStep(weight_ppm=500_000, min_seconds=15))
ANALYSIS = builders.spec().rollout.analysis.to_wire()
FROZEN = memory.Frozen(PLAN, "digest", ANALYSIS, OnNewRevision.RESTART, {})
STABLE = RevisionStatus(revision="a", since=NOW)


def on_trial(**fields: object) -> VisionModelStatus:
    """Revision b on trial against a, which is stable and has all the traffic."""
    begun = memory.begin(VisionModelStatus(stable=STABLE), "b", 1, FROZEN, NOW)
    split = TrafficStatus(slots=["a", "b"], weights_ppm=[900_000, 100_000], changed_at=NOW, verified_at=NOW)
    return memory.with_rollout(begun.model_copy(update={"traffic": split}), **fields)


def entry(revision: str, outcome: Outcome, reason: Reason, attempt: int = 1) -> HistoryEntry:
    return HistoryEntry(
        revision=revision, attempt=attempt, outcome=outcome, reason=reason, started_at=NOW, finished_at=NOW
    )


def test_begin_freezes_the_plan_and_forgets_the_last_failure() -> None:
    before = VisionModelStatus(
        stable=STABLE, failed_revision="x", failed_attempt=3, revisions=[KnownRevision(revision="a")]
    )
    assert memory.begin(before, "b", 2, FROZEN, NOW) == VisionModelStatus(
        stable=STABLE,
        phase=Phase.CONVERTING,
        reason="NewRevision",
        message="Revision b begins.",
        target_revision="b",
        conversion=ConversionStatus(revision="b", started_at=NOW),
        revisions=[KnownRevision(revision="b", last_served_at=NOW), KnownRevision(revision="a")],
        rollout=RolloutStatus(
            revision="b",
            attempt=2,
            previous="a",
            started_at=NOW,
            phase_started_at=NOW,
            plan=list(PLAN),
            plan_digest="digest",
            analysis=ANALYSIS,
        ),
    )


def test_known_revisions_stay_within_the_bound_of_the_crd() -> None:
    status = VisionModelStatus()
    for number in range(100):
        status = memory.begin(status, str(number), 1, FROZEN, NOW)
    assert [known.revision for known in status.revisions] == [str(number) for number in range(99, 39, -1)]


def test_a_revision_that_may_have_traffic_stays_known() -> None:
    kept = [KnownRevision(revision=one, artifact_key=f"of {one}") for one in ("a", "s")]
    split = TrafficStatus(slots=["a", "s"], weights_ppm=[WHOLE, 0], changed_at=NOW)
    status = VisionModelStatus(stable=STABLE, traffic=split, revisions=kept)
    for number in range(100):
        status = memory.begin(status, str(number), 1, FROZEN, NOW)
    assert [known.revision for known in status.revisions] == [str(number) for number in range(99, 41, -1)] + ["a", "s"]
    assert status.revisions[-2:] == kept


def test_long_messages_are_cut_to_the_bounds_of_the_crd() -> None:
    held = memory.hold(on_trial(), Reason.SPLIT_MISMATCH, "x" * 9000, NOW)
    assert held.rollout is not None
    assert held.rollout.hold == HoldStatus(reason="SplitMismatch", message="x" * 1024, since=NOW)
    assert held.message == "x" * 4096
    back = memory.turn_back(on_trial(), Reason.HARM_DETECTED, "x" * 9000, NOW)
    assert back.rollout is not None
    assert back.rollout.ended_message == back.message == "x" * 4096
    assert len(memory.fail(back, Outcome.ABORTED, Reason.USER, "x" * 9000, NOW).history[0].message) == 2048


def test_converted_records_the_key_with_its_revision() -> None:
    after = memory.converted(on_trial(), ConversionStatus(revision="b", key="k", started_at=NOW))
    assert after.conversion == ConversionStatus(revision="b", key="k", started_at=NOW)
    assert after.revisions == [KnownRevision(revision="b", artifact_key="k", last_served_at=NOW)]


RESUMED = {
    "paused-time-counts": (Reason.PAUSED, NOW),
    "time-of-another-split-does-not": (Reason.SPLIT_MISMATCH, LATER),
    "time-without-metrics-does-not": (Reason.METRICS_UNAVAILABLE, LATER),
    "time-of-an-incident-does-not": (Reason.UPSTREAM_INCIDENT, LATER),
}


@pytest.mark.parametrize(("reason", "started"), RESUMED.values(), ids=RESUMED.keys())
def test_resume(reason: Reason, started: object) -> None:
    held = memory.hold(on_trial(step_started_at=NOW), reason, "why", NOW)
    resumed = memory.resume(held, LATER)
    expected = on_trial(step_started_at=started, phase_started_at=LATER)
    assert resumed == memory.evolve(expected, Phase.PROGRESSING, Reason.OBSERVING, "Step 1 of 2.")


def test_resume_before_the_step_was_observed_routes() -> None:
    resumed = memory.resume(memory.hold(on_trial(), Reason.PAUSED, "why", NOW), LATER)
    assert (resumed.phase, resumed.reason) == (Phase.PROGRESSING, Reason.ROUTING)


def test_turn_back_leaves_a_trace_first() -> None:
    back = memory.turn_back(on_trial(drain=DrainStatus(finished=1)), Reason.USER, "asked", LATER)
    split = TrafficStatus(slots=["a", "b"], weights_ppm=[WHOLE - TRACE, TRACE], changed_at=LATER)
    ended = on_trial(ended="User", ended_message="asked", swap=SwapStage.LEAVING, phase_started_at=LATER)
    assert back == memory.evolve(ended.model_copy(update={"traffic": split}), Phase.ABORTING, Reason.USER, "asked")
    gone = memory.zero_share(back, "b", LATER)
    assert memory.traffic_of(gone).weights_ppm == [WHOLE, 0]
    assert gone.rollout is not None
    assert gone.rollout.swap is SwapStage.ZERO


def test_turn_back_without_a_share_is_at_its_end() -> None:
    begun = memory.begin(VisionModelStatus(stable=STABLE), "b", 1, FROZEN, NOW)
    back = memory.turn_back(begun, Reason.REVERTED, "back", LATER)
    expected = memory.with_rollout(
        begun, ended="Reverted", ended_message="back", swap=SwapStage.DRAINED, phase_started_at=LATER
    )
    assert back == memory.evolve(expected, Phase.ABORTING, Reason.REVERTED, "back")


def test_fail_remembers_the_attempt() -> None:
    failed = memory.fail(on_trial(), Outcome.ABORTED, Reason.HARM_DETECTED, "worse", LATER)
    assert (failed.phase, failed.reason, failed.message) == (Phase.DEGRADED, "HarmDetected", "worse")
    assert (failed.failed_revision, failed.failed_attempt, failed.rollout) == ("b", 1, None)
    assert failed.history == [
        HistoryEntry(
            revision="b",
            attempt=1,
            outcome=Outcome.ABORTED,
            reason="HarmDetected",
            message="worse",
            started_at=NOW,
            finished_at=LATER,
            previous="a",
        )
    ]


FAILURES = {
    "none": ([], None),
    "turned-back": ([entry("b", Outcome.ABORTED, Reason.HARM_DETECTED)], 0),
    "by-the-user": ([entry("b", Outcome.ABORTED, Reason.USER)], 0),
    "reverted-is-no-failure": ([entry("b", Outcome.ABORTED, Reason.REVERTED)], None),
    "suspended-is-no-failure": ([entry("b", Outcome.ABORTED, Reason.SUSPENDED)], None),
    "superseded-is-no-failure": ([entry("b", Outcome.SUPERSEDED, Reason.SUPERSEDED)], None),
    "conversion-is-tried-again": ([entry("b", Outcome.CONVERSION_FAILED, Reason.CONVERSION_FAILED)], None),
    "another-revision": ([entry("c", Outcome.ABORTED, Reason.USER)], None),
    "behind-another-revision": (
        [entry("c", Outcome.PROMOTED, Reason.PROMOTED), entry("b", Outcome.ABORTED, Reason.USER, 2)],
        1,
    ),
    "promoted-since": (
        [entry("b", Outcome.PROMOTED, Reason.PROMOTED, 2), entry("b", Outcome.ABORTED, Reason.USER)],
        None,
    ),
}


@pytest.mark.parametrize(("history", "index"), FAILURES.values(), ids=FAILURES.keys())
def test_failure_of(history: list[HistoryEntry], index: int | None) -> None:
    expected = None if index is None else history[index]
    assert memory.failure_of(VisionModelStatus(history=history), "b") == expected


def test_a_rollout_that_was_judged_leaves_what_it_takes_to_judge_it_again() -> None:
    judged = replace(initial_state(NOW.timestamp()), last_tick=LATER.timestamp())
    trial = on_trial(judge=state_to_dict(judged), baseline_at=NOW, plan_digest="abc")
    (entry,) = memory.finish(trial, Outcome.PROMOTED, Reason.PROMOTED, "", LATER).history
    assert (entry.slot, entry.baseline_at, entry.judged_to, entry.plan_digest) == (1, NOW, LATER, "abc")
    gone = trial.model_copy(update={"traffic": None})
    assert memory.finish(gone, Outcome.PROMOTED, Reason.PROMOTED, "", LATER).history[0].slot is None
