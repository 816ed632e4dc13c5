"""What the cluster itself does to a rollout: its API server, its gateway, its other writers, its memory limits.

Every test runs under steady load, and no user's request may be lost.
"""

import copy
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.scene import HALF, WAITING, Scene, attempt, newest, pause, weight
from visionmodel_demo.kube import KubectlError, wait_for
from visionmodel_demo.platform import SYSTEM_NAMESPACE
from visionmodel_devcluster import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GATEWAY_SYSTEM = "envoy-gateway-system"
PROXY = "gateway.envoyproxy.io/owning-gateway-name=vision"
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:visionmodel-operator"
ROBOT = "another-controller"
ROBOT_SECONDS = 3.0


@pytest.mark.fault("API server killed while a step is observed")
def test_api_server_killed_in_a_canary(scene: Scene) -> None:
    if not scene.platform.is_ours:
        pytest.skip("only the dev cluster's API server is ours to kill")
    scene.serve()
    with scene.under_load():
        scene.model.apply(scene.document("v2"))
        scene.wait_phase("Progressing", "Observing")
        Cluster().restart_api_server()
        wait_for(lambda: _knows_the_roles(scene), timeout=60, what="the API server to have read the roles")
        # It refuses everybody until then, whatever the chart allows.
        scene.operator.log.begin()
        status = scene.wait_settled()
    assert newest(status) == ("Promoted", "Promoted")
    assert [entry["outcome"] for entry in status["history"]] == ["Promoted", "Promoted"]


def _knows_the_roles(scene: Scene) -> bool:
    """Return whether both kinds are read, of the cluster and of a namespace."""
    kube = scene.platform.kube
    questions = (("watch", "deployments.apps", "-A"), ("create", "leases.coordination.k8s.io", "-n", SYSTEM_NAMESPACE))
    try:
        answers = [kube.run("auth", "can-i", *question, "--as", OPERATOR).strip() for question in questions]
    except KubectlError:
        return False
    return answers == ["yes", "yes"]


@pytest.mark.fault("gateway restarted while a step is observed")
def test_gateway_restarted_in_a_canary(scene: Scene) -> None:
    """Its counters begin again at 0, in a pod of another name: that is no evidence against anybody."""
    scene.serve()
    with scene.under_load():
        scene.model.apply(scene.document("v2", *WAITING))
        scene.wait_phase("Held", "Paused")
        _restart_proxy(scene)
        before = scene.model.status()["rollout"]["judge"]["usedTicks"]
        scene.model.wait(
            lambda status: status["rollout"]["judge"]["usedTicks"] >= before + 2, what="evidence", timeout=120
        )
        scene.model.annotate("promote", attempt(scene.model.status()))
        status = scene.wait_settled()
    assert newest(status) == ("Promoted", "Promoted")


def _restart_proxy(scene: Scene) -> None:
    """Replace the proxy's pod; the old one may finish what it has begun for minutes."""
    kube = scene.platform.kube
    name = kube.items("deployments", GATEWAY_SYSTEM, PROXY)[0]["metadata"]["name"]
    old = {pod["metadata"]["uid"] for pod in kube.items("pods", GATEWAY_SYSTEM, PROXY)}
    kube.run("rollout", "restart", f"deployment/{name}", "-n", GATEWAY_SYSTEM)
    kube.run("rollout", "status", f"deployment/{name}", "-n", GATEWAY_SYSTEM, "--timeout=120s")

    def is_replaced() -> bool:
        pods = kube.items("pods", GATEWAY_SYSTEM, PROXY)
        return not old & {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}

    wait_for(is_replaced, timeout=60, what="the gateway's old pod to be on its way out")


@contextmanager
def applied_again_and_again(scene: Scene, document: Mapping[str, Any]) -> Iterator[list[str]]:
    """Another controller that believes the object to be its own, every few seconds; yields what it was refused."""
    stop, refusals = threading.Event(), []
    text = json.dumps(document)

    def apply() -> None:
        while not stop.wait(ROBOT_SECONDS):
            try:
                scene.platform.kube.run(
                    *("apply", "--server-side", "--force-conflicts", f"--field-manager={ROBOT}", "-f", "-"), text=text
                )
            except KubectlError as refusal:
                refusals.append(str(refusal))

    thread = threading.Thread(target=apply, name=ROBOT)
    thread.start()
    try:
        yield refusals
    finally:
        stop.set()
        thread.join()


