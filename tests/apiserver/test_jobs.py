"""The Jobs as they are rendered, in front of a real API server: every field is known to it and means what we think."""

from typing import Any

import pytest
from kubernetes import client

from unit.render import samples
from visionmodel_operator.core.operations import Create
from visionmodel_operator.render import operations

pytestmark = pytest.mark.apiserver

NAMESPACE = "default"


def job(case: str) -> dict[str, Any]:
    (operation,) = operations(*samples.CASES[case])
    assert isinstance(operation, Create)
    manifest = dict(operation.manifest)
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": NAMESPACE}}


@pytest.mark.parametrize(("case", "suspended"), [("conversion", False), ("build", True)])
def test_the_server_takes_the_job(api_client: Any, case: str, suspended: bool) -> None:
    batch: Any = client.BatchV1Api(api_client)
    made = batch.create_namespaced_job(NAMESPACE, job(case), dry_run="All", field_validation="Strict")
    assert bool(made.spec.suspend) is suspended
    codes = made.spec.pod_failure_policy.rules[1].on_exit_codes.values
    assert codes == sorted(codes)
