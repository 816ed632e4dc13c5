"""The chart, rendered by the pinned helm: its values are checked, its rights are the least, its pod is restricted."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, assert_never

import pytest
import yaml

from unit.render.samples import CASES
from visionmodel_devcluster.builds import binary
from visionmodel_operator.adapters.kube_objects import CHILD_KINDS
from visionmodel_operator.adapters.resources import PLURALS
from visionmodel_operator.api.base import GROUP, PLURAL, VERSION
from visionmodel_operator.core.operations import Apply, ApplyWhole, Create, Delete, Event, Operation
from visionmodel_operator.handlers.kopf_settings import CHILDREN, ROUTES
from visionmodel_operator.render import operations
from visionmodel_operator.settings import PREFIX, RuntimeSetting, Settings, settings_from

CHART = Path(__file__).resolve().parents[2] / "charts" / "visionmodel-operator"
MINIMAL = CHART / "ci" / "minimal-values.yaml"
FULL = CHART / "ci" / "full-values.yaml"

COLLECTION = "vm-visionmodel-operator-collection"

pytestmark = pytest.mark.timeout(600)  # the first run may have to build helm

Document = dict[str, Any]


@pytest.fixture(scope="session")
def helm() -> Path:
    return binary("helm")


def run(helm: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(helm), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def rendered(helm: Path, *arguments: str, values: Path = MINIMAL) -> list[Document]:
    done = run(helm, "template", "vm", CHART, "--namespace", "vm-system", "-f", values, *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: Iterable[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def container_of(documents: Iterable[Document]) -> Document:
    (deployment,) = of_kind(documents, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(container)


def environment_of(documents: Iterable[Document]) -> dict[str, str | None]:
    return {entry["name"]: entry.get("value") for entry in container_of(documents)["env"]}


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=["minimal", "full"])
def test_lint(helm: Path, values: Path) -> None:
    done = run(helm, "lint", CHART, "--strict", "-f", values)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_value_has_a_schema_and_a_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert_same_keys(values, schema, "")


def assert_same_keys(values: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> None:
    properties = schema["properties"]
    assert schema["additionalProperties"] is False, f"{path or 'values'} accepts unknown keys"
    assert set(properties) - {"global"} == set(values), f"{path or 'values'} and its schema differ"
    for key, value in values.items():
        if isinstance(value, Mapping) and "properties" in properties[key]:
            assert_same_keys(value, properties[key], f"{path}.{key}")


@pytest.mark.parametrize(
    "setting",
    [
        "immage.tag=1",
        "image.digest=latest",
        "imageVolumes=maybe",
        "gpuCounting=maybe",
        "logLevel=loud",
        "workers=0",
        "resyncInterval=5",
        "artifacts.repository=no-slash",
        "gateway.profile=nginx",
        "prometheus.url=prometheus:9090",
        "watchNamespaces={Bad_Name}",
        "runtimes.latest.image=x",
        "jobResources.cpu=fast",
        "artifacts.objectStorage.uri=https://host/bucket",
        "artifacts.persistentVolumeClaim.path=../elsewhere",
        "artifacts.collection.minimumAge=10m",
        "buildResources.memory=much",
    ],
)
def test_wrong_values_are_refused(helm: Path, setting: str) -> None:
    done = run(helm, "template", "vm", CHART, "-f", MINIMAL, "--set", setting)
    assert done.returncode != 0
    assert "values.schema.json" in done.stderr or "don't meet the specifications of the schema" in done.stderr


@pytest.mark.parametrize("value", ["artifacts.repository", "prometheus.url"])
def test_some_values_must_be_said(helm: Path, value: str) -> None:
    done = run(helm, "template", "vm", CHART, "-f", MINIMAL, "--set", f"{value}=")
    assert done.returncode != 0
    assert f"{value} is needed" in done.stderr


ELSEWHERE = {
    "object storage": ("artifacts.objectStorage.uri=s3://models/artifacts", "artifacts.objectStorage.secret=keys"),
    "claim": ("artifacts.persistentVolumeClaim.claimName=artifacts", "artifacts.persistentVolumeClaim.path=vision"),
}


def set_all(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


@pytest.mark.parametrize("store", ELSEWHERE)
def test_two_stores_are_refused(helm: Path, store: str) -> None:
    done = run(helm, "template", "vm", CHART, "-f", MINIMAL, *set_all(*ELSEWHERE[store]))
    assert done.returncode != 0
    assert "artifacts names more than one store" in done.stderr


@pytest.mark.parametrize(
    ("store", "uri", "secret"),
    [("object storage", "s3://models/artifacts", "keys"), ("claim", "pvc://artifacts/vision", None)],
)
def test_artifacts_may_go_elsewhere(helm: Path, store: str, uri: str, secret: str | None) -> None:
    found = settings_of(rendered(helm, *set_all("artifacts.repository=", *ELSEWHERE[store])))
    assert (found.artifact_repository, found.artifact_uri, found.artifact_secret) == (None, uri, secret)


def collection_of(documents: Iterable[Document]) -> Document:
    (job,) = of_kind(documents, "CronJob")
    return dict(job["spec"]["jobTemplate"]["spec"]["template"]["spec"])


COLLECTING = ("artifacts.collection.enabled=true", "artifacts.collection.namespaces={team-a}")


@pytest.mark.parametrize(
    ("store", "arguments", "volume"),
    [
        pytest.param(
            ("artifacts.pushSecret=push", "artifacts.insecure=true", "artifacts.collection.dryRun=true"),
            ["--store=registry.example:5000/visionmodel/artifacts", "--insecure", "--dry-run"],
            ("/var/run/secrets/visionmodel/registry", {"secret": {"secretName": "push", "defaultMode": 0o440}}),
            id="registry",
        ),
        pytest.param(
            ("artifacts.repository=", *ELSEWHERE["object storage"], "artifacts.collection.minimumAge=48h"),
            ["--store=s3://models/artifacts", "--minimum-age=48h"],
            ("/var/run/secrets/visionmodel/artifacts", {"secret": {"secretName": "keys", "defaultMode": 0o440}}),
            id="object storage",
        ),
        pytest.param(
            ("artifacts.repository=", *ELSEWHERE["claim"], "artifacts.collection.scope=Release"),
            ["--store=pvc://artifacts/vision", "--minimum-age=7d"],
            ("/mnt/artifacts", {"persistentVolumeClaim": {"claimName": "artifacts"}}),
            id="claim",
        ),
    ],
)
def test_collection_deletes_where_artifacts_are(
    helm: Path, store: tuple[str, ...], arguments: list[str], volume: tuple[str, Document]
) -> None:
    pod = collection_of(rendered(helm, *set_all(*COLLECTING, *store)))
    (delete,), (lister,) = pod["containers"], pod["initContainers"]
    assert set(arguments) <= set(delete["args"])
    volumes = {one["name"]: {key: value for key, value in one.items() if key != "name"} for one in pod["volumes"]}
    mounted = {one["mountPath"]: volumes[one["name"]] for one in delete["volumeMounts"]}
    assert mounted[volume[0]] == volume[1]
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert (token in mounted, pod["automountServiceAccountToken"]) == (False, False), "who deletes has no token"
    assert {one["mountPath"] for one in lister["volumeMounts"]} == {token, "/kept", "/tmp"}, "who lists has no keys"
    assert all(one["securityContext"]["readOnlyRootFilesystem"] for one in (delete, lister))


def test_a_claim_is_collected_where_it_is(helm: Path) -> None:
    words = set_all("artifacts.repository=", *ELSEWHERE["claim"], "artifacts.collection.enabled=true")
    done = run(helm, "template", "vm", CHART, "-f", MINIMAL, *words)
    assert done.returncode != 0
    assert "artifacts.collection.namespaces is needed" in done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("artifacts.repository=", *ELSEWHERE["claim"]), "artifacts.collection.scope is needed"),
        (("artifacts.collection.scope=Namespace",), "scope Namespace is for claims"),
    ],
    ids=["claim without", "registry"],
)
def test_whose_artifacts_are_collected_must_be_clear(helm: Path, settings: tuple[str, ...], words: str) -> None:
    done = run(helm, "template", "vm", CHART, "-f", MINIMAL, *set_all(*COLLECTING, *settings))
    assert done.returncode != 0
    assert words in done.stderr


def test_collection_of_a_namespaces_own_volume_lists_that_namespace_alone(helm: Path) -> None:
    own = ("artifacts.collection.namespaces={team-a,team-b}", "artifacts.collection.scope=Namespace")
    settings = set_all("artifacts.repository=", *ELSEWHERE["claim"], "artifacts.collection.enabled=true", *own)
    documents = rendered(helm, *settings)
    lists = {}
    for job in of_kind(documents, "CronJob"):
        (lister,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
        lists[job["metadata"]["namespace"]] = {one["name"]: one.get("value") for one in lister["env"]}
    watched = {namespace: env["VISIONMODEL_WATCH_NAMESPACES"] for namespace, env in lists.items()}
    assert watched == {"team-a": "team-a", "team-b": "team-b"}
    bindings = [one for one in of_kind(documents, "RoleBinding") if one["metadata"]["name"] == COLLECTION]
    subjects = {one["metadata"]["namespace"]: [each["namespace"] for each in one["subjects"]] for one in bindings}
    assert subjects == {"team-a": ["team-a"], "team-b": ["team-b"]}
    assert COLLECTION not in {one["metadata"]["name"] for one in of_kind(documents, "ClusterRoleBinding")}


def test_name_of_a_collection_fits_a_cronjob(helm: Path) -> None:
    documents = rendered(helm, *set_all(*COLLECTING, f"fullnameOverride={'n' * 52}"))
    (job,) = of_kind(documents, "CronJob")
    assert len(job["metadata"]["name"]) <= 52


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=["cluster", "namespaced"])
def test_collection_may_list_and_nothing_else(helm: Path, values: Path) -> None:
    documents = rendered(helm, *set_all(*COLLECTING), values=values)
    assert granted(documents, COLLECTION) == {(GROUP, "visionmodels", "list"), ("", "configmaps", "list")}
    (account,) = [one for one in of_kind(documents, "ServiceAccount") if one["metadata"]["name"] == COLLECTION]
    assert (account["metadata"]["namespace"], account["automountServiceAccountToken"]) == ("team-a", False)
    subjects = [
        subject
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for binding in of_kind(documents, kind)
        if binding["metadata"]["name"] == COLLECTION
        for subject in binding["subjects"]
    ]
    assert subjects == [{"kind": "ServiceAccount", "name": COLLECTION, "namespace": "team-a"}] * len(subjects)
    assert len(subjects) == (2 if values is FULL else 1)


def test_nothing_finds_the_pods_of_a_collection(helm: Path) -> None:
    documents = rendered(helm, *set_all(*COLLECTING))
    (job,), (service,) = of_kind(documents, "CronJob"), of_kind(documents, "Service")
    labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= labels.items()


def rules_of(documents: Iterable[Document]) -> list[Document]:
    return [rule for kind in ("Role", "ClusterRole") for role in of_kind(documents, kind) for rule in role["rules"]]


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=["cluster", "namespaced"])
def test_rights_are_the_least(helm: Path, values: Path) -> None:
    rules = rules_of(rendered(helm, values=values))
    assert rules
    words = {word for rule in rules for part in ("apiGroups", "resources", "verbs") for word in rule[part]}
    assert not words & {"*", "secrets", "escalate", "bind", "impersonate", "serviceaccounts", "pods/exec"}
    assert all("nonResourceURLs" not in rule for rule in rules)
    assert ("nodes" in words) == (values is MINIMAL), "GPUs are counted only where all namespaces are served"


COUNTING = "vm-visionmodel-operator-gpu-counting"
COUNTED: dict[str, tuple[Path, tuple[str, ...], str]] = {
    "auto": (MINIMAL, (), "true"),
    "auto, namespaced": (FULL, (), "false"),
    "on": (MINIMAL, ("--set", "gpuCounting=true"), "true"),
    "on, namespaced": (FULL, ("--set", "gpuCounting=true"), "true"),
    "off": (MINIMAL, ("--set", "gpuCounting=false"), "false"),
}


@pytest.mark.parametrize(("values", "options", "counts"), COUNTED.values(), ids=COUNTED.keys())
def test_gpus_are_counted_by_a_right_of_its_own(
    helm: Path, values: Path, options: tuple[str, ...], counts: str
) -> None:
    documents = rendered(helm, *options, values=values)
    assert {"name": "VISIONMODEL_GPU_COUNTING", "value": counts} in container_of(documents)["env"]
    wanted = {("", "nodes", "list"), ("", "pods", "list")} if counts == "true" else set()
    assert granted(documents, COUNTING) == wanted
    assert (("ClusterRoleBinding", None, COUNTING) in bindings(documents)) == (counts == "true")


def granted(documents: Iterable[Document], role_name: str) -> set[tuple[str, str, str]]:
    """Return (group, resource, verb) of the roles of a name."""
    roles = [role for kind in ("Role", "ClusterRole") for role in of_kind(documents, kind)]
    return {
        (group, resource, verb)
        for role in roles
        if role["metadata"]["name"] == role_name
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def verbs_for(operation: Operation) -> tuple[tuple[str, ...], tuple[str, str]]:
    match operation:
        case Create(manifest):
            return ("get", "create"), (manifest["apiVersion"], manifest["kind"])
        case Apply(manifest) | ApplyWhole(manifest):
            return ("get", "create", "patch"), (manifest["apiVersion"], manifest["kind"])
        case Delete(api_version, kind):
            return ("delete",), (api_version, kind)
        case Event():
            return ("get", "create", "patch"), ("events.k8s.io/v1", "Event")
        case _:
            assert_never(operation)


def needed() -> set[tuple[str, str, str]]:
    """Return what the rendered operations need, with reading before every write, and what is listed and watched."""
    found = {(kind[0].rpartition("/")[0], PLURALS[kind], "list") for kind in (*CHILD_KINDS, ("v1", "Pod"))}
    watched = ((GROUP, VERSION, PLURAL), *CHILDREN, *ROUTES.values())
    found |= {(group, plural, verb) for group, _, plural in watched for verb in ("list", "watch")}
    for action, picture in CASES.values():
        for operation in operations(action, picture):
            verbs, kind = verbs_for(operation)
            group = kind[0].rpartition("/")[0]
            found |= {(group, PLURALS[kind], verb) for verb in verbs}
    return found


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=["cluster", "namespaced"])
def test_rights_are_what_is_used(helm: Path, values: Path) -> None:
    has = granted(rendered(helm, values=values), "vm-visionmodel-operator")
    assert needed() - has == set()
    assert has - needed() == {
        (GROUP, "visionmodels", "get"),
        (GROUP, "visionmodels/status", "update"),
        (GROUP, "visionmodels/finalizers", "update"),
        *(("events.k8s.io", "events", verb) for verb in ("get", "create", "patch")),
        ("", "pods/log", "get"),
    }


def bindings(documents: Iterable[Document]) -> list[tuple[str, str | None, str]]:
    return sorted(
        (kind, binding["metadata"].get("namespace"), binding["roleRef"]["name"])
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for binding in of_kind(documents, kind)
    )


def test_cluster_mode_binds_its_cluster_role_and_the_one_to_count_by(helm: Path) -> None:
    assert bindings(rendered(helm)) == [
        ("ClusterRoleBinding", None, "vm-visionmodel-operator"),
        ("ClusterRoleBinding", None, COUNTING),
        ("RoleBinding", "vm-system", "vm-visionmodel-operator-leader"),
    ]


def test_namespaced_mode_binds_nothing_in_the_cluster(helm: Path) -> None:
    documents = rendered(helm, values=FULL)
    assert bindings(documents) == [
        ("RoleBinding", "team-a", "vm-visionmodel-operator"),
        ("RoleBinding", "team-a", COLLECTION),
        ("RoleBinding", "vision", "vm-visionmodel-operator"),
        ("RoleBinding", "vision", COLLECTION),
        ("RoleBinding", "vm-system", "vm-visionmodel-operator-leader"),
    ]


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=["minimal", "full"])
def test_the_operator_runs_restricted(helm: Path, values: Path) -> None:
    documents = rendered(helm, values=values)
    (deployment,) = of_kind(documents, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container_of(documents)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {}}]


def settings_of(documents: Iterable[Document]) -> Settings:
    """Return what the operator makes of its container's environment, the pod's name filled in."""
    environment = {name: "pod-1" if value is None else value for name, value in environment_of(documents).items()}
    return settings_from(environment)


def test_the_operator_reads_the_full_values(helm: Path) -> None:
    assert settings_of(rendered(helm, values=FULL)) == Settings(
        prometheus_url="http://prometheus.monitoring:9090",
        converter_image="registry.example/visionmodel-converter:0.1.0",
        converter_images={"torchscript": "registry.example/visionmodel-converter-torch:0.1.0"},
        runtimes={
            "24.10": RuntimeSetting("registry.example/triton-cpu:24.10", "2.51.0"),
            "26.07": RuntimeSetting(
                "registry.example/triton:26.07",
                "2.71.0",
                openvino_image="registry.example/triton-openvino:26.07",
                tensorrt_converter_image="registry.example/visionmodel-converter-tensorrt:26.07",
            ),
        },
        default_runtime="24.10",
        artifact_repository="registry.example:5000/visionmodel/artifacts",
        artifact_repository_insecure=True,
        push_secret="push",
        pull_secret="pull",
        gateway_profile="envoy-gateway",
        image_volumes=False,
        simulated_accelerators=True,
        job_cpu_limit="500m",
        job_memory_limit="1Gi",
        job_storage_limit="5Gi",
        job_service_account="converter",
        build_cpu_limit="4",
        build_memory_limit="16Gi",
        converter_openvino_image="registry.example/visionmodel-converter-openvino:0.1.0",
        converter_tflite_image="registry.example/visionmodel-converter-tflite:0.1.0",
        converter_modelopt_image="registry.example/visionmodel-converter-modelopt:0.1.0",
        allow_http_sources=True,
        watch_namespaces=("vision", "team-a"),
        leader_election=True,
        lease_namespace="vm-system",
        lease_name="vm-visionmodel-operator",
        identity="pod-1",
        log_level="DEBUG",
        resync_seconds=90.0,
        workers=16,
        http_port=8080,
    )


def test_the_charts_defaults_are_the_operators(helm: Path) -> None:
    found = settings_of(rendered(helm))
    assert found == Settings(
        prometheus_url="http://prometheus.monitoring:9090",
        converter_image="visionmodel-converter:0.1.0",
        runtimes={"26.07": RuntimeSetting("visionmodel-triton:26.07", "2.71.0")},
        default_runtime="26.07",
        artifact_repository="registry.example:5000/visionmodel/artifacts",
        gpu_counting=True,
        lease_namespace="vm-system",
        lease_name="vm-visionmodel-operator",
        identity="pod-1",
    )


def test_every_variable_is_one_that_the_operator_knows(helm: Path) -> None:
    known = {field.name.upper() for field in fields(Settings)} - {"IDENTITY"} | {"POD_NAME"}
    ours = {name for name in environment_of(rendered(helm)) if name.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX) for name in ours} <= known


def test_further_variables_reach_the_operator(helm: Path) -> None:
    assert environment_of(rendered(helm, values=FULL))["SSL_CERT_FILE"] == "/etc/ssl/ca.pem"


@pytest.mark.parametrize(
    ("interval", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7200)], ids=["seconds", "minutes", "hours"]
)
def test_resync_interval(helm: Path, interval: str, seconds: int) -> None:
    assert settings_of(rendered(helm, "--set", f"resyncInterval={interval}")).resync_seconds == seconds


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        pytest.param((), "visionmodel-operator:0.1.0", id="the chart's version"),
        pytest.param(("--set", "image.tag=1.2.3"), "visionmodel-operator:1.2.3", id="tag"),
        pytest.param(
            ("--set", "image.tag=1.2.3", "--set", f"image.digest=sha256:{'a' * 64}"),
            f"visionmodel-operator@sha256:{'a' * 64}",
            id="a digest wins",
        ),
    ],
)
def test_image(helm: Path, settings: tuple[str, ...], image: str) -> None:
    assert container_of(rendered(helm, *settings))["image"] == image


def test_without_a_lease_two_operators_never_overlap(helm: Path) -> None:
    documents = rendered(helm, "--set", "leaderElection=false")
    (deployment,) = of_kind(documents, "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert "leases" not in {resource for rule in rules_of(documents) for resource in rule["resources"]}


@pytest.mark.parametrize(
    ("settings", "annotations"),
    [
        pytest.param((), [{"helm.sh/resource-policy": "keep"}], id="kept"),
        pytest.param(("--set", "crds.keep=false"), [None], id="removed with the chart"),
        pytest.param(("--set", "crds.install=false"), [], id="not installed"),
    ],
)
def test_crd(helm: Path, settings: tuple[str, ...], annotations: list[dict[str, str] | None]) -> None:
    crds = of_kind(rendered(helm, *settings), "CustomResourceDefinition")
    assert [crd["metadata"].get("annotations") for crd in crds] == annotations


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        pytest.param(MINIMAL, {"NetworkPolicy": 0, "PodMonitor": 0, "PodDisruptionBudget": 0, "Service": 1}, id="off"),
        pytest.param(FULL, {"NetworkPolicy": 1, "PodMonitor": 1, "PodDisruptionBudget": 1, "Service": 1}, id="on"),
    ],
)
def test_options(helm: Path, values: Path, kinds: dict[str, int]) -> None:
    documents = rendered(helm, values=values)
    assert {kind: len(of_kind(documents, kind)) for kind in kinds} == kinds


@pytest.mark.parametrize("where", ["Pod", "Service", "None"])
def test_metrics_are_announced_once(helm: Path, where: str) -> None:
    documents = rendered(helm, "--set", f"metrics.scrapeAnnotations={where}")
    (deployment,) = of_kind(documents, "Deployment")
    (service,) = of_kind(documents, "Service")
    announced = {
        "Pod": deployment["spec"]["template"]["metadata"]["annotations"].get("prometheus.io/port"),
        "Service": service["metadata"].get("annotations", {}).get("prometheus.io/port"),
    }
    assert announced == {place: "8080" if place == where else None for place in ("Pod", "Service")}


def test_aggregated_roles_never_write_status(helm: Path) -> None:
    documents = rendered(helm)
    edit = granted(documents, "vm-visionmodel-operator-edit") | granted(documents, "vm-visionmodel-operator-view")
    assert {verb for _, resource, verb in edit if resource == "visionmodels/status"} == {"get"}
