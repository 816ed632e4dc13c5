"""Moves of people and mishaps, and the states that walks start from; the walks themselves are in `walk_table`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from unit.core import builders
from unit.core import scenarios as s
from unit.core.simulated_cluster import Cluster, Model, State
from visionmodel_contract.exits import ExitCode
from visionmodel_operator.core.actions import ScaleRevision

HARMFUL = Model(errors=0.4)


@dataclass(frozen=True)
class Walk:
    """From `start`, `then`, and within `seconds` the VisionModel is in `end`."""

    start: Callable[[], Cluster]
    then: Callable[[Cluster], object]
    end: State
    seconds: float = 200.0


def nothing(cluster: Cluster) -> None:
    """Only let time pass."""


def fresh(**sections: Any) -> Callable[[], Cluster]:
    return lambda: s.new_cluster(**sections)


def candidate(model: Model | None = None, **sections: Any) -> Callable[[], Cluster]:
    return lambda: s.with_candidate(model, **sections)


def suspend(cluster: Cluster) -> None:
    cluster.change(suspend=True)


def resume(cluster: Cluster) -> None:
    cluster.change(suspend=False)


def revert(cluster: Cluster) -> None:
    cluster.use_model(1)


def supersede(cluster: Cluster) -> None:
    cluster.use_model(3)


def contest(cluster: Cluster) -> None:
    """Let another writer change the route once, and again as soon as that was put right."""
    cluster.steal_route((700_000, 300_000))
    cluster.advance(3)
    cluster.steal_route((700_000, 300_000))


def crash(cluster: Cluster) -> None:
    assert cluster.recorded.rollout is not None
    cluster.crash(cluster.recorded.rollout.revision, times=4)


def lose_stable(cluster: Cluster) -> None:
    assert cluster.recorded.stable is not None
    workload = cluster.workloads[cluster.recorded.stable.revision]
    for pod in workload.pods:
        pod.ready_at = None


def mend_stable(cluster: Cluster) -> None:
    assert cluster.recorded.stable is not None
    for pod in cluster.workloads[cluster.recorded.stable.revision].pods:
        pod.ready_at = cluster.now


def after(*moves: Callable[[Cluster], object]) -> Callable[[Cluster], None]:
    """One thing after the other, with two seconds in between."""

    def run(cluster: Cluster) -> None:
        for move in moves:
            move(cluster)
            cluster.advance(2)

    return run


def at_once(*moves: Callable[[Cluster], object]) -> Callable[[Cluster], None]:
    """One thing after the other, without a pass in between unless one of them waits."""

    def run(cluster: Cluster) -> None:
        for move in moves:
            move(cluster)

    return run


def models(**behaviour: Model) -> Callable[[Cluster], None]:
    """Models behave like this from now on: model_2=Model(...)."""
    return lambda cluster: cluster.models.update({int(name[-1]): model for name, model in behaviour.items()})


def rate(requests: float) -> Callable[[Cluster], None]:
    def run(cluster: Cluster) -> None:
        cluster.traffic.rate = requests

    return run


def replicas(number: int) -> Callable[[Cluster], None]:
    return lambda cluster: cluster.change(serving={"replicas": number})


def until(*states: State | str) -> Callable[[Cluster], None]:
    return lambda cluster: cluster.advance_to(*states)


@s.starting_point
def turned_back() -> Cluster:
    cluster = s.with_candidate(HARMFUL)
    cluster.advance_to(("Degraded", "HarmDetected"))
    cluster.advance(5)
    return cluster


@s.starting_point
def not_converted() -> Cluster:
    cluster = s.with_candidate(Model(exit_code=ExitCode.INVALID_MODEL))
    cluster.advance_to(("Degraded", "ConversionFailed"))
    cluster.advance(5)
    return cluster


@s.starting_point
def not_built() -> Cluster:
    cluster = s.with_candidate(Model(build_exit_code=ExitCode.ENGINE_REFUSED), **builders.TENSORRT)
    cluster.advance_to(("Degraded", "ConversionFailed"))
    cluster.advance(5)
    return cluster


@s.starting_point
def suspended() -> Cluster:
    cluster = s.serving()
    suspend(cluster)
    cluster.advance_to("Suspended")
    cluster.advance(5)
    return cluster


@s.starting_point
def starting_again() -> Cluster:
    cluster = suspended()
    resume(cluster)
    cluster.advance_to("Pending")
    return cluster


@s.starting_point
def stable_down() -> Cluster:
    cluster = s.serving()
    lose_stable(cluster)
    cluster.advance_to(("Degraded", "StableUnavailable"))
    return cluster


@s.starting_point
def first_not_routed() -> Cluster:
    cluster = s.new_cluster()
    refuse_routes(cluster)
    cluster.advance_to(ROUTING)
    cluster.advance(1)
    return cluster


@s.starting_point
def first_refused() -> Cluster:
    cluster = first_not_routed()
    cluster.advance_to(REJECTED)
    return cluster


def promoted(**sections: Any) -> Callable[[], Cluster]:
    """Model 2 has taken over from model 1."""

    def start() -> Cluster:
        cluster = s.with_candidate(**sections)
        cluster.advance_to("Draining")
        cluster.advance_to("Healthy")
        cluster.advance(5)
        return cluster

    return start


def after_model_3(end: Callable[[Cluster], object], **sections: Any) -> Callable[[], Cluster]:
    """Model 2 has taken over from model 1, and model 3 is turned back."""

    def start() -> Cluster:
        cluster = promoted(**sections)()
        cluster.use_model(3)
        cluster.advance_to(("Progressing", "Observing"))
        end(cluster)
        return cluster

    return start


def lose_all_of_model_1(cluster: Cluster) -> None:
    """Nothing is known any more of what is gone back to, neither its pods' template nor its artifact."""
    forget_artifacts(cluster)
    lose_config(cluster)


