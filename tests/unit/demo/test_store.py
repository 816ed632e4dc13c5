"""The node keeps an image by its tag, so the tag changes with everything that the image is made of."""

import pytest

from visionmodel_demo.store import image_tag

TAG = image_tag("versitygw-v1-0123", b"FROM scratch")


@pytest.mark.parametrize(
    ("build", "dockerfile"),
    [("versitygw-v2-0123", b"FROM scratch"), ("versitygw-v1-0123", b"FROM scratch\nUSER 1")],
    ids=["program", "Dockerfile"],
)
def test_tag_changes_with(build: str, dockerfile: bytes) -> None:
    assert image_tag(build, dockerfile) != TAG


def test_tag_is_the_same_for_the_same_inputs() -> None:
    assert image_tag("versitygw-v1-0123", b"FROM scratch") == TAG
