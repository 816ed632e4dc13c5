"""What is built when nothing is named, under which name the caller gets it, and what is kept of it."""

import os
from pathlib import Path

import pytest
from images.build import _provide, _prune, final_reference
from images.catalog import IMAGES, STANDARD
from images.engine import Base, Engine, Request

# Takes docker's commands: has no image, builds any, and writes what it is to save.
BUILDER = """#!/bin/sh
case $1 in
image) exit 1 ;;
save) touch "$3" ;;
esac
"""


def test_heavy_images_are_built_only_when_they_are_named() -> None:
    assert STANDARD == ("operator", "converter", "triton")


@pytest.mark.parametrize(
    ("name", "archives"),
    [("operator", 1), ("converter-openvino", 1), ("converter-torch", 0), ("converter-modelopt", 0)],
)
def test_gigabytes_are_not_archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, archives: int) -> None:
    (tmp_path / "docker").write_text(BUILDER, encoding="utf-8")
    (tmp_path / "docker").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("VISIONMODEL_CACHE", str(tmp_path))
    reference = _provide(Engine("docker"), IMAGES[name], Request(Base("base", "base-1", ""), "1.2.3", "abc"))
    assert reference.startswith(f"localhost/visionmodel-{name}:")
    assert len(list((tmp_path / "images").glob("*.tar"))) == archives


def test_archives_that_were_used_last_are_kept(tmp_path: Path) -> None:
    names = [f"i-{12 * digit}.tar" for digit in "0123"] + [f"i-other-{12 * '4'}.tar"]
    for age, name in enumerate(names):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    _prune(Engine("docker"), tmp_path, "i", 12 * "0")
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
    assert final_reference(IMAGES["operator"], "localhost/visionmodel-operator:0123", registry, tag) == reference
