"""Every row of docs/rollout-table.md is walked, and nothing happens that is not in it."""

from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from unit.core import builders, scenarios, walks
from unit.core.scenarios import ON_THE_WAY_BACK, ON_TRIAL
from unit.core.simulated_cluster import Cluster, State
from unit.core.transition_table import rows_of_the_slice
from unit.core.walk_table import WALKS
from unit.core.walks import Walk
from visionmodel_operator.core.revision import revision_of

Seen = Counter[tuple[State, State]]
ROWS = rows_of_the_slice()

ENDS: Mapping[str, tuple[Callable[[Cluster], object], State]] = {
    "user": (walks.ask("abort"), ("Degraded", "User")),
    "reverted": (walks.revert, ("Healthy", "Serving")),
    "superseded": (walks.supersede, ("Converting", "NewRevision")),
    "suspended": (walks.suspend, ("Suspended", "Suspended")),
    "crashes": (walks.crash, ("Degraded", "CanaryUnhealthy")),
}


def unexplained(cluster: Cluster) -> set[tuple[State, State]]:
    return {move for move in cluster.transitions if not any(row.allows(*move) for row in ROWS)}


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_walk_ends_as_the_table_says(walk: Walk, seen: Seen) -> None:
    cluster = walk.start()
    walk.then(cluster)
    cluster.advance_to(walk.end, limit=walk.seconds)
    if walk.end[0] in ("Healthy", "Degraded", "Suspended"):
        cluster.advance(120)
        assert cluster.state == walk.end, "it stays there"
    seen.update(cluster.transitions)
    assert not unexplained(cluster)


@pytest.mark.parametrize("end", ENDS, ids=ENDS.keys())
@pytest.mark.parametrize("state", ON_TRIAL, ids=ON_TRIAL.keys())
def test_every_candidate_can_be_turned_back(state: str, end: str, seen: Seen) -> None:
    if end == "crashes" and state in ("converting", "awaiting-apply"):
        pytest.skip("there are no pods yet")
    cluster = ON_TRIAL[state]()
    stable = cluster.recorded.stable
    assert stable is not None
    happens, expected = ENDS[end]
    happens(cluster)
    cluster.advance_to("Aborting", limit=12)
    cluster.accepts_in = 1.0
    cluster.advance_to(expected, limit=120)
    seen.update(cluster.transitions)
    assert not unexplained(cluster)
    recorded = cluster.recorded
    assert recorded.stable is not None
    assert recorded.stable.revision == stable.revision
    assert cluster.traffic.split.get(stable.revision) == 1_000_000
    assert cluster.front == stable.revision


BACK_ENDS: Mapping[str, tuple[Callable[[Cluster], object], State]] = {
    **ENDS,
    "reverted": (walks.to_model(2), ("Healthy", "Serving")),
}


@pytest.mark.parametrize("end", BACK_ENDS, ids=BACK_ENDS.keys())
@pytest.mark.parametrize("state", ON_THE_WAY_BACK, ids=ON_THE_WAY_BACK.keys())
def test_every_move_back_can_be_turned_back(state: str, end: str, seen: Seen) -> None:
    cluster = ON_THE_WAY_BACK[state]()
    if end == "superseded" and cluster.is_in("RollingBack"):
        pytest.skip("it is finished first")
    happens, expected = BACK_ENDS[end]
    happens(cluster)
    cluster.advance_to("Aborting", limit=12)
    cluster.advance_to(expected, limit=120)
    seen.update(cluster.transitions)
    assert not unexplained(cluster)
    stable = builders.spec(2, **({"accelerators": [{"product": "NVIDIA-L4"}]} if "device" in state else {}))
    assert cluster.traffic.split.get(revision_of(stable)) == 1_000_000
    assert cluster.front == revision_of(stable)


@pytest.mark.parametrize("state", ["draining", "first-not-ready"])
def test_a_state_outside_the_trial_ignores_an_abort_that_is_not_meant_for_it(state: str, seen: Seen) -> None:
    cluster = {"draining": scenarios.draining, "first-not-ready": scenarios.first_not_ready}[state]()
    before = cluster.recorded.rollout
    assert before is not None
    cluster.annotate("abort", f"{before.revision}/{before.attempt + 1}")
    cluster.advance(100)
    seen.update(cluster.transitions)
    assert cluster.recorded.failed_revision is None
    assert cluster.recorded.consumed_actions == []


def test_every_row_is_reached(seen: Seen, request: pytest.FixtureRequest) -> None:
    mine = [item for item in request.session.items if item.path == request.path]
    if len(mine) < len(WALKS) + (len(ON_TRIAL) + len(ON_THE_WAY_BACK)) * len(ENDS) + 3:
        pytest.skip("only a part of the walks was selected")
    missed = [row.text for row in ROWS if not any(row.allows(*move) for move in seen)]
    assert not missed
