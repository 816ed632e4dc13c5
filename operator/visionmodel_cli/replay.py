"""A real rollout judged once more from what Prometheus holds, by the operator's own judge: same range, same verdict.

A rollout under way has everything in `status.rollout`. Of one that ended, the history keeps when and where it was
judged and a digest of its limits, which must still be those of the spec.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from visionmodel_cli.failures import Failure
from visionmodel_cli.measured import History
from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.conditions import Outcome, Reason
from visionmodel_operator.api.spec import Analysis, MetricType
from visionmodel_operator.api.status import HistoryEntry, RevisionStatus, RolloutStatus
from visionmodel_operator.api.v1alpha1 import parse_spec, parse_status
from visionmodel_operator.core import memory, names
from visionmodel_operator.core.counters import Slot, Tick, Window, tick_ends
from visionmodel_operator.core.evidence import MOST_SECONDS, MOST_TICKS
from visionmodel_operator.core.judge import (
    Harm,
    Inconclusive,
    JudgeState,
    NoData,
    Pass,
    Verdict,
    config_from_analysis,
    initial_state,
    judge,
    start_step,
    verdict_of,
)
from visionmodel_operator.core.revision import is_plan_of
from visionmodel_operator.core.snapshot import ObjectRef, Platform, Snapshot
from visionmodel_operator.errors import UserError
from visionmodel_operator.render.promql import threshold_query

VERDICT_NAMES: Final = {Pass: "Pass", Harm: "Fail", Inconclusive: "Inconclusive", NoData: "NoData"}
"""As in the answer of `judge --input`."""


@dataclass(frozen=True)
class Trial:
    """One rollout that can be judged again.

    Attributes:
        snapshot: the VisionModel as it was in that rollout, as far as a Threshold query names it.
        slot: backend slot of the revision.
        start: the judge's memory before the first tick.
        until: unix seconds of the last tick.
        recorded: the judge's memory in status; None of a rollout that ended.
        entry: how it ended; None while it is under way.
    """

    snapshot: Snapshot
    revision: str
    analysis: Analysis
    slot: int
    baseline: float
    start: JudgeState
    until: float
    recorded: JudgeState | None = None
    entry: HistoryEntry | None = None


@dataclass(frozen=True)
class Replay:
    """What judging again gave.

    Attributes:
        ticks: each with the largest log evidence of a gating metric after it.
    """

    trial: Trial
    state: JudgeState
    verdict: Verdict
    ticks: tuple[tuple[Tick, float], ...]

    @property
    def name(self) -> str:
        """Return the verdict's name."""
        return VERDICT_NAMES[type(self.verdict)]


def snapshot_of(body: Mapping[str, Any]) -> Snapshot:
    """Return what the API server has of a VisionModel, without its children and its platform: neither is judged.

    Raises:
        Failure: its spec cannot be read.
    """
    metadata = body["metadata"]
    try:
        spec = parse_spec(body["spec"])
    except UserError as error:
        raise Failure(str(error)) from error
    return Snapshot(
        ref=ObjectRef(metadata["namespace"], metadata["name"], metadata["uid"]),
        generation=metadata["generation"],
        resource_version=metadata["resourceVersion"],
        spec=spec,
        spec_error="",
        annotations={},
        status=parse_status(body.get("status")),
        platform=Platform(runtimes={}, default_runtime="", converter_image="", artifact_repository=None),
    )


def trial_of(snapshot: Snapshot, since: datetime | None, until: datetime | None) -> Trial:
    """Return the newest rollout that was judged, or the first one still judged at `since`; cut at `until`.

    Raises:
        Failure: there is none, or it is not known any more how it was judged.
    """
    trials = [*_under_way(snapshot), *(_ended(snapshot, entry) for entry in snapshot.status.history)]
    known = [trial for trial in trials if isinstance(trial, Trial)]
    if since is not None:
        known = [trial for trial in known if trial.until >= since.timestamp()][-1:]
    if not known:
        unknown = [trial for trial in trials if isinstance(trial, str) and since is None]
        raise Failure(unknown[0] if unknown else _none(snapshot, since))
    chosen = known[0]
    return chosen if until is None else replace(chosen, until=min(chosen.until, until.timestamp()))


