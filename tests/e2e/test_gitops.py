"""VisionModels as Argo CD or Flux own them: server-side apply again and again, without a fight."""

import json

import pytest

from e2e.scene import Scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ARGOCD = "argocd"
OPERATOR = "visionmodel-operator"


def test_same_file_twice_changes_nothing(scene: Scene) -> None:
    kube = scene.platform.kube
    document = scene.document("v1")
    document["metadata"]["namespace"] = scene.namespace
    kube.apply(document, manager=ARGOCD)
    scene.wait_settled()
    before = scene.model.read()["metadata"]
    kube.apply(document, manager=ARGOCD)
    after = scene.model.read()["metadata"]
    assert (after["generation"], before["generation"]) == (1, 1)
    assert after["resourceVersion"] == before["resourceVersion"]


def test_operator_owns_only_the_status(scene: Scene) -> None:
    kube = scene.platform.kube
    document = scene.document("v1")
    document["metadata"]["namespace"] = scene.namespace
    kube.apply(document, manager=ARGOCD)
    scene.wait_settled()
    printed = kube.run("get", "visionmodel", scene.name, "-n", scene.namespace, "-o", "json", "--show-managed-fields")
    metadata = json.loads(printed)["metadata"]
    owned = {
        (entry["manager"], entry.get("subresource", "")): sorted(entry["fieldsV1"])
        for entry in metadata["managedFields"]
    }
    assert owned == {(ARGOCD, ""): ["f:spec"], (OPERATOR, "status"): ["f:status"]}
    assert not metadata.get("annotations")
    assert not metadata.get("finalizers")


def test_children_carry_no_label_of_an_owner_elsewhere(scene: Scene) -> None:
    """Argo CD takes everything with its instance label for its own, and would prune what Git does not have."""
    scene.serve()
    children = scene.platform.kube.items(
        "deployments,services,configmaps,httproutes,poddisruptionbudgets,replicasets,pods",
        scene.namespace,
        f"visionmodel.dev/name={scene.name}",
    )
    kinds = {child["kind"] for child in children}
    assert kinds >= {"Deployment", "Service", "ConfigMap", "HTTPRoute", "PodDisruptionBudget", "Pod"}
    assert [child for child in children if "app.kubernetes.io/instance" in child["metadata"]["labels"]] == []


def test_columns_tell_the_state(scene: Scene) -> None:
    revision = scene.serve()
    header, row = scene.platform.kube.run("get", "vmodel", scene.name, "-n", scene.namespace).splitlines()
    assert header.split() == ["NAME", "READY", "PHASE", "STABLE", "CANARY", "WEIGHT", "AGE"]
    assert row.split()[:4] == [scene.name, "True", "Healthy", revision]
