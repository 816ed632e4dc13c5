"""Which evidence is due, and what it adds to the recorded judgement."""

from dataclasses import dataclass

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.conditions import Phase
from visionmodel_operator.core import memory, names
from visionmodel_operator.core.counters import Slot, Window, tick_ends
from visionmodel_operator.core.judge import Verdict, config_from_analysis, judge, verdict_of
from visionmodel_operator.core.judge_state import state_to_dict
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.core.view import View

MOST_TICKS = 500
MOST_SECONDS = 3600.0
"""What one pass judges at most: an answer of Prometheus stays small, however much piled up while nothing was judged."""
JUDGED_PHASES = frozenset({Phase.PROGRESSING, Phase.HELD, Phase.PROMOTING})


@dataclass(frozen=True)
class EvidenceRequest:
    """The ticks that may be judged now, and where their counters are.

    Attributes:
        ends: unix seconds, oldest first.
    """

    ends: tuple[float, ...]
    canary: Slot
    stable: Slot
    window: Window


def evidence_due(snapshot: Snapshot, now: float) -> EvidenceRequest | None:
    """Return what to fetch from Prometheus at `now` (unix seconds), None when nothing is due."""
    status = snapshot.status
    rollout = status.rollout
    if rollout is None or status.phase not in JUDGED_PHASES or rollout.swap is not None:
        return None
    state, traffic = memory.judge_state(rollout), memory.traffic_of(status)
    if state is None or rollout.baseline_at is None or rollout.revision not in traffic.slots:
        return None
    if memory.share_of(status, rollout.revision) == 0:
        return None
    interval = duration_seconds(str(rollout.analysis["interval"]))
    most = max(1, min(MOST_TICKS, int(MOST_SECONDS / interval)))
    ends = tick_ends(state.started, interval, now, last=state.last_tick, limit=most)
    if not ends:
        return None
    canary = traffic.slots.index(rollout.revision)
    return EvidenceRequest(
        ends=ends,
        canary=Slot(canary, rollout.baseline_at.timestamp()),
        stable=Slot(1 - canary, 0.0),
        window=Window(snapshot.ref.namespace, names.route(snapshot.ref.name), interval),
    )


def judged(view: View) -> tuple[View, Verdict | None]:
    """Return the view with this pass's ticks added to the evidence, and the verdict; None before any traffic."""
    rollout = view.rollout
    state = memory.judge_state(rollout)
    if state is None or view.status.phase not in JUDGED_PHASES:
        return view, None
    config = config_from_analysis(view.analysis)
    found = view.snapshot.evidence
    if found is None or not found.ticks:
        return view, verdict_of(state, config)
    after, verdict = judge(state, found.ticks, config, found.values)
    return view.at(memory.with_rollout(view.status, judge=state_to_dict(after))), verdict
