"""Ways into every state of a rollout, by name: the tests start from there.

Model 1 becomes stable first; model 2 is the candidate, good unless a scenario says otherwise.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from unit.core import builders
from unit.core.invariants import check_pass
from unit.core.simulated_cluster import Cluster, Model
from unit.core.simulated_world import Pool

SLO_METRICS = [{"name": "errors", "type": "ErrorRate", "sloMax": 0.05}]


def starting_point(build: Callable[[], Cluster]) -> Callable[[], Cluster]:
    """Build a state once; everybody gets a copy."""
    built = cache(build)
    return lambda: built().clone()


def new_cluster(model: int = 1, **sections: Any) -> Cluster:
    """Return a cluster with a VisionModel that was just created, checked in every pass."""
    return Cluster(builders.spec_document(model, **sections), check=check_pass)


def serving(**sections: Any) -> Cluster:
    """Return a cluster whose model 1 is stable."""
    cluster = new_cluster(1, **sections)
    cluster.advance_to("Healthy")
    cluster.advance(5)
    return cluster


def with_candidate(model: Model | None = None, **sections: Any) -> Cluster:
    """Return a cluster that was just told to use model 2."""
    cluster = serving(**sections)
    cluster.models[2] = model or Model()
    cluster.use_model(2)
    return cluster


@starting_point
def converting() -> Cluster:
    cluster = with_candidate()
    cluster.advance_to("Converting")
    return cluster


@starting_point
def awaiting_apply() -> Cluster:
    cluster = with_candidate()
    cluster.change(conversion={"autoApply": False})
    cluster.advance_to(("Held", "AwaitingApply"))
    return cluster


@starting_point
def provisioning() -> Cluster:
    cluster = with_candidate()
    cluster.advance_to("Provisioning")
    cluster.advance(1)
    return cluster


@starting_point
def without_a_device() -> Cluster:
    cluster = with_candidate(Model(devices=0), accelerators=[{"product": "NVIDIA-L4"}])
    cluster.advance_to(("Held", "NoCapacity"))
    return cluster


def on_devices(total: int, *, replicas: int = 2, when_full: str = "Wait", taken: int = 0, **sections: Any) -> Cluster:
    """Return a cluster whose model 1 is stable on some of `total` devices, `taken` being others'; model 2 is next."""
    device = {"accelerators": [{"product": "NVIDIA-L4"}], "serving": {"replicas": replicas}}
    cluster = new_cluster(1, **builders.changed({**device, "rollout": {"whenFull": when_full}}, sections))
    cluster.pool = Pool(total, taken)
    cluster.advance_to("Healthy")
    cluster.advance(5)
    cluster.models[2] = Model()
    cluster.use_model(2)
    return cluster


@starting_point
def waiting_for_a_device() -> Cluster:
    cluster = on_devices(2)
    cluster.advance_to(("Held", "NoCapacity"))
    cluster.advance(1)
    return cluster


@starting_point
def shrunk() -> Cluster:
    cluster = on_devices(2, when_full="ShrinkByOne")
    cluster.advance_to(("Progressing", "Observing"))
    return cluster


@starting_point
def exchanging() -> Cluster:
    cluster = on_devices(4, replicas=4, when_full="ShrinkByOne")
    cluster.advance_to(("Promoting", "Scaling"))
    return cluster


@starting_point
def routing() -> Cluster:
    cluster = with_candidate()
    cluster.advance_to(("Progressing", "Routing"))
    return cluster


@starting_point
def observing() -> Cluster:
    cluster = with_candidate()
    cluster.advance_to(("Progressing", "Observing"))
    cluster.advance(6)
    return cluster


HEADER_STEPS: list[builders.Document] = [
    {"setCanaryScale": {"replicas": 3}},
    {"setHeaderRoute": {"match": [{"headerName": "x-canary", "headerValue": {"exact": "1"}}]}},
    {"pause": {"duration": "10s"}},
    {"setCanaryScale": {"matchTrafficWeight": True}},
    *builders.STEPS,
]


@starting_point
def by_header() -> Cluster:
    """The canary has no share, and the requests with its header."""
    cluster = with_candidate(rollout={"steps": HEADER_STEPS})
    cluster.advance_to(("Progressing", "Observing"))
    cluster.advance(2)
    return cluster


@starting_point
def previewed() -> Cluster:
    """The new revision is at full scale, reached by those who know its header, and waits for the switch."""
    cluster = with_candidate(rollout=builders.BLUE_GREEN)
    cluster.advance_to(("Held", "Paused"))
    cluster.advance(2)
    return cluster


@starting_point
def switched() -> Cluster:
    """Nearly everybody is on the new revision, and the previous one has all its pods."""
    cluster = previewed()
    cluster.ask("promote", "/1")
    cluster.advance_to(("Progressing", "Observing"))
    cluster.advance(6)
    return cluster


@starting_point
def routing_second_step() -> Cluster:
    cluster = observing()
    cluster.advance_to(("Progressing", "Routing"))
    cluster.advance(1)
    return cluster


