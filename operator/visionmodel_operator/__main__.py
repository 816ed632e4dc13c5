"""The operator process: settings, adapters, queue and watches are built and wired here, and nowhere else."""

import argparse
import asyncio
import contextlib
import logging
import os
import random  # noqa: TID251 - the edge: everybody else gets a source as an argument
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from visionmodel_contract.kept import KeptArtifacts
from visionmodel_operator.adapters.connection import Connection, connect
from visionmodel_operator.adapters.device_counter import DeviceCounter
from visionmodel_operator.adapters.inventory import Inventory
from visionmodel_operator.adapters.kube_objects import KubeObjects
from visionmodel_operator.adapters.lease import LeaseObject
from visionmodel_operator.adapters.pod_logs import PodLogs
from visionmodel_operator.adapters.prometheus import PrometheusMetrics
from visionmodel_operator.adapters.triton import TritonPods
from visionmodel_operator.api.base import PLURAL
from visionmodel_operator.errors import Error, Retry
from visionmodel_operator.handlers import process
from visionmodel_operator.reconcile import PodActivity, UncountedDevices, World, reconcile
from visionmodel_operator.render.platform import platform_from
from visionmodel_operator.settings import ListingSettings, Settings, SettingsError, listing_settings_from, settings_from
from visionmodel_operator.work.health import Health
from visionmodel_operator.work.http_server import HttpServer
from visionmodel_operator.work.kept import kept_artifacts
from visionmodel_operator.work.lease import Clocks, Election
from visionmodel_operator.work.logs import configure_logs
from visionmodel_operator.work.metered import MeteredKube
from visionmodel_operator.work.passes import Passes
from visionmodel_operator.work.queue import WorkQueue
from visionmodel_operator.work.resync import Resync
from visionmodel_operator.work.telemetry import Telemetry

CRD_SECONDS = 60.0
CRD_POLL_SECONDS = 2.0
DRAIN_SECONDS = 12.0
"""For passes under way, when the process is told to stop; with the watches' end it stays under 25 s."""
WATCH_END_SECONDS = 10.0

Tasks = dict[str, "asyncio.Task[Any]"]

_log = logging.getLogger("visionmodel_operator")


def now() -> datetime:
    """The wall clock; everybody below gets it as an argument."""
    return datetime.now(UTC)  # noqa: TID251


@dataclass(frozen=True)
class Parts:
    """What lives as long as the process."""

    settings: Settings
    connection: Connection
    inventory: Inventory
    health: Health
    telemetry: Telemetry
    stop: asyncio.Event


