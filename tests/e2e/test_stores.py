"""Artifacts elsewhere than in a registry: converted into a claim and into object storage, served from there, kept."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.installation import Installation
from e2e.scene import Scene, new_name
from visionmodel_demo.kube import wait_for
from visionmodel_demo.store import SECRET_NAME

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CLAIM = "artifacts"
USER = 1000
COLLECTION = "visionmodel-operator-collection"
USED = ".used"
"""The mark of an entry's last use."""


@pytest.fixture
def scene(installation: Installation, namespace: str, tmp_path: Path) -> Scene:
    """A VisionModel whose model nobody has converted in its namespace."""
    return Scene(installation, namespace, new_name(), tmp_path)


@pytest.fixture
def claim(installation: Installation, scene: Scene, tmp_path: Path) -> Iterator[Path]:
    """A claim that many may write, whose volume is a folder of the node, which the dev cluster shares with us."""
    if not installation.platform.is_ours:
        pytest.skip("needs a folder on the node: the dev cluster's node is this machine")
    folder = tmp_path / "volume"
    folder.mkdir()
    os.chown(folder, USER, USER)
    size = {"storage": "1Gi"}
    shared = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": scene.name},
        "spec": {
            **shared,
            "capacity": size,
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
        },
    }
    document = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": scene.namespace},
        "spec": {**shared, "volumeName": scene.name, "resources": {"requests": size}},
    }
    kube = installation.platform.kube
    kube.apply(volume, document)
    yield folder
    kube.delete("persistentvolumeclaim", CLAIM, scene.namespace, "--wait=false")
    kube.delete("persistentvolume", scene.name, "", "--wait=false")


def collected(scene: Scene) -> str:
    """Run the chart's CronJob at once and return what it logs."""
    kube, job = scene.platform.kube, f"collect-{secrets.token_hex(3)}"
    kube.run("create", "job", job, f"--from=cronjob/{COLLECTION}", "-n", scene.namespace)

    def is_done() -> bool:
        found = kube.get("job", job, scene.namespace) or {}
        return "completionTime" in found.get("status", {}) or bool(found.get("status", {}).get("failed"))

    wait_for(is_done, timeout=90, what=f"the end of {job}")
    return kube.logs(f"job/{job}", scene.namespace, "--all-containers")


def test_artifact_on_a_claim(scene: Scene, claim: Path) -> None:
    try:
        scene.installation.install(
            artifacts__repository="",
            artifacts__persistentVolumeClaim__claimName=CLAIM,
            artifacts__collection__enabled="true",
            artifacts__collection__namespaces=f"{{{scene.namespace}}}",
            artifacts__collection__scope="Namespace",
        )
        scene.serve()
        key = scene.model.status()["conversion"]["key"]
        (folder,) = (claim / "visionmodel").iterdir()
        assert folder.name == f"prepare-{key}"
        unneeded = [folder.parent / f"{kind}-{'0' * 32}" for kind in ("prepare", "engine", "export")]
        for one in unneeded:
            one.mkdir()
            (one / USED).touch()
        for path in (path for one in (folder, *unneeded) for path in (one / USED, one)):
            os.chown(path, USER, USER)
            os.utime(path, (0, 0))
        log = collected(scene)
        assert all(f"{one.name}: removed" in log for one in unneeded), log
        assert [path.name for path in folder.parent.iterdir()] == [folder.name], log
    finally:
        scene.installation.install()


def test_artifact_in_object_storage(scene: Scene) -> None:
    uri = f"s3://models/artifacts-{scene.name}"
    try:
        scene.installation.install(
            artifacts__repository="",
            artifacts__objectStorage__uri=uri,
            artifacts__objectStorage__secret=SECRET_NAME,
        )
        scene.serve()
        (pod,) = scene.pods()
        (fetch,) = pod["spec"]["initContainers"]
        key = scene.model.status()["conversion"]["key"]
        assert any(word.startswith(f"{uri}/prepare-{key}@sha256:") for word in fetch["args"])
    finally:
        scene.installation.install()
