"""The Jobs of a conversion: one request, one converter, no rights in the cluster.

Created once and never applied again: a queueing system may own its suspension and placement from then on. What the
prepare Job and the build Jobs differ in is beside this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from visionmodel_contract.exits import PERMANENT_EXIT_CODES
from visionmodel_operator.api.base import GROUP, duration_seconds
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core import names
from visionmodel_operator.core.operations import Create, Operation
from visionmodel_operator.core.quantity import canonical, canonical_map, smaller
from visionmodel_operator.core.snapshot import ObjectRef, Platform
from visionmodel_operator.render.artifact_files import (
    ARTIFACT_CREDENTIALS,
    ARTIFACT_VOLUME,
    CLAIM_SCHEME,
    REGISTRY_CREDENTIALS,
    claim_of,
    secret_volume,
)
from visionmodel_operator.render.artifact_files import CLAIM_FOLDER as ARTIFACT_FOLDER
from visionmodel_operator.render.objects import Json, owned_metadata
from visionmodel_operator.render.restricted import RESTRICTED_CONTAINER, RESTRICTED_POD

CONTAINER: Final = "converter"
BACKOFF_LIMIT: Final = 2
ANNOTATION_REQUEST: Final = f"{GROUP}/conversion-request"
REQUEST_FOLDER: Final = "/etc/visionmodel"
REQUEST_FILE: Final = "request.json"
WORK_FOLDER: Final = "/work"
STORAGE_REQUEST: Final = "1Gi"
STORAGE_RESOURCE: Final = "ephemeral-storage"
AZURE_SCHEME: Final = "abfs://"
AZURE_LABEL: Final = {"azure.workload.identity/use": "true"}
"""What Azure's webhook wants on a pod, beside the annotation of its service account, to hand it a token."""
SOURCE_CREDENTIALS: Final = "/var/run/secrets/visionmodel/source"
CLAIM_FOLDER: Final = "/mnt/pvc"
CPU_REQUEST: Final = "250m"
MEMORY_REQUEST: Final = "512Mi"


@dataclass(frozen=True)
class Work:
    """What one Job runs, and with what.

    Attributes:
        command: of the converter; it gets the request and a work folder.
        request: JSON.
        uris: data that the converter reads: claims among them are mounted.
        cpu, memory: upper limits.
        devices: extended resources by name.
        placement: of the pod: node selector, tolerations, runtime class.
    """

    name: str
    revision: str
    command: str
    image: str
    request: str
    uris: tuple[str | None, ...]
    cpu: str
    memory: str
    devices: Mapping[str, str] = field(default_factory=dict)
    placement: Json = field(default_factory=dict)


def job(work: Work, spec: VisionModelSpec, ref: ObjectRef, platform: Platform) -> tuple[Operation, ...]:
    """Return the Job; suspended where a queue admits it, so that it never starts before that."""
    labels = names.object_labels(ref.name, "conversion", work.revision)
    queue = spec.conversion.queue_name
    suspended: Json = {}
    if queue is not None:
        labels[names.LABEL_QUEUE] = queue
        suspended = {"suspend": True}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": owned_metadata(ref, work.name, labels),
        "spec": {
            **suspended,
            "backoffLimit": BACKOFF_LIMIT,
            "activeDeadlineSeconds": max(1, ceil(duration_seconds(spec.conversion.deadline))),
            "podFailurePolicy": _pod_failure_policy(),
            "template": {
                "metadata": {
                    # without the revision: the revision's Service and budget select their pods by it
                    "labels": {**_identity_labels(work, spec, platform), **names.object_labels(ref.name, "conversion")},
                    # as a file of the downward API: born and deleted with the Job, unlike a ConfigMap beside it
                    "annotations": {ANNOTATION_REQUEST: work.request},
                },
                "spec": _pod(work, spec, platform),
            },
        },
    }
    return (Create(manifest),)


def _pod_failure_policy() -> Json:
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {
                "action": "FailJob",
                "onExitCodes": {
                    "containerName": CONTAINER,
                    "operator": "In",
                    "values": [int(code) for code in PERMANENT_EXIT_CODES],
                },
            },
        ]
    }


def _pod(work: Work, spec: VisionModelSpec, platform: Platform) -> Json:
    scratch = {"emptyDir": {"sizeLimit": canonical(platform.job_storage_limit)}}
    mounts = [
        ({"name": "request", "downwardAPI": {"items": [_request_item()]}}, REQUEST_FOLDER, True),
        ({"name": "work", **scratch}, WORK_FOLDER, False),
        ({"name": "tmp", **scratch}, "/tmp", False),
        *_secret_mounts(spec, platform),
        *_claim_mounts(work, platform),
    ]
    # one volume for a claim that holds sources and artifacts: a kubelet waits forever for two of the same claim
    volumes = {volume["name"]: volume for volume, _, _ in mounts}
    pod: Json = {
        **work.placement,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _pod_security(platform),
        "containers": [_converter(work, platform, mounts)],
        "volumes": list(volumes.values()),
    }
    if platform.job_service_account is not None:
        pod["serviceAccountName"] = platform.job_service_account
    if platform.pull_secret is not None:
        pod["imagePullSecrets"] = [{"name": platform.pull_secret}]
    return pod


