"""The tag of an image follows its inputs."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from images.catalog import IMAGES, ROOT
from images.engine import Base, Request
from images.inputs import input_digest

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
