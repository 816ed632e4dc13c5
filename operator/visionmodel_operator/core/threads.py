"""How many threads a serving pod's CPUs give each model instance; the speed gate measures with the same number."""

from decimal import Decimal
from math import floor

from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.quantity import amount


def cpus(spec: VisionModelSpec) -> Decimal:
    """Return the CPUs that the container may use: its limit, else its request, else one."""
    resources = spec.serving.resources
    return amount(resources.limits.get("cpu") or resources.requests.get("cpu") or "1")


def threads_per_instance(spec: VisionModelSpec) -> int:
    """Return the threads of one model instance: its share of the CPUs, at least one.

    Without a number ONNX Runtime takes every core of the node, and instances fight for a quota they cannot see.
    """
    return max(1, floor(cpus(spec) / spec.serving.instances))
