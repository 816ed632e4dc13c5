"""The pod template of a serving revision: Triton, the artifact beside it, and nothing it could write to or call.

Rendered once per revision and stored; a change here reaches new revisions only, never running pods.
"""

from collections.abc import Iterator
from typing import Final

from visionmodel_contract.report import ArtifactInfo
from visionmodel_operator.api.base import GROUP
from visionmodel_operator.api.spec import Accelerator, TaskType, VisionModelSpec
from visionmodel_operator.core import names
from visionmodel_operator.core.devices import ALWAYS_TOLERATED, node_labels
from visionmodel_operator.core.quantity import canonical_map
from visionmodel_operator.core.snapshot import Platform
from visionmodel_operator.render.artifact_files import artifact_mount, artifact_source
from visionmodel_operator.render.objects import Json, without_empty
from visionmodel_operator.render.repository import repository_models
from visionmodel_operator.render.restricted import RESTRICTED_CONTAINER, RESTRICTED_POD
from visionmodel_operator.render.triton_config import model_version
from visionmodel_operator.render.triton_flags import (
    REPOSITORY,
    engine_args,
    runtime_of,
    serving_image,
    tritonserver_args,
)

LABEL_ACCELERATOR: Final = f"{GROUP}/accelerator"
"""Index of the accelerator: keeps the selectors of one revision's Deployments apart."""

CONTAINER: Final = "triton"
TRITONSERVER: Final = "/opt/tritonserver/bin/tritonserver"
"""Named in full: the vendor's images start through a script that needs a writable root."""
GRACE_SECONDS: Final = 30
PRE_STOP_SECONDS: Final = 5
STARTUP_SECONDS: Final = 600
"""Longest start; the rollout's own progress deadline usually ends it earlier."""

NO_FILES_VOLUME: Final = "no-files"
"""Version directories of models without files: the ensemble and its steps."""
NETWORK_SHM: Final = "128Mi"
STEP_SHM: Final = "512Mi"
"""The steps hand over whole images and tensors there."""


def serving_labels(name: str, revision: str, index: int) -> dict[str, str]:
    """Return the pods' own labels; `track` and versions are never among them, as they move and pods must not."""
    return {**names.object_labels(name, "serving", revision), LABEL_ACCELERATOR: str(index)}


def serving_selector(name: str, revision: str, index: int) -> dict[str, str]:
    """Return the selector of one Deployment of a revision."""
    return {**names.revision_selector(name, revision), LABEL_ACCELERATOR: str(index)}


def serving_template(
    name: str,
    revision: str,
    spec: VisionModelSpec,
    artifact: ArtifactInfo,
    platform: Platform,
    *,
    index: int,
    accelerator: Accelerator | None,
) -> Json:
    """Return the pod template of one Deployment; `accelerator` None is CPU only."""
    options = spec.serving.pod
    annotations = {
        **options.annotations,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(names.METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }
    pod: Json = {
        **_placement(name, revision, spec, accelerator),
        **artifact_source(artifact, platform),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": dict(RESTRICTED_POD),
        "containers": [_triton(name, revision, spec, artifact, platform=platform, accelerator=accelerator)],
        **without_empty(
            {
                "imagePullSecrets": pull_secrets(platform, spec),
                "priorityClassName": options.priority_class_name,
                "runtimeClassName": options.runtime_class_name,
            }
        ),
    }
    pod["volumes"] = [*pod["volumes"], *_volumes(name, revision, spec)]
    metadata = {"labels": {**options.labels, **serving_labels(name, revision, index)}, "annotations": annotations}
    return {"metadata": metadata, "spec": pod}


def pull_secrets(platform: Platform, spec: VisionModelSpec) -> list[Json]:
    """Return the Secrets for pulling images, the user's first, each once."""
    wanted = [secret.name for secret in spec.serving.pod.image_pull_secrets]
    if platform.pull_secret is not None:
        wanted.append(platform.pull_secret)
    return [{"name": secret} for secret in dict.fromkeys(wanted)]


def _triton(
    name: str,
    revision: str,
    spec: VisionModelSpec,
    artifact: ArtifactInfo,
    *,
    platform: Platform,
    accelerator: Accelerator | None,
) -> Json:
    runtime = runtime_of(spec.serving.runtime_version, platform)
    return {
        "name": CONTAINER,
        "image": serving_image(spec, platform),
        "imagePullPolicy": "IfNotPresent",
        "command": [TRITONSERVER],
        "args": [*tritonserver_args(runtime), *engine_args(spec.conversion)],
        **without_empty({"env": [without_empty({"name": e.name, "value": e.value}) for e in spec.serving.pod.env]}),
        "ports": [
            {"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": names.GRPC_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": names.METRICS_PORT, "protocol": "TCP"},
        ],
        **_probes(name),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "resources": _resources(spec, accelerator),
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": [
            *_model_mounts(name, revision, spec, artifact),
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _model_mounts(name: str, revision: str, spec: VisionModelSpec, artifact: ArtifactInfo) -> Iterator[Json]:
    """Yield the version directory and the config.pbtxt of every model of the repository."""
    for model in repository_models(name, spec):
        folder = f"{REPOSITORY}/{model.name}"
        version = f"{folder}/{model_version(revision)}"
        if model.has_artifact:
            yield artifact_mount(artifact, version)
        else:
            yield {"name": NO_FILES_VOLUME, "mountPath": version, "readOnly": True}
        # one file: a whole ConfigMap mount would show Triton its ..data folders as models
        yield {
            "name": "config",
            "mountPath": f"{folder}/config.pbtxt",
            "subPath": model.config_key,
            "readOnly": True,
        }


def _probes(name: str) -> Json:
    """Return the probes; ready means that this model answers, since Triton with no models at all is ready too."""
    model_ready = {"path": f"/v2/models/{name}/ready", "port": "http"}
    return {
        "startupProbe": {
            "httpGet": model_ready,
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": STARTUP_SECONDS,
        },
        "readinessProbe": {"httpGet": model_ready, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {
            "httpGet": {"path": "/v2/health/live", "port": "http"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }


def _resources(spec: VisionModelSpec, accelerator: Accelerator | None) -> Json:
    resources = spec.serving.resources
    device = {} if accelerator is None else {accelerator.resource_name: str(accelerator.count)}
    return without_empty(
        {
            "requests": {**canonical_map(resources.requests), **device},
            "limits": {**canonical_map(resources.limits), **device},
        }
    )


def _placement(name: str, revision: str, spec: VisionModelSpec, accelerator: Accelerator | None) -> Json:
    placement: Json = {
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": names.revision_selector(name, revision)},
            }
        ]
    }
    return placement if accelerator is None else placement | device_placement(accelerator)


def device_placement(accelerator: Accelerator) -> Json:
    """Return what brings a pod to a node with this device."""
    tolerations = [without_empty(one.to_wire()) for one in (ALWAYS_TOLERATED, *accelerator.tolerations)]
    return {**without_empty({"nodeSelector": node_labels(accelerator)}), "tolerations": tolerations}


def _volumes(name: str, revision: str, spec: VisionModelSpec) -> list[Json]:
    is_ensemble = spec.task.type != TaskType.TENSOR
    return [
        {"name": "config", "configMap": {"name": names.revision_config(name, revision), "defaultMode": 0o444}},
        *([{"name": NO_FILES_VOLUME, "emptyDir": {}}] if is_ensemble else []),
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": STEP_SHM if is_ensemble else NETWORK_SHM}},
        {"name": "tmp", "emptyDir": {}},
    ]
