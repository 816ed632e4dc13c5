import json
from typing import Any

import pytest

from visionmodel_contract.report import Failure, ReportSummary
from visionmodel_operator.adapters.job_translation import job_states, wait_of
from visionmodel_operator.adapters.serving_translation import (
    is_settled,
    pod_states,
    ready_replicas,
    route_state,
    routes_state,
)
from visionmodel_operator.adapters.translation import (
    Observed,
    kept_artifact_keys,
    known_artifact,
    needs_serving_pods,
    snapshot_from,
    wanted_artifact_keys,
)
from visionmodel_operator.api.v1alpha1 import parse_spec, parse_status
from visionmodel_operator.core import names
from visionmodel_operator.core.build_request import build_keys
from visionmodel_operator.core.conversion_request import artifact_key
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.snapshot import JobState, KnownArtifact, Platform, PodState

DIGEST = "sha256:" + "a" * 64
SPEC: dict[str, Any] = {"model": {"storageUri": "s3://models/m.onnx"}, "task": {"type": "Tensor"}}
PINNED: dict[str, Any] = {**SPEC, "model": {**SPEC["model"], "digest": DIGEST}}
PINNED_KEY = artifact_key(parse_spec(PINNED))
FAILURE = Failure(reason="GateFailed", message="top1", exit_code=88)
SUMMARY = ReportSummary(result="Succeeded")

JOB = {"kind": "Job", "metadata": {"name": "m-r1-prepare", "labels": {names.LABEL_REVISION: "r1"}}}


def job_pod(status: dict[str, Any], name: str = "p") -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"batch.kubernetes.io/job-name": "m-r1-prepare"}}, "status": status}


def ended(message: str, at: str = "2026-01-01T12:00:00Z", code: int = 84, key: str = "state") -> dict[str, Any]:
    terminated = {"terminated": {"exitCode": code, "message": message, "finishedAt": at}}
    return {"containerStatuses": [{"name": "prepare", "state": {}, key: terminated}]}


def done(kind: str, message: str = "", reason: str = "") -> dict[str, Any]:
    condition = {"type": kind, "status": "True", "message": message, "reason": reason}
    return {**JOB, "status": {"conditions": [condition]}}


TOO_MUCH = "Pod ephemeral local storage usage exceeds the total limit of containers 10Gi. "


def evicted_pod(name: str, hour: str, why: str) -> dict[str, Any]:
    killed = ended('{"stage": "Fetch"}', f"2026-01-01T{hour}:00:00Z", 137)
    pod = job_pod({"phase": "Failed", "reason": "Evicted", "message": why, **killed}, name)
    return {**pod, "metadata": {**pod["metadata"], "creationTimestamp": f"2026-01-01T{hour}:00:00Z"}}