def _request_item() -> Json:
    return {"path": REQUEST_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION_REQUEST}']"}}


def _resources(work: Work, platform: Platform) -> Json:
    """Return the limits, and requests that fit a small model and never exceed them."""
    limits = {"cpu": work.cpu, "memory": work.memory, STORAGE_RESOURCE: platform.job_storage_limit}
    least = {"cpu": CPU_REQUEST, "memory": MEMORY_REQUEST, STORAGE_RESOURCE: STORAGE_REQUEST}
    return {
        "requests": {**{name: smaller(least[name], limit) for name, limit in limits.items()}, **work.devices},
        "limits": {**canonical_map(limits), **work.devices},
    }


Mount = tuple[Mapping[str, Any], str, bool]
"""A volume, where it is mounted, and whether read-only."""


def _secret_mounts(spec: VisionModelSpec, platform: Platform) -> list[Mount]:
    """Return the Secrets as files; the kubelet reads them, the operator never does."""
    found: list[Mount] = []
    if spec.model.secret_ref is not None:
        found.append((secret_volume("source-credentials", spec.model.secret_ref.name), SOURCE_CREDENTIALS, True))
    if platform.push_secret is not None and platform.artifact_repository is not None:
        found.append((secret_volume("registry-credentials", platform.push_secret), REGISTRY_CREDENTIALS, True))
    if platform.artifact_secret is not None:
        found.append((secret_volume("artifact-credentials", platform.artifact_secret), ARTIFACT_CREDENTIALS, True))
    return found


def _artifact_claim(platform: Platform) -> str | None:
    uri = platform.artifact_uri or ""
    return claim_of(uri)[0] if uri.startswith(CLAIM_SCHEME) else None


def _pod_security(platform: Platform) -> Json:
    """Return the pod's context; the files of a whole store are not to be given to our group at every start."""
    if _artifact_claim(platform) is None:
        return dict(RESTRICTED_POD)
    return {**RESTRICTED_POD, "fsGroupChangePolicy": "OnRootMismatch"}


def _claim_mounts(work: Work, platform: Platform) -> list[Mount]:
    """Return the claims of sources, read-only, and the one that artifacts go into."""
    own = _artifact_claim(platform)
    artifacts = {"name": ARTIFACT_VOLUME, "persistentVolumeClaim": {"claimName": own}}
    found: list[Mount] = []
    for index, (claim, path) in enumerate(_claims(work.uris)):
        volume = {"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        found.append((artifacts if claim == own else volume, path, True))
    return found if own is None else [*found, (artifacts, ARTIFACT_FOLDER, False)]


def _claims(uris: tuple[str | None, ...]) -> list[tuple[str, str]]:
    """Return each claim that a URI names, and its folder."""
    claims = [uri.removeprefix(CLAIM_SCHEME).partition("/")[0] for uri in uris if uri and uri.startswith(CLAIM_SCHEME)]
    return [(claim, f"{CLAIM_FOLDER}/{claim}") for claim in dict.fromkeys(claims)]


def _identity_labels(work: Work, spec: VisionModelSpec, platform: Platform) -> dict[str, str]:
    """Return what a cloud wants on a pod that reads as its service account; the others go by the account alone."""
    reads = spec.model.secret_ref is None and any(uri.startswith(AZURE_SCHEME) for uri in work.uris if uri)
    writes = platform.artifact_secret is None and (platform.artifact_uri or "").startswith(AZURE_SCHEME)
    return dict(AZURE_LABEL) if reads or writes else {}


def _converter(work: Work, platform: Platform, mounts: list[Mount]) -> Json:
    return {
        "name": CONTAINER,
        "image": work.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["visionmodel-convert"],
        "args": [work.command, "--request", f"{REQUEST_FOLDER}/{REQUEST_FILE}", "--work", WORK_FOLDER],
        "env": [
            {"name": "VISIONMODEL_ALLOW_HTTP", "value": "true" if platform.allow_http_sources else "false"},
            # in bytes, and what a LimitRange or a policy made of it
            {
                "name": "VISIONMODEL_STORAGE_LIMIT_BYTES",
                "valueFrom": {"resourceFieldRef": {"resource": f"limits.{STORAGE_RESOURCE}", "divisor": "1"}},
            },
        ],
        "resources": _resources(work, platform),
        "securityContext": dict(RESTRICTED_CONTAINER),
        # the report, or after a crash that left none (out of memory), the end of the log
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": volume["name"], "mountPath": path, **({"readOnly": True} if read_only else {})}
            for volume, path, read_only in mounts
        ],
    }
