"""A model from a volume: `pvc://`; `s3://` is what every other test uses, `https://` is a component test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.installation import Installation
from e2e.scene import Scene, new_name
from example_models.build import build

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CLAIM = "trained"


@pytest.fixture
def scene(installation: Installation, namespace: str, tmp_path: Path) -> Scene:
    """A VisionModel whose model nobody has converted in its namespace."""
    return Scene(installation, namespace, new_name(), tmp_path)


@pytest.fixture
def volume(installation: Installation, scene: Scene, tmp_path: Path) -> Iterator[None]:
    """A claim whose volume is a folder of the node, which the dev cluster shares with this machine."""
    if not installation.platform.is_ours:
        pytest.skip("needs a folder on the node: the dev cluster's node is this machine")
    folder = tmp_path / "volume"
    (folder / "shapes").mkdir(parents=True)
    shutil.copy(build() / "shapes" / "v1" / "model.onnx", folder / "shapes" / "model.onnx")
    size = {"storage": "1Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": scene.name},
        "spec": {
            "capacity": size,
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": scene.namespace},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": scene.name,
            "resources": {"requests": size},
        },
    }
    kube = installation.platform.kube
    kube.apply(volume, claim)
    yield
    kube.delete("persistentvolumeclaim", CLAIM, scene.namespace, "--wait=false")
    kube.delete("persistentvolume", scene.name, "", "--wait=false")


def test_model_from_a_volume(scene: Scene, volume: None) -> None:
    document = scene.document("v1", pinned=False)
    document["spec"]["model"] = {"storageUri": f"pvc://{CLAIM}/shapes/model.onnx"}
    document["spec"]["conversion"]["gates"]["parity"] = {}
    scene.serve(document)
    report = scene.model.status()["conversion"]["report"]
    assert report["sourceDigest"] == scene.installation.digests["v1"]