@pytest.mark.parametrize(
    ("job", "pods", "line", "expected"),
    [
        pytest.param(JOB, [], None, {"finished": None}, id="just created"),
        pytest.param(
            JOB,
            [job_pod({"phase": "Running"})],
            '{"stage": "Parity", "progress": 70}',
            {"finished": None, "progress_stage": "Parity", "progress_percent": 70},
            id="running",
        ),
        pytest.param(JOB, [], "Traceback", {"finished": None}, id="a log line that is no JSON"),
        pytest.param(
            JOB, [], '{"stage": 3, "progress": 170}', {"finished": None, "progress_percent": 100}, id="odd progress"
        ),
        pytest.param(JOB, [], "[1]", {"finished": None}, id="a log line that is another JSON"),
        pytest.param(
            done("Complete"),
            [job_pod(ended(SUMMARY.to_json(), code=0))],
            '{"stage": "Publish", "progress": 99}',
            {"finished": True, "summary": SUMMARY, "exit_code": 0},
            id="done",
        ),
        pytest.param(
            done("Failed"),
            [
                job_pod(ended("first", "2026-01-01T12:00:00Z", 70), "p1"),
                job_pod(ended("second", "2026-01-01T12:05:00Z", 84), "p2"),
            ],
            None,
            {"finished": False, "message": "second", "exit_code": 84},
            id="the newest of several pods",
        ),
        pytest.param(
            done("Failed"),
            [job_pod(ended('{"result": "Perhaps"}', key="lastState"))],
            None,
            {"finished": False, "message": '{"result": "Perhaps"}', "exit_code": 84},
            id="a report that cannot be read",
        ),
        pytest.param(
            done("Failed", "Job was active longer than specified deadline"),
            [],
            None,
            {"finished": False, "message": "Job was active longer than specified deadline"},
            id="no pod left",
        ),
        pytest.param(
            done("Failed", "Job was active longer than specified deadline", "DeadlineExceeded"),
            [],
            None,
            {
                "finished": False,
                "message": "Job was active longer than specified deadline",
                "failure": "DeadlineExceeded",
            },
            id="too slow",
        ),
        pytest.param(
            done("Failed", "Job has reached the specified backoff limit", "BackoffLimitExceeded"),
            [evicted_pod("p1", "10", "first"), evicted_pod("p2", "12", TOO_MUCH)],
            None,
            {
                "finished": False,
                "message": '{"stage": "Fetch"}',
                "failure": "BackoffLimitExceeded",
                "evicted": TOO_MUCH.strip(),
                "exit_code": 137,
            },
            id="evicted, and the log's end is no reason",
        ),
        pytest.param(done("FailureTarget"), [], None, {"finished": None}, id="not failed yet"),
        pytest.param(
            {**JOB, "spec": {"suspend": True}}, [], None, {"finished": None, "waiting": "Suspended"}, id="suspended"
        ),
        pytest.param(
            JOB,
            [
                job_pod(
                    {
                        "conditions": [
                            {
                                "type": "PodScheduled",
                                "status": "False",
                                "reason": "Unschedulable",
                                "message": "0/3 nodes are available: 3 Insufficient cpu.",
                            }
                        ]
                    }
                )
            ],
            None,
            {
                "finished": None,
                "waiting": "Unschedulable",
                "waiting_message": "0/3 nodes are available: 3 Insufficient cpu.",
            },
            id="no node for it",
        ),
    ],
)
def test_job_states(
    job: dict[str, Any], pods: list[dict[str, Any]], line: str | None, expected: dict[str, Any]
) -> None:
    progress = {} if line is None else {"m-r1-prepare": line}
    assert job_states([job], pods, progress) == {
        "m-r1-prepare": JobState(name="m-r1-prepare", revision="r1", **expected)
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({}, "", id="nothing known"),
        pytest.param({"containerStatuses": [{"state": {"running": {}}}]}, "", id="running"),
        pytest.param({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, "", id="soon"),
        pytest.param(
            {
                "initContainerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}],
                "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            "ErrImagePull",
            id="init container",
        ),
    ],
)
def test_waiting_reason(status: dict[str, Any], expected: str) -> None:
    assert wait_of({"status": status}).reason == expected


def deployment(wanted: int, generation: int = 1, **status: int) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "d", "generation": generation},
        "spec": {"replicas": wanted},
        "status": status,
    }


FULL = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}


@pytest.mark.parametrize(
    ("live", "ready", "settled"),
    [
        pytest.param(deployment(2), 0, False, id="no status yet"),
        pytest.param(deployment(2, **FULL), 2, True, id="settled"),
        pytest.param(deployment(3, 2, **FULL), 2, False, id="growing, not seen yet"),
        pytest.param(deployment(1, 2, **FULL), 1, False, id="shrinking, not seen yet"),
        pytest.param(deployment(2, **{**FULL, "updatedReplicas": 1}), 1, False, id="one pod of an older template"),
        pytest.param(deployment(2, **{**FULL, "replicas": 3}), 2, False, id="one too many"),
        pytest.param(deployment(0, observedGeneration=1), 0, True, id="scaled to zero"),
    ],
)
def test_ready_replicas(live: dict[str, Any], ready: int, settled: bool) -> None:
    assert (ready_replicas(live), is_settled(live)) == (ready, settled)


