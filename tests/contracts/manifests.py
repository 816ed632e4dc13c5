"""Small valid objects as the operator and the cluster would write them."""

from typing import Any

from visionmodel_operator.core import names
from visionmodel_operator.core.snapshot import ObjectRef

REVISION = "abc0123456"
KEY = "0123456789abcdef0123456789abcdef"


def metadata(ref: ObjectRef, name: str, revision: str | None = REVISION) -> dict[str, Any]:
    """Metadata of a child."""
    owner = {"apiVersion": "visionmodel.dev/v1alpha1", "kind": "VisionModel", "name": ref.name, "uid": ref.uid}
    return {"name": name, "labels": names.object_labels(ref.name, "serving", revision), "ownerReferences": [owner]}


def pod_template(labels: dict[str, str]) -> dict[str, Any]:
    """A pod template."""
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "registry.example/x"}]}}


def deployment(ref: ObjectRef, replicas: int) -> dict[str, Any]:
    """A Deployment of the revision."""
    labels = names.revision_selector(ref.name, REVISION)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(ref, f"{ref.name}-{REVISION}-0"),
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod_template(labels)},
    }


def job(ref: ObjectRef) -> dict[str, Any]:
    """The prepare Job of the revision."""
    template = pod_template(names.child_labels(ref.name))
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(ref, f"{ref.name}-{REVISION}-prepare"),
        "spec": {"template": template},
    }


def config_map(name: str, data: dict[str, str], labels: dict[str, str] | None = None) -> dict[str, Any]:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels or {}},
        "data": data,
    }


def pod(name: str, labels: dict[str, str], status: dict[str, Any]) -> dict[str, Any]:
    """A pod with a status."""
    template = pod_template(labels)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": template["spec"],
        "status": status,
    }


def route(ref: ObjectRef, weights: tuple[int, ...], kind: str = names.HTTP_ROUTE, **spec: Any) -> dict[str, Any]:
    """The route with one backend per weight; its gateway is in its own namespace unless `spec` names one."""
    backends = [{"name": f"{ref.name}-{index}", "port": 8000, "weight": w} for index, w in enumerate(weights)]
    labels = {"labels": names.object_labels(ref.name, names.ROUTE_COMPONENT)}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {**metadata(ref, ref.name, None), **labels},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": backends}], **spec},
    }


def route_status(
    generation: int,
    status: str = "True",
    reason: str = "Accepted",
    message: str = "",
    gateway: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What a gateway answers."""
    accepted = {
        "type": "Accepted",
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T12:00:00Z",
    }
    resolved = {**accepted, "type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs", "message": ""}
    parent = {"parentRef": dict(gateway or {"name": "gw"}), "controllerName": "example.com/gateway"}
    return {"parents": [{**parent, "conditions": [accepted, resolved]}]}
