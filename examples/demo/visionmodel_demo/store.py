"""A real S3 server in the cluster, for the models of demo and tests."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from visionmodel_demo.platform import Platform, provide_namespace
from visionmodel_devcluster import binary
from visionmodel_devcluster.images import is_pushed

NAMESPACE = "storage"
PORT = 7070
BUCKET = "models"
ACCESS_KEY, SECRET_KEY = "demo-access", "demo-secret-not-for-production"
SECRET_NAME = "models-s3"
DOCKERFILE = Path(__file__).parent / "store" / "Dockerfile"


def provide_store(platform: Platform) -> None:
    """Start the server in the cluster, with one empty bucket."""
    image = _image(platform)
    provide_namespace(platform, NAMESPACE)
    platform.kube.apply(*_manifests(image))
    platform.kube.run("rollout", "status", "deployment/s3", "-n", NAMESPACE, "--timeout=120s")


def provide_credentials(platform: Platform, namespace: str) -> None:
    """Put the Secret that a VisionModel names into its namespace."""
    data = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": f"http://s3.{NAMESPACE}.svc:{PORT}",
        "AWS_REGION": "us-east-1",
    }
    metadata = {"name": SECRET_NAME, "namespace": namespace}
    platform.kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})


def upload(platform: Platform, files: dict[str, Path]) -> None:
    """Copy files into the bucket, by key."""
    with platform.kube.forward("service/s3", NAMESPACE, PORT) as port:
        store = S3Store(
            BUCKET,
            endpoint=f"http://127.0.0.1:{port}",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )
        for key, path in files.items():
            obstore.put(store, key, path)


def _image(platform: Platform) -> str:
    """Provide the server's image; the tag is a digest of what it is made of."""
    program = binary("versitygw")
    reference = f"{platform.registry}/visionmodel/s3:{image_tag(program.parent.name, DOCKERFILE.read_bytes())}"
    if platform.is_ours and is_pushed(reference):
        return reference
    engine = shutil.which("buildah") or shutil.which("docker")
    if engine is None:
        raise RuntimeError("buildah or docker is needed to build the image of the S3 server")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(program, Path(folder) / "versitygw")
        shutil.copy(DOCKERFILE, folder)
        isolation = ["--isolation", "chroot"] if engine.endswith("buildah") else []
        _run(engine, "build", *isolation, "--tag", reference, folder)
    plain = ["--tls-verify=false"] if platform.is_ours and engine.endswith("buildah") else []
    _run(engine, "push", *plain, reference)
    return reference


def image_tag(build: str, dockerfile: bytes) -> str:
    """Return the tag of the server's image: another one with another build of the program or another Dockerfile."""
    return hashlib.sha256(build.encode() + b"\0" + dockerfile).hexdigest()[:12]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def _manifests(image: str) -> tuple[dict[str, Any], ...]:
    labels = {"app": "s3"}
    container = {
        "name": "s3",
        "image": image,
        "args": ["--port", f":{PORT}", "--health", "/health", "--quiet", "posix", "/data"],
        "env": [
            {"name": "ROOT_ACCESS_KEY", "value": ACCESS_KEY},
            {"name": "ROOT_SECRET_KEY", "value": SECRET_KEY},
        ],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # A folder below the server's root is a bucket.
        "volumeMounts": [{"name": "root", "mountPath": "/data"}, {"name": "bucket", "mountPath": f"/data/{BUCKET}"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "root", "emptyDir": {}}, {"name": "bucket", "emptyDir": {}}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "s3", "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s3", "namespace": NAMESPACE},
        "spec": {"selector": labels, "ports": [{"port": PORT}]},
    }
    return deployment, service
