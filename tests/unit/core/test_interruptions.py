"""The operator may be killed after any effect of any pass; what comes out is the same.

Each story is told once undisturbed; then killed once right after an effect that changed something and started again,
for every such effect in a situation that no earlier story had; then with every single pass killed after n effects.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from unit.core import builders, walks
from unit.core.simulated_cluster import Cluster, Model, State
from visionmodel_contract.exits import ExitCode
from visionmodel_operator.core.rollout import Decision, decide

ALWAYS_KILLED_AFTER = (0, 1, 2, 4, 6)
"""Effects; few passes of these stories have more."""

Situation = tuple[object, ...]


@dataclass
class Interrupted(Cluster):
    """A cluster whose operator is killed by plan.

    Attributes:
        kill_all_after: effects after which every pass is killed once before it is run to its end.
        kill_at: effect, counted over the whole story, after which the operator is killed once.
        changing: the effects that changed something, counted the same way, with the situation they happened in.
    """

    kill_all_after: int | None = None
    kill_at: int | None = None
    effects_seen: int = 0
    changing: list[tuple[int, Situation]] = field(default_factory=list)

    def run_pass(self, killed_after: int | None = None) -> Decision:
        if self.kill_all_after is not None:
            super().run_pass(self.kill_all_after)
        if self.kill_at is None:
            self._note_changes()
            return super().run_pass(killed_after)
        before, self.effects_seen = self.effects_seen, self.effects_seen + self.effects_due()
        if before < self.kill_at <= self.effects_seen:
            super().run_pass(self.kill_at - before)
        return super().run_pass(killed_after)

    def _note_changes(self) -> None:
        twin = Cluster(**{name: getattr(self, name) for name in Cluster.__dataclass_fields__}).clone()
        for number, effect in enumerate(twin.effects_now(), start=1):
            before = twin.clone().objects()
            effect()
            if twin.objects() != before:
                self.changing.append((self.effects_seen + number, self._situation(number)))
        self.effects_seen += self.effects_due()

    def _situation(self, effect: int) -> Situation:
        rollout = self.recorded.rollout
        where = None if rollout is None else (rollout.step, rollout.swap, rollout.ended, rollout.drain is None)
        actions = tuple(type(action).__name__ for action in decide(self.snapshot(), self.now).actions)
        return (self.state, where, actions, effect)

    def clone(self) -> "Interrupted":
        fresh = super().clone()
        fresh.changing = list(self.changing)
        return fresh

    def effects_due(self) -> int:
        return len(self.effects_now())


def gates_edited(cluster: Cluster) -> None:
    cluster.advance_to("Converting")
    cluster.advance(1)
    parity = {"metrics": [{"name": "cosine", "goal": "threshold", "value": 0.5}]}
    cluster.change(conversion={"gates": {"parity": parity}})


def outage(cluster: Cluster) -> None:
    cluster.advance_to(("Progressing", "Observing"))
    cluster.traffic.stop_prometheus(cluster.now.timestamp())
    cluster.advance(60)
    cluster.traffic.start_prometheus(cluster.now.timestamp())


def at(*states: State | str, do: Callable[[Cluster], object]) -> Callable[[Cluster], None]:
    def run(cluster: Cluster) -> None:
        cluster.advance_to(*states)
        do(cluster)

    return run


OBSERVING = ("Progressing", "Observing")
STORIES: Mapping[str, tuple[Model, Callable[[Cluster], object], State]] = {
    "promoted": (Model(), walks.nothing, walks.PROMOTED),
    "errors": (Model(errors=0.4), walks.nothing, walks.HARM),
    "latency": (Model(latency_ms=200.0), walks.nothing, walks.HARM),
    "superseded": (Model(), at(OBSERVING, do=walks.supersede), walks.PROMOTED),
    "reverted": (Model(), at(OBSERVING, do=walks.revert), walks.SERVING),
    "aborted-while-promoting": (Model(), at("Promoting", do=walks.ask("abort")), ("Degraded", "User")),
    "aborted-while-swapping": (
        Model(),
        at(("Promoting", "Swapping"), do=walks.ask("abort")),
        ("Degraded", "User"),
    ),
    "outage": (Model(), outage, walks.PROMOTED),
    "conversion-failed": (Model(exit_code=ExitCode.INVALID_MODEL), walks.nothing, ("Degraded", "ConversionFailed")),
    "conversion-retried": (
        Model(exit_code=ExitCode.INVALID_MODEL),
        at("Degraded", do=walks.at_once(lambda c: c.models.clear(), walks.ask("retry"))),
        walks.PROMOTED,
    ),
    "gate-failed": (Model(exit_code=ExitCode.GATE_FAILED), walks.nothing, ("Degraded", "ConversionFailed")),
    "gates-edited": (Model(), gates_edited, walks.PROMOTED),
    "suspended-and-resumed": (
        Model(),
        at(OBSERVING, do=walks.at_once(walks.suspend, walks.until("Suspended"), walks.resume)),
        walks.PROMOTED,
    ),
    "progress-deadline": (Model(ready_in=None), walks.nothing, ("Degraded", "ProgressDeadline")),
    "crash-loop": (Model(), at(OBSERVING, do=walks.crash), ("Degraded", "CanaryUnhealthy")),
    "retried": (
        Model(errors=0.4),
        at(walks.HARM, do=walks.at_once(lambda c: c.models.clear(), walks.ask("retry"))),
        walks.PROMOTED,
    ),
    "back": (Model(), at(walks.PROMOTED, do=walks.revert), walks.ROLLED_BACK),
    "back-aborted": (
        Model(),
        at(
            walks.PROMOTED, do=walks.at_once(walks.revert, walks.until(("RollingBack", "Swapping")), walks.ask("abort"))
        ),
        ("Degraded", "User"),
    ),
    "route-stolen": (Model(), at(OBSERVING, do=lambda c: c.steal_route((500_000, 500_000))), walks.PROMOTED),
}


@cache
def healthy() -> Interrupted:
    cluster = Interrupted(builders.spec_document(1))
    cluster.advance_to("Healthy")
    return cluster


def told(story: str, **plan: Any) -> Interrupted:
    cluster = replace_plan(healthy(), **plan)
    model, then, end = STORIES[story]
    cluster.models[2] = model
    cluster.use_model(2)
    then(cluster)
    return ended(cluster, end)


def told_from_the_start(**plan: Any) -> Interrupted:
    return ended(Interrupted(builders.spec_document(1), **plan), walks.SERVING)


def told_with_engines(**plan: Any) -> Interrupted:
    return ended(Interrupted(builders.spec_document(1, **builders.TENSORRT), **plan), walks.SERVING)


@cache
def healthy_with_engines() -> Interrupted:
    cluster = Interrupted(builders.spec_document(1, **builders.TENSORRT))
    cluster.advance_to("Healthy")
    return cluster


def told_after_the_store_was_left(**plan: Any) -> Interrupted:
    cluster = replace_plan(healthy_with_engines(), **plan)
    walks.leave_store(cluster)
    walks.other_accelerators(cluster)
    return ended(cluster, walks.PROMOTED)


def replace_plan(cluster: Interrupted, **plan: Any) -> Interrupted:
    fresh = cluster.clone()
    fresh.effects_seen, fresh.changing = 0, []
    for name, value in plan.items():
        setattr(fresh, name, value)
    return fresh


def ended(cluster: Interrupted, end: State) -> Interrupted:
    cluster.advance_to(end)
    cluster.advance(5)
    assert cluster.state == end
    return cluster


def outcome(cluster: Cluster) -> object:
    """What people would call the result: all but times, counts of evidence and names of pods."""
    recorded = cluster.recorded
    stable = recorded.stable
    return {
        "state": cluster.state,
        "stable": stable and (stable.revision, stable.weight, stable.ready_replicas),
        "traffic": recorded.traffic and (recorded.traffic.slots, recorded.traffic.weights_ppm),
        "history": [(e.revision, e.attempt, e.outcome, e.reason) for e in recorded.history],
        "failed": (recorded.failed_revision, recorded.failed_attempt),
        "consumed": recorded.consumed_actions,
        "conditions": [(c.type, c.status, c.reason) for c in recorded.conditions],
        "workloads": {r: (w.stored, w.exists, w.replicas, len(w.pods)) for r, w in cluster.workloads.items()},
        "jobs": (sorted(cluster.jobs), cluster.jobs_started),
        "artifacts": cluster.artifacts,
        "route": cluster.route and (cluster.route.slots, cluster.route.weights_ppm, cluster.route.foreign),
        "split": cluster.traffic.split,
        "front": cluster.front,
        "budgets": cluster.budgets,
    }


@pytest.fixture(scope="module")
def killed_in() -> set[Situation]:
    """Situations in which the operator was killed by an earlier story."""
    return set()


def interruptions(undisturbed: Interrupted, killed_in: set[Situation]) -> Iterator[dict[str, int]]:
    yield from ({"kill_all_after": effects} for effects in ALWAYS_KILLED_AFTER)
    yield from ({"kill_at": effect} for effect, situation in undisturbed.changing if situation not in killed_in)
    killed_in.update(situation for _, situation in undisturbed.changing)


@pytest.mark.parametrize("story", STORIES, ids=STORIES.keys())
def test_interrupted_anywhere_it_ends_the_same(story: str, killed_in: set[Situation]) -> None:
    check_interruptions(lambda **plan: told(story, **plan), killed_in)


def test_interrupted_anywhere_the_first_revision_comes_up_the_same(killed_in: set[Situation]) -> None:
    check_interruptions(told_from_the_start, killed_in)


def test_interrupted_anywhere_its_engines_are_built_the_same(killed_in: set[Situation]) -> None:
    check_interruptions(told_with_engines, killed_in)


def test_interrupted_anywhere_an_artifact_is_prepared_again_once(killed_in: set[Situation]) -> None:
    check_interruptions(told_after_the_store_was_left, killed_in)


def check_interruptions(tell: Callable[..., Interrupted], killed_in: set[Situation]) -> None:
    undisturbed = tell()
    expected = outcome(undisturbed)
    assert undisturbed.changing, "something was done"
    for plan in interruptions(undisturbed, killed_in):
        assert outcome(tell(**plan)) == expected, plan
