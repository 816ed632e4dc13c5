"""How the files of an artifact come into a pod, by where they were published: image, object storage or claim.

The place is the artifact's own and not the platform's: what was published before the platform team chose another store
is still served from where it is.
"""

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from visionmodel_contract.report import ArtifactInfo
from visionmodel_operator.core.snapshot import Platform
from visionmodel_operator.render.objects import Json
from visionmodel_operator.render.restricted import RESTRICTED_CONTAINER

ARTIFACT_VOLUME: Final = "artifact"
CLAIM_SCHEME: Final = "pvc://"
REGISTRY_CREDENTIALS: Final = "/var/run/secrets/visionmodel/registry"
ARTIFACT_CREDENTIALS: Final = "/var/run/secrets/visionmodel/artifacts"
CLAIM_FOLDER: Final = "/mnt/artifacts"
"""Where conversions and collections have the claim that keeps artifacts."""


def artifact_reference(artifact: ArtifactInfo) -> str:
    """Return the artifact by digest, so that a moved tag or a changed object can never change what is served."""
    return artifact.image if "@sha256:" in artifact.image else f"{artifact.image}@{artifact.digest}"


def claim_of(uri: str) -> tuple[str, str]:
    """Return the claim and the path in it of a `pvc://` URI."""
    parts = urlsplit(uri)
    return unquote(parts.netloc), unquote(parts.path).strip("/")


def secret_volume(volume: str, secret: str) -> Json:
    """Return the volume of a Secret; its keys are files that the kubelet writes and the operator never reads."""
    return {"name": volume, "secret": {"secretName": secret, "defaultMode": 0o440}}


def artifact_mount(artifact: ArtifactInfo, path: str) -> Json:
    """Return the mount of the files; the folder of the key alone where a claim has them all."""
    mount: Json = {"name": ARTIFACT_VOLUME, "mountPath": path, "readOnly": True}
    if artifact.image.startswith(CLAIM_SCHEME):
        mount["subPath"] = claim_of(artifact.image)[1]
    return mount


def artifact_source(artifact: ArtifactInfo, platform: Platform) -> Json:
    """Return the pod's volumes for the artifact, and the init container that fills them where none can be mounted."""
    if artifact.image.startswith(CLAIM_SCHEME):
        claim = {"claimName": claim_of(artifact.image)[0], "readOnly": True}
        return {"volumes": [{"name": ARTIFACT_VOLUME, "persistentVolumeClaim": claim}]}
    reference = artifact_reference(artifact)
    if "://" in artifact.image:
        return _fetched(reference, platform, ("store", platform.artifact_secret, ARTIFACT_CREDENTIALS))
    if platform.image_volumes:
        image = {"reference": reference, "pullPolicy": "IfNotPresent"}
        return {"volumes": [{"name": ARTIFACT_VOLUME, "image": image}]}
    return _fetched(reference, platform, ("registry", platform.pull_secret, REGISTRY_CREDENTIALS))


def _fetched(reference: str, platform: Platform, login: tuple[str, str | None, str]) -> Json:
    """Return the init container that downloads and verifies the artifact; `login` is volume, Secret and its path."""
    volume, secret, folder = login
    volumes: list[Json] = [{"name": ARTIFACT_VOLUME, "emptyDir": {}}]
    mounts: list[Json] = [{"name": ARTIFACT_VOLUME, "mountPath": "/artifact"}]
    if secret is not None:
        volumes.append(secret_volume(volume, secret))
        mounts.append({"name": volume, "mountPath": folder, "readOnly": True})
    volumes.append({"name": "fetch-tmp", "emptyDir": {}})
    mounts.append({"name": "fetch-tmp", "mountPath": "/tmp"})
    insecure = ["--insecure"] if platform.artifact_repository_insecure else []
    container: dict[str, Any] = {
        "name": "fetch-artifact",
        "image": platform.converter_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["visionmodel-convert"],
        "args": ["fetch-artifact", "--image", reference, "--out", "/artifact", *insecure],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": mounts,
    }
    return {"initContainers": [container], "volumes": volumes}