@pytest.mark.fault("route applied by a second owner every 3 s")
def test_second_owner_of_the_route_holds_the_rollout(scene: Scene) -> None:
    """Its weights are its own, and the backends ours: the gateway drops requests when one is removed in one write."""
    scene.serve()
    with scene.under_load():
        scene.model.apply(scene.document("v2", weight(50), pause("10s")))
        scene.wait_phase("Progressing", "Observing")
        with applied_again_and_again(scene, _with_weights(scene.route(), 900_000, 100_000)) as refusals:
            held = scene.wait_phase("Held", "SplitMismatch")
            told = scene.events("RouteCorrected")
        status = scene.wait_settled()
    assert refusals == []
    assert (held["canary"]["weight"], ROBOT in held["message"]) == (50, True)
    assert told, "the fight must be told"
    assert ROBOT in told[0]["message"]
    assert newest(status) == ("Promoted", "Promoted")


def _with_weights(route: Mapping[str, Any], *weights: int) -> dict[str, Any]:
    """Return the route as somebody would keep it in Git, with weights of theirs."""
    document = copy.deepcopy({key: route[key] for key in ("apiVersion", "kind", "spec")})
    for backend, share in zip(document["spec"]["rules"][0]["backendRefs"], weights, strict=True):
        backend["weight"] = share
    names = {key: route["metadata"][key] for key in ("name", "namespace")}
    return {**document, "metadata": names}


@pytest.mark.fault("canary pods in a crash loop")
def test_canary_in_a_crash_loop_is_turned_back(scene: Scene) -> None:
    """Its memory does not suffice even to start, which no metric of the gateway could tell."""
    stable = scene.serve()
    document = scene.document("v2", *HALF, maxRestarts=1)
    document["spec"]["serving"]["resources"] = {
        "requests": {"cpu": "150m", "memory": "24Mi"},
        "limits": {"memory": "24Mi"},
    }
    with scene.under_load():
        scene.model.apply(document)
        status = scene.wait_settled()
    assert newest(status) == ("Aborted", "CanaryUnhealthy")
    assert (status["phase"], status["stable"]["revision"]) == ("Degraded", stable)


@pytest.mark.fault("operator killed while it converts, waits for pods, and drains")
def test_operator_killed_in_the_quiet_phases(scene: Scene) -> None:
    scene.serve()
    document = scene.document("v2")
    document["spec"]["conversion"]["simplify"] = False  # not converted by any other test, so that there is a Job
    document["spec"]["rollout"]["drain"] = "15s"
    with scene.under_load():
        scene.model.apply(document)
        for phase in ("Converting", "Provisioning", "Draining"):
            scene.wait_phase(phase)
            scene.operator.delete_pod()
        status = scene.wait_settled()
    assert newest(status) == ("Promoted", "Promoted")
    assert [entry["outcome"] for entry in status["history"]] == ["Promoted", "Promoted"]


@pytest.mark.fault("aborted in the middle of the promotion")
def test_abort_during_promotion(scene: Scene) -> None:
    """The canary's second pod is still on its way: nothing was moved for good yet, so nothing is lost."""
    first = scene.document("v1")
    first["spec"]["serving"]["replicas"] = 2
    stable = scene.serve(first)
    document = scene.document("v2")
    document["spec"]["serving"]["replicas"] = 2
    with scene.under_load():
        scene.model.apply(document)
        promoting = scene.wait_phase("Promoting", "Scaling")
        scene.model.annotate("abort", attempt(promoting))
        status = scene.wait_settled()
    assert newest(status) == ("Aborted", "User")
    assert (status["phase"], status["stable"]["revision"]) == ("Degraded", stable)