def serving_pod(name: str, **extra: Any) -> dict[str, Any]:
    labels = {names.LABEL_REVISION: "r1", **extra.pop("labels", {})}
    metadata = {"name": name, "labels": labels, **extra.pop("metadata", {})}
    return {"metadata": metadata, "status": {"phase": "Running", **extra}}


def test_pod_states() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"}
    pods = [
        serving_pod("z", podIP="10.0.0.2", conditions=[ready], containerStatuses=[{"restartCount": 3}]),
        serving_pod("a", metadata={"deletionTimestamp": "2026-01-01T12:00:00Z"}),
        serving_pod("evicted", phase="Failed"),
        serving_pod("job", labels={"batch.kubernetes.io/job-name": "j"}),
        {"metadata": {"name": "stranger"}},
    ]
    assert pod_states(pods) == {
        "r1": (
            PodState("a", "r1", None, ready=False, terminating=True),
            PodState("z", "r1", "10.0.0.2", ready=True, restarts=3),
        )
    }


def test_pod_without_a_node_says_why_in_the_words_of_the_scheduler() -> None:
    said = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
    (pod,) = pod_states([serving_pod("a", phase="Pending", conditions=[scheduled])])["r1"]
    assert (pod.waiting, pod.waiting_message) == ("Unschedulable", said)


def route(
    parents: list[dict[str, Any]], references: list[dict[str, Any]] | None = None, kind: str = names.HTTP_ROUTE
) -> dict[str, Any]:
    wanted = references if references is not None else [{"name": "gw", "sectionName": "http"}]
    return {
        "kind": kind,
        "metadata": {"name": "m", "namespace": "default", "generation": 4},
        "spec": {"parentRefs": wanted, "rules": []},
        "status": {"parents": parents},
    }


def answer(reference: dict[str, Any], *, accepted: str = "True", resolved: str = "True", seen: int = 4) -> Any:
    conditions = [
        {"type": "Accepted", "status": accepted, "reason": "NoMatchingParent", "observedGeneration": seen},
        {"type": "ResolvedRefs", "status": resolved, "reason": "BackendNotFound", "observedGeneration": seen},
    ]
    return {"parentRef": reference, "conditions": conditions}


GATEWAY = {"name": "gw", "sectionName": "http", "namespace": "default", "kind": "Gateway"}


@pytest.mark.parametrize(
    ("live", "reason", "serving"),
    [
        pytest.param(route([answer(GATEWAY)]), "", True, id="accepted, namespace defaulted"),
        pytest.param(route([answer({**GATEWAY, "sectionName": "other"})]), "Pending", False, id="another listener"),
        pytest.param(route([answer(GATEWAY, accepted="False")]), "NoMatchingParent", False, id="refused"),
        pytest.param(route([answer(GATEWAY, resolved="False")]), "BackendNotFound", True, id="backend missing"),
        pytest.param(route([answer(GATEWAY, seen=3)]), "Pending", True, id="older generation"),
        pytest.param(
            route([answer(GATEWAY, seen=3, accepted="False")]), "Pending", False, id="older generation refused"
        ),
        pytest.param(route([]), "Pending", False, id="no answer yet"),
        pytest.param(route([{"parentRef": GATEWAY, "conditions": []}]), "Pending", False, id="no condition yet"),
        pytest.param(
            route([answer({"name": "a", "namespace": "default"})], [{"name": "a"}, {"name": "b"}]),
            "Pending",
            False,
            id="one of two gateways",
        ),
        pytest.param(
            route([answer(GATEWAY), answer(GATEWAY, accepted="False")]), "NoMatchingParent", False, id="two controllers"
        ),
        pytest.param(route([], []), "NoParents", False, id="no gateway named"),
    ],
)
def test_a_route_is_accepted_when_everybody_says_so(live: dict[str, Any], reason: str, serving: bool) -> None:
    state = route_state(live)
    assert (state.accepted, state.reason, state.serving) == (not reason, reason, serving)


