"""Requests that reach the canary by a header: alone, beside a share, and never by a rule that is half there."""

from collections.abc import Callable

import pytest

from unit.core import scenarios, walks
from unit.core.simulated_cluster import Cluster
from visionmodel_operator.api.spec import HeaderMatch
from visionmodel_operator.api.status import HeaderRouteStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.header_route import in_words, next_header_route
from visionmodel_operator.core.weights import WHOLE

BETA = HeaderMatch.model_validate({"headerName": "x-canary", "headerValue": {"exact": "1"}})
GAMMA = HeaderMatch.model_validate({"headerName": "x-team", "headerValue": {"exact": "vision"}})
IN_FORCE = HeaderRouteStatus(revision="b", match=[BETA])
PARKED = HeaderRouteStatus(revision="b", match=[BETA], parked=True)

WRITES = {
    "nothing wanted, nothing there": (None, (), None),
    "comes parked": (None, (BETA,), PARKED),
    "then in force": (PARKED, (BETA,), IN_FORCE),
    "stays": (IN_FORCE, (BETA,), IN_FORCE),
    "other headers at once": (IN_FORCE, (GAMMA,), HeaderRouteStatus(revision="b", match=[GAMMA])),
    "leaves parked": (IN_FORCE, (), PARKED),
    "then is gone": (PARKED, (), None),
    "another revision comes parked": (
        HeaderRouteStatus(revision="a", match=[BETA]),
        (BETA,),
        PARKED,
    ),
}


@pytest.mark.parametrize(("recorded", "wanted", "expected"), WRITES.values(), ids=WRITES.keys())
def test_next_write(
    recorded: HeaderRouteStatus | None, wanted: tuple[HeaderMatch, ...], expected: HeaderRouteStatus | None
) -> None:
    assert next_header_route(recorded, "b", wanted) == expected


def test_in_words() -> None:
    assert in_words([BETA, GAMMA]) == "x-canary=1 or x-team=vision"


def test_a_header_reaches_a_canary_that_has_no_share() -> None:
    cluster = scenarios.by_header()
    rollout, stable = cluster.recorded.rollout, cluster.recorded.stable
    assert rollout is not None
    assert stable is not None
    assert cluster.traffic.by_header == rollout.revision
    assert cluster.traffic.split == {stable.revision: WHOLE, rollout.revision: 0}
    assert rollout.judge == {}, "nothing of it is evidence"
    assert str(cluster.status["message"]).startswith("Step 1 of 3 at 0 % and for x-canary=1: waiting until 2026-01-01 ")


def test_it_stays_beside_a_share_and_goes_with_the_promotion() -> None:
    cluster = scenarios.by_header()
    cluster.advance_to(("Progressing", "Routing"))
    cluster.advance_to(("Progressing", "Observing"))
    revision = cluster.recorded.rollout.revision if cluster.recorded.rollout else ""
    assert (cluster.traffic.by_header, cluster.traffic.split[revision]) == (revision, 100_000)
    cluster.advance_to(walks.PROMOTED)
    assert cluster.traffic.by_header is None
    assert cluster.recorded.traffic is not None
    assert cluster.recorded.traffic.header_route is None
    assert cluster.route is not None
    assert len(cluster.route.manifest["spec"]["rules"]) == 1


ENDS: dict[str, Callable[[Cluster], object]] = {
    "abort": walks.ask("abort"),
    "crash": walks.crash,
    "revert": walks.revert,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_turning_back_takes_it_away_before_the_pods(end: Callable[[Cluster], object]) -> None:
    """The cluster's invariants see to the order; a canary without a share has its drain too, and never gets one."""
    cluster = scenarios.by_header()
    end(cluster)
    cluster.advance_to("Aborting", limit=12)
    revision = cluster.recorded.rollout.revision if cluster.recorded.rollout else ""
    shares = {memory.share_of(cluster.recorded, revision)}
    while not cluster.is_in("Degraded", "Healthy"):
        assert cluster.is_in("Aborting")
        cluster.advance(1)
        shares.add(memory.share_of(cluster.recorded, revision))
    cluster.advance(1)
    assert shares == {0}, "no user is led to what is turned back"
    assert cluster.traffic.by_header is None
    assert revision not in [r for r, w in cluster.workloads.items() if w.replicas]


def test_pods_follow_the_plan_up_and_down() -> None:
    cluster = scenarios.by_header()
    revision = cluster.recorded.rollout.revision if cluster.recorded.rollout else ""
    assert cluster.workloads[revision].replicas == 3
    cluster.advance_to(("Progressing", "Routing"))
    cluster.accepts_in = 3.0
    cluster.advance(2)
    assert cluster.is_in("Progressing", "Routing")
    assert cluster.workloads[revision].replicas == 3, "until its share is in force"
    cluster.advance_to(("Progressing", "Observing"))
    cluster.advance(1)
    assert cluster.workloads[revision].replicas == 1
    cluster.advance_to(walks.PROMOTED)
    assert cluster.workloads[revision].replicas == 2


def test_less_than_a_percent_is_shown_as_it_is() -> None:
    cluster = scenarios.with_candidate(rollout={"steps": [{"setWeight": 0.05}, {"pause": {}}]})
    cluster.traffic.rate = 20_000
    cluster.advance_to(("Progressing", "Observing"))
    canary = cluster.recorded.canary
    assert canary is not None
    assert canary.weight == 0.05
    assert str(cluster.status["message"]).startswith("Step 1 of 1 at 0.05 %: ")
