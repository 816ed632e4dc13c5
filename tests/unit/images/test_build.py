"""The tag of an image follows its inputs, and each engine gets the right arguments."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from images.build import IMAGES, ROOT, STANDARD, Base, Engine, Request, _prune, final_reference, input_digest

REQUEST = Request(Base("localhost/base:1", "base-1", "3.11"), "1.2.3", "abc")
OPERATOR = IMAGES["operator"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what the images are made of, without the build leftovers of this checkout."""
    for folder in ("images", "requirements", "operator/visionmodel_contract", "operator/visionmodel_operator"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _append(path: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        with (root / path).open("a", encoding="utf-8") as file:
            file.write("\n")

    return change


def _add(path: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("new", encoding="utf-8")

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_append("images/operator/Dockerfile"), id="dockerfile"),
        pytest.param(_append("images/operator/Dockerfile.dockerignore"), id="dockerignore"),
        pytest.param(_append("images/install_venv.sh"), id="venv script"),
        pytest.param(_append("images/install_sources.sh"), id="sources script"),
        pytest.param(_append("images/pip.txt"), id="pip"),
        pytest.param(_append("requirements/operator.txt"), id="lock"),
        pytest.param(_append("operator/visionmodel_operator/errors.py"), id="source"),
        pytest.param(_add("operator/visionmodel_contract/new.py"), id="new file"),
        pytest.param(lambda root: (root / "images/operator/visionmodel-operator").chmod(0o600), id="mode"),
    ],
)
def test_a_changed_input_changes_the_tag(checkout: Path, change: Callable[[Path], None]) -> None:
    before = input_digest(OPERATOR, REQUEST, checkout)
    change(checkout)
    assert input_digest(OPERATOR, REQUEST, checkout) != before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_append("requirements/converter.txt"), id="another image's lock"),
        pytest.param(_append("images/converter/Dockerfile"), id="another image's dockerfile"),
        pytest.param(_add("operator/visionmodel_operator/__pycache__/errors.pyc"), id="bytecode"),
    ],
)
def test_what_is_no_input_changes_nothing(checkout: Path, change: Callable[[Path], None]) -> None:
    before = input_digest(OPERATOR, REQUEST, checkout)
    change(checkout)
    assert input_digest(OPERATOR, REQUEST, checkout) == before


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(replace(REQUEST, base=replace(REQUEST.base, identity="base-2")), id="base"),
        pytest.param(replace(REQUEST, base=replace(REQUEST.base, python="")), id="origin of the wheels"),
        pytest.param(replace(REQUEST, version="1.2.4"), id="version"),
        pytest.param(replace(REQUEST, revision="def"), id="revision"),
    ],
)
def test_a_changed_argument_changes_the_tag(checkout: Path, request_: Request) -> None:
    assert input_digest(OPERATOR, request_, checkout) != input_digest(OPERATOR, REQUEST, checkout)


def test_build_with_buildah() -> None:
    command = Engine("buildah").build(IMAGES["triton"], "localhost/t:1", REQUEST, Path("/wheels"))
    assert command == [
        *("buildah", "build", "--isolation", "chroot", "--layers"),
        *("--ignorefile", "images/triton/Dockerfile.dockerignore"),
        *("--file", "images/triton/Dockerfile", "--tag", "localhost/t:1", "--target", "wheel"),
        *("--build-context", "wheels=/wheels"),
        *("--build-arg", "BASE=localhost/base:1", "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc", "."),
    ]


def test_an_extra_has_a_lock_in_the_place_of_the_plain_one() -> None:
    image = IMAGES["converter-torch"]
    command = Engine("docker").build(image, "localhost/c:1", REQUEST, None)
    assert "images/converter/Dockerfile" in command
    assert "LOCK=converter-torch" in command
    assert [path.as_posix() for path in image.locks] == ["requirements/converter-torch.txt"]
    assert (ROOT / image.locks[0]).is_file()


def test_heavy_images_are_built_only_when_they_are_named() -> None:
    assert STANDARD == ("operator", "converter", "triton")


def test_build_with_docker_and_no_wheelhouse() -> None:
    command = Engine("docker").build(OPERATOR, "localhost/o:1", REQUEST, None)
    assert command == [
        *("docker", "build", "--network", "host"),
        *("--file", "images/operator/Dockerfile", "--tag", "localhost/o:1"),
        *("--build-arg", "BASE=localhost/base:1", "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc", "."),
    ]


def test_archives_that_were_used_last_are_kept(tmp_path: Path) -> None:
    names = [f"i-{12 * digit}.tar" for digit in "0123"] + [f"i-other-{12 * '4'}.tar"]
    for age, name in enumerate(names):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    _prune(Engine("docker"), tmp_path, "i")
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names[:2], names[4]]


@pytest.mark.parametrize(
    ("registry", "tag", "reference"),
    [
        (None, None, "localhost/visionmodel-operator:0123"),
        ("10.0.0.1:5000", None, "10.0.0.1:5000/visionmodel-operator:0123"),
        ("registry.example/team", "v1", "registry.example/team/visionmodel-operator:v1"),
    ],
    ids=["stored", "pushed", "pushed under a tag"],
)
def test_final_reference(registry: str | None, tag: str | None, reference: str) -> None:
    assert final_reference(OPERATOR, "localhost/visionmodel-operator:0123", registry, tag) == reference
