"""The Triton port in memory."""

from fakes.kube import pod_ip
from visionmodel_operator.reconcile import PodActivity


class FakeTriton:
    """Counters by pod; a pod that was not named is idle and has finished nothing."""

    def __init__(self) -> None:
        self._pods: dict[str, PodActivity | None] = {}

    def set_pod(self, pod: str, finished: float, pending: float = 0) -> None:
        """Set a pod's counters."""
        self._pods[pod_ip(pod)] = PodActivity(finished, pending)

    def silence_pod(self, pod: str) -> None:
        """The pod does not answer."""
        self._pods[pod_ip(pod)] = None

    async def activity(self, pod_ip: str) -> PodActivity | None:
        """As `Triton.activity`."""
        return self._pods.get(pod_ip, PodActivity(0, 0))
