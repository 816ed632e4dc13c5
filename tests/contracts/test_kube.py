"""What `reconcile.Kube` promises."""

import json
from typing import Any

import pytest

from contracts import manifests
from contracts.manifests import KEY, REVISION
from contracts.servers import PLATFORM, Server, add_model
from visionmodel_contract.report import Failure, ReportSummary
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core import names
from visionmodel_operator.core.operations import Apply, ApplyWhole, Create, Delete, Event
from visionmodel_operator.core.snapshot import JobState, KnownArtifact, ObjectRef, PodState, Snapshot, WorkloadState
from visionmodel_operator.errors import Retry, UserError

FAILED = ReportSummary(
    result="Failed", failure=Failure(reason="InvalidModel", message="truncated", exit_code=84), gate_key="g1"
)


async def seen(server: Server, name: str = "m") -> Snapshot:
    snapshot = await server.kube.observe(server.namespace, name)
    assert snapshot is not None
    return snapshot


async def version_of(server: Server, kind: str, name: str) -> str:
    body = await server.get(kind, name)
    assert body is not None
    return str(body["metadata"]["resourceVersion"])


async def test_an_absent_object_is_none(server: Server) -> None:
    assert await server.kube.observe(server.namespace, "m") is None


async def test_a_new_object_is_read_whole(server: Server) -> None:
    ref = await add_model(server)
    snapshot = await seen(server)
    assert snapshot == Snapshot(
        ref=ref,
        generation=1,
        resource_version=await version_of(server, "VisionModel", "m"),
        spec=VisionModelSpec.model_validate(
            {"model": {"storageUri": "s3://models/m.onnx"}, "task": {"type": "Tensor"}}
        ),
        spec_error="",
        annotations={},
        status=VisionModelStatus(),
        platform=PLATFORM,
    )


async def test_apply_creates_and_then_writes_nothing(server: Server) -> None:
    ref = await add_model(server)
    await seen(server)
    wanted = manifests.deployment(ref, 2)
    await server.kube.perform(ref, Apply(wanted))
    first = await version_of(server, "Deployment", wanted["metadata"]["name"])
    assert (await seen(server)).workloads == {REVISION: WorkloadState(REVISION, replicas=2, ready=0)}
    await server.kube.perform(ref, Apply(wanted))
    assert await version_of(server, "Deployment", wanted["metadata"]["name"]) == first


async def test_apply_works_without_a_look_before(server: Server) -> None:
    ref = await add_model(server)
    wanted = manifests.deployment(ref, 1)
    await server.kube.perform(ref, Apply(wanted))
    await server.kube.perform(ref, Apply(wanted))
    assert (await seen(server)).workloads[REVISION].replicas == 1


async def test_apply_changes_what_differs(server: Server) -> None:
    ref = await add_model(server)
    await server.kube.perform(ref, Apply(manifests.deployment(ref, 1)))
    await seen(server)
    await server.kube.perform(ref, Apply(manifests.deployment(ref, 3)))
    assert (await seen(server)).workloads[REVISION].replicas == 3


async def test_apply_withdraws_a_field_that_is_not_wanted_any_more(server: Server) -> None:
    ref = await add_model(server)
    await server.kube.perform(ref, Apply(manifests.route(ref, (1,), hostnames=["a.example"])))
    await seen(server)
    await server.kube.perform(ref, Apply(manifests.route(ref, (1,))))
    body = await server.get("HTTPRoute", "m")
    assert body is not None
    assert "hostnames" not in body["spec"]


async def test_apply_puts_a_foreign_edit_right(server: Server) -> None:
    ref = await add_model(server)
    await server.kube.perform(ref, Apply(manifests.route(ref, (90, 10))))
    stolen = manifests.route(ref, (0, 100))["spec"]["rules"]
    await server.edit("HTTPRoute", "m", {"spec": {"rules": stolen}})
    route = (await seen(server)).route
    assert route is not None
    assert (route.weights_ppm, route.foreign_managers) == ((0, 100), ("somebody",))
    await server.kube.perform(ref, Apply(manifests.route(ref, (90, 10))))
    route = (await seen(server)).route
    assert route is not None
    assert route.weights_ppm == (90, 10)


