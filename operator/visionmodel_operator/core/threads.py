"""The CPUs and threads of a serving pod; the speed gate measures with the same number."""

from decimal import Decimal

from visionmodel_contract.runtime import RuntimeOptions, runtime_options
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.quantity import amount


def cpus(spec: VisionModelSpec) -> Decimal:
    """Return the CPUs that the container may use: its limit, else its request, else one."""
    resources = spec.serving.resources
    return amount(resources.limits.get("cpu") or resources.requests.get("cpu") or "1")


def instance_options(spec: VisionModelSpec) -> RuntimeOptions:
    """Return the runtime's options of one model instance: its share of the CPUs."""
    return runtime_options(cpus(spec), spec.serving.instances)
