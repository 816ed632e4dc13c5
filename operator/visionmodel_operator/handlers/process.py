"""Runs kopf inside our event loop, with our own signals and our own order of stopping."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import kopf
from kopf._core.engines.peering import Identity

from visionmodel_operator.adapters.connection import Connection
from visionmodel_operator.handlers.kopf_settings import CHILDREN, kopf_settings
from visionmodel_operator.handlers.watches import Woken, login_with, registry_for

IDENTITY = Identity("visionmodel-operator")


@dataclass(frozen=True)
class Cluster:
    """What the API server can do, as far as the watches care."""

    version: tuple[int, int]
    route_kinds: Sequence[str]
    namespaces: Sequence[str] = ()


async def run(
    connection: Connection, cluster: Cluster, woken: Woken, *, started: asyncio.Event, stop: asyncio.Event
) -> None:
    """Watch until `stop` is set, which is a clean end; a watch that cannot go on raises.

    Args:
        connection: where to.
        cluster: what to watch.
        woken: called for every event.
        started: set once the watches are on their way.
        stop: ends the watches.
    """
    watches = (1 + len(CHILDREN) + len(cluster.route_kinds)) * max(1, len(cluster.namespaces))
    await kopf.operator(
        registry=registry_for(woken, login_with(connection, watches), route_kinds=cluster.route_kinds),
        settings=kopf_settings(cluster.version),
        # Never used, but kopf would derive it from the user's name, which a numeric uid in a container has not.
        identity=IDENTITY,
        standalone=True,
        clusterwide=not cluster.namespaces,
        namespaces=list(cluster.namespaces),
        ready_flag=started,
        stop_flag=stop,
    )
