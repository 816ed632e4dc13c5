"""What the other e2e tests take for granted of the cluster, each by itself, so that a failure names its cause."""

import collections
import json
import platform as machine
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from visionmodel_demo.kube import wait_for
from visionmodel_demo.platform import Platform, provide_namespace
from visionmodel_devcluster import base_image
from visionmodel_devcluster.addons import latency_buckets
from visionmodel_devcluster.direct import open_direct
from visionmodel_devcluster.images import is_pushed, load_image

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(machine.system() != "Linux", reason="needs Linux"),
]

NAMESPACE = "cluster-smoke"
HOST = "smoke.test"
# Says its name to every request, and its log has one line for each.
SERVER = """
import http.server, os
class Name(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["SERVER_NAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
print("serving", flush=True)
http.server.ThreadingHTTPServer(("", 8080), Name).serve_forever()
"""
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def named(kind: str, api: str, name: str, **body: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def server_pod(name: str, image: str) -> dict[str, Any]:
    container = {
        "name": "server",
        "image": image,
        "command": ["python3", "-c", SERVER],
        "env": [{"name": "SERVER_NAME", "value": name}],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m"}, "limits": {"nvidia.com/gpu": "1"}},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "image", "mountPath": "/mounted", "readOnly": True}],
    }
    # Python as the first process of a container ignores SIGTERM.
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    volume = {"name": "image", "image": {"reference": image, "pullPolicy": "IfNotPresent"}}
    return named("Pod", "v1", name, spec={**spec, "volumes": [volume]})


def service(name: str) -> dict[str, Any]:
    return named("Service", "v1", name, spec={"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]})


def split_route(gateway: tuple[str, str]) -> dict[str, Any]:
    """Half and half; the filter gives each backend a series of its own."""
    refs = [
        {
            "name": name,
            "port": 80,
            "weight": 50,
            "filters": [
                {
                    "type": "ResponseHeaderModifier",
                    "responseHeaderModifier": {"set": [{"name": "x-backend", "value": name}]},
                }
            ],
        }
        for name in ("red", "blue")
    ]
    parent = {"namespace": gateway[0], "name": gateway[1]}
    spec = {"parentRefs": [parent], "hostnames": [HOST], "rules": [{"backendRefs": refs}]}
    return named("HTTPRoute", "gateway.networking.k8s.io/v1", "split", spec=spec)


def fetch(address: str, host: str = "") -> str:
    request = urllib.request.Request(f"http://{address}/", headers={"Host": host} if host else {})
    with open_direct(request, timeout=5) as answer:
        return str(answer.read().decode())


def answered(look: Callable[[], str]) -> str | None:
    """What `look` returns, None while it cannot connect."""
    try:
        return look()
    except OSError:
        return None


@pytest.fixture(scope="module")
def image(platform: Platform) -> str:
    if not platform.is_ours:
        pytest.skip("about the dev cluster, and KUBECONFIG names another")
    return load_image(base_image(), platform.registry)


@pytest.fixture(scope="module")
def servers(platform: Platform, image: str) -> Iterator[Platform]:
    """Two pods with a GPU each, Services and a route in front of them."""
    kube = platform.kube
    # What an interrupted run left may be on its way out.
    kube.run("delete", "namespace", NAMESPACE, "--ignore-not-found")
    provide_namespace(platform, NAMESPACE)
    pods = [server_pod(name, image) for name in ("red", "blue")]
    kube.apply(*pods, service("red"), service("blue"), split_route(platform.gateway))
    kube.run("wait", "--for=condition=Ready", "pod/red", "pod/blue", "-n", NAMESPACE, "--timeout=120s")
    yield platform
    kube.run("delete", "namespace", NAMESPACE, "--wait=false")


def in_pod(platform: Platform, pod: str, code: str) -> str:
    return platform.kube.run("exec", "-n", NAMESPACE, pod, "--", "python3", "-c", code)


def test_pushed_image_is_in_the_registry(image: str) -> None:
    assert is_pushed(image)


def test_absent_image_is_not_in_the_registry(image: str) -> None:
    assert not is_pushed(f"{image}-absent")


def test_pods_that_ask_for_a_gpu_run(servers: Platform) -> None:
    found = servers.kube.items("pods", NAMESPACE)
    given = {pod["metadata"]["name"]: pod["spec"]["containers"][0]["resources"]["requests"] for pod in found}
    assert {name: requests["nvidia.com/gpu"] for name, requests in given.items()} == {"red": "1", "blue": "1"}


def test_pod_with_too_many_gpus_waits(servers: Platform, image: str) -> None:
    greedy = server_pod("greedy", image)
    greedy["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = "99"
    servers.kube.apply(greedy)

    def why() -> str | None:
        status = (servers.kube.get("pod", "greedy", NAMESPACE) or {}).get("status", {})
        return next((str(entry.get("message")) for entry in status.get("conditions", []) if "message" in entry), None)

    assert "Insufficient nvidia.com/gpu" in wait_for(why, timeout=30, what="the scheduler's word")
    servers.kube.delete("pod", "greedy", NAMESPACE)


@pytest.mark.parametrize("name", ["blue", f"blue.{NAMESPACE}", f"blue.{NAMESPACE}.svc.cluster.local"])
def test_pod_reaches_a_service_by_name(servers: Platform, name: str) -> None:
    code = f"import urllib.request as u; print(u.urlopen('http://{name}', timeout=5).read().decode())"
    assert in_pod(servers, "red", code).strip() == "blue"


def test_host_reaches_a_service(servers: Platform) -> None:
    address = (servers.kube.get("service", "red", NAMESPACE) or {})["spec"]["clusterIP"]
    assert wait_for(lambda: answered(lambda: fetch(address)), timeout=20, what="an answer") == "red"


def test_route_splits_between_two_backends(servers: Platform) -> None:
    wait_for(lambda: answered(lambda: fetch(servers.gateway_address, HOST)), timeout=30, what="the route")
    counts = collections.Counter(fetch(servers.gateway_address, HOST) for _ in range(200))
    # Half of 200 and more than five standard deviations.
    assert set(counts) == {"red", "blue"}
    assert 60 <= counts["red"] <= 140


def test_prometheus_has_fine_latency_buckets_per_backend(servers: Platform) -> None:
    with servers.kube.forward("service/prometheus", "monitoring", 9090) as port:
        name = f'envoy_cluster_name=~"httproute/{NAMESPACE}/split/.*"'
        query = urllib.parse.quote(f"envoy_cluster_upstream_rq_time_bucket{{{name}}}")

        def seen() -> dict[str, list[float]] | None:
            fetch(servers.gateway_address, HOST)
            result = json.loads(fetch_path(port, f"/api/v1/query?query={query}"))["data"]["result"]
            edges: dict[str, list[float]] = {}
            for entry in result:
                edges.setdefault(entry["metric"]["envoy_cluster_name"], []).append(float(entry["metric"]["le"]))
            return {name: sorted(found) for name, found in edges.items()} if len(edges) == 2 else None

        found = wait_for(seen, timeout=60, what="histograms of both backends")
    expected = [*latency_buckets(), float("inf")]
    route = f"httproute/{NAMESPACE}/split/rule/0/backend"
    assert found == {f"{route}/0": expected, f"{route}/1": expected}


def fetch_path(port: int, path: str) -> str:
    with open_direct(f"http://127.0.0.1:{port}{path}") as answer:
        return str(answer.read().decode())


def test_image_volume_shows_the_image(servers: Platform) -> None:
    assert "bookworm" in in_pod(servers, "red", "print(open('/mounted/etc/os-release').read())")


def test_image_volume_is_read_only(servers: Platform) -> None:
    code = "import os; print(bool(os.statvfs('/mounted').f_flag & os.ST_RDONLY))"
    assert in_pod(servers, "red", code).strip() == "True"


def test_logs(servers: Platform) -> None:
    assert servers.kube.logs("red", NAMESPACE).startswith("serving\n")


def test_port_forward(servers: Platform) -> None:
    with servers.kube.forward("pod/red", NAMESPACE, 8080) as port:
        assert fetch(f"127.0.0.1:{port}") == "red"


def test_deleted_pod_leaves_its_service(servers: Platform, image: str) -> None:
    """kube-proxy follows: a new pod behind the same Service answers."""
    servers.kube.run("delete", "pod", "blue", "-n", NAMESPACE, "--grace-period=1")
    servers.kube.apply(server_pod("blue", image))
    servers.kube.run("wait", "--for=condition=Ready", "pod/blue", "-n", NAMESPACE, "--timeout=60s")
    address = (servers.kube.get("service", "blue", NAMESPACE) or {})["spec"]["clusterIP"]
    assert wait_for(lambda: answered(lambda: fetch(address)), timeout=20, what="an answer") == "blue"
