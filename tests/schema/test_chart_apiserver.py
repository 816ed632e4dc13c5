"""The chart on a real API server: it installs, and with its rights alone everything that is rendered gets in.

Restricted namespaces, strict field validation, and a second look: what the server stored is what was asked for.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from unit.render.samples import CASES, CPU_SPEC, REF, artifact
from visionmodel_contract.kept import KeptArtifacts
from visionmodel_devcluster.builds import binary, built
from visionmodel_devcluster.controlplane import ControlPlane
from visionmodel_devcluster.tools import tool_of
from visionmodel_operator.adapters.managed_fields import is_applied
from visionmodel_operator.api.base import API_VERSION, KIND
from visionmodel_operator.core.names import FIELD_MANAGER
from visionmodel_operator.core.operations import Apply, ApplyWhole, Create, Manifest, Operation
from visionmodel_operator.render import operations

CHART = Path(__file__).resolve().parents[2] / "charts" / "visionmodel-operator"
SYSTEM = "vm-system"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:vm-visionmodel-operator"
STORED = [name for name in CASES if not name.startswith("delete")]

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Cluster:
    """kubectl on the test's API server.

    Attributes:
        uid: of the VisionModel that owns what is rendered.
    """

    kubectl: Path
    kubeconfig: Path
    uid: str = ""

    def run(self, *arguments: str, document: Any = None) -> str:
        command = [str(self.kubectl), f"--kubeconfig={self.kubeconfig}", *arguments]
        text = None if document is None else json.dumps(document)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def create(self, document: Any, *options: str) -> None:
        self.run("create", "--validate=strict", *options, "-f", "-", document=document)

    def as_operator(self, operation: Operation) -> None:
        """Do what an operation says, with the rights of the chart's account."""
        match operation:
            case Create(manifest):
                self.create(manifest, f"--as={ACCOUNT}", f"--field-manager={FIELD_MANAGER}")
            case Apply(manifest) | ApplyWhole(manifest):
                options = (
                    "--server-side",
                    "--force-conflicts",
                    f"--field-manager={FIELD_MANAGER}",
                    "--validate=strict",
                )
                self.run("apply", *options, f"--as={ACCOUNT}", "-f", "-", document=manifest)
            case _:
                raise AssertionError(operation)

    def live(self, manifest: Manifest) -> dict[str, Any]:
        name = manifest["metadata"]["name"]
        options = ("-n", REF.namespace, "-o", "json", "--show-managed-fields")
        found: dict[str, Any] = json.loads(self.run("get", manifest["kind"], name, *options))
        return found


def restricted(namespace: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}


def chart_documents(*settings: str) -> list[dict[str, Any]]:
    values = CHART / "ci" / "minimal-values.yaml"
    command = [binary("helm"), "template", "vm", CHART, "--namespace", SYSTEM, "-f", values]
    command += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, timeout=60)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


ROUTE_CRDS = [f"{kind}.gateway.networking.k8s.io" for kind in ("httproutes", "grpcroutes")]