async def test_nothing_may_stand_beside_what_is_applied_as_a_whole(server: Server) -> None:
    ref = await add_model(server)
    wanted = manifests.route(ref, (90, 10))
    await server.kube.perform(ref, ApplyWhole(wanted))
    diverted = [{"matches": [{"headers": [{"name": "x-user", "value": "beta"}]}], **wanted["spec"]["rules"][0]}]
    await server.edit("HTTPRoute", "m", {"spec": {"rules": diverted, "hostnames": ["other.example"]}})
    for _ in range(2):  # the second time it is all there already
        await seen(server)
        await server.kube.perform(ref, ApplyWhole(wanted))
        body = await server.get("HTTPRoute", "m")
        assert body is not None
        assert body["spec"] == wanted["spec"]
    before = await version_of(server, "HTTPRoute", "m")
    await server.kube.perform(ref, ApplyWhole(wanted))
    assert await version_of(server, "HTTPRoute", "m") == before


FOREIGN_ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "m"},
    "spec": {"parentRefs": [{"name": "gw", "namespace": "gateways"}], "rules": []},
}


async def test_what_is_somebody_elses_is_neither_seen_nor_written(server: Server) -> None:
    ref = await add_model(server)
    await server.add(FOREIGN_ROUTE)
    before = await version_of(server, "HTTPRoute", "m")
    for _ in range(2):  # without a look before, and with one
        with pytest.raises(UserError, match="HTTPRoute m exists and was not made for VisionModel m"):
            await server.kube.perform(ref, Apply(manifests.route(ref, (1,))))
        assert (await seen(server)).route is None
    assert await version_of(server, "HTTPRoute", "m") == before


async def test_a_label_with_our_name_makes_nothing_a_child(server: Server) -> None:
    ref = await add_model(server)
    theirs = ObjectRef(ref.namespace, "theirs", "00000000-0000-0000-0000-000000000000")
    labels = names.revision_selector("m", REVISION)
    strangers = (
        manifests.deployment(theirs, 5),
        manifests.job(theirs),
        manifests.config_map("theirs", {"workload.json": "[{}]"}),
        manifests.pod("theirs", {}, {"phase": "Running"}),
    )
    for stranger in strangers:
        metadata = {"name": stranger["metadata"]["name"], "labels": labels}
        await server.add({**stranger, "metadata": metadata})
    await server.kube.perform(ref, Apply(manifests.deployment(ref, 2)))  # not ready, hence pods are looked for
    snapshot = await seen(server)
    assert snapshot.workloads == {REVISION: WorkloadState(REVISION, replicas=2, ready=0)}
    assert (snapshot.jobs, snapshot.pods) == ({}, {})


async def test_children_of_a_namesake_that_is_gone_are_taken_over(server: Server) -> None:
    ref = await add_model(server)
    before = ObjectRef(ref.namespace, ref.name, "00000000-0000-0000-0000-000000000000")
    await server.add({**manifests.route(before, (1,)), "status": manifests.route_status(1)})
    assert (await seen(server)).route is not None
    await server.kube.perform(ref, Apply(manifests.route(ref, (2,))))
    body = await server.get("HTTPRoute", "m")
    assert body is not None
    assert ref.uid in [owner["uid"] for owner in body["metadata"]["ownerReferences"]]


async def test_create_keeps_what_is_there(server: Server) -> None:
    ref = await add_model(server)
    name = names.revision_config("m", REVISION)
    labels = names.object_labels("m", "serving", REVISION)
    stored = json.dumps([{"kind": "Service"}])
    await server.kube.perform(ref, Create(manifests.config_map(name, {"workload.json": stored}, labels)))
    await server.kube.perform(ref, Create(manifests.config_map(name, {"workload.json": "[]"}, labels)))
    assert (await seen(server)).workloads == {
        REVISION: WorkloadState(REVISION, replicas=0, ready=0, config={"workload.json": stored})
    }


async def test_delete_is_content_when_it_is_gone(server: Server) -> None:
    ref = await add_model(server)
    wanted = manifests.deployment(ref, 1)
    await server.kube.perform(ref, Apply(wanted))
    for _ in range(2):
        await server.kube.perform(ref, Delete("apps/v1", "Deployment", wanted["metadata"]["name"]))
    assert (await seen(server)).workloads == {}


