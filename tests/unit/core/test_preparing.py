"""Which pods are said to lack a device."""

from dataclasses import replace

import pytest

from unit.core import scenarios as s
from unit.core.simulated_cluster import NO_DEVICE
from visionmodel_operator.core import preparing
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.snapshot import PodState
from visionmodel_operator.core.view import View


@pytest.mark.parametrize(
    ("waiting", "said", "is_lacking"),
    [
        ("Unschedulable", NO_DEVICE, True),
        ("Unschedulable", "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had taints.", True),
        ("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.", False),
        ("Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.shared.", False),
        ("Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu-mig.", False),
        ("ImagePullBackOff", "Insufficient nvidia.com/gpu", False),
    ],
)
def test_only_a_missing_device_of_the_spec_counts(waiting: str, said: str, *, is_lacking: bool) -> None:
    cluster = s.without_a_device()
    snapshot = cluster.snapshot()
    assert snapshot.spec is not None
    revision = revision_of(snapshot.spec)
    pod = PodState("canary-1", revision, None, ready=False, waiting=waiting, waiting_message=said)
    gone = PodState("canary-0", revision, None, ready=False, terminating=True, waiting="Unschedulable")
    pods = {**snapshot.pods, revision: (gone, pod)}
    view = View(replace(snapshot, pods=pods), snapshot.spec, snapshot.status, revision, cluster.now)
    lack = preparing.missing_capacity(view)
    assert lack == (f"1 of 1 canary pods find no free nvidia.com/gpu: {said}" if is_lacking else None)
