"""GPUs that are not there: capacity and labels as the vendor's device plugin and feature discovery give them.

Enough to test scheduling. The kubelet keeps extended resources that it does not know, so one patch lasts; `up` repeats
it because a kubelet that registers anew may set them to zero.
"""

import json
from dataclasses import dataclass

from visionmodel_devcluster.kubectl import Kubectl
from visionmodel_devcluster.node import NODE_NAME

RESOURCE = "nvidia.com/gpu"


@dataclass(frozen=True)
class GpuProduct:
    """What feature discovery says about one product."""

    name: str
    memory_mib: int
    compute: tuple[int, int]
    family: str


PRODUCTS = {
    product.name: product
    for product in (
        GpuProduct("NVIDIA-L4", 23034, (8, 9), "ada-lovelace"),
        GpuProduct("Tesla-T4", 15360, (7, 5), "turing"),
        GpuProduct("NVIDIA-A100-SXM4-80GB", 81920, (8, 0), "ampere"),
        GpuProduct("NVIDIA-H100-80GB-HBM3", 81559, (9, 0), "hopper"),
    )
}


def gpu_labels(product: GpuProduct, count: int) -> dict[str, str]:
    """Labels of a node with `count` GPUs."""
    return {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.count": str(count),
        "nvidia.com/gpu.product": product.name,
        "nvidia.com/gpu.memory": str(product.memory_mib),
        "nvidia.com/gpu.family": product.family,
        "nvidia.com/gpu.compute.major": str(product.compute[0]),
        "nvidia.com/gpu.compute.minor": str(product.compute[1]),
        "nvidia.com/gpu.machine": "visionmodel-devcluster",
    }


def apply_fake_gpus(kubectl: Kubectl, count: int, product: str) -> None:
    """Give the node `count` GPUs; with 0 take them away again."""
    found = kubectl.get("node", NODE_NAME) or {}
    labels = gpu_labels(PRODUCTS[product], count)
    wanted: dict[str, str | None] = dict(labels) if count else dict.fromkeys(labels)
    present = found.get("metadata", {}).get("labels", {})
    if any(present.get(name) != value for name, value in wanted.items()):
        kubectl.run("patch", "node", NODE_NAME, "--type=merge", "-p", json.dumps({"metadata": {"labels": wanted}}))
    amount = str(count) if count else None
    status = found.get("status", {})
    if any(status.get(field, {}).get(RESOURCE) != amount for field in ("capacity", "allocatable")):
        patch = {"status": {"capacity": {RESOURCE: amount}, "allocatable": {RESOURCE: amount}}}
        kubectl.run("patch", "node", NODE_NAME, "--subresource=status", "--type=merge", "-p", json.dumps(patch))
