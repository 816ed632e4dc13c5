from collections.abc import Sequence
from datetime import timedelta

import pytest

from fakes.time import VirtualTime
from visionmodel_operator.adapters.inventory import ArtifactRecord, KnownModel
from visionmodel_operator.core.names import ROUTE_KINDS
from visionmodel_operator.errors import Retry
from visionmodel_operator.work.health import Health
from visionmodel_operator.work.queue import WorkQueue
from visionmodel_operator.work.resync import ARTIFACT_SAFETY_AGE, Resync, unkept_artifacts
from visionmodel_operator.work.schedule import Key
from visionmodel_operator.work.telemetry import Telemetry

TIME = VirtualTime()
OLD = TIME.now() - ARTIFACT_SAFETY_AGE - timedelta(seconds=1)


def artifact(key: str, namespace: str = "a", *, old: bool = True) -> ArtifactRecord:
    created = OLD if old else TIME.now() - ARTIFACT_SAFETY_AGE
    return ArtifactRecord(namespace, f"artifact-{key}", key, f"uid-{key}", "1", created)


def model(name: str, *keys: str, namespace: str = "a") -> KnownModel:
    return KnownModel(namespace, name, "7", frozenset(keys))


@pytest.mark.parametrize(
    ("artifacts", "models", "expected"),
    [
        pytest.param([artifact("k")], [model("m", "k")], [], id="kept"),
        pytest.param([artifact("k")], [model("m", "other")], ["k"], id="unkept"),
        pytest.param([artifact("k")], [model("m", "k", namespace="b")], ["k"], id="kept in another namespace only"),
        pytest.param([artifact("k", old=False)], [], [], id="too young"),
        pytest.param([artifact("k"), artifact("l")], [model("m", "l"), model("n")], ["k"], id="one of two"),
    ],
)
def test_unkept_artifacts(artifacts: list[ArtifactRecord], models: list[KnownModel], expected: list[str]) -> None:
    assert [record.key for record in unkept_artifacts(artifacts, models, TIME.now())] == expected


class Cluster:
    """What the resync lists."""

    def __init__(self, models: Sequence[KnownModel] = (), artifacts: Sequence[ArtifactRecord] = ()) -> None:
        self.known = tuple(models)
        self.records = tuple(artifacts)
        self.routes: tuple[str, ...] = ()
        self.fails = False
        self.deleted: list[str] = []

    async def models(self) -> tuple[KnownModel, ...]:
        if self.fails:
            raise Retry("down")
        return self.known

    async def artifacts(self) -> tuple[ArtifactRecord, ...]:
        return self.records

    async def delete_artifact(self, record: ArtifactRecord) -> None:
        self.deleted.append(record.key)

    async def route_kinds(self) -> tuple[str, ...]:
        return self.routes


async def _no_pass(_: Key) -> None:
    raise AssertionError("no worker runs here")


def resync_of(cluster: Cluster, *, is_leader: bool = True, route_kinds: tuple[str, ...] = ROUTE_KINDS) -> Resync:
    queue = WorkQueue(_no_pass, workers=1, monotonic=TIME.monotonic, jitter=lambda: 0.0)
    return Resync(
        listing=cluster,
        queue=queue,
        health=Health(TIME.monotonic, 300),
        telemetry=Telemetry(),
        now=TIME.now,
        seconds=300,
        route_kinds=route_kinds,
        is_leader=lambda: is_leader,
        sleep=_stop,
    )


class Stopped(Exception):
    """Ends an endless loop, carrying how long it would have slept."""


async def _stop(seconds: float) -> None:
    raise Stopped(seconds)


async def test_a_list_drops_ghosts_and_measures_itself() -> None:
    resync = resync_of(Cluster([model("here")]))
    resync.queue.wake("a", "gone")
    assert resync.health.list_age == float("inf")
    await resync.once()
    assert resync.telemetry.registry.get_sample_value("visionmodel_resync_ghosts_total") == 1
    assert resync.health.list_age == 0
    assert resync.queue.depth == 0


async def test_what_vanished_without_an_event_gets_a_last_pass() -> None:
    resync = resync_of(Cluster([model("here")]))
    for name in ("here", "gone"):
        resync.health.saw_model(("a", name), "7")
    await resync.once()
    assert resync.queue.depth == 1
    await resync.once()
    assert resync.queue.depth == 0, "once is enough"


@pytest.mark.parametrize(("is_leader", "deleted"), [(True, ["k"]), (False, [])], ids=["leader", "standby"])
async def test_only_the_leader_collects(is_leader: bool, deleted: list[str]) -> None:
    cluster = Cluster(artifacts=[artifact("k")])
    await resync_of(cluster, is_leader=is_leader).once()
    assert cluster.deleted == deleted


@pytest.mark.parametrize(("fails", "wait"), [(False, 300), (True, 15)], ids=["done", "failed"])
async def test_it_lists_again(fails: bool, wait: float) -> None:
    cluster = Cluster()
    cluster.fails = fails
    with pytest.raises(Stopped) as stopped:
        await resync_of(cluster).run()
    assert stopped.value.args == (wait,)


@pytest.mark.parametrize("known", [(), ("HTTPRoute",)], ids=["the whole API", "its second kind"])
async def test_a_kind_of_route_that_appears_ends_the_process(known: tuple[str, ...]) -> None:
    cluster = Cluster()
    cluster.routes = ROUTE_KINDS
    await resync_of(cluster, route_kinds=known).run()


@pytest.mark.parametrize("known", [ROUTE_KINDS, ("HTTPRoute",), ()], ids=["all", "one", "none"])
async def test_kinds_of_route_that_stay_as_they_were_end_nothing(known: tuple[str, ...]) -> None:
    cluster = Cluster()
    cluster.routes = known
    with pytest.raises(Stopped):
        await resync_of(cluster, route_kinds=known).run()
