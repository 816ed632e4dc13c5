"""What the whole suite shares: the operator from this checkout, installed by its chart, and a store full of models.

The operator is installed anew for every session, so that the suite never judges what was left from another checkout.
"""

import hashlib
import json
import secrets
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from images.build import build_images
from PIL import Image

from e2e.operator_pod import Operator
from evaluation import write_part
from example_models.build import build
from example_models.digits import dataset
from visionmodel_demo.platform import Platform, install_operator, provide_namespace
from visionmodel_demo.store import provide_credentials, provide_store, upload

LABEL = "visionmodel.dev/e2e"
"""On the namespaces of the suite: those of failed tests are kept to be looked at, until the next session begins."""
VERSIONS = ("v1", "v2", "v3-failing", "v3-slow", "v4")
TRUNCATED_BYTES = 4096
FUTURE_OPSET = 99
DIGIT_COUNT = 60


@dataclass(frozen=True)
class Installation:
    """A platform with the operator on it.

    Attributes:
        operator: its pod and its log.
        images: reference of each of our images.
        digests: sha256 of each version of the detector in the store, by the version's name.
        evaluation: sha256 of the evaluation data.
    """

    platform: Platform
    operator: Operator
    images: dict[str, str]
    digests: dict[str, str]
    evaluation: str

    def install(self, **values: str) -> None:
        """Install or upgrade the operator by its chart; `values` as `install_operator` takes them."""
        insecure = "true" if self.platform.is_ours else "false"
        self.operator.log.save()
        install_operator(self.platform, self.images, allowHttpSources=insecure, **values)
        self.operator.settle()


def provide_installation(platform: Platform, folder: Path) -> Installation:
    """Train, build, upload and install; what is cached costs seconds.

    Namespaces that an earlier session kept go: they would hold GPUs that this one needs. The caller sees to it that no
    other session uses the cluster meanwhile.
    """
    platform.kube.run("delete", "namespaces", "-l", LABEL, "--wait=false")
    models = build()
    images = build_images(registry=platform.registry, insecure=platform.is_ours)
    provide_store(platform)
    files = {version: models / "shapes" / version / "model.onnx" for version in VERSIONS}
    files |= _bad_files(files["v1"], folder)
    keys = {f"shapes/{version}/model.onnx": path for version, path in files.items()}
    keys |= {"digits/v1/model.onnx": models / "digits" / "v1" / "model.onnx", "digits/images.zip": _digits(folder)}
    part = write_part(models / "shapes" / "evaluation.npz", folder / "evaluation.npz")
    calibration = models / "shapes" / "calibration.npz"
    upload(platform, {**keys, "shapes/evaluation.npz": part, "shapes/calibration.npz": calibration})
    digests = {version: _digest(path) for version, path in files.items()}
    installation = Installation(platform, Operator(platform), images, digests, _digest(part))
    installation.install()
    return installation


def _digits(folder: Path) -> Path:
    """Return an archive of pictures of digits, in one folder per class."""
    path = folder / "digits.zip"
    seen = dataset(np.random.default_rng(9), DIGIT_COUNT)
    with zipfile.ZipFile(path, "w") as archive:
        for row, (image, label) in enumerate(zip(seen.images[:, 0], seen.labels, strict=True)):
            with archive.open(f"digits/{label}/{row:03}.png", "w") as file:
                Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(file, "PNG")
    return path


def _bad_files(good: Path, folder: Path) -> dict[str, Path]:
    """Return files that no conversion can accept, by version."""
    truncated, future = folder / "truncated.onnx", folder / "future-opset.onnx"
    truncated.write_bytes(good.read_bytes()[:TRUNCATED_BYTES])
    model = onnx.load(good)
    for entry in model.opset_import:
        entry.version = FUTURE_OPSET
    onnx.save(model, future)
    return {"truncated": truncated, "future-opset": future}


def _digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def diagnosis(platform: Platform, namespace: str) -> str:
    """Return what a person would look at first after a failure."""
    kube = platform.kube
    parts = [
        kube.run("get", "visionmodels,pods,jobs,httproutes", "-n", namespace, "-o", "wide"),
        kube.run("get", "visionmodels", "-n", namespace, "-o", "yaml"),
        kube.run("get", "events", "-n", namespace, "--sort-by=.metadata.creationTimestamp"),
        kube.logs("deployment/visionmodel-operator", "visionmodel-system", "--tail=80"),
    ]
    return "\n".join(parts)


@contextmanager
def restricted_namespace(installation: Installation, failures: Callable[[], int]) -> Iterator[str]:
    """Yield a namespace that admits only restricted pods; it stays afterwards if there were `failures` meanwhile.

    Every pod of the operator's must have been admitted to it.
    """
    name = f"e2e-{secrets.token_hex(3)}"
    before = failures()
    provide_namespace(installation.platform, name)
    installation.platform.kube.run("label", "namespace", name, f"{LABEL}=true")
    provide_credentials(installation.platform, name)
    yield name
    assert refused_pods(installation.platform, name) == []
    if failures() == before:
        installation.platform.kube.run("delete", "namespace", name, "--wait=false")


def refused_pods(platform: Platform, namespace: str) -> list[str]:
    """Return what the API server said about pods that it did not admit."""
    events = json.loads(platform.kube.run("get", "events", "-n", namespace, "-o", "json"))["items"]
    return [e.get("message") or e.get("note", "") for e in events if e.get("reason") == "FailedCreate"]