async def operate(settings: Settings) -> int:
    """Run the operator until it is told to stop; returns the exit code."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    connection = await connect(os.environ, tls_strict=settings.tls_strict)
    parts = Parts(
        settings,
        connection,
        Inventory(connection, settings.watch_namespaces),
        Health(time.monotonic, settings.resync_seconds),
        Telemetry(),
        stop,
    )
    try:
        return await _serve(parts)
    finally:
        await connection.close()


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _serve(parts: Parts) -> int:
    server = HttpServer(parts.health, parts.telemetry, parts.settings.http_port)
    await server.start()
    try:
        if not await _models_are_served(parts):
            if parts.stop.is_set():
                return 0
            _log.error("the CRD visionmodels.visionmodel.dev is not served; install it first")
            return 1
        async with _world(parts) as (world, cluster):
            return await _run(parts, world, cluster, server)
    finally:
        await server.stop()


async def _models_are_served(parts: Parts) -> bool:
    deadline = time.monotonic() + CRD_SECONDS
    while not parts.stop.is_set() and time.monotonic() < deadline:
        try:
            parts.health.serves_models = await parts.inventory.serves_models()
        except Retry as error:
            _log.warning("the API server does not answer: %s", error)
        if parts.health.serves_models:
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(parts.stop.wait(), CRD_POLL_SECONDS)
    return False


@contextlib.asynccontextmanager
async def _world(parts: Parts) -> AsyncIterator[tuple[World, process.Cluster]]:
    settings, connection = parts.settings, parts.connection
    version = await parts.inventory.server_version()
    route_kinds = await parts.inventory.route_kinds()
    platform = platform_from(settings, version, route_kinds=route_kinds)
    logs = PodLogs(connection, time.monotonic)
    kube = KubeObjects(
        connection, logs, platform, now=now, instance=settings.identity, namespaces=settings.watch_namespaces
    )
    executor = ThreadPoolExecutor(settings.workers, thread_name_prefix="prometheus")
    metrics = PrometheusMetrics(settings.prometheus_url, executor)
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=0)
    try:
        # Pods are spoken to directly: no proxy of the environment.
        async with httpx.AsyncClient(limits=limits, trust_env=False) as client:
            triton = TritonPods(client, PodActivity)
            devices = DeviceCounter(connection, time.monotonic) if settings.gpu_counting else UncountedDevices()
            world = World(MeteredKube(kube, parts.telemetry), metrics, triton, now, devices)
            yield world, process.Cluster(version, route_kinds, settings.watch_namespaces)
    finally:
        metrics.close()
        executor.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Engine:
    """What works on the queue."""

    queue: WorkQueue
    resync: Resync
    work: Callable[[], Coroutine[Any, Any, None]]


def _engine(parts: Parts, world: World, cluster: process.Cluster) -> Engine:
    settings = parts.settings
    queue = WorkQueue(
        Passes(reconcile, world, parts.telemetry),
        workers=settings.workers,
        monotonic=time.monotonic,
        jitter=random.random,
    )
    lease = LeaseObject(parts.connection, settings.lease_namespace, settings.lease_name)
    election = Election(lease, settings.identity, Clocks(now, time.monotonic))
    resync = Resync(
        listing=parts.inventory,
        queue=queue,
        health=parts.health,
        telemetry=parts.telemetry,
        now=now,
        seconds=settings.resync_seconds,
        route_kinds=tuple(cluster.route_kinds),
        is_leader=lambda: election.leading or not settings.leader_election,
    )
    work = partial(election.run, queue.run) if settings.leader_election else queue.run
    return Engine(queue, resync, work)


def _refresh(parts: Parts, engine: Engine) -> None:
    telemetry, health = parts.telemetry, parts.health
    telemetry.queue_depth.set(engine.queue.depth)
    telemetry.queue_age.set(engine.queue.age)
    is_leader = engine.resync.is_leader()
    telemetry.leader.set(1 if is_leader else 0)
    if not is_leader:
        telemetry.forget_objects()
    telemetry.list_age.set(health.list_age)
    for resource, age in health.event_ages().items():
        telemetry.event_age.labels(resource).set(age)


async def _run(parts: Parts, world: World, cluster: process.Cluster, server: HttpServer) -> int:
    engine = _engine(parts, world, cluster)
    server.refresh = partial(_refresh, parts, engine)

    def woken(resource: str, namespace: str, name: str, version: str | None) -> None:
        parts.health.saw_event(resource)
        if resource == PLURAL:
            parts.health.saw_model((namespace, name), version)
        engine.queue.wake(namespace, name)

    started, stop_watching = asyncio.Event(), asyncio.Event()
    tasks: Tasks = {
        "work": asyncio.create_task(engine.work(), name="work"),
        "resync": asyncio.create_task(engine.resync.run(), name="resync"),
        "stop": asyncio.create_task(parts.stop.wait(), name="stop"),
        "started": asyncio.create_task(_when_started(started, parts), name="started"),
    }
    # Last: when kopf ends it cancels every task that is younger than itself.
    await asyncio.sleep(0)
    tasks["watch"] = asyncio.create_task(
        process.run(parts.connection, cluster, woken, started=started, stop=stop_watching), name="watch"
    )
    try:
        vital = [tasks[name] for name in ("work", "resync", "stop", "watch")]
        ended, _ = await asyncio.wait(vital, return_when=asyncio.FIRST_COMPLETED)
    finally:
        parts.health.stopping = True
        await _stop(tasks, engine.queue, server, stop_watching)
    return _exit_code(ended)


async def _when_started(started: asyncio.Event, parts: Parts) -> None:
    await started.wait()
    parts.health.watching = True
    # kopf has installed its own handlers, which would cut off passes under way.
    _stop_on_signals(parts.stop)


async def _stop(tasks: Tasks, queue: WorkQueue, server: HttpServer, stop_watching: asyncio.Event) -> None:
    """Passes first, then everything that served them; what does not end in time is cut off, which is harmless."""
    queue.drain()
    if queue.is_running:
        await asyncio.wait([tasks["work"]], timeout=DRAIN_SECONDS)
    for name in ("work", "resync", "started", "stop"):
        tasks[name].cancel()
    await asyncio.gather(*(tasks[name] for name in ("work", "resync", "started", "stop")), return_exceptions=True)
    await server.stop()
    stop_watching.set()
    await asyncio.wait([tasks["watch"]], timeout=WATCH_END_SECONDS)
    tasks["watch"].cancel()
    await asyncio.gather(tasks["watch"], return_exceptions=True)


def _exit_code(ended: set["asyncio.Task[Any]"]) -> int:
    failures = [error for task in ended if not task.cancelled() and (error := task.exception()) is not None]
    for error in failures:
        _log.error("the operator cannot go on", exc_info=error)
    return 1 if failures else 0


async def list_kept(settings: ListingSettings) -> KeptArtifacts:
    """Return the artifacts that the cluster needs; raises where a list could not be read to its end."""
    connection = await connect(os.environ, tls_strict=settings.tls_strict)
    try:
        return await kept_artifacts(Inventory(connection, settings.watch_namespaces), now)
    finally:
        await connection.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="visionmodel-operator", description="Without a command: run the operator.")
    command = parser.add_subparsers(dest="command").add_parser(
        "list-kept", help="write the artifacts that the cluster needs, for `visionmodel-convert collect`"
    )
    command.add_argument("--out", type=Path, required=True, help="file for the list, as JSON")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the image."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list-kept":
            kept = asyncio.run(list_kept(listing_settings_from(os.environ)))
            options.out.write_text(kept.to_json(), encoding="utf-8")
            return
        settings = settings_from(os.environ)
    except (SettingsError, Error) as error:
        sys.exit(f"visionmodel-operator: {error}")
    configure_logs(settings.log_level, sys.stdout)
    sys.exit(asyncio.run(operate(settings)))


if __name__ == "__main__":
    main()
