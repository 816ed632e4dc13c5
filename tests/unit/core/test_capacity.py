"""Where a canary's devices come from: chosen before its first pod, given back, never waited for in a ring."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unit.core import scenarios as s
from unit.core import walks
from unit.core.invariants import check_pass
from unit.core.simulated_cluster import Cluster, Model
from unit.core.simulated_world import Pool
from visionmodel_operator.api.capacity import CapacityStatus
from visionmodel_operator.core import capacity, names
from visionmodel_operator.core.devices import DeviceCount
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.rollout import decide
from visionmodel_operator.core.view import View

NO_CAPACITY = ("Held", "NoCapacity")
PROMOTED = ("Healthy", "Promoted")


def chosen(cluster: Cluster) -> CapacityStatus | None:
    rollout = cluster.recorded.rollout
    return None if rollout is None else rollout.capacity


def pods(cluster: Cluster) -> tuple[int, int]:
    """Return the pods that stable and the candidate are to have."""
    recorded = cluster.recorded
    assert recorded.stable is not None
    assert recorded.rollout is not None
    candidate = cluster.workloads.get(recorded.rollout.revision)
    return cluster.workloads[recorded.stable.revision].replicas, 0 if candidate is None else candidate.replicas


def test_the_choice_is_written_before_the_first_pod() -> None:
    cluster = s.on_devices(4, when_full="ShrinkByOne")
    cluster.advance_to("Provisioning")
    assert chosen(cluster) is None
    cluster.run_pass()
    assert chosen(cluster) is not None
    assert cluster.target not in cluster.workloads, "the pass that chooses does nothing else"
    assert cluster.status["message"] == "Waiting for its pods. Beside stable: 2 NVIDIA-L4, 2 free of 4."


@pytest.mark.parametrize(
    ("total", "when_full", "choice"),
    [(4, "Wait", "Surge"), (3, "Wait", "Surge"), (4, "ShrinkByOne", "Surge"), (3, "ShrinkByOne", "ShrinkByOne")],
)
def test_what_fits_is_rolled_out(total: int, when_full: str, choice: str) -> None:
    cluster = s.on_devices(total, when_full=when_full)
    cluster.advance_to("Progressing")
    found = chosen(cluster)
    assert found is not None
    assert found.choice == choice
    assert pods(cluster) == (2, 1), "stable gives nothing before it must"


def test_without_devices_the_rollout_waits_by_numbers_with_its_pods_pending() -> None:
    cluster = s.waiting_for_a_device()
    cluster.advance(2)
    assert cluster.status["message"] == (
        "Needs 1 NVIDIA-L4, 0 free of 2. Stable gives no pod (rollout.whenFull: Wait)."
    )
    assert pods(cluster) == (2, 1), "an autoscaler sees the pod that waits"
    assert cluster.pool is not None
    cluster.pool.total = 4
    cluster.advance_to("Progressing", limit=20)
    found = chosen(cluster)
    assert found is not None
    assert (found.choice, found.message) == ("Surge", "Beside stable: 2 NVIDIA-L4, 2 free of 4.")
    cluster.advance_to(PROMOTED)


def test_numbers_that_change_are_told_while_it_waits() -> None:
    cluster = s.waiting_for_a_device()
    assert cluster.pool is not None
    cluster.pool.total, cluster.pool.others = 5, 3
    cluster.advance(12)
    assert cluster.is_in(NO_CAPACITY)
    assert cluster.status["message"].startswith("Needs 1 NVIDIA-L4, 0 free of 5.")


def test_waiting_ends_by_the_deadline_with_the_numbers() -> None:
    cluster = s.waiting_for_a_device()
    cluster.advance_to(("Degraded", "ProgressDeadline"), limit=70)
    assert cluster.status["message"].startswith("Not ready within 60 s. Needs 1 NVIDIA-L4, 0 free of 2.")
    assert pods_of_stable(cluster) == 2


def pods_of_stable(cluster: Cluster) -> int:
    assert cluster.recorded.stable is not None
    return cluster.ready(cluster.recorded.stable.revision)


def test_a_waiting_rollout_takes_up_another_wish() -> None:
    cluster = s.waiting_for_a_device()
    cluster.change(rollout={"whenFull": "ShrinkByOne"})
    cluster.advance_to(PROMOTED)
    cluster.advance(5)
    assert pods_of_stable(cluster) == 2


def test_a_choice_other_than_waiting_is_kept() -> None:
    cluster = s.shrunk()
    before = chosen(cluster)
    cluster.change(rollout={"whenFull": "Wait"})
    assert cluster.pool is not None
    cluster.pool.total = 9
    cluster.advance(12)
    assert chosen(cluster) == before
    cluster.advance_to(PROMOTED)


def test_stable_gives_one_pod_for_the_steps_and_the_others_for_the_promotion() -> None:
    cluster = s.on_devices(4, replicas=4, when_full="ShrinkByOne")
    seen: list[tuple[tuple[int, int], int]] = []
    while not cluster.is_in("Draining"):
        cluster.advance(1)
        if not cluster.is_in("Progressing", "Promoting"):
            continue
        assert cluster.recorded.traffic is not None
        now = (pods(cluster), cluster.recorded.traffic.weights_ppm[1])
        seen += [now] if now not in seen else []
    assert seen == [
        ((3, 1), 1),
        ((3, 1), 100_000),
        ((3, 1), 250_000),  # the plan says 50 %, which one pod of four does not carry
        ((2, 2), 250_000),
        ((2, 2), 500_000),
        ((1, 3), 500_000),
        ((1, 3), 750_000),
        ((1, 3), 999_999),
        ((1, 3), 1_000_000),
    ]
    cluster.advance_to(PROMOTED)
    cluster.advance(6)
    assert pods_of_stable(cluster) == 4


@pytest.mark.parametrize("start", [s.shrunk, s.exchanging], ids=["in a step", "while promoted"])
@pytest.mark.parametrize("end", [walks.ask("abort"), walks.crash, walks.suspend, walks.supersede, walks.revert])
def test_stable_is_made_whole_as_soon_as_the_canary_is_turned_back(start: Any, end: Any) -> None:
    cluster = start()
    full = cluster.spec.serving.replicas
    assert pods(cluster)[0] < full
    end(cluster)
    cluster.advance_to("Aborting")
    cluster.advance(1)
    assert pods(cluster)[0] == full, "it asks for its pods before the canary's are gone"


def test_harm_gives_everything_back() -> None:
    cluster = s.on_devices(2, when_full="ShrinkByOne")
    cluster.models[2] = Model(errors=0.4)
    cluster.advance_to(("Degraded", "HarmDetected"))
    cluster.advance(6)
    assert pods_of_stable(cluster) == 2


OBSTACLES: dict[str, tuple[Any, str]] = {
    "another product": (
        lambda c: c.change(accelerators=[{"product": "NVIDIA-L4", "count": 2}]),
        "Stable gives no pod: revision {stable} runs on other devices.",
    ),
    "stable is not whole": (
        lambda c: c.crash_one(),
        "Stable gives no pod while 1 of its 2 are ready.",
    ),
    "no Gateway API": (
        lambda c: setattr(c, "platform", replace(c.platform, route_kinds=())),
        "Stable gives no pod, because the cluster serves no Gateway API.",
    ),
}


class _Cluster(Cluster):
    def crash_one(self) -> None:
        """Let one pod of stable fall out of service."""
        assert self.recorded.stable is not None
        self.workloads[self.recorded.stable.revision].pods[0].ready_at = None


@pytest.mark.parametrize(("happens", "said"), OBSTACLES.values(), ids=OBSTACLES.keys())
def test_what_keeps_stable_from_giving(happens: Any, said: str) -> None:
    cluster = s.on_devices(2, when_full="ShrinkByOne")
    cluster.__class__ = _Cluster
    happens(cluster)
    cluster.advance_to(NO_CAPACITY)
    assert cluster.recorded.stable is not None
    assert cluster.status["message"].endswith(said.format(stable=cluster.recorded.stable.revision))


def test_a_revision_of_an_older_operator_gives_nothing() -> None:
    cluster = s.on_devices(2, when_full="ShrinkByOne")
    cluster.advance_to("Provisioning")
    snapshot = replace(cluster.snapshot(), devices=DeviceCount())
    assert snapshot.status.stable is not None
    stable = snapshot.status.stable.revision
    workload = snapshot.workloads[stable]
    config = {key: text for key, text in workload.config.items() if key != names.SPEC_FILE}
    workloads = {**snapshot.workloads, stable: replace(workload, config=config)}
    decision = decide(replace(snapshot, workloads=workloads), cluster.now)
    assert decision.status.message == (
        f"Needs 1 NVIDIA-L4, 0 free of 0. Stable gives no pod: revision {stable} runs on other devices."
    )


def test_without_a_count_it_tries_and_says_so() -> None:
    cluster = s.without_a_device()
    found = chosen(cluster)
    assert found is not None
    assert (found.choice, found.message) == (
        "Uncounted",
        "Free devices are not counted (nobody counts); the rollout holds if its pods find none.",
    )
    assert "find no free nvidia.com/gpu" in cluster.status["message"]


def test_a_rollout_that_an_older_operator_began_goes_on_without_a_choice() -> None:
    cluster = s.on_devices(4)
    cluster.models[2].ready_in = None
    cluster.advance_to("Provisioning")
    cluster.advance(3)
    del cluster.status["rollout"]["capacity"]
    cluster.models[2].ready_in = 4.0
    for pod in cluster.workloads[cluster.target].pods:
        pod.ready_at = cluster.now
    cluster.advance_to("Progressing")
    assert chosen(cluster) is None


def test_nothing_is_counted_where_nothing_is_chosen_by_it() -> None:
    for cluster in (s.serving(), s.observing(), s.shrunk(), s.exchanging(), s.provisioning()):
        assert capacity.resources_to_count(cluster.snapshot()) == frozenset()
    assert capacity.resources_to_count(s.waiting_for_a_device().snapshot()) == {"nvidia.com/gpu"}


def test_pods_on_their_way_out_are_no_lack() -> None:
    cluster = s.shrunk()
    snapshot = cluster.snapshot()
    assert snapshot.spec is not None
    assert snapshot.status.stable is not None
    stable = snapshot.status.stable.revision
    leaving = replace(snapshot.pods[stable][0], name="leaving", terminating=True)
    pictures = [snapshot, replace(snapshot, pods={**snapshot.pods, stable: (*snapshot.pods[stable], leaving)})]
    views = [View(seen, snapshot.spec, snapshot.status, revision_of(snapshot.spec), cluster.now) for seen in pictures]
    assert [capacity.is_room_being_made(view) for view in views] == [False, True]


def test_a_gateway_that_is_taken_away_stops_the_exchange() -> None:
    cluster = s.exchanging()
    cluster.change(traffic={"gatewayRefs": []})
    cluster.advance_to(("Degraded", "ProgressDeadline"), limit=120)
    assert "nothing splits the traffic any more" in cluster.status["message"]
    cluster.advance(6)
    assert pods_of_stable(cluster) == 4


def test_stable_that_is_not_well_gives_no_further_pod() -> None:
    cluster = s.exchanging()
    assert cluster.recorded.stable is not None
    for pod in cluster.workloads[cluster.recorded.stable.revision].pods:
        pod.ready_at = None
    before = chosen(cluster)
    cluster.advance(30)
    after = chosen(cluster)
    assert before is not None
    assert after is not None
    assert after.pods is not None
    assert before.pods is not None
    assert after.pods <= before.pods + 1
    cluster.advance_to(("Degraded", "ProgressDeadline"), limit=120)
    assert "stable's own are not ready" in cluster.status["message"]


# two rollouts and others on the same devices


def two_rollouts(total: int, others: int, wishes: tuple[str, str], replicas: tuple[int, int]) -> tuple[Cluster, ...]:
    """Return two VisionModels that serve model 1 on a node they share, and are both told to use model 2."""
    pool = Pool(total)
    clusters = []
    for name, wish, number in zip("ab", wishes, replicas, strict=True):
        device = {"accelerators": [{"product": "NVIDIA-L4"}], "serving": {"replicas": number}}
        cluster = s.new_cluster(1, rollout={"whenFull": wish}, **device)
        cluster.name, cluster.pool, cluster.check = name, pool, check_pass
        cluster.advance_to("Healthy")
        cluster.models[2] = Model()
        clusters.append(cluster)
    pool.others = others
    for cluster in clusters:
        cluster.use_model(2)
    return tuple(clusters)


wishes = st.sampled_from(["Wait", "ShrinkByOne"])


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    wanted=st.tuples(wishes, wishes),
    replicas=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    spare=st.integers(0, 3),
    taken=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    lag=st.integers(0, 20),
)
def test_two_rollouts_on_the_same_devices_never_wait_for_each_other(
    wanted: tuple[str, str], replicas: tuple[int, int], spare: int, taken: list[int], lag: int
) -> None:
    total = sum(replicas) + spare
    first, second = two_rollouts(total, 0, wanted, replicas)
    pool = first.pool
    assert pool is not None
    first.advance(lag)
    for others in taken:  # other pods come whenever a device is free, and go
        pool.others = max(0, min(others, total - len(pool.placed)))
        for _ in range(40):
            first.advance(1)
            second.advance(1)
    pool.others = 0
    for _ in range(150):
        first.advance(1)
        second.advance(1)
    for cluster, number in zip((first, second), replicas, strict=True):
        assert cluster.is_in(PROMOTED, "Degraded", ("Healthy", "Serving")), json.dumps(cluster.status)[:400]
        assert cluster.recorded.rollout is None
        assert pods_of_stable(cluster) == number
