"""A rollout that the operator recorded, judged again from a real API server and a Prometheus; and devices counted."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from aiohttp import web
from typer.testing import CliRunner, Result

from contracts.servers import RealServer, add_model
from fakes.metrics import FakeMetrics
from unit.adapters.loopback import http_server
from unit.cli.test_replay import stage_with
from unit.core import builders, scenarios
from unit.test_reconcile import NAME, NAMESPACE, Stage
from visionmodel_cli.main import app
from visionmodel_devcluster import ControlPlane
from visionmodel_operator.adapters.connection import MERGE_PATCH

pytestmark = pytest.mark.apiserver

GPU = "nvidia.com/gpu"


@asynccontextmanager
async def prometheus_of(metrics: FakeMetrics) -> AsyncIterator[str]:
    """Serve what the fake holds as Prometheus would; yields the URL."""

    async def answer(request: web.Request) -> web.Response:
        found = await metrics.samples(request.query["query"], datetime.fromtimestamp(float(request.query["time"]), UTC))
        result = [
            {"metric": dict(one.labels), "values": [[time, repr(value)] for time, value in one.samples]}
            for one in found
        ]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": result}})

    async with http_server(answer) as port:
        yield f"http://127.0.0.1:{port}"


async def replay(stage: Stage, server: RealServer, control_plane: ControlPlane, *words: str) -> Result:
    body = stage.kube.store.get("VisionModel", NAMESPACE, NAME)
    assert body is not None
    await add_model(server, NAME, body["spec"])
    await server.set_status("VisionModel", NAME, body["status"])
    stage.metrics.route = (server.namespace, NAME)
    where = ("--kubeconfig", str(control_plane.kubeconfig), "-n", server.namespace)
    async with prometheus_of(stage.metrics) as url:
        call = ["judge", "--replay", NAME, "--prometheus", url, *where, *words]
        return await asyncio.to_thread(CliRunner().invoke, app, call, env={"COLUMNS": "160"})


async def test_a_rollout_under_way_is_judged_again(server: RealServer, control_plane: ControlPlane) -> None:
    stage = await asyncio.to_thread(stage_with, 0.01, 40)
    done = await replay(stage, server, control_plane, "-o", "json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["verdict"], answer["same"]) == ("Pass", True)
    assert answer["recorded"]["evidence"] == answer["ticks"][-1]["logEvidence"]


async def test_a_rollout_that_was_turned_back_is_judged_again(server: RealServer, control_plane: ControlPlane) -> None:
    stage = await asyncio.to_thread(stage_with, 0.3, 75)
    done = await replay(stage, server, control_plane)
    assert done.exit_code == 3, done.output
    text = " ".join(done.stdout.split())
    assert re.search(r"shapes, revision \w+: Fail\. errors: canary \d+ of \d+", text)
    assert re.search(r"Recorded: outcome Aborted, reason HarmDetected, requests \d+, evidence [\d.]+; the same", text)


async def test_a_replay_that_differs_has_its_exit_code(server: RealServer, control_plane: ControlPlane) -> None:
    stage = await asyncio.to_thread(stage_with, 0.01, 40)
    stage.metrics.loads.clear()
    done = await replay(stage, server, control_plane)
    assert done.exit_code == 6, done.output
    assert "another: verdict recorded Pass, now NoData" in " ".join(done.stdout.split())


async def add_node(server: RealServer, name: str, devices: int) -> None:
    labels = {"nvidia.com/gpu.product": name}
    status = {
        "allocatable": {GPU: str(devices), "cpu": "8", "memory": "32Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}
    await server.connection.request("POST", "/api/v1/nodes", body=body)
    # Every new node is given the taint not-ready, which its controllers take away once it is.
    untaint = {"spec": {"taints": None}}
    await server.connection.request("PATCH", f"/api/v1/nodes/{name}", body=untaint, content_type=MERGE_PATCH)


async def test_free_devices_are_counted(server: RealServer, control_plane: ControlPlane) -> None:
    product = f"{server.namespace}-gpu"
    await add_node(server, product, 3)
    container = {"name": "main", "image": "registry.example/x", "resources": {"limits": {GPU: "2"}}}
    pod = {"metadata": {"name": "busy"}, "spec": {"nodeName": product, "containers": [container]}}
    await server.add({"apiVersion": "v1", "kind": "Pod", **pod})
    spec = builders.spec_document(1, accelerators=[{"product": product}])
    text = yaml.safe_dump(
        {"apiVersion": "visionmodel.dev/v1alpha1", "kind": "VisionModel", "metadata": {"name": "m"}, "spec": spec}
    )
    rates = ["--requests-per-second", "20", "--error-rate", "0.05", "--runs", "20"]
    call = ["plan", "-f", "-", *rates, "-o", "json", "--kubeconfig", str(control_plane.kubeconfig)]
    done = await asyncio.to_thread(CliRunner().invoke, app, call, input=text)
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["devices"] == [
        {"resource": GPU, "product": product, "stable": 2, "canary": 2, "largest": 4, "free": 1}
    ]
    assert f"The promotion needs 2 {product}, 1 free of 3." in answer["notes"][-1]


LONG_WINDOW = {"duration": "876000h"}
"""The recorded times are those of the simulated cluster."""


@pytest.mark.parametrize(
    ("number", "window", "words", "expected"),
    [
        (1, LONG_WINDOW, (), True),
        (1, {"revisions": 0}, (), False),
        (3, LONG_WINDOW, (), False),
        (1, LONG_WINDOW, ("--offline",), False),
    ],
    ids=["stable before", "window closed", "never stable", "not asked"],
)
async def test_a_plan_says_that_it_will_be_one_jump_back(
    number: int,
    window: dict[str, Any],
    words: tuple[str, ...],
    expected: bool,
    server: RealServer,
    control_plane: ControlPlane,
) -> None:
    cluster = scenarios.promoted()
    await add_model(server, NAME, cluster.document)
    await server.set_status("VisionModel", NAME, cluster.status)
    spec = builders.spec_document(number, rollbackWindow=window)
    kind = {"apiVersion": "visionmodel.dev/v1alpha1", "kind": "VisionModel"}
    text = yaml.safe_dump({**kind, "metadata": {"name": NAME, "namespace": server.namespace}, "spec": spec})
    rates = ["--requests-per-second", "20", "--error-rate", "0.05", "--runs", "20"]
    call = ["plan", "-f", "-", *rates, "-o", "json", "--kubeconfig", str(control_plane.kubeconfig), *words]
    done = await asyncio.to_thread(CliRunner().invoke, app, call, input=text)
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["inOneJump"] is expected
    said = "once 2 pods of it are ready, all requests go back to it in one jump"
    assert (said in answer["notes"][0]) is expected
