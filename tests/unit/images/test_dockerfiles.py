"""Promises of the Dockerfiles that a build alone does not show."""

import re
from pathlib import Path

import pytest
from images.catalog import IMAGES, ROOT, ImageSource

from visionmodel_converter.environment import DEFAULT_MODELOPT_PYTHON, DEFAULT_ONNX2TF_PYTHON

ALL = [pytest.param(image, id=name) for name, image in IMAGES.items()]
LABELS = {"title", "description", "licenses", "version", "revision"}


def instructions(image: ImageSource) -> list[str]:
    text = (ROOT / image.dockerfile).read_text(encoding="utf-8").replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line and not line.startswith("#")]


def copied(image: ImageSource) -> set[str]:
    """Paths of the repository that a Dockerfile copies for an image."""
    sources = [line.split()[1:-1] for line in instructions(image) if line.startswith("COPY ") and "--from" not in line]
    return {path.replace("${LOCK}", image.locks[0].stem) for paths in sources for path in paths}


def shown(image: ImageSource) -> set[str]:
    """Paths that the build may see."""
    lines = (ROOT / f"{image.dockerfile}.dockerignore").read_text(encoding="utf-8").splitlines()
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


@pytest.mark.parametrize("image", ALL)
def test_the_build_sees_nothing_but_what_it_copies(image: ImageSource) -> None:
    family = [one for one in IMAGES.values() if one.dockerfile == image.dockerfile]
    every = {path for one in family for path in copied(one)}
    unseen = {path for path in copied(image) if not any(is_in(path, one) for one in shown(image))}
    unused = {one for one in shown(image) if not any(is_in(path, one) for path in every)}
    assert (unseen, unused) == (set(), set())


@pytest.mark.parametrize("image", ALL)
def test_what_is_copied_counts_for_the_tag(image: ImageSource) -> None:
    counted = {"images/install_venv.sh", *map(str, image.locks), str(image.folder), *image.inputs}
    assert {path for path in copied(image) if not any(is_in(path, one) for one in counted)} == set()


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("operator", {"visionmodel_contract", "visionmodel_operator"}),
        ("converter", {"visionmodel_contract", "visionmodel_converter", "visionmodel_pipeline"}),
        ("converter-torch", {"visionmodel_contract", "visionmodel_converter", "visionmodel_pipeline"}),
        ("triton", {"visionmodel_pipeline"}),
    ],
)
def test_packages(name: str, packages: set[str]) -> None:
    found = {path.removeprefix("operator/") for path in copied(IMAGES[name]) if path.startswith("operator/")}
    assert found == packages


@pytest.mark.parametrize("image", ALL)
def test_every_final_stage_is_an_unprivileged_user_by_number(image: ImageSource) -> None:
    stages = re.split(r"(?m)^FROM ", "\n".join(instructions(image)))
    users = [re.findall(r"(?m)^USER (.+)$", stage) for stage in stages]
    finals = [found[-1] for stage, found in zip(stages, users, strict=True) if found and "AS builder" not in stage]
    assert finals
    assert set(finals) == {"1000:1000"}


@pytest.mark.parametrize("image", ALL)
def test_labels(image: ImageSource) -> None:
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=", "\n".join(instructions(image)))) == LABELS


@pytest.mark.parametrize("image", ALL)
def test_every_base_is_the_argument(image: ImageSource) -> None:
    bases = {line.split()[1] for line in instructions(image) if line.startswith("FROM ")}
    assert bases <= {"${BASE}", "scratch", "common", "onnx", "openvino", "wheel"}


@pytest.mark.parametrize(
    ("name", "base", "target"),
    [
        ("converter-openvino", "onnx", "openvino"),
        ("converter-tensorrt", "onnx", "tensorrt"),
        ("triton-openvino", "wheel", "wheel-openvino"),
    ],
)
def test_an_optional_runtime_is_a_layer_on_top(name: str, base: str, target: str) -> None:
    image = IMAGES[name]
    assert (image.dockerfile, image.target) == (IMAGES[name.partition("-")[0]].dockerfile, target)
    assert f"FROM {base} AS {target}" in instructions(image)
    assert [lock.name for lock in image.locks] == [f"{name.partition('-')[0]}.txt", f"{name.partition('-')[2]}.txt"]


@pytest.mark.parametrize(
    ("target", "python"), [("tflite", DEFAULT_ONNX2TF_PYTHON), ("modelopt", DEFAULT_MODELOPT_PYTHON)]
)
def test_what_pins_other_versions_is_an_environment_of_its_own_on_top_of_openvino(target: str, python: str) -> None:
    image = IMAGES[f"converter-{target}"]
    assert [lock.name for lock in image.locks] == ["converter.txt", "openvino.txt", f"{target}.txt"]
    assert (image.dockerfile, image.target) == (IMAGES["converter"].dockerfile, target)
    lines = instructions(image)
    assert f"FROM openvino AS {target}" in lines
    assert any(f"COPY --from=builder-{target} {Path(python).parents[1]} " in line for line in lines)


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda lock: lock.name)
def test_no_lock_has_the_package_that_openvino_reports_through(lock: Path) -> None:
    assert "openvino-telemetry" not in lock.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["converter", "triton"])
def test_onnxruntime_reports_to_nobody(name: str) -> None:
    assert any(line.startswith("ENV ") and "ORT_DISABLE_TELEMETRY=1" in line for line in instructions(IMAGES[name]))
