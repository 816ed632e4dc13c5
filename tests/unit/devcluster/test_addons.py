"""Manifests, images and GPUs of the dev cluster."""

import itertools
import re
from pathlib import Path

import pytest
import yaml

from visionmodel_devcluster.addons import MANIFESTS, latency_buckets, render
from visionmodel_devcluster.gpus import PRODUCTS, gpu_labels
from visionmodel_devcluster.images import IMAGES, addon_reference, registry_reference
from visionmodel_devcluster.wheels import WHEELS


def test_latency_buckets_are_fine_and_increasing() -> None:
    buckets = latency_buckets()
    assert (len(buckets), buckets[0], buckets[-1]) == (40, 0.5, 10_000.0)
    ratios = [after / before for before, after in itertools.pairwise(buckets)]
    assert max(ratios) < 1.31
    assert min(ratios) > 1.27


def test_render_fills_in_and_refuses_what_it_does_not_know() -> None:
    assert render("a: {{NAME}}", {"NAME": "b"}) == "a: b"
    with pytest.raises(KeyError, match="OTHER"):
        render("a: {{OTHER}}", {})


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_manifest_is_yaml_with_images_from_our_registry_only(path: Path) -> None:
    values = dict.fromkeys(re.findall(r"\{\{([A-Z_]+)\}\}", path.read_text(encoding="utf-8")), "10.244.0.1:5001/x")
    text = render(path.read_text(encoding="utf-8"), values)
    assert list(yaml.safe_load_all(text))
    assert set(re.findall(r"image: *\"?([^\"}\s]+)", text)) <= {"10.244.0.1:5001/x", "{image:"}


@pytest.mark.parametrize("name", sorted(IMAGES))
def test_addon_images_have_a_digest_as_their_tag(name: str) -> None:
    assert re.fullmatch(rf"10\.244\.0\.1:5001/devcluster/{name}:[0-9a-f]{{12}}", addon_reference(name))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("localhost/visionmodel/base:1", "r:5/visionmodel/base:1"),
        ("visionmodel/base:1", "r:5/visionmodel/base:1"),
        ("r:5/a/b:1", "r:5/a/b:1"),
        ("ghcr.example/a/b:1", "r:5/a/b:1"),
        ("busybox:1", "r:5/busybox:1"),
    ],
)
def test_reference_in_our_registry(source: str, expected: str) -> None:
    assert registry_reference(source, "r:5") == expected


def test_labels_of_a_gpu_are_those_of_feature_discovery() -> None:
    assert gpu_labels(PRODUCTS["NVIDIA-L4"], 4) == {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.count": "4",
        "nvidia.com/gpu.product": "NVIDIA-L4",
        "nvidia.com/gpu.memory": "23034",
        "nvidia.com/gpu.family": "ada-lovelace",
        "nvidia.com/gpu.compute.major": "8",
        "nvidia.com/gpu.compute.minor": "9",
        "nvidia.com/gpu.machine": "visionmodel-devcluster",
    }


@pytest.mark.parametrize("path", sorted(WHEELS.glob("*.txt")), ids=lambda path: path.stem)
def test_wheels_are_pinned_by_hash_and_name_no_index(path: Path) -> None:
    assert re.fullmatch(rf"{path.stem}==[0-9.]+ --hash=sha256:[0-9a-f]{{64}}\n", path.read_text(encoding="utf-8"))