def mend_model_1(cluster: Cluster) -> None:
    cluster.models[1] = Model()
    for pod in cluster.workloads[cluster.target].pods:
        pod.ready_at = cluster.now


@s.starting_point
def suspended_after_harm() -> Cluster:
    cluster = turned_back()
    suspend(cluster)
    cluster.advance_to("Suspended")
    cluster.advance(5)
    return cluster


@s.starting_point
def crashed_and_converting_again() -> Cluster:
    """Pods of an earlier attempt are still there: they are no evidence against the new one."""
    cluster = s.observing()
    cluster.artifacts.clear()
    cluster.models[2].converts_in = 20.0
    supersede(cluster)
    cluster.advance_to("Aborting")
    cluster.use_model(2)
    cluster.advance_to("Converting")
    return cluster


def aborting(end: Callable[[Cluster], object]) -> Callable[[], Cluster]:
    """In the middle of being turned back."""

    def start() -> Cluster:
        cluster = s.observing()
        end(cluster)
        cluster.advance_to("Aborting")
        return cluster

    return start


def aborting_with_refused_model_3(end: Callable[[Cluster], object]) -> Callable[[], Cluster]:
    """In the middle of being turned back, after model 3 was turned back for harm."""

    def start() -> Cluster:
        cluster = s.serving()
        cluster.models[3] = HARMFUL
        cluster.use_model(3)
        cluster.advance_to(("Degraded", "HarmDetected"))
        cluster.use_model(2)
        cluster.advance_to(("Progressing", "Observing"))
        end(cluster)
        cluster.advance_to("Aborting")
        return cluster

    return start


def meanwhile(policy: str, then: Callable[[Cluster], object], model: Model | None = None) -> Callable[[], Cluster]:
    """A candidate has just got pods when something else happens, under a policy for newer revisions."""

    def start() -> Cluster:
        cluster = s.with_candidate(model, rollout={"onNewRevision": policy})
        cluster.advance_to("Provisioning")
        then(cluster)
        cluster.advance(2)
        return cluster

    return start


def to_model(number: int) -> Callable[[Cluster], None]:
    return lambda cluster: cluster.use_model(number)


def ask(verb: str, suffix: str = "") -> Callable[[Cluster], object]:
    return lambda cluster: cluster.ask(verb, suffix)


def promote_step(cluster: Cluster) -> None:
    assert cluster.recorded.rollout is not None
    cluster.ask("promote", f"/{cluster.recorded.rollout.step + 1}")


