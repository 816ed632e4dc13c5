"""Where each kind of object lives in the API; the kinds that the operator reads or writes, and no others."""

from collections.abc import Mapping
from typing import Any

from visionmodel_operator.api.base import API_VERSION, KIND, PLURAL
from visionmodel_operator.core.names import GRPC_ROUTE, HTTP_ROUTE

GATEWAY_API_VERSION = "gateway.networking.k8s.io/v1"

PLURALS: Mapping[tuple[str, str], str] = {
    (API_VERSION, KIND): PLURAL,
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Node"): "nodes",
    ("v1", "Pod"): "pods",
    ("v1", "Service"): "services",
    ("apps/v1", "Deployment"): "deployments",
    ("batch/v1", "Job"): "jobs",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    ("events.k8s.io/v1", "Event"): "events",
    ("coordination.k8s.io/v1", "Lease"): "leases",
    (GATEWAY_API_VERSION, HTTP_ROUTE): "httproutes",
    (GATEWAY_API_VERSION, GRPC_ROUTE): "grpcroutes",
}


def group_path(api_version: str) -> str:
    """Path of an API group's version."""
    return f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"


def collection_path(api_version: str, kind: str, namespace: str | None) -> str:
    """Path of all objects of a kind; of every namespace when that is None."""
    scope = "" if namespace is None else f"/namespaces/{namespace}"
    return f"{group_path(api_version)}{scope}/{PLURALS[api_version, kind]}"


def object_path(api_version: str, kind: str, namespace: str | None, name: str) -> str:
    """Path of one object; without a namespace, of one of the whole cluster."""
    return f"{collection_path(api_version, kind, namespace)}/{name}"


def path_of(manifest: Mapping[str, Any], namespace: str) -> str:
    """Path of the object that a manifest describes."""
    return object_path(manifest["apiVersion"], manifest["kind"], namespace, manifest["metadata"]["name"])


def selector(labels: Mapping[str, str]) -> str:
    """Label selector for these labels."""
    return ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
