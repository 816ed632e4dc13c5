"""What people and the outside may do to a VisionModel at any moment, by name."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from unit.core import builders
from unit.core.simulated_cluster import Cluster, Model
from visionmodel_contract.exits import ExitCode

MODELS = {
    1: Model(),
    2: Model(),
    3: Model(errors=0.4),
    4: Model(exit_code=ExitCode.GATE_FAILED),
    5: Model(latency_ms=300.0, ready_in=15.0),
    6: Model(ready_in=None),
}
CANARY: builders.Document = {"strategy": "Canary", "blueGreen": None}
PLANS: Mapping[str, list[builders.Document]] = {
    "two-steps": builders.STEPS,
    "one-step": [{"setWeight": 30}],
    "paused-and-whole": [{"setWeight": 20}, {"pause": {}}, {"setWeight": 100}],
    "leading-pause": [{"pause": {"duration": "5s"}}, {"setWeight": 50}],
    "none": [],
}
Mishap = Callable[[Cluster], object]


def revert(cluster: Cluster) -> None:
    stable = cluster.recorded.stable
    if stable is not None:
        cluster.use_model(cluster.numbers[stable.revision])


def candidate(cluster: Cluster) -> str | None:
    rollout = cluster.recorded.rollout
    return rollout.revision if rollout is not None else None


def stable(cluster: Cluster) -> str | None:
    known = cluster.recorded.stable
    return known.revision if known is not None else None


def crash(who: Callable[[Cluster], str | None], times: int) -> Mishap:
    return lambda cluster: cluster.crash(who(cluster) or "", times)


def lose_deployment(who: Callable[[Cluster], str | None]) -> Mishap:
    def run(cluster: Cluster) -> None:
        revision = who(cluster)
        if revision in cluster.workloads:
            cluster.lose_deployment(revision)

    return run


def unready(cluster: Cluster) -> None:
    """Let all pods of stable fall out of service, for ten seconds at least."""
    for pod in cluster.workloads[stable(cluster) or ""].pods if stable(cluster) in cluster.workloads else []:
        pod.ready_at = None


def ready_again(cluster: Cluster) -> None:
    for workload in cluster.workloads.values():
        for pod in workload.pods:
            pod.ready_at = pod.ready_at or cluster.now


def steal_route(share: int) -> Mishap:
    def run(cluster: Cluster) -> None:
        if cluster.route is not None:
            both = (share, 1_000_000 - share)
            cluster.steal_route(both if len(cluster.route.slots) == 2 else (1_000_000,))

    return run


def change(**sections: object) -> Mishap:
    return lambda cluster: cluster.change(**sections)


def ask(verb: str, suffix: str = "") -> Mishap:
    return lambda cluster: cluster.ask(verb, suffix)


def annotate(verb: str, value: str | None) -> Mishap:
    return lambda cluster: cluster.annotate(verb, value)


def ask_for_this_step(cluster: Cluster) -> None:
    rollout = cluster.recorded.rollout
    if rollout is not None:
        cluster.ask("promote", f"/{rollout.step + 1}")


def use_model(number: int) -> Mishap:
    return lambda cluster: cluster.use_model(number)


def accepts_in(seconds: float | None) -> Mishap:
    return lambda cluster: setattr(cluster, "accepts_in", seconds)


def devices(number: int | None) -> Mishap:
    def run(cluster: Cluster) -> None:
        for model, how in cluster.models.items():
            cluster.models[model] = replace(how, devices=None if model == 1 else number)

    return run


def others(devices: int | None) -> Mishap:
    """Let others hold so many of the devices that are shared with them; None: as many as are free."""

    def run(cluster: Cluster) -> None:
        pool = cluster.pool
        if pool is not None:
            free = max(0, pool.total - len(pool.placed))
            pool.others = free if devices is None else min(devices, free)

    return run


def rate(requests: float) -> Mishap:
    return lambda cluster: setattr(cluster.traffic, "rate", requests)


def gates(limit: float) -> Mishap:
    metric = {"name": "cosine", "goal": "threshold", "value": limit}
    return change(conversion={"gates": {"parity": {"metrics": [metric]}}})


PEOPLE: Mapping[str, Mishap] = {
    **{f"model-{number}": use_model(number) for number in MODELS},
    **{f"plan-{name}": change(rollout={**CANARY, "steps": plan}) for name, plan in PLANS.items()},
    "plan-blue-green": change(rollout=builders.BLUE_GREEN),
    "plan-blue-green-by-itself": change(rollout={**builders.BLUE_GREEN, "blueGreen": None}),
    **{f"replicas-{number}": change(serving={"replicas": number}) for number in (1, 2, 4)},
    "gateway-named": change(traffic={"gatewayRefs": [builders.GATEWAY]}),
    "no-gateway-named": change(traffic={"gatewayRefs": []}),
    "other-hostname": change(traffic={"gatewayRefs": [{**builders.GATEWAY, "hostnames": ["other.example"]}]}),
    "revert": revert,
    "suspend": change(suspend=True),
    "resume": change(suspend=False),
    "pause": change(rollout={"paused": True}),
    "unpause": change(rollout={"paused": False}),
    "pause-by-annotation": annotate("pause", "true"),
    "unpause-by-annotation": annotate("pause", None),
    "shrink-when-full": change(rollout={"whenFull": "ShrinkByOne"}),
    "wait-when-full": change(rollout={"whenFull": "Wait"}),
    "do-not-apply": change(conversion={"autoApply": False}),
    "apply": change(conversion={"autoApply": True}),
    "abort-on-missing-metrics": change(rollout={"analysis": {"onMissingMetrics": "Abort"}}),
    **{
        f"on-new-revision-{policy.lower()}": change(rollout={"onNewRevision": policy})
        for policy in ("Restart", "Queue", "Reject")
    },
    "promote": ask("promote"),
    **{f"window-of-{number}": change(rollbackWindow={"revisions": number}) for number in (0, 1, 3)},
    "window-of-a-minute": change(rollbackWindow={"duration": "1m"}),
    "let-serve": ask("promote", "/0"),
    "promote-step": ask_for_this_step,
    "abort": ask("abort"),
    "retry": ask("retry"),
    "promote-stale": annotate("promote", "0000000000/1"),
    "abort-nonsense": annotate("abort", "//²"),
    "no-promote": annotate("promote", None),
    "no-abort": annotate("abort", None),
    "loose-gates": gates(0.5),
    "strict-gates": gates(0.9),
}
OUTSIDE: Mapping[str, Mishap] = {
    "prometheus-stops": lambda cluster: cluster.traffic.stop_prometheus(cluster.now.timestamp()),
    "prometheus-starts": lambda cluster: cluster.traffic.start_prometheus(cluster.now.timestamp()),
    "gateway-refuses": accepts_in(None),
    "gateway-throws-the-route-out": lambda cluster: cluster.throw_route_out(),
    "gateway-is-slow": accepts_in(5.0),
    "gateway-is-well": accepts_in(1.0),
    "route-stolen-first": steal_route(1_000_000),
    "route-stolen-second": steal_route(0),
    "route-stolen-half": steal_route(500_000),
    "route-diverted": lambda cluster: cluster.divert_route(),
    "route-lost": lambda cluster: cluster.lose_route(),
    "candidate-restarts": crash(candidate, 1),
    "candidate-crashes": crash(candidate, 4),
    "stable-crashes": crash(stable, 4),
    "candidate-deployment-lost": lose_deployment(candidate),
    "stable-deployment-lost": lose_deployment(stable),
    "stable-unready": unready,
    "pods-ready-again": ready_again,
    "no-device-is-free": devices(0),
    "one-device-is-free": devices(1),
    "devices-are-free": devices(None),
    "others-take-what-is-free": others(None),
    "others-take-a-device": others(1),
    "others-are-gone": others(0),
    "jobs-lost": lambda cluster: cluster.jobs.clear(),
    "artifacts-lost": lambda cluster: cluster.artifacts.clear(),
    "no-requests": rate(0.0),
    "few-requests": rate(0.5),
    "many-requests": rate(20.0),
}
MISHAPS: Mapping[str, Mishap] = {**PEOPLE, **OUTSIDE}
