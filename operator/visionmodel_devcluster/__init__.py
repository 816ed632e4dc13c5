"""A real single-node Kubernetes as child processes, for the demo and for the tests.

Why it exists: the operator's claims (a canary is split by a gateway, a pod asks for a GPU, an image volume is mounted)
can only be shown on a real cluster, and neither Docker nor a public container registry can be assumed. Called by the
Makefile, the demo and the e2e and apiserver suites; knows nothing about the product.
"""

from visionmodel_devcluster.api import Cluster, ClusterInfo, ClusterOptions, base_image, binary
from visionmodel_devcluster.controlplane import ControlPlane
from visionmodel_devcluster.errors import DevClusterError

__all__ = [
    "Cluster",
    "ClusterInfo",
    "ClusterOptions",
    "ControlPlane",
    "DevClusterError",
    "base_image",
    "binary",
]
