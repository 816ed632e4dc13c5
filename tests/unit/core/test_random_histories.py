"""Random histories of one VisionModel: whatever happens, in any order, every pass keeps its promises.

The promises are in `invariants.check_pass`; the table of transitions is checked here, and that everything comes to
rest, with a reason, once the outside is well again. Histories begin in the middle of a rollout, because a search
that begins with a new object hardly ever gets there. VISIONMODEL_HISTORIES=<number> searches that many that nobody
saw before; without it they are always the same.
"""

import os
import random
from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from unit.core import builders, mishaps, scenarios, walks
from unit.core.simulated_cluster import Cluster
from unit.core.transition_table import rows_of_the_slice
from visionmodel_operator.core import memory

ROWS = rows_of_the_slice()
SETTLED_AFTER = 8
"""Passes at one instant: status tells of effects one pass later, and a few moves may be due."""

MOST_EFFECTS = 6
WAITS = [0, 1, 3, 8, 20, 70]
PHASES = ["Provisioning", "Progressing", "Promoting", "Draining", "Aborting", "RollingBack", "Healthy"]
RESTING = ("Healthy", "Degraded", "Suspended")
STARTS: Mapping[str, Callable[[], Cluster]] = {
    **scenarios.ON_TRIAL,
    **scenarios.ON_THE_WAY_BACK,
    "promoted": scenarios.promoted,
    "window-closed": lambda: scenarios.with_candidate(rollbackWindow={"revisions": 0}),
    "created": lambda: scenarios.new_cluster(1),
    "serving": scenarios.serving,
    "unpinned": lambda: scenarios.with_candidate(pinned=False),
    "without-a-gateway": lambda: scenarios.with_candidate(gateway=False),
    "blue-green": lambda: scenarios.with_candidate(rollout=builders.BLUE_GREEN),
    "blue-green-without-a-gateway": lambda: scenarios.with_candidate(gateway=False, rollout=builders.BLUE_GREEN),
    "one-replica": lambda: scenarios.with_candidate(serving={"replicas": 1}),
    "no-history-kept": lambda: scenarios.with_candidate(revisionHistoryLimit=0),
    "draining": scenarios.draining,
    "aborting": walks.aborting(walks.ask("abort")),
    "first-not-ready": scenarios.first_not_ready,
    "turned-back": walks.turned_back,
    "not-converted": walks.not_converted,
    "not-built": walks.not_built,
    "with-engines": lambda: scenarios.with_candidate(**builders.TENSORRT),
    "suspended": walks.suspended,
    "queue": lambda: scenarios.with_candidate(rollout={"onNewRevision": "Queue"}),
    "reject": lambda: scenarios.with_candidate(rollout={"onNewRevision": "Reject"}),
}


