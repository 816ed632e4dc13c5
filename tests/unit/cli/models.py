"""VisionModels as the API server has them, out of the core's simulated cluster, in every state it records."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from unit.core import builders, scenarios
from unit.core.simulated_cluster import Cluster
from visionmodel_operator.core import names

Json = dict[str, Any]


def healthy() -> Cluster:
    """Model 1 serves."""
    return scenarios.serving()


def turned_back() -> Cluster:
    """Model 2 was aborted."""
    cluster = scenarios.observing()
    cluster.ask("abort")
    cluster.advance_to("Degraded")
    return cluster


def aborting() -> Cluster:
    """Model 2 is on its way out."""
    cluster = scenarios.observing()
    cluster.ask("abort")
    cluster.advance_to("Aborting")
    return cluster


def suspended() -> Cluster:
    """Nothing runs, as asked."""
    cluster = scenarios.serving()
    cluster.change(suspend=True)
    cluster.advance_to("Suspended")
    return cluster


STATES: Mapping[str, Callable[[], Cluster]] = {
    **scenarios.ON_TRIAL,
    "draining": scenarios.draining,
    "first-not-ready": scenarios.first_not_ready,
    "healthy": healthy,
    "promoted": scenarios.promoted,
    **scenarios.ON_THE_WAY_BACK,
    "turned-back": turned_back,
    "aborting": aborting,
    "suspended": suspended,
}


def model(cluster: Cluster) -> Json:
    """Return the object."""
    return {
        "metadata": {
            "name": builders.REF.name,
            "namespace": builders.REF.namespace,
            "generation": cluster.generation,
            "resourceVersion": "7",
            "annotations": dict(cluster.annotations),
        },
        # Copies: a start is built once, and a test may edit what it was given.
        "spec": copy.deepcopy(cluster.document),
        "status": copy.deepcopy(cluster.status),
    }


def pods(cluster: Cluster) -> list[Json]:
    """Return its serving pods as the API server lists them."""
    return [
        {
            "metadata": {"name": pod.name, "labels": {names.LABEL_REVISION: revision}},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True" if pod.ready else "False"}],
                "containerStatuses": [{"restartCount": pod.restarts, "state": {}}],
            },
        }
        for revision, found in cluster.snapshot().pods.items()
        for pod in found
    ]
