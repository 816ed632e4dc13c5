"""The gateway's own counters, read from its proxy directly: the second opinion on who got how many requests."""

from prometheus_client.parser import text_string_to_metric_families

from visionmodel_demo.kube import Kube
from visionmodel_devcluster.direct import open_direct

SYSTEM = "envoy-gateway-system"
SELECTOR = "gateway.envoyproxy.io/owning-gateway-name"
STATS_PORT = 19001


def requests_by_slot(kube: Kube, gateway: str, namespace: str, route: str) -> dict[int, int]:
    """Return how many requests each backend slot of a route has answered, over all proxies that get new ones.

    A proxy on its way out stays listed for minutes, and may go while it is asked.
    """
    counted: dict[int, int] = {}
    prefix = f"httproute/{namespace}/{route}/rule/0/backend/"
    pods = kube.items("pods", SYSTEM, f"{SELECTOR}={gateway}")
    for pod in (pod for pod in pods if "deletionTimestamp" not in pod["metadata"]):
        for family in text_string_to_metric_families(_stats(kube, pod["metadata"]["name"])):
            for sample in family.samples:
                cluster = sample.labels.get("envoy_cluster_name", "")
                # The parser gives every counter the suffix of OpenMetrics.
                if sample.name == "envoy_cluster_upstream_rq_xx_total" and cluster.startswith(prefix):
                    slot = int(cluster.removeprefix(prefix))
                    counted[slot] = counted.get(slot, 0) + int(sample.value)
    return counted


def _stats(kube: Kube, pod: str) -> str:
    with (
        kube.forward(f"pod/{pod}", SYSTEM, STATS_PORT) as port,
        open_direct(f"http://127.0.0.1:{port}/stats/prometheus", timeout=10) as answer,
    ):
        text: str = answer.read().decode()
    return text