class History:
    """One VisionModel, its cluster, its people and its mishaps."""

    def __init__(self, start: str) -> None:
        self.cluster: Cluster = STARTS[start]()
        self.cluster.models = {**mishaps.MODELS, **self.cluster.models}

    def something_happens(self, mishap: str, seconds: int) -> None:
        mishaps.MISHAPS[mishap](self.cluster)
        self.cluster.advance(seconds)
        self.check_rest()

    def time_passes_until(self, phase: str) -> None:
        for _ in range(100):
            if self.cluster.is_in(phase):
                return
            self.cluster.advance(1)

    def the_operator_restarts(self, mishap: str, effects: int) -> None:
        mishaps.PEOPLE[mishap](self.cluster)
        self.cluster.run_pass(killed_after=effects)
        self.cluster.settle()

    # promises over more than one pass

    def check_rest(self) -> None:
        """With nothing changing and no time passing, passes soon change nothing."""
        twin = self.cluster.clone()
        for _ in range(SETTLED_AFTER):
            twin.run_pass()
        status, objects = twin.status, twin.clone().objects()
        twin.run_pass()
        assert twin.status == status, "the status comes to rest"
        assert twin.objects() == objects, "the effects come to rest"

    def end(self) -> None:
        """Let the outside be well, and see that all comes to rest."""
        cluster = self.cluster
        unknown = {move for move in cluster.transitions if not any(row.allows(*move) for row in ROWS)}
        assert not unknown, "the table of transitions is complete"
        self.mend()
        cluster.advance(300)
        self.finish()
        assert cluster.is_in(*RESTING), f"{cluster.state}: {cluster.status['message']}"
        assert cluster.recorded.rollout is None or cluster.recorded.stable is None
        self.check_served()

    def mend(self) -> None:
        """Make the outside well, and take back what people asked for."""
        cluster = self.cluster
        cluster.accepts_in, cluster.traffic.rate = 1.0, 20.0
        cluster.traffic.start_prometheus(cluster.now.timestamp())
        cluster.models[1].ready_in = 4.0
        mishaps.ready_again(cluster)
        mishaps.devices(None)(cluster)
        if cluster.pool is not None:
            cluster.pool.total, cluster.pool.others = 100, 0
        cluster.annotations.clear()
        cluster.change(suspend=False, rollout={"paused": False}, conversion={"autoApply": True})

    def finish(self) -> None:
        """Decide what is left to people: a hold that only they end."""
        for _ in range(4):
            if self.cluster.is_in(*RESTING):
                return
            if self.cluster.is_in("Held"):
                self.cluster.ask("promote")
            self.cluster.advance(150)

    def check_served(self) -> None:
        """At rest, all traffic is on stable, and nothing else runs."""
        cluster, recorded = self.cluster, self.cluster.recorded
        if recorded.stable is None:
            return
        stable = recorded.stable.revision
        assert memory.share_of(recorded, stable) == 1_000_000
        assert cluster.front == stable
        assert not cluster.spec.traffic.gateway_refs or cluster.traffic.split.get(stable) == 1_000_000
        assert {revision for revision, workload in cluster.workloads.items() if workload.replicas} == {stable}
        assert cluster.ready(stable) == cluster.workloads[stable].replicas
        assert not [name for name, job in cluster.jobs.items() if job.finished is None]


class Histories(RuleBasedStateMachine):
    """Hypothesis chooses, and makes what fails short."""

    @initialize(start=st.sampled_from(sorted(STARTS)))
    def begin(self, start: str) -> None:
        self.history = History(start)

    @rule(mishap=st.sampled_from(sorted(mishaps.MISHAPS)), seconds=st.sampled_from(WAITS))
    def something_happens(self, mishap: str, seconds: int) -> None:
        self.history.something_happens(mishap, seconds)

    @rule(phase=st.sampled_from(PHASES))
    def time_passes_until(self, phase: str) -> None:
        self.history.time_passes_until(phase)

    @rule(mishap=st.sampled_from(sorted(mishaps.PEOPLE)), effects=st.integers(0, MOST_EFFECTS))
    def the_operator_restarts(self, mishap: str, effects: int) -> None:
        self.history.the_operator_restarts(mishap, effects)

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.end()


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=int(os.environ.get("VISIONMODEL_HISTORIES", "40")),
    stateful_step_count=12,
    deadline=None,
    derandomize="VISIONMODEL_HISTORIES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.parametrize("seed", range(int(os.environ.get("VISIONMODEL_HISTORIES", "40"))))
def test_long_history(seed: int) -> None:
    """Every mishap is as likely as every other here, so these go further than what Hypothesis prefers."""
    chance = random.Random(seed)
    history = History(chance.choice(sorted(STARTS)))
    for _ in range(20):
        match chance.choices(["mishap", "time", "restart"], weights=[6, 2, 1])[0]:
            case "mishap":
                history.something_happens(chance.choice(sorted(mishaps.MISHAPS)), chance.choice(WAITS))
            case "time":
                history.time_passes_until(chance.choice(PHASES))
            case _:
                history.the_operator_restarts(chance.choice(sorted(mishaps.PEOPLE)), chance.randint(0, MOST_EFFECTS))
    history.end()