def test_a_route_behind_an_older_one_gets_no_requests() -> None:
    state = route_state(route([answer(GATEWAY)]), "elsewhere/m")
    assert (state.accepted, state.reason, state.serving) == (False, "Conflict", False)


ACCEPTED, REFUSED = [answer(GATEWAY)], [answer(GATEWAY, accepted="False")]


@pytest.mark.parametrize(
    ("http", "grpc", "reason", "serving"),
    [
        pytest.param(ACCEPTED, ACCEPTED, "", True, id="both accepted"),
        pytest.param(ACCEPTED, [], "Pending", True, id="a protocol that was added interrupts nobody"),
        pytest.param([], ACCEPTED, "Pending", True, id="whichever it is"),
        pytest.param(ACCEPTED, REFUSED, "NoMatchingParent", True, id="one refused"),
        pytest.param([], REFUSED, "Pending", False, id="neither"),
    ],
)
def test_routes_of_two_protocols_speak_as_one(http: list[Any], grpc: list[Any], reason: str, serving: bool) -> None:
    first, second = route(http), route(grpc, kind=names.GRPC_ROUTE)
    state = routes_state([(first, None), (second, None)])
    assert state is not None
    assert (state.accepted, state.reason, state.serving) == (not reason, reason, serving)
    assert state.live == {names.HTTP_ROUTE: first, names.GRPC_ROUTE: second}


def test_without_a_route_nothing_is_said() -> None:
    assert routes_state([]) is None


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (names.HTTP_ROUTE, "has this path of the listener: rename one, or give each its hostnames."),
        (names.GRPC_ROUTE, "has this host of the listener: give each its hostnames, or a listener of its own."),
    ],
)
def test_a_conflict_names_the_remedy(kind: str, remedy: str) -> None:
    message = route_state(route([answer(GATEWAY)], kind=kind), "elsewhere/m").message
    assert message == f"The older {kind} elsewhere/m {remedy}"


def test_foreign_managers_are_those_who_write_the_spec() -> None:
    fields: dict[str, Any] = {"f:spec": {"f:rules": {}}}
    managers = [
        {"manager": names.FIELD_MANAGER, "fieldsV1": fields},
        {"manager": "gateway", "subresource": "status", "fieldsV1": {"f:status": {}}},
        {"manager": "labeller", "fieldsV1": {"f:metadata": {}}},
        {"manager": "kubectl-edit", "fieldsV1": fields},
    ]
    live = route([])
    live["metadata"]["managedFields"] = managers
    assert route_state(live).foreign_managers == ("kubectl-edit",)


def artifact(data: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "artifact-k", "labels": {names.LABEL_ARTIFACT_KEY: "k"}}, "data": data}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({"summary.json": SUMMARY.to_json()}, KnownArtifact("k", SUMMARY), id="without a verdict"),
        pytest.param(
            {
                "summary.json": SUMMARY.to_json(),
                "gate-g1.json": '{"gates": []}',
                "gate-g2.json": json.dumps({"gates": [], "failure": FAILURE.model_dump(by_alias=True)}),
            },
            KnownArtifact("k", SUMMARY, {"g1": (), "g2": ()}, {"g2": FAILURE}),
            id="two verdicts",
        ),
        pytest.param({}, None, id="empty"),
        pytest.param({"summary.json": "{}"}, None, id="unreadable summary"),
        pytest.param({"summary.json": SUMMARY.to_json(), "gate-g1.json": "[]"}, None, id="unreadable verdict"),
    ],
)
def test_known_artifact(data: dict[str, str], expected: KnownArtifact | None) -> None:
    assert known_artifact(artifact(data)) == expected


PLATFORM = Platform(runtimes={}, default_runtime="", converter_image="", artifact_repository="")
ENGINES = {**SPEC, "conversion": {"backend": "TensorRT"}, "accelerators": [{}, {"product": "NVIDIA-L4"}]}


