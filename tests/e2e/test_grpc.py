"""A model behind a GRPCRoute beside its HTTPRoute: one split over both protocols, each judged by its own counters."""

import asyncio
from functools import partial
from typing import Any

import pytest

from e2e.scene import Scene, assert_nothing_lost, newest, pause, weight
from example_models.shapes import BRIGHT_SHARE, traffic_images
from load import Load, LoadThread, Target, image_payloads
from load.sender import sender_for
from visionmodel_demo.kube import wait_for
from visionmodel_demo.stories import MAX_SECONDS, RATE, is_settled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ERRORS = {"name": "errors", "type": "ErrorRate"}


def host_of(scene: Scene, protocol: str) -> str:
    return f"{scene.name}.{protocol}.example"


def document(scene: Scene, version: str, *steps: Any) -> dict[str, Any]:
    """One listener carries both: its hosts tell the protocols apart."""
    made = scene.document(version, *steps, metrics=[ERRORS])
    listener = made["spec"]["traffic"]["gatewayRefs"][0]
    made["spec"]["traffic"]["gatewayRefs"] = [
        {**listener, "protocol": protocol.upper(), "hostnames": [host_of(scene, protocol)]}
        for protocol in ("http", "grpc")
    ]
    return made


def target(scene: Scene, protocol: str) -> Target:
    return Target(f"{protocol}://{scene.stage.address}", scene.name, host=host_of(scene, protocol))


def load(scene: Scene, protocol: str, bright_share: float = BRIGHT_SHARE) -> LoadThread:
    images = traffic_images(seed=7, count=200, bright_share=bright_share)
    to = target(scene, protocol)
    payloads = image_payloads(to, lambda index: images[index : index + 1], distinct=len(images))
    rate = RATE / 2
    return LoadThread(Load(to, rate, payloads, max_requests=int(rate * MAX_SECONDS), max_seconds=MAX_SECONDS))


def answers(scene: Scene, protocol: str) -> bool:
    """Return whether one request of the protocol is answered."""
    to = target(scene, protocol)
    images = traffic_images(seed=3, count=1, bright_share=0.0)
    (payload,) = image_payloads(to, lambda _: images[:1], distinct=1)

    async def ask() -> bool:
        async with sender_for(to) as sender:
            return (await sender.send(payload)).is_ok

    return asyncio.run(ask())


def test_a_split_holds_over_both_protocols(scene: Scene) -> None:
    scene.model.apply(document(scene, "v1"))
    status = scene.model.wait(is_settled, what="the first version to serve", timeout=240)
    assert status["phase"] == "Healthy", status
    for protocol in ("http", "grpc"):
        wait_for(partial(answers, scene, protocol), timeout=30, what=f"an answer over {protocol}")
    first = status["stable"]["revision"]

    with load(scene, "http", bright_share=0.0) as over_http, load(scene, "grpc", bright_share=0.0) as over_grpc:
        scene.model.apply(document(scene, "v2", weight(50), pause("15s")))
        promoted = scene.wait_settled()
    assert newest(promoted) == ("Promoted", "Promoted")
    second = promoted["stable"]["revision"]
    for running in (over_http, over_grpc):
        report = running.report()
        scene.reports.append(report)
        assert_nothing_lost(report)
        assert {first, second} <= set(report.revisions), "this protocol was split too"

    with load(scene, "grpc") as over_grpc:
        scene.model.apply(document(scene, "v3-failing", weight(50), pause("2m")))
        turned_back = scene.wait_settled()
    assert newest(turned_back) == ("Aborted", "HarmDetected")
    assert turned_back["stable"]["revision"] == second
    report = over_grpc.report(canary=turned_back["history"][0]["revision"])
    scene.reports.append(report)
    assert_nothing_lost(report, own=True)


def test_a_protocol_that_is_dropped_loses_its_route(scene: Scene) -> None:
    scene.model.apply(document(scene, "v1"))
    scene.model.wait(is_settled, what="the first version to serve", timeout=240)
    kube = scene.platform.kube
    assert kube.get("grpcroute", scene.name, scene.namespace) is not None
    only_http = document(scene, "v1")
    del only_http["spec"]["traffic"]["gatewayRefs"][1]
    scene.model.apply(only_http)
    wait_for(lambda: kube.get("grpcroute", scene.name, scene.namespace) is None, timeout=30, what="its end")
    assert kube.get("httproute", scene.name, scene.namespace) is not None
    assert answers(scene, "http")