async def test_status_is_replaced_whole_and_moves_no_generation(server: Server) -> None:
    ref = await add_model(server)
    await server.kube.write_status(ref, (await seen(server)).resource_version, {"phase": "Pending", "message": "a"})
    await server.kube.write_status(ref, (await seen(server)).resource_version, {"phase": "Converting"})
    snapshot = await seen(server)
    assert (snapshot.status, snapshot.generation) == (
        VisionModelStatus.model_validate({"phase": "Converting"}),
        1,
    )


async def test_an_unchanged_status_is_not_written(server: Server) -> None:
    ref = await add_model(server)
    await server.kube.write_status(ref, (await seen(server)).resource_version, {"phase": "Pending"})
    before = (await seen(server)).resource_version
    await server.kube.write_status(ref, before, {"phase": "Pending"})
    assert (await seen(server)).resource_version == before


async def test_a_status_decided_on_an_older_object_is_refused(server: Server) -> None:
    ref = await add_model(server)
    old = (await seen(server)).resource_version
    await server.edit("VisionModel", "m", {"spec": {"suspend": True}})
    with pytest.raises(Retry):
        await server.kube.write_status(ref, old, {"phase": "Pending"})
    assert (await seen(server)).status == VisionModelStatus()


async def test_a_status_for_a_namesake_is_refused(server: Server) -> None:
    await add_model(server)
    version = (await seen(server)).resource_version
    with pytest.raises(Retry):
        await server.kube.write_status(ObjectRef(server.namespace, "m", "another"), version, {"phase": "Pending"})


@pytest.mark.parametrize(
    ("observed", "ready"), [pytest.param(1, 2, id="current generation"), pytest.param(0, 2, id="older generation")]
)
async def test_ready_pods_count_before_a_new_scale_is_seen(server: Server, observed: int, ready: int) -> None:
    ref = await add_model(server)
    wanted = manifests.deployment(ref, 2)
    await server.kube.perform(ref, Apply(wanted))
    counts = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    await server.set_status("Deployment", wanted["metadata"]["name"], {"observedGeneration": observed, **counts})
    assert (await seen(server)).workloads[REVISION].ready == ready


async def test_pods_are_listed_while_a_deployment_is_not_ready(server: Server) -> None:
    ref = await add_model(server)
    await server.kube.perform(ref, Apply(manifests.deployment(ref, 1)))
    labels = names.object_labels("m", "serving", REVISION)
    waiting = {"name": "main", "ready": False, "restartCount": 2, "image": "x", "imageID": ""}
    status: dict[str, Any] = {
        "phase": "Pending",
        "podIP": "10.0.0.7",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{**waiting, "state": {"waiting": {"reason": "ImagePullBackOff"}}}],
    }
    await server.add(manifests.pod("m-pod", labels, status))
    assert (await seen(server)).pods == {
        REVISION: (PodState("m-pod", REVISION, "10.0.0.7", ready=False, restarts=2, waiting="ImagePullBackOff"),)
    }


async def test_a_finished_job_brings_its_report(server: Server) -> None:
    ref = await add_model(server)
    wanted = manifests.job(ref)
    name = wanted["metadata"]["name"]
    await server.kube.perform(ref, Create(wanted))
    assert (await seen(server)).jobs == {name: JobState(name, REVISION, finished=None)}
    ended = {
        "exitCode": 84,
        "message": FAILED.to_json(),
        "startedAt": "2026-01-01T12:00:00Z",
        "finishedAt": "2026-01-01T12:00:05Z",
    }
    container = {"name": "main", "ready": False, "restartCount": 0, "image": "x", "imageID": "", "state": {}}
    status = {"phase": "Failed", "containerStatuses": [{**container, "state": {"terminated": ended}}]}
    await server.add(manifests.pod("job-pod", {"batch.kubernetes.io/job-name": name}, status))
    times = {"lastProbeTime": "2026-01-01T12:00:06Z", "lastTransitionTime": "2026-01-01T12:00:06Z"}
    conditions = [{"type": kind, "status": "True", **times} for kind in ("FailureTarget", "Failed")]
    await server.set_status("Job", name, {"startTime": "2026-01-01T12:00:00Z", "failed": 1, "conditions": conditions})
    assert (await seen(server)).jobs == {name: JobState(name, REVISION, finished=False, summary=FAILED, exit_code=84)}