def replayed(trial: Trial, past: History) -> Replay:
    """Judge every tick again, in parts that Prometheus answers at once. Raises Failure when it does not."""
    config, state = config_from_analysis(trial.analysis), trial.start
    interval = config.interval
    ref = trial.snapshot.ref
    window = Window(ref.namespace, names.route(ref.name), interval)
    canary, stable = Slot(trial.slot, trial.baseline), Slot(1 - trial.slot, 0.0)
    most = max(1, min(MOST_TICKS, int(MOST_SECONDS / interval)))
    seen: list[tuple[Tick, float]] = []
    while ends := tick_ends(state.started, interval, trial.until, lag=0.0, last=state.last_tick, limit=most):
        values = _values(trial, past, ends)
        for tick in past.ticks(ends, canary, stable, window, ref.name):
            state, verdict = judge(state, [tick], config, values)
            seen.append((tick, verdict.totals.evidence))
    return Replay(trial, state, verdict_of(state, config), tuple(seen))


def difference_of(replay: Replay) -> str:
    """Return how the recorded verdict differs, empty where it is the same."""
    trial, totals = replay.trial, replay.verdict.totals
    if trial.recorded is not None and replay.state.last_tick == trial.recorded.last_tick:
        then = verdict_of(trial.recorded, config_from_analysis(trial.analysis))
        pairs = [
            ("verdict", VERDICT_NAMES[type(then)], replay.name),
            ("canary requests", then.totals.canary_requests, totals.canary_requests),
            ("evidence", f"{then.totals.evidence:.6f}", f"{totals.evidence:.6f}"),
        ]
    elif trial.entry is not None and trial.until >= _end_of(trial.entry):
        was_harm = trial.entry.outcome is Outcome.ABORTED and trial.entry.reason == Reason.HARM_DETECTED
        pairs = [
            ("harm", str(was_harm), str(isinstance(replay.verdict, Harm))),
            ("canary requests", trial.entry.requests, totals.canary_requests),
            ("evidence", f"{trial.entry.evidence:.3f}", f"{totals.evidence:.3f}"),
        ]
    else:
        return ""
    return ", ".join(f"{what} recorded {then}, now {now}" for what, then, now in pairs if then != now)


def document_of(replay: Replay) -> dict[str, Any]:
    """Return the replay as JSON values."""
    trial, totals = replay.trial, replay.verdict.totals
    difference = difference_of(replay)
    return {
        "name": trial.snapshot.ref.name,
        "revision": trial.revision,
        "verdict": replay.name,
        "message": message_of(replay.verdict),
        "recorded": _recorded_document(trial),
        "same": not difference,
        "difference": difference,
        "from": _time(trial.start.started),
        "to": _time(trial.until),
        "canary": {"requests": totals.canary_requests, "errors": totals.canary_errors},
        "stable": {"requests": totals.stable_requests, "errors": totals.stable_errors},
        "threshold": totals.threshold,
        "metrics": [
            {"name": metric.name, "gating": metric.gating, "harmful": metric.harmful, "message": metric.message}
            for metric in totals.metrics
        ],
        "ticks": [_tick_document(tick, evidence) for tick, evidence in replay.ticks],
    }


def message_of(verdict: Verdict) -> str:
    """Return a verdict in words."""
    if isinstance(verdict, NoData):
        return f"No data: {verdict.reason}. Prometheus may not hold that time any more, or not this gateway."
    return verdict.message


