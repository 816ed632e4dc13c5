"""A revision in the cluster: ConfigMap (the memory), Service, one Deployment per accelerator, disruption budget.

The Deployments and the Service are rendered once and stored in the ConfigMap exactly as they were; every later pass
re-applies what is stored, so that an upgraded operator never rolls running pods. Only the owner is always today's: a
VisionModel that was deleted without its children and made again would lose them to the garbage collector.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from visionmodel_contract.keys import digest_of
from visionmodel_operator.api.spec import Accelerator
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import (
    CreateRevision,
    DeleteRevision,
    EnsureDisruptionBudget,
    ScaleRevision,
)
from visionmodel_operator.core.devices import pods_by_accelerator
from visionmodel_operator.core.operations import Apply, Create, Delete, Manifest, Operation
from visionmodel_operator.core.revision import revision_sections
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.errors import Retry
from visionmodel_operator.render.objects import Json, owned_metadata, owner_reference
from visionmodel_operator.render.pods import serving_labels, serving_selector, serving_template
from visionmodel_operator.render.repository import config_files

MAX_ACCELERATORS: Final = 4

TRACK_STABLE: Final = "stable"
TRACK_CANARY: Final = "canary"
TRACK_RETIRED: Final = "retired"
"""A revision that is kept for going back. Written out, since a label that is merely left out would stay."""


def create_revision(action: CreateRevision, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the ConfigMap first, so that a pass killed half-way leaves a memory that the next one re-applies."""
    workload = revision_workload(action, snapshot)
    data = {
        **config_files(snapshot.ref.name, action.revision, action.spec, action.artifact, snapshot.platform),
        names.WORKLOAD_FILE: json.dumps(workload, indent=2, sort_keys=True),
        names.SPEC_FILE: json.dumps(revision_sections(action.spec), indent=2, sort_keys=True),
    }
    memory = _memory(action.revision, data, snapshot)
    pods = pods_by_accelerator(action.replicas, max(1, len(action.spec.accelerators)))
    return (Create(memory), *_scaled(workload, action.revision, pods, snapshot))


def scale_revision(action: ScaleRevision, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return what is stored, the memory itself included, with the replicas asked for split over the Deployments.

    Raises:
        Retry: nothing is stored; the picture is older than the decision.
    """
    workload = snapshot.workloads.get(action.revision)
    if workload is None or not workload.stored:
        raise Retry(f"revision {action.revision} has no stored workload yet")
    memory = _memory(action.revision, workload.config, snapshot)
    deployments = sum(manifest["kind"] == "Deployment" for manifest in workload.stored)
    pods = action.pods or pods_by_accelerator(action.replicas, max(1, deployments))
    return (Apply(memory), *_scaled(workload.stored, action.revision, pods, snapshot))


def delete_revision(action: DeleteRevision, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the deletes, the ConfigMap last: it is the memory of what else there is."""
    name, revision = snapshot.ref.name, action.revision
    workload = snapshot.workloads.get(revision)
    stored = [m["metadata"]["name"] for m in workload.stored if m["kind"] == "Deployment"] if workload else []
    deployments = stored or [names.deployment(name, revision, index) for index in range(MAX_ACCELERATORS)]
    return (
        *(Delete("apps/v1", "Deployment", deployment) for deployment in deployments),
        Delete("policy/v1", "PodDisruptionBudget", names.revision_service(name, revision)),
        Delete("v1", "Service", names.revision_service(name, revision)),
        Delete("v1", "ConfigMap", names.revision_config(name, revision)),
    )


def disruption_budget(action: EnsureDisruptionBudget, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the budget: a drained node takes one pod of a revision at a time, and a broken pod blocks no drain."""
    ref = snapshot.ref
    manifest = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owned_metadata(
            ref,
            names.revision_service(ref.name, action.revision),
            names.object_labels(ref.name, "serving", action.revision),
        ),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.revision_selector(ref.name, action.revision)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
    return (Apply(manifest),)


def _memory(revision: str, data: Mapping[str, str], snapshot: Snapshot) -> Manifest:
    ref = snapshot.ref
    labels = names.object_labels(ref.name, "serving", revision)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owned_metadata(ref, names.revision_config(ref.name, revision), labels),
        "immutable": True,
        "data": dict(data),
    }


def _scaled(
    workload: Sequence[Mapping[str, Any]], revision: str, pods: Sequence[int], snapshot: Snapshot
) -> Iterator[Operation]:
    deployments = [manifest["metadata"]["name"] for manifest in workload if manifest["kind"] == "Deployment"]
    share = dict(zip(deployments, pods, strict=False))
    track = _track(revision, snapshot)
    for manifest in workload:
        labels = {**manifest["metadata"]["labels"], names.LABEL_TRACK: track}
        owners = [owner_reference(snapshot.ref)]
        placed: Json = {**manifest, "metadata": {**manifest["metadata"], "labels": labels, "ownerReferences": owners}}
        if manifest["kind"] == "Deployment":
            placed["spec"] = {**manifest["spec"], "replicas": share[manifest["metadata"]["name"]]}
        yield Apply(placed)


def _track(revision: str, snapshot: Snapshot) -> str:
    status = snapshot.status
    if status.stable is None or status.stable.revision == revision:
        return TRACK_STABLE
    on_trial = {one.revision for one in (status.canary, status.rollout) if one is not None}
    return TRACK_CANARY if revision in on_trial else TRACK_RETIRED


def revision_workload(action: CreateRevision, snapshot: Snapshot) -> list[Manifest]:
    """Return the Service and the Deployments of a revision, as they are stored."""
    accelerators: list[Accelerator | None] = [*action.spec.accelerators] or [None]
    share = pods_by_accelerator(action.replicas, len(accelerators))
    deployments = [
        _deployment(action, snapshot, index, accelerator, share[index])
        for index, accelerator in enumerate(accelerators)
    ]
    return [_service(action.revision, snapshot), *deployments]


def _service(revision: str, snapshot: Snapshot) -> Manifest:
    ref = snapshot.ref
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned_metadata(
            ref, names.revision_service(ref.name, revision), names.object_labels(ref.name, "serving", revision)
        ),
        "spec": {
            "type": "ClusterIP",
            "selector": names.revision_selector(ref.name, revision),
            "ports": service_ports(metrics=True),
        },
    }


def service_ports(*, metrics: bool) -> list[Json]:
    """Return the ports of a Service over Triton pods."""
    ports: list[Json] = [
        {"name": "http", "port": names.HTTP_PORT, "targetPort": "http", "protocol": "TCP"},
        {
            "name": "grpc",
            "port": names.GRPC_PORT,
            "targetPort": "grpc",
            "protocol": "TCP",
            "appProtocol": "kubernetes.io/h2c",
        },
    ]
    if metrics:
        ports.append({"name": "metrics", "port": names.METRICS_PORT, "targetPort": "metrics", "protocol": "TCP"})
    return ports


def _deployment(
    action: CreateRevision, snapshot: Snapshot, index: int, accelerator: Accelerator | None, replicas: int
) -> Manifest:
    ref, revision = snapshot.ref, action.revision
    template = serving_template(
        ref.name,
        revision,
        action.spec,
        action.engines[index] if action.engines else action.artifact,
        snapshot.platform,
        index=index,
        accelerator=accelerator,
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owned_metadata(
            ref,
            names.deployment(ref.name, revision, index),
            serving_labels(ref.name, revision, index),
            {names.ANNOTATION_TEMPLATE_DIGEST: f"sha256:{digest_of(template)}"},
        ),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": serving_selector(ref.name, revision, index)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": action.spec.progress_deadline_seconds,
            "template": template,
        },
    }