@starting_point
def paused() -> Cluster:
    cluster = observing()
    cluster.change(rollout={"paused": True})
    cluster.advance_to(("Held", "Paused"))
    return cluster


@starting_point
def metrics_gone() -> Cluster:
    cluster = observing()
    cluster.traffic.stop_prometheus(cluster.now.timestamp())
    cluster.advance_to(("Held", "MetricsUnavailable"))
    return cluster


@starting_point
def split_refused() -> Cluster:
    cluster = with_candidate()
    cluster.accepts_in = None
    cluster.advance_to(("Held", "SplitMismatch"))
    return cluster


@starting_point
def undecided() -> Cluster:
    cluster = with_candidate()
    cluster.traffic.rate = 0.5
    cluster.advance_to(("Held", "Inconclusive"))
    return cluster


@starting_point
def incident() -> Cluster:
    cluster = with_candidate(Model(errors=0.3), rollout={"analysis": {"metrics": SLO_METRICS}})
    cluster.models[1] = Model(errors=0.3)
    cluster.advance_to(("Held", "UpstreamIncident"))
    return cluster


@starting_point
def scaling() -> Cluster:
    cluster = with_candidate(rollout={"steps": [{"setWeight": 10}]})
    cluster.advance_to(("Promoting", "Scaling"))
    return cluster


@starting_point
def swapping() -> Cluster:
    cluster = with_candidate()
    cluster.advance_to(("Promoting", "Swapping"))
    return cluster


@starting_point
def swapped_to_zero() -> Cluster:
    cluster = swapping()
    while cluster.recorded.rollout and cluster.recorded.rollout.swap != "Zero":
        assert cluster.is_in("Promoting")
        cluster.advance(1)
    return cluster


@starting_point
def draining() -> Cluster:
    cluster = with_candidate()
    cluster.advance_to("Draining")
    return cluster


@starting_point
def promoted() -> Cluster:
    """Model 2 has just taken over from model 1."""
    cluster = draining()
    cluster.advance_to("Healthy")
    cluster.advance(5)
    return cluster


@starting_point
def rolling_back() -> Cluster:
    """Going back from model 2 to model 1, whose pods are on their way."""
    cluster = promoted()
    cluster.use_model(1)
    cluster.advance_to("RollingBack")
    cluster.advance(1)
    return cluster


@starting_point
def rolling_back_swapping() -> Cluster:
    cluster = promoted()
    cluster.use_model(1)
    cluster.advance_to(("RollingBack", "Swapping"))
    return cluster


@starting_point
def rolling_back_paused() -> Cluster:
    cluster = promoted()
    cluster.change(rollout={"paused": True})
    cluster.use_model(1)
    cluster.advance_to(("Held", "Paused"))
    return cluster


@starting_point
def rolling_back_without_a_device() -> Cluster:
    cluster = with_candidate(accelerators=[{"product": "NVIDIA-L4"}])
    cluster.advance_to("Draining")
    cluster.advance_to("Healthy")
    cluster.models[1] = Model(devices=0)
    cluster.use_model(1)
    cluster.advance_to(("Held", "NoCapacity"))
    return cluster


@starting_point
def rollback_unavailable() -> Cluster:
    cluster = promoted()
    cluster.models[1] = Model(ready_in=None)
    cluster.use_model(1)
    cluster.advance_to(("Held", "RollbackUnavailable"))
    return cluster


@starting_point
def first_not_ready() -> Cluster:
    cluster = new_cluster()
    cluster.models[1] = Model(ready_in=None)
    cluster.advance_to(("Degraded", "ProgressDeadline"))
    return cluster


ON_TRIAL: Mapping[str, Callable[[], Cluster]] = {
    "converting": converting,
    "awaiting-apply": awaiting_apply,
    "provisioning": provisioning,
    "without-a-device": without_a_device,
    "waiting-for-a-device": waiting_for_a_device,
    "shrunk": shrunk,
    "exchanging": exchanging,
    "routing": routing,
    "observing": observing,
    "by-header": by_header,
    "previewed": previewed,
    "switched": switched,
    "routing-second-step": routing_second_step,
    "paused": paused,
    "metrics-gone": metrics_gone,
    "split-refused": split_refused,
    "undecided": undecided,
    "incident": incident,
    "scaling": scaling,
    "swapping": swapping,
    "swapped-to-zero": swapped_to_zero,
}
"""Every state in which a candidate may still be turned back, with a stable revision behind it."""

ON_THE_WAY_BACK: Mapping[str, Callable[[], Cluster]] = {
    "rolling-back": rolling_back,
    "rolling-back-swapping": rolling_back_swapping,
    "rolling-back-paused": rolling_back_paused,
    "rolling-back-without-a-device": rolling_back_without_a_device,
    "rollback-unavailable": rollback_unavailable,
}
"""Every state in which model 1 is gone back to in one jump while model 2 is stable."""
