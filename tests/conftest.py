"""What every suite needs before anything is imported."""

import os
from collections.abc import Iterator

import pytest

# onnxruntime reads this once, when it is imported; tests report nothing to anybody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from hypothesis import settings

from visionmodel_devcluster import ControlPlane

# How long an example takes depends on what else the machine does; a test that hangs is ended by its own timeout.
settings.register_profile("visionmodel", deadline=None)
settings.load_profile("visionmodel")


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real etcd and API server for every level that asks; who shares it stays in a namespace of its own."""
    plane = ControlPlane()
    with plane:
        yield plane
