"""Random histories of one VisionModel: whatever happens, in any order, every pass keeps its promises.

VISIONMODEL_HISTORIES=<number> searches that many histories that nobody saw before; without it they are always the
same. The promises are in `invariants.check_pass`; the table of transitions is checked here, and that everything comes to
rest, with a reason, once the outside is well again.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from unit.core import builders
from unit.core.invariants import check_pass
from unit.core.simulated_cluster import Cluster, Model
from unit.core.transition_table import rows_of_the_slice
from visionmodel_contract.exits import ExitCode
from visionmodel_operator.core import memory

ROWS = rows_of_the_slice()

MODELS = {
    1: Model(),
    2: Model(),
    3: Model(errors=0.4),
    4: Model(exit_code=ExitCode.GATE_FAILED),
    5: Model(latency_ms=300.0, ready_in=20.0),
    6: Model(ready_in=None),
}
PLANS = [
    builders.STEPS,
    [{"setWeight": 30}],
    [{"setWeight": 20}, {"pause": {}}, {"setWeight": 100}],
    [{"pause": {"duration": "5s"}}, {"setWeight": 50}],
    [],
]
SETTLED_AFTER = 8
RESTING = ("Healthy", "Degraded", "Suspended")


class Histories(RuleBasedStateMachine):
    """One VisionModel, its cluster, its people and its mishaps."""

    @initialize(replicas=st.sampled_from([1, 2, 3]), plan=st.sampled_from(PLANS), pinned=st.booleans())
    def create(self, replicas: int, plan: list[builders.Document], pinned: bool) -> None:
        document = builders.spec_document(1, pinned=pinned, serving={"replicas": replicas}, rollout={"steps": plan})
        self.cluster = Cluster(document, check=check_pass)
        self.cluster.models = dict(MODELS)

    # time

    @rule(seconds=st.sampled_from([1, 3, 5, 10, 30, 70]))
    def pass_time(self, seconds: int) -> None:
        self.cluster.advance(seconds)
        self.check_rest()

    @rule(phase=st.sampled_from(["Progressing", "Promoting", "Draining", "Aborting", "Healthy", "Held"]))
    def pass_time_until(self, phase: str) -> None:
        for _ in range(120):
            if self.cluster.is_in(phase):
                return
            self.cluster.advance(1)

    @rule(effects=st.integers(0, 6))
    def restart_in_the_middle(self, effects: int) -> None:
        self.cluster.run_pass(killed_after=effects)
        self.cluster.settle()

    # people

    @rule(model=st.sampled_from(sorted(MODELS)))
    def use_model(self, model: int) -> None:
        self.cluster.use_model(model)

    @rule()
    def revert_to_stable(self) -> None:
        stable = self.cluster.recorded.stable
        if stable is not None:
            self.cluster.use_model(self.cluster.numbers[stable.revision])

    @rule(plan=st.sampled_from(PLANS))
    def edit_plan(self, plan: list[builders.Document]) -> None:
        self.cluster.change(rollout={"steps": plan})

    @rule(replicas=st.sampled_from([1, 2, 4]))
    def scale(self, replicas: int) -> None:
        self.cluster.change(serving={"replicas": replicas})

    @rule(is_suspended=st.booleans())
    def suspend(self, is_suspended: bool) -> None:
        self.cluster.change(suspend=is_suspended)

    @rule(is_paused=st.booleans())
    def pause(self, is_paused: bool) -> None:
        self.cluster.change(rollout={"paused": is_paused})

    @rule(is_paused=st.booleans())
    def pause_by_annotation(self, is_paused: bool) -> None:
        self.cluster.annotate("pause", "true" if is_paused else None)

    @rule(is_applied=st.booleans())
    def auto_apply(self, is_applied: bool) -> None:
        self.cluster.change(conversion={"autoApply": is_applied})

    @rule(limit=st.sampled_from([0.5, 0.9]))
    def edit_gates(self, limit: float) -> None:
        metric = {"name": "cosine", "goal": "threshold", "value": limit}
        self.cluster.change(conversion={"gates": {"parity": {"metrics": [metric]}}})

    @rule(verb=st.sampled_from(["promote", "abort", "retry"]))
    def ask(self, verb: str) -> None:
        self.cluster.ask(verb)

    @rule(step=st.integers(1, 3))
    def promote_step(self, step: int) -> None:
        self.cluster.ask("promote", f"/{step}")

    @rule(verb=st.sampled_from(["promote", "abort", "retry"]), value=st.sampled_from(["x/1", "", "a/b/c", "²/1", "//"]))
    def ask_nonsense(self, verb: str, value: str) -> None:
        self.cluster.annotate(verb, value)

    @rule(verb=st.sampled_from(["promote", "abort", "retry"]))
    def remove_annotation(self, verb: str) -> None:
        self.cluster.annotate(verb, None)

    # mishaps

    @rule(is_scraped=st.booleans())
    def prometheus(self, is_scraped: bool) -> None:
        now = self.cluster.now.timestamp()
        if is_scraped:
            self.cluster.traffic.start_prometheus(now)
        else:
            self.cluster.traffic.stop_prometheus(now)

    @rule(accepts_in=st.sampled_from([0.0, 1.0, 5.0, None]))
    def gateway(self, accepts_in: float | None) -> None:
        self.cluster.accepts_in = accepts_in

    @rule(first=st.integers(0, 1_000_000))
    def steal_route(self, first: int) -> None:
        route = self.cluster.route
        if route is not None:
            weights = (1_000_000,) if len(route.slots) == 1 else (first, 1_000_000 - first)
            self.cluster.steal_route(weights)

    @rule()
    def lose_route(self) -> None:
        self.cluster.lose_route()

    @precondition(lambda self: self.cluster.workloads)
    @rule(data=st.data(), times=st.integers(1, 5))
    def crash(self, data: st.DataObject, times: int) -> None:
        self.cluster.crash(data.draw(st.sampled_from(sorted(self.cluster.workloads))), times)

    @precondition(lambda self: self.cluster.workloads)
    @rule(data=st.data())
    def lose_deployment(self, data: st.DataObject) -> None:
        self.cluster.lose_deployment(data.draw(st.sampled_from(sorted(self.cluster.workloads))))

    @rule()
    def lose_jobs(self) -> None:
        self.cluster.jobs.clear()

    @rule()
    def lose_artifacts(self) -> None:
        self.cluster.artifacts.clear()

    @rule(rate=st.sampled_from([0.0, 0.5, 20.0]))
    def traffic(self, rate: float) -> None:
        self.cluster.traffic.rate = rate

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

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        cluster = self.cluster
        unknown = {move for move in cluster.transitions if not any(row.allows(*move) for row in ROWS)}
        assert not unknown, "the table of transitions is complete"
        self.mend()
        cluster.advance(400)
        self.finish()
        assert cluster.is_in(*RESTING), f"{cluster.state}: {cluster.status['message']}"
        assert cluster.recorded.rollout is None or cluster.recorded.stable is None
        self.check_served()

    def mend(self) -> None:
        """Make the outside well, and take back what people asked for."""
        cluster = self.cluster
        cluster.accepts_in, cluster.traffic.rate = 1.0, 20.0
        cluster.traffic.start_prometheus(cluster.now.timestamp())
        cluster.annotations.clear()
        cluster.change(suspend=False, rollout={"paused": False}, conversion={"autoApply": True})

    def finish(self) -> None:
        """Decide what is left to people: a hold that only they end."""
        for _ in range(4):
            if self.cluster.state in (("Held", "Inconclusive"), ("Held", "Paused")):
                self.cluster.ask("promote")
            self.cluster.advance(200)

    def check_served(self) -> None:
        """At rest, all traffic is on stable and nothing else runs."""
        cluster, recorded = self.cluster, self.cluster.recorded
        if recorded.stable is None or recorded.phase is None:
            return
        stable = recorded.stable.revision
        assert memory.share_of(recorded, stable) == 1_000_000
        assert cluster.traffic.split.get(stable) == 1_000_000
        assert cluster.front == stable
        assert {r for r, w in cluster.workloads.items() if w.replicas} == {stable}
        assert not [name for name, job in cluster.jobs.items() if job.finished is None]


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=int(os.environ.get("VISIONMODEL_HISTORIES", "40")),
    stateful_step_count=30,
    deadline=None,
    derandomize="VISIONMODEL_HISTORIES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