def scrape_again(cluster: Cluster) -> None:
    cluster.traffic.start_prometheus(cluster.now.timestamp())


def stop_scraping(cluster: Cluster) -> None:
    cluster.traffic.stop_prometheus(cluster.now.timestamp())


def accept_again(cluster: Cluster) -> None:
    cluster.accepts_in = 1.0


def stop_stable_errors(cluster: Cluster) -> None:
    cluster.models[1], cluster.models[2] = Model(), Model()


def unpause(cluster: Cluster) -> None:
    cluster.change(rollout={"paused": False})


def pause(cluster: Cluster) -> None:
    cluster.change(rollout={"paused": True})


def forget_artifacts(cluster: Cluster) -> None:
    cluster.artifacts.clear()


def leave_store(cluster: Cluster) -> None:
    """The platform team chooses another store, and restarts the operator with it."""
    cluster.platform = replace(cluster.platform, artifact_repository="other.example/artifacts")


def other_accelerators(cluster: Cluster) -> None:
    """Ask for an engine more of the artifact that is there."""
    cluster.change(accelerators=[*builders.TENSORRT["accelerators"], {"product": "NVIDIA-H100"}])


def edit_gates(cluster: Cluster) -> None:
    metric = {"name": "cosine", "goal": "threshold", "value": 0.5}
    cluster.change(conversion={"gates": {"parity": {"metrics": [metric]}}})


def lose_config(cluster: Cluster) -> None:
    cluster.workloads[cluster.target].stored = False


def refuse_routes(cluster: Cluster) -> None:
    cluster.accepts_in = None


def throw_route_out(cluster: Cluster) -> None:
    cluster.throw_route_out()


def lose_route(cluster: Cluster) -> None:
    cluster.lose_route()


def hostname(name: str) -> Callable[[Cluster], None]:
    refs = [{**builders.GATEWAY, "hostnames": [name]}]
    return lambda cluster: cluster.change(traffic={"gatewayRefs": refs})


def gateways(*names: str) -> Callable[[Cluster], None]:
    refs = [{**builders.GATEWAY, "name": name} for name in names]
    return lambda cluster: cluster.change(traffic={"gatewayRefs": refs})


def forget_pods(cluster: Cluster) -> None:
    """Make the pods of the one on trial anew."""
    revision = cluster.recorded.rollout.revision if cluster.recorded.rollout else ""
    cluster.lose_deployment(revision)


def pods_never_ready(cluster: Cluster) -> None:
    cluster.models[2] = Model(ready_in=None)


def devices(number: int | None) -> Callable[[Cluster], None]:
    """So many pods of model 2 find a free device; None: all."""

    def run(cluster: Cluster) -> None:
        cluster.models[2].devices = number

    return run


def devices_of_model_1(number: int | None) -> Callable[[Cluster], None]:
    """As `devices`, of model 1."""
    return lambda cluster: setattr(cluster.models[1], "devices", number)


def one_pod_more(cluster: Cluster) -> None:
    """Scale the candidate up by one, as a step of an earlier attempt may have left it."""
    more = ScaleRevision(cluster.target, cluster.workloads[cluster.target].replicas + 1)
    for effect in cluster.effects(more, cluster.snapshot()):
        effect()


def pods_slow(cluster: Cluster) -> None:
    cluster.models[2].ready_in = 40.0
    cluster.change(serving={"replicas": 6})


ROUTING = ("Pending", "Routing")
REJECTED = ("Degraded", "RouteRejected")
CONVERTING = ("Converting", "NewRevision")
NO_CAPACITY = ("Held", "NoCapacity")
OBSERVING = ("Progressing", "Observing")
REJECTED_REVISION = ("Degraded", "Rejected")
SUSPENDED = ("Suspended", "Suspended")
SERVING = ("Healthy", "Serving")
PROMOTED = ("Healthy", "Promoted")
ROLLED_BACK = ("Healthy", "RolledBack")
UNAVAILABLE = ("Held", "RollbackUnavailable")
PAUSED = ("Held", "Paused")
DRAINING = ("Draining", "Draining")
BACK = ("RollingBack", "Scaling")
HARM = ("Degraded", "HarmDetected")
DOWN = ("Degraded", "StableUnavailable")
