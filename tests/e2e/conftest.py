"""The platform of the whole suite: the dev cluster, started if it does not run, or a cluster named by KUBECONFIG."""

import pytest

from visionmodel_demo.platform import Platform, provide_platform


@pytest.fixture(scope="session")
def platform() -> Platform:
    """A running cluster; it keeps running afterwards, so that the next run starts at once."""
    return provide_platform()