@pytest.mark.parametrize(
    ("spec", "status", "wanted", "kept"),
    [
        pytest.param(SPEC, {}, set(), set(), id="unpinned and new"),
        pytest.param(PINNED, {}, {PINNED_KEY}, {PINNED_KEY}, id="pinned"),
        pytest.param(SPEC, {"conversion": {"key": "k1"}}, {"k1"}, {"k1"}, id="recorded"),
        pytest.param(
            PINNED,
            {"conversion": {"key": "k1"}, "revisions": [{"revision": "r", "artifactKey": "k0"}, {"revision": "s"}]},
            {PINNED_KEY, "k1"},
            {PINNED_KEY, "k1", "k0"},
            id="old revisions are kept",
        ),
        pytest.param({}, {"conversion": {"key": "k1"}}, {"k1"}, {"k1"}, id="an invalid spec still keeps"),
        pytest.param(
            ENGINES,
            {
                "conversion": {"key": "k1", "engineKeys": ["e1", "e2"]},
                "revisions": [{"revision": "r", "artifactKey": "k0", "engineKeys": ["e0"]}],
            },
            {"k1", *build_keys(parse_spec(ENGINES), "k1", PLATFORM)},
            {"k1", "e1", "e2", "k0", "e0"},
            id="engines",
        ),
        pytest.param(
            ENGINES,
            {
                "revisions": [
                    {"revision": "r", "artifactKey": "k0", "engineKeys": ["e0"]},
                    {"revision": revision_of(parse_spec(ENGINES)), "artifactKey": "k1", "engineKeys": ["e1", "e2"]},
                ],
            },
            {"k1", "e1", "e2", *build_keys(parse_spec(ENGINES), "k1", PLATFORM)},
            {"k0", "e0", "k1", "e1", "e2"},
            id="engines that the revision was given before",
        ),
    ],
)
def test_artifact_keys(spec: dict[str, Any], status: dict[str, Any], wanted: set[str], kept: set[str]) -> None:
    parsed = None if not spec else parse_spec(spec)
    assert wanted_artifact_keys(parsed, parse_status(status), PLATFORM) == wanted
    assert kept_artifact_keys({"spec": spec, "status": status}) == kept


def test_without_a_digest_the_artifacts_of_this_and_the_stable_revision_are_read() -> None:
    spec = parse_spec(SPEC)
    known = [
        {"revision": revision, "artifactKey": key}
        for revision, key in (("r2", "k2"), (revision_of(spec), "k1"), ("r3", "k3"))
    ]
    status = parse_status({"stable": {"revision": "r2"}, "conversion": {"key": "k0"}, "revisions": known})
    assert wanted_artifact_keys(spec, status, PLATFORM) == {"k0", "k1", "k2"}
    assert wanted_artifact_keys(parse_spec(PINNED), status, PLATFORM) == {"k0", PINNED_KEY}


@pytest.mark.parametrize(
    ("status", "live", "needed"),
    [
        pytest.param({"phase": "Healthy"}, [deployment(2, **FULL)], False, id="quiet"),
        pytest.param({"phase": "Healthy"}, [deployment(3, 2, **FULL)], True, id="scaling"),
        pytest.param({"phase": "Held"}, [], True, id="active phase"),
        pytest.param({"phase": "Suspended", "rollout": {"revision": "r"}}, [], True, id="rollout recorded"),
        pytest.param({}, [], False, id="new"),
    ],
)
def test_needs_serving_pods(status: dict[str, Any], live: list[dict[str, Any]], needed: bool) -> None:
    assert needs_serving_pods({"status": status}, live) is needed


def test_an_invalid_spec_is_told_and_not_raised() -> None:
    metadata = {"name": "m", "namespace": "n", "uid": "u", "resourceVersion": "5", "deletionTimestamp": "now"}
    snapshot = snapshot_from(Observed({"metadata": metadata, "spec": {"task": {"type": "Tensor"}}}), PLATFORM)
    assert (snapshot.spec, snapshot.deleting) == (None, True)
    assert snapshot.spec_error.startswith("spec.model: Field required")
