"""Manifests, images and GPUs of the dev cluster."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from visionmodel_devcluster.addons import MANIFESTS, chart_key, latency_buckets, render
from visionmodel_devcluster.gpus import PRODUCTS, gpu_labels
from visionmodel_devcluster.images import IMAGES, addon_reference, drop_grown, outdated_names, registry_reference
from visionmodel_devcluster.tools import TOOLS
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


@pytest.mark.parametrize("tool", ["envoy-gateway", "helm", "kubernetes"])
def test_rendered_chart_is_another_one_with_another(tool: str) -> None:
    newer = {**TOOLS, tool: replace(TOOLS[tool], version="v99.0.0")}
    assert chart_key(newer, "a: b") != chart_key(TOOLS, "a: b")


def test_rendered_chart_depends_on_its_values() -> None:
    assert chart_key(TOOLS, "a: b") == chart_key(dict(TOOLS), "a: b") != chart_key(TOOLS, "a: c")


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


STORED = """\
localhost/visionmodel-operator:0123456789ab
r:5/visionmodel-operator:0123456789ab
localhost/visionmodel-operator:ba9876543210
localhost/visionmodel-operator:unverified
registry.example/team/visionmodel-operator:v1
localhost/other-visionmodel-operator:0123456789ab
<none>:<none>
"""


def test_builds_that_are_not_kept_are_outdated_under_all_their_names() -> None:
    outdated = ["localhost/visionmodel-operator:0123456789ab", "r:5/visionmodel-operator:0123456789ab"]
    assert outdated_names(STORED, "visionmodel-operator", {"ba9876543210"}) == outdated


@pytest.mark.parametrize(("limit", "stays"), [(10, True), (9, False)], ids=["small enough", "grown"])
def test_images_that_have_grown_are_dropped(tmp_path: Path, limit: int, stays: bool) -> None:
    images = tmp_path / "images"
    (images / "registry").mkdir(parents=True)
    (images / "blob").write_bytes(b"01234")
    (images / "registry" / "blob").write_bytes(b"56789")
    drop_grown(images, limit)
    assert images.exists() is stays


def test_images_that_are_not_there_have_not_grown(tmp_path: Path) -> None:
    drop_grown(tmp_path / "images", 0)
    assert list(tmp_path.iterdir()) == []


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