def _under_way(snapshot: Snapshot) -> Sequence[Trial]:
    rollout = snapshot.status.rollout
    recorded = memory.judge_state(rollout) if rollout else None
    slots = memory.traffic_of(snapshot.status).slots
    if rollout is None or recorded is None or recorded.last_tick is None or rollout.baseline_at is None:
        return ()
    start = initial_state(recorded.started)
    if recorded.step_started is not None:
        start = start_step(start, recorded.step_started)
    return [
        Trial(
            snapshot,
            rollout.revision,
            Analysis.model_validate(rollout.analysis),
            slots.index(rollout.revision),
            rollout.baseline_at.timestamp(),
            start,
            recorded.last_tick,
            recorded,
        )
    ]


def _ended(snapshot: Snapshot, entry: HistoryEntry) -> Trial | str:
    """Return a rollout of the history, or why it cannot be judged again."""
    what = f"the rollout of revision {entry.revision} (attempt {entry.attempt}) cannot be judged again"
    if entry.slot is None or entry.baseline_at is None or entry.judged_to is None:
        return f"{what}: it was judged at no tick, or by an operator that did not record when"
    if snapshot.spec is None or not is_plan_of(snapshot.spec.rollout, entry.plan_digest):
        return f"{what}: the steps or the analysis of the spec were changed since, and its limits are not known"
    analysis = snapshot.spec.rollout.analysis
    baseline = entry.baseline_at.timestamp()
    rollout = RolloutStatus(
        revision=entry.revision,
        attempt=entry.attempt,
        previous=entry.previous,
        started_at=entry.started_at,
        phase_started_at=entry.started_at,
        analysis=analysis.to_wire(),
    )
    stable = RevisionStatus(revision=entry.previous) if entry.previous else None
    status = snapshot.status.model_copy(update={"rollout": rollout, "stable": stable})
    return Trial(
        replace(snapshot, status=status),
        entry.revision,
        analysis,
        entry.slot,
        baseline,
        initial_state(baseline + duration_seconds(analysis.warmup)),
        _end_of(entry),
        entry=entry,
    )


def _end_of(entry: HistoryEntry) -> float:
    """Return the last tick's end; a time in status is whole microseconds, a tick's end may lie just above."""
    assert entry.judged_to is not None
    return (entry.judged_to + timedelta(milliseconds=1)).timestamp()


def _none(snapshot: Snapshot, since: datetime | None) -> str:
    when = "" if since is None else f" at {since.isoformat()} or later"
    return f"no rollout of VisionModel {snapshot.ref.name!r} was judged{when}"


def _values(trial: Trial, past: History, ends: Sequence[float]) -> dict[float, dict[str, float | None]]:
    """Return what the queries of Threshold metrics gave at each tick."""
    thresholds = [metric for metric in trial.analysis.metrics if metric.type is MetricType.THRESHOLD]
    try:
        queries = {metric.name: threshold_query(metric, trial.snapshot) for metric in thresholds}
    except UserError as error:
        raise Failure(str(error)) from error
    if not queries:
        return {}
    return {end: dict(zip(queries, past.values(list(queries.values()), end), strict=True)) for end in ends}


def _recorded_document(trial: Trial) -> dict[str, Any]:
    if trial.entry is not None:
        entry = trial.entry
        return {
            "outcome": str(entry.outcome),
            "reason": entry.reason,
            "requests": entry.requests,
            "evidence": entry.evidence,
        }
    assert trial.recorded is not None
    then = verdict_of(trial.recorded, config_from_analysis(trial.analysis))
    return {
        "verdict": VERDICT_NAMES[type(then)],
        "requests": then.totals.canary_requests,
        "evidence": then.totals.evidence,
    }


def _tick_document(tick: Tick, evidence: float) -> dict[str, Any]:
    sides = {"canary": tick.canary, "stable": tick.stable}
    return {
        "time": _time(tick.end),
        **{
            name: None if side is None else {"requests": side.requests, "events": side.errors}
            for name, side in sides.items()
        },
        "reason": tick.reason,
        "logEvidence": evidence,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
