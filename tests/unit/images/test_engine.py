"""Each engine gets the right arguments."""

from pathlib import Path

from images.catalog import IMAGES, ROOT
from images.engine import Base, Engine, Request

REQUEST = Request(Base("localhost/base:1", "base-1", "3.11"), "1.2.3", "abc")
OPERATOR = IMAGES["operator"]


def test_build_with_buildah() -> None:
    command = Engine("buildah").build(IMAGES["triton"], "localhost/t:1", REQUEST, Path("/wheels"))
    assert command == [
        *("buildah", "build", "--isolation", "chroot", "--layers=true"),
        *("--ignorefile", "images/triton/Dockerfile.dockerignore"),
        *("--file", "images/triton/Dockerfile", "--tag", "localhost/t:1", "--target", "wheel"),
        *("--build-context", "wheels=/wheels"),
        *("--build-arg", "BASE=localhost/base:1", "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc", "."),
    ]


def test_layers_of_gigabytes_are_not_kept() -> None:
    command = Engine("buildah").build(IMAGES["converter-modelopt"], "localhost/c:1", REQUEST, None)
    assert "--layers=false" in command


def test_an_extra_has_a_lock_in_the_place_of_the_plain_one() -> None:
    image = IMAGES["converter-torch"]
    command = Engine("docker").build(image, "localhost/c:1", REQUEST, None)
    assert "images/converter/Dockerfile" in command
    assert "LOCK=converter-torch" in command
    assert [path.as_posix() for path in image.locks] == ["requirements/converter-torch.txt"]
    assert (ROOT / image.locks[0]).is_file()


def test_build_with_docker_and_no_wheelhouse() -> None:
    command = Engine("docker").build(OPERATOR, "localhost/o:1", REQUEST, None)
    assert command == [
        *("docker", "build", "--network", "host"),
        *("--file", "images/operator/Dockerfile", "--tag", "localhost/o:1"),
        *("--build-arg", "BASE=localhost/base:1", "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc", "."),
    ]
