"""Revisions in the cluster: what is stored is what is applied, for ever, and scaled without rendering."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from unit.render.samples import (
    CANARY,
    CPU_SPEC,
    ENGINE_SPEC,
    GPU_SPEC,
    PLATFORM,
    REF,
    REVISION,
    artifact,
    engine,
    snapshot,
    spec,
    status,
)
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import (
    Action,
    CreateRevision,
    DeleteRevision,
    EnsureDisruptionBudget,
    ScaleRevision,
)
from visionmodel_operator.core.devices import pods_by_accelerator
from visionmodel_operator.core.operations import Apply, Create, Delete, Operation
from visionmodel_operator.core.snapshot import Runtime, Snapshot, WorkloadState
from visionmodel_operator.errors import Retry, UserError
from visionmodel_operator.render import operations
from visionmodel_operator.render.triton_flags import COMMON_FLAGS, tritonserver_args

STARTED = "2026-01-01T00:00:00Z"


def created(of: VisionModelSpec = CPU_SPEC, replicas: int = 2, picture: Snapshot | None = None) -> list[Operation]:
    return list(operations(CreateRevision(REVISION, of, artifact(), replicas), picture or snapshot()))


def manifests(found: list[Operation], kind: str) -> list[Mapping[str, Any]]:
    return [one.manifest for one in found if isinstance(one, Create | Apply) and one.manifest["kind"] == kind]


def stored(found: list[Operation]) -> tuple[Mapping[str, Any], ...]:
    return tuple(json.loads(manifests(found, "ConfigMap")[0]["data"]["workload.json"]))


def with_stored(found: list[Operation], **changes: Any) -> Snapshot:
    workload = WorkloadState(REVISION, replicas=2, ready=2, config=manifests(found, "ConfigMap")[0]["data"])
    return snapshot(workloads={REVISION: workload}, **changes)


def pod_of(found: list[Operation], index: int = 0) -> Mapping[str, Any]:
    pod: Mapping[str, Any] = manifests(found, "Deployment")[index]["spec"]["template"]["spec"]
    return pod


def without_track(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    labels = {key: value for key, value in manifest["metadata"]["labels"].items() if key != names.LABEL_TRACK}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}


def test_memory_is_written_before_anything_runs() -> None:
    found = created()
    assert [(type(one).__name__, one.manifest["kind"]) for one in found if isinstance(one, Create | Apply)] == [
        ("Create", "ConfigMap"),
        ("Apply", "Service"),
        ("Apply", "Deployment"),
    ]


def test_stored_workload_is_what_is_applied() -> None:
    found = created(GPU_SPEC, 3)
    applied = [without_track(one.manifest) for one in found if isinstance(one, Apply)]
    assert applied == list(stored(found))


def test_an_upgraded_operator_leaves_running_pods_alone() -> None:
    found = created()
    moved = replace(
        PLATFORM,
        runtimes={"24.10": Runtime("24.10", "registry.example/other:1", "2.71.0")},
        image_volumes=False,
        pull_secret="another",
    )
    again = list(operations(ScaleRevision(REVISION, 2), with_stored(found, platform=moved, spec=GPU_SPEC)))
    assert again == [Apply(one.manifest) for one in found if isinstance(one, Create | Apply)]


def test_what_a_namesake_left_behind_gets_a_new_owner_and_keeps_its_pods() -> None:
    before = created()
    ref = replace(REF, uid="00000000-0000-0000-0000-000000000001")
    after = list(operations(ScaleRevision(REVISION, 2), with_stored(before, ref=ref)))
    manifest = [one.manifest for one in after if isinstance(one, Apply)]
    assert [(one["kind"], [o["uid"] for o in one["metadata"]["ownerReferences"]]) for one in manifest] == [
        ("ConfigMap", [ref.uid]),
        ("Service", [ref.uid]),
        ("Deployment", [ref.uid]),
    ]
    assert manifest[0]["data"] == manifests(before, "ConfigMap")[0]["data"]
    assert [one["spec"] for one in manifest[1:]] == [one.manifest["spec"] for one in before if isinstance(one, Apply)]


@pytest.mark.parametrize(
    ("replicas", "deployments", "expected"),
    [(0, 1, (0,)), (3, 1, (3,)), (3, 2, (2, 1)), (1, 3, (1, 0, 0)), (7, 4, (2, 2, 2, 1)), (0, 2, (0, 0))],
)
def test_replicas_are_split_evenly(replicas: int, deployments: int, expected: tuple[int, ...]) -> None:
    assert pods_by_accelerator(replicas, deployments) == expected


@pytest.mark.parametrize("replicas", [0, 1, 5])
def test_scaling_changes_replicas_only(replicas: int) -> None:
    found = created(GPU_SPEC, 3)
    scaled = list(operations(ScaleRevision(REVISION, replicas), with_stored(found)))
    deployments = manifests(scaled, "Deployment")
    assert tuple(one["spec"]["replicas"] for one in deployments) == pods_by_accelerator(replicas, 2)
    for before, after in zip(manifests(found, "Deployment"), deployments, strict=True):
        assert {**after, "spec": {**after["spec"], "replicas": 0}} == {
            **before,
            "spec": {**before["spec"], "replicas": 0},
        }


def test_scaling_may_take_pods_from_one_device_only() -> None:
    scaled = list(operations(ScaleRevision(REVISION, 2, (2, 0)), with_stored(created(GPU_SPEC, 3))))
    assert [one["spec"]["replicas"] for one in manifests(scaled, "Deployment")] == [2, 0]


def test_scaling_without_memory_looks_again() -> None:
    with pytest.raises(Retry, match="no stored workload"):
        operations(ScaleRevision(REVISION, 1), snapshot())


@pytest.mark.parametrize(
    ("recorded", "track"),
    [
        pytest.param({}, "stable", id="the first revision"),
        pytest.param({"stable": {"revision": REVISION}}, "stable", id="stable"),
        pytest.param(
            {"stable": {"revision": CANARY}, "canary": {"revision": REVISION}}, "canary", id="canary with traffic"
        ),
        pytest.param(
            {
                "stable": {"revision": CANARY},
                "rollout": {"revision": REVISION, "startedAt": STARTED, "phaseStartedAt": STARTED},
            },
            "canary",
            id="canary in preparation",
        ),
        pytest.param({"stable": {"revision": CANARY}}, "retired", id="kept for going back"),
    ],
)
def test_track_is_on_the_objects_and_never_on_pods(recorded: dict[str, Any], track: str) -> None:
    found = list(operations(ScaleRevision(REVISION, 1), with_stored(created(), status=status(**recorded))))
    objects = [one.manifest for one in found if isinstance(one, Apply) and one.manifest["kind"] != "ConfigMap"]
    assert [one["metadata"]["labels"][names.LABEL_TRACK] for one in objects] == [track, track]
    assert names.LABEL_TRACK not in json.dumps([one["spec"] for one in objects])


def test_deployments_of_one_revision_select_different_pods() -> None:
    deployments = manifests(created(GPU_SPEC, 3), "Deployment")
    selectors = [one["spec"]["selector"]["matchLabels"] for one in deployments]
    assert selectors[0] != selectors[1]
    for deployment, selector in zip(deployments, selectors, strict=True):
        assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_the_users_labels_and_annotations_never_win() -> None:
    template = manifests(created(GPU_SPEC, 3), "Deployment")[0]["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "vision"
    assert template["metadata"]["labels"][names.LABEL_REVISION] == REVISION
    assert template["metadata"]["annotations"]["prometheus.io/scrape"] == "true"


@pytest.mark.parametrize("of", [pytest.param(CPU_SPEC, id="cpu"), pytest.param(GPU_SPEC, id="gpu")])
@pytest.mark.parametrize("image_volumes", [True, False])
def test_pods_pass_the_restricted_standard(of: VisionModelSpec, image_volumes: bool) -> None:
    pod = pod_of(created(of, picture=snapshot(platform=replace(PLATFORM, image_volumes=image_volumes))))
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    assert [one["securityContext"] for one in containers] == [
        {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    ] * len(containers)
    assert pod["automountServiceAccountToken"] is False
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {
        "configMap",
        "emptyDir",
        "image",
        "secret",
    }


def test_only_scratch_folders_are_writable() -> None:
    (container,) = pod_of(created())["containers"]
    assert [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")] == ["/dev/shm", "/tmp"]


def test_grace_outlasts_pre_stop_and_exit() -> None:
    pod = pod_of(created())
    (container,) = pod["containers"]
    exit_seconds = next(int(flag.partition("=")[2]) for flag in container["args"] if "exit-timeout" in flag)
    assert pod["terminationGracePeriodSeconds"] >= container["lifecycle"]["preStop"]["sleep"]["seconds"] + exit_seconds


@pytest.mark.parametrize(
    ("triton_version", "added"),
    [
        ("2.51.0", ["--metrics-config=summary_latencies=true"]),
        (
            "2.71.0",
            ["--metrics-config=summary_latencies=true", "--metrics-config=histogram_latencies=true"],
        ),
        (
            "3.0.0",
            ["--metrics-config=summary_latencies=true", "--metrics-config=histogram_latencies=true"],
        ),
    ],
)
def test_flags_by_release(triton_version: str, added: list[str]) -> None:
    assert tritonserver_args(Runtime("x", "image", triton_version)) == [*COMMON_FLAGS, *added]


@pytest.mark.parametrize(
    ("sections", "runtimes", "words"),
    [
        pytest.param({"serving": {"runtimeVersion": "99.01"}}, PLATFORM.runtimes, "offers: 24.10, 26.07", id="unknown"),
        pytest.param({}, {"24.10": Runtime("24.10", "image", "latest")}, "is no version such as", id="no version"),
    ],
)
def test_runtimes_that_cannot_be_had(sections: dict[str, Any], runtimes: dict[str, Runtime], words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        created(spec(**sections), picture=snapshot(platform=replace(PLATFORM, runtimes=runtimes)))
    assert refused.value.reason == Reason.UNKNOWN_RUNTIME


OPENVINO = spec(conversion={"backend": "OpenVINO"})
WITH_OPENVINO = {
    "24.10": Runtime("24.10", "plain", "2.51.0"),
    "26.07": Runtime("26.07", "plain", "2.71.0", "registry.example/triton-openvino:26.07"),
}


def test_a_backend_has_its_own_image_and_is_refused_without() -> None:
    served = spec(conversion={"backend": "OpenVINO"}, serving={"runtimeVersion": "26.07"})
    pod = pod_of(created(served, picture=snapshot(platform=replace(PLATFORM, runtimes=WITH_OPENVINO))))
    assert pod["containers"][0]["image"] == "registry.example/triton-openvino:26.07"


@pytest.mark.parametrize(
    ("runtimes", "advice"),
    [
        pytest.param(WITH_OPENVINO, "set serving.runtimeVersion to one of 26.07, or", id="another runtime has it"),
        pytest.param(PLATFORM.runtimes, "use backend ONNXRuntime, or", id="no runtime has it"),
    ],
)
def test_a_runtime_without_the_backend_says_what_to_do(runtimes: dict[str, Runtime], advice: str) -> None:
    with pytest.raises(UserError, match=advice) as refused:
        created(OPENVINO, picture=snapshot(platform=replace(PLATFORM, runtimes=runtimes)))
    assert refused.value.reason == Reason.BACKEND_UNAVAILABLE


def test_artifact_without_a_digest_reference_is_pinned() -> None:
    made = artifact(image="registry.example/artifacts")
    (operation,) = [
        one
        for one in operations(CreateRevision(REVISION, CPU_SPEC, made, 1), snapshot())
        if isinstance(one, Apply) and one.manifest["kind"] == "Deployment"
    ]
    image = operation.manifest["spec"]["template"]["spec"]["volumes"][0]["image"]
    assert image["reference"] == f"registry.example/artifacts@{made.digest}"


@pytest.mark.parametrize(
    ("picture", "deployments"),
    [
        pytest.param(with_stored(created(GPU_SPEC, 3)), 2, id="as stored"),
        pytest.param(snapshot(), 4, id="as many as there can be"),
    ],
)
def test_deletes_end_with_the_memory(picture: Snapshot, deployments: int) -> None:
    own = f"shapes-{REVISION}"
    assert operations(DeleteRevision(REVISION), picture) == (
        *(Delete("apps/v1", "Deployment", f"{own}-{index}") for index in range(deployments)),
        Delete("policy/v1", "PodDisruptionBudget", own),
        Delete("v1", "Service", own),
        Delete("v1", "ConfigMap", own),
    )


@pytest.mark.parametrize(
    "action", [CreateRevision(REVISION, GPU_SPEC, artifact(), 3), EnsureDisruptionBudget(REVISION)]
)
def test_everything_is_owned_and_labelled(action: Action) -> None:
    for one in operations(action, snapshot()):
        assert isinstance(one, Create | Apply)
        metadata = one.manifest["metadata"]
        assert [(o["kind"], o["name"], o["controller"]) for o in metadata["ownerReferences"]] == [
            ("VisionModel", "shapes", True)
        ]
        assert metadata["labels"][names.LABEL_NAME] == "shapes"
        assert "app.kubernetes.io/instance" not in metadata["labels"]


def test_each_deployment_serves_the_engine_of_its_device() -> None:
    engines = (engine(0), engine(1))
    found = list(operations(CreateRevision(REVISION, ENGINE_SPEC, artifact(), 3, engines), snapshot(spec=ENGINE_SPEC)))
    references = [
        volume["image"]["reference"]
        for deployment in manifests(found, "Deployment")
        for volume in deployment["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "artifact"
    ]
    assert references == [engines[0].image, engines[1].image]


@pytest.mark.parametrize(("of", "expected"), [(ENGINE_SPEC, 1), (GPU_SPEC, 0)], ids=["version compatible", "plain"])
def test_the_server_is_told_of_engines_with_host_code(of: VisionModelSpec, expected: int) -> None:
    (container,) = pod_of(created(of, picture=snapshot(spec=of)))["containers"]
    assert container["args"].count("--backend-config=tensorrt,version-compatible=true") == expected