def route_crds() -> list[dict[str, Any]]:
    """Return the Gateway API's routes as the gateway's chart brings them."""
    path = built(tool_of("envoy-gateway")) / "chart" / "charts" / "crds" / "crds" / "gatewayapi-crds.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    documents = yaml.safe_load_all("\n".join(line for line in lines if "{{" not in line))
    found = {d["metadata"]["name"]: d for d in documents if d}
    return [found[name] for name in ROUTE_CRDS]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    plane = ControlPlane()
    with plane:
        admin = Cluster(binary("kubectl"), Path(plane.kubeconfig))
        for namespace in (SYSTEM, REF.namespace):
            admin.run("create", "-f", "-", document=restricted(namespace))
        for document in (*chart_documents(), *route_crds()):
            admin.run("apply", "--server-side", "--validate=strict", "-f", "-", document=document)
        for crd in ("visionmodels.visionmodel.dev", *ROUTE_CRDS):
            admin.run("wait", "--for=condition=Established", f"crd/{crd}", "--timeout=30s")
        admin.run("create", "priorityclass", "serving", "--value=10")
        runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "nvidia"}
        admin.create({**runtime, "metadata": {"name": "nvidia"}})
        for account in ("default", "converter"):
            admin.run("create", "serviceaccount", account, "-n", REF.namespace)
        metadata = {"name": REF.name, "namespace": REF.namespace}
        admin.create({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": CPU_SPEC.to_wire()})
        uid = admin.run("get", "visionmodel", REF.name, "-n", REF.namespace, "-o", "jsonpath={.metadata.uid}")
        yield replace(admin, uid=uid)


def rendered(case: str, cluster: Cluster) -> list[Operation]:
    action, picture = CASES[case]
    return list(operations(action, replace(picture, ref=replace(REF, uid=cluster.uid))))


def test_the_operators_own_pod_is_admitted(cluster: Cluster) -> None:
    (deployment,) = [document for document in chart_documents() if document["kind"] == "Deployment"]
    admit(cluster, deployment["spec"]["template"], SYSTEM)


def admit(cluster: Cluster, template: Any, namespace: str) -> None:
    """Ask the server for the template's pod without creating it; a Deployment is stored whatever its pods are."""
    metadata = {**template["metadata"], "name": "dry-run", "namespace": namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    cluster.create(pod, "--dry-run=server")


COLLECTING = ("artifacts.collection.enabled=true", f"artifacts.collection.namespaces={{{SYSTEM}}}")
STORES = {
    "registry": ("artifacts.pushSecret=push",),
    "object storage": ("artifacts.repository=", "artifacts.objectStorage.uri=gs://b/a"),
    "claim": (
        "artifacts.repository=",
        "artifacts.persistentVolumeClaim.claimName=artifacts",
        "artifacts.collection.scope=Namespace",
    ),
}


@pytest.mark.parametrize("store", STORES)
def test_a_collections_pod_is_admitted(cluster: Cluster, store: str) -> None:
    for document in chart_documents(*COLLECTING, *STORES[store]):
        if document["metadata"]["name"].endswith("-collection"):
            cluster.run("apply", "--server-side", "--validate=strict", "-f", "-", document=document)
        if document["kind"] == "CronJob":
            admit(cluster, document["spec"]["jobTemplate"]["spec"]["template"], SYSTEM)


def test_a_collections_account_lists_what_is_kept(cluster: Cluster, tmp_path: Path) -> None:
    """As in its pod: with a token of its own, which may list and nothing else."""
    account = "vm-visionmodel-operator-collection"
    for document in chart_documents(*COLLECTING):
        if document["metadata"]["name"] == account:
            cluster.run("apply", "--server-side", "-f", "-", document=document)
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    token = cluster.run("create", "token", account, "-n", SYSTEM).strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    (tmp_path / "config").write_text(yaml.safe_dump(config), encoding="utf-8")
    (record,) = rendered("record", cluster)
    cluster.as_operator(record)
    command = [sys.executable, "-m", "visionmodel_operator", "list-kept", "--out", str(tmp_path / "kept.json")]
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "config")}

    def listed() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)

    done = listed()
    assert done.returncode == 0, done.stderr
    kept = KeptArtifacts.model_validate_json((tmp_path / "kept.json").read_bytes())
    made = artifact()
    assert (made.key in kept.keys, made.digest in kept.digests) == (True, True)

    (tmp_path / "kept.json").unlink()
    cluster.run("delete", "clusterrolebinding", account)
    refused = listed()
    assert (refused.returncode, (tmp_path / "kept.json").exists()) == (1, False)
    assert "forbidden" in refused.stderr


@pytest.mark.parametrize("case", STORED)
def test_rendered_manifests_are_stored_as_they_are(cluster: Cluster, case: str) -> None:
    written = rendered(case, cluster)
    try:
        for operation in written:
            cluster.as_operator(operation)
            assert isinstance(operation, Create | Apply | ApplyWhole)
            manifest = operation.manifest
            assert is_applied(manifest, cluster.live(manifest)), f"{manifest['kind']} would be applied in every pass"
            if "template" in manifest.get("spec", {}):
                admit(cluster, manifest["spec"]["template"], REF.namespace)
    finally:
        for operation in written:
            if isinstance(operation, Create | Apply | ApplyWhole):
                manifest = operation.manifest
                name, options = (
                    manifest["metadata"]["name"],
                    ("-n", REF.namespace, "--wait=false", "--ignore-not-found"),
                )
                cluster.run("delete", manifest["kind"], name, *options)


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "secrets"),
        ("create", "pods"),
        ("update", "visionmodels"),
        ("delete", "visionmodels"),
        ("get", "nodes"),
        ("create", "rolebindings"),
    ],
    ids=" ".join,
)
def test_what_the_operator_may_not_do(cluster: Cluster, arguments: tuple[str, str]) -> None:
    command = [str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}", "auth", "can-i", *arguments]
    done = subprocess.run(
        [*command, f"--as={ACCOUNT}", "-n", REF.namespace], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (1, "no")