async def test_the_recorded_artifact_is_read_by_its_key(server: Server) -> None:
    ref = await add_model(server)
    report = ReportSummary(result="Succeeded")
    data = {"summary.json": report.to_json(), "gate-g1.json": json.dumps({"gates": []})}
    labels = {names.LABEL_ARTIFACT_KEY: KEY}
    await server.kube.perform(ref, Apply(manifests.config_map(names.artifact_config(KEY), data, labels)))
    snapshot = await seen(server)
    assert snapshot.artifacts == {}
    await server.kube.write_status(ref, snapshot.resource_version, {"conversion": {"key": KEY}})
    assert (await seen(server)).artifacts == {KEY: KnownArtifact(KEY, report, {"g1": ()}, {})}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(manifests.route_status(1), (True, "", ""), id="accepted"),
        pytest.param(manifests.route_status(0), (False, "Pending", None), id="an older generation"),
        pytest.param(
            manifests.route_status(1, "False", "NotAllowedByListeners", "no"),
            (False, "NotAllowedByListeners", "no"),
            id="refused",
        ),
        pytest.param({"parents": []}, (False, "Pending", None), id="unanswered"),
    ],
)
async def test_a_route_is_accepted_by_every_parent(
    server: Server, status: dict[str, Any], expected: tuple[bool, str, str | None]
) -> None:
    ref = await add_model(server)
    await server.kube.perform(ref, Apply(manifests.route(ref, (999_999, 1))))
    await server.set_status("HTTPRoute", "m", status)
    route = (await seen(server)).route
    assert route is not None
    assert (route.weights_ppm, route.backends, route.foreign_managers) == ((999_999, 1), ("m-0", "m-1"), ())
    accepted, reason, message = expected
    assert (route.accepted, route.reason) == (accepted, reason)
    assert message is None or route.message == message


async def test_of_two_routes_for_the_same_path_one_loses_and_is_told(server: Server) -> None:
    gateway = {"name": "gw", "namespace": "gateways"}
    routes = {}
    for place in (server, await server.elsewhere()):
        ref = await add_model(place)
        await place.kube.perform(ref, Apply(manifests.route(ref, (1,), parentRefs=[gateway])))
        await place.set_status("HTTPRoute", "m", manifests.route_status(1, gateway=gateway))
        routes[place.namespace] = place
    found = {namespace: (await seen(place)).route for namespace, place in routes.items()}
    (winner,) = [namespace for namespace, route in found.items() if route is not None and route.accepted]
    (loser,) = [route for route in found.values() if route is not None and not route.accepted]
    assert loser.reason == "Conflict"
    assert f"{winner}/m" in loser.message


async def test_routes_of_both_protocols_are_seen_together(server: Server) -> None:
    ref = await add_model(server)
    for kind in names.ROUTE_KINDS:
        await server.kube.perform(ref, Apply(manifests.route(ref, (999_999, 1), kind)))
    await server.set_status("HTTPRoute", "m", manifests.route_status(1))
    half = (await seen(server)).route
    assert half is not None
    assert (half.accepted, half.serving, tuple(half.live)) == (False, True, names.ROUTE_KINDS)
    await server.set_status("GRPCRoute", "m", manifests.route_status(1))
    both = (await seen(server)).route
    assert both is not None
    assert both.accepted
    await server.kube.perform(ref, Delete("gateway.networking.k8s.io/v1", "HTTPRoute", "m"))
    left = (await seen(server)).route
    assert left is not None
    assert (left.accepted, tuple(left.live)) == (True, ("GRPCRoute",))


async def test_of_two_models_behind_one_grpc_host_one_loses_and_is_told(server: Server) -> None:
    for name in ("m", "n"):
        ref = await add_model(server, name)
        await server.kube.perform(ref, Apply(manifests.route(ref, (1,), "GRPCRoute", hostnames=["a.example"])))
        await server.set_status("GRPCRoute", name, manifests.route_status(1))
    found = {name: (await server.kube.observe(server.namespace, name)) for name in ("m", "n")}
    routes = {name: picture.route for name, picture in found.items() if picture is not None and picture.route}
    assert (routes["m"].accepted, routes["n"].accepted, routes["n"].reason) == (True, False, "Conflict")
    assert f"{server.namespace}/m" in routes["n"].message


async def test_events_may_repeat(server: Server) -> None:
    ref = await add_model(server)
    for _ in range(3):
        await server.kube.perform(ref, Event("HarmDetected", "errors rose", warning=True))
    assert (await seen(server)).ref == ref
