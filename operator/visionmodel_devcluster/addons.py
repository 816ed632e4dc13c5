"""What runs in the cluster from the start: DNS, Prometheus, and a gateway that splits traffic.

Manifests are files in `addons/manifests`, with `{{NAME}}` where a value is only known at run time. Called by `api`.
"""

import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from visionmodel_devcluster.builds import binary, built
from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.health import accepts, answers, speaks_http, wait_for
from visionmodel_devcluster.images import IMAGES, addon_reference
from visionmodel_devcluster.kubectl import Kubectl
from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.node import DNS_ADDRESS, NodeFolders
from visionmodel_devcluster.paths import cache_dir
from visionmodel_devcluster.tools import TOOLS, Tool, build_key, tool_sources

MANIFESTS = Path(__file__).parent / "addons" / "manifests"
PROMETHEUS_ADDRESS = "10.96.0.90"
GATEWAY_NAMESPACE = "gateways"
GATEWAY = "vision"
GATEWAY_SYSTEM = "envoy-gateway-system"
READY_SECONDS = 180.0
# Says which manifests the cluster has.
MARK = "devcluster-addons"
DEFINITION = re.compile(r"^kind: CustomResourceDefinition$", re.MULTILINE)


def latency_buckets(lowest: float = 0.5, highest: float = 10_000.0, steps: int = 39) -> list[float]:
    """Edges in milliseconds, evenly spaced on a logarithmic scale, three digits each.

    The gateway's own edges (1, 5, 10, 25, ...) cannot tell a model of 12 ms from one of 20 ms.
    """
    ratio = (highest / lowest) ** (1 / steps)
    return [float(f"{lowest * ratio**step:.3g}") for step in range(steps + 1)]


def render(text: str, values: Mapping[str, str]) -> str:
    """Fill in `{{NAME}}`; a name without a value is an error."""
    return re.sub(r"\{\{([A-Z_]+)\}\}", lambda match: values[match[1]], text)


def manifest_values(folders: NodeFolders) -> dict[str, str]:
    """Everything that a manifest may ask for."""
    images = {f"IMAGE_{name.upper().replace('-', '_')}": addon_reference(name) for name in IMAGES}
    return {
        **images,
        "DNS_ADDRESS": DNS_ADDRESS,
        "PROMETHEUS_ADDRESS": PROMETHEUS_ADDRESS,
        "PROMETHEUS_DATA": str(folders.prometheus),
        "LATENCY_BUCKETS": str(latency_buckets()),
    }


@dataclass(frozen=True)
class Manifests:
    """Everything that is applied, in the order in which it can be."""

    definitions: str
    system: str
    gateway_controller: str
    gateway: str

    @property
    def digest(self) -> str:
        """Changes with any of it."""
        text = "\0".join((self.definitions, self.system, self.gateway_controller, self.gateway))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def addon_manifests(values: Mapping[str, str]) -> Manifests:
    """All manifests with their values filled in; the chart is rendered once and kept in the cache."""
    texts = {path.stem: render(path.read_text(encoding="utf-8"), values) for path in MANIFESTS.glob("*.yaml")}
    documents = _rendered_chart(texts["envoy-gateway-values"]).split("\n---\n")
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {GATEWAY_SYSTEM}}}\n"
    definitions = [text for text in documents if DEFINITION.search(text)]
    others = [namespace, *(text for text in documents if not DEFINITION.search(text))]
    join = "\n---\n".join
    return Manifests(join(definitions), join((texts["coredns"], texts["prometheus"])), join(others), texts["gateway"])


def _rendered_chart(overrides: str) -> str:
    """The gateway's chart with its CRDs (Gateway API, experimental channel), as helm renders it.

    It is not installed by helm, whose waiting for hooks one after the other takes most of a start.
    """
    target = cache_dir() / "manifests" / f"{chart_key(TOOLS, overrides)}.yaml"
    with file_lock(target.parent / ".lock"):
        if not target.exists():
            scratch = target.with_suffix(".tmp")
            scratch.write_text(_render_chart(overrides), encoding="utf-8")
            scratch.rename(target)
    return target.read_text(encoding="utf-8")


def chart_key(tools: Mapping[str, Tool], overrides: str) -> str:
    """Name of the rendered chart in the cache: a digest of everything that changes it."""
    tool = tools["envoy-gateway"]
    origin = (build_key(tool, tool_sources(tool)), tools["helm"].version, *_render_options(tools), overrides)
    digest = hashlib.sha256("\0".join(origin).encode()).hexdigest()
    return f"{tool.name}-{tool.version}-{digest[:12]}"


def _render_options(tools: Mapping[str, Tool]) -> list[str]:
    return ["--include-crds", "--namespace", GATEWAY_SYSTEM, "--kube-version", tools["kubernetes"].version]


def _render_chart(overrides: str) -> str:
    with tempfile.TemporaryDirectory(prefix="visionmodel-chart-") as folder:
        chart, values = Path(folder) / "chart", Path(folder) / "overrides.yaml"
        _write_chart(chart)
        values.write_text(overrides, encoding="utf-8")
        command = [str(binary("helm")), "template", "eg", str(chart), *_render_options(TOOLS), "-f", str(values)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevClusterError(f"helm failed for the gateway:\n{done.stderr[-3000:]}")
    return done.stdout


def are_installed(kubectl: Kubectl, manifests: Manifests) -> str:
    """Address of the gateway when these very manifests were installed and everything answers; else empty."""
    mark = kubectl.get("configmap", MARK, "-n", "kube-system") or {}
    if mark.get("data", {}).get("digest") != manifests.digest:
        return ""
    address = gateway_address(kubectl)
    return address if address and answer(address) else ""


def answer(gateway: str) -> bool:
    """Whether DNS, Prometheus and the gateway's proxy answer through their Services.

    Asked because after a crash the conditions in the API may still be those of pods that are gone.
    """
    prometheus = f"http://{PROMETHEUS_ADDRESS}:9090/-/ready"
    return accepts(DNS_ADDRESS, 53) and answers(prometheus) and speaks_http(f"http://{gateway}")


def install(kubectl: Kubectl, manifests: Manifests) -> str:
    """Apply everything and wait until it answers; the gateway's address."""
    with ThreadPoolExecutor() as pool:
        system = pool.submit(kubectl.apply, manifests.system)
        kubectl.apply(manifests.definitions)
        kubectl.run("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        # Not earlier: the controller does not watch what is not defined when it starts.
        controller = pool.submit(kubectl.apply, manifests.gateway_controller)
        kubectl.apply(manifests.gateway)
        system.result()
        controller.result()
    wait_for_deployments(kubectl)
    wait_for(lambda: bool(gateway_address(kubectl)), READY_SECONDS, f"gateway {GATEWAY_NAMESPACE}/{GATEWAY}")
    address = gateway_address(kubectl)
    wait_for(lambda: answer(address), READY_SECONDS, "DNS, Prometheus and the gateway's proxy")
    data = {"digest": manifests.digest}
    mark = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": MARK, "namespace": "kube-system"}}
    kubectl.apply(json.dumps({**mark, "data": data}))
    return address


def _write_chart(chart: Path) -> None:
    """A released chart from the module's folder, which holds the template that their release script fills in."""
    tool = TOOLS["envoy-gateway"]
    source = built(tool) / "chart"
    for path in source.rglob("*"):
        if path.is_file():
            target = chart / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    template = (chart / "values.tmpl.yaml").read_text(encoding="utf-8")
    filled = template.replace("${GatewayImage}", "unset").replace("${GatewayImagePullPolicy}", "IfNotPresent")
    (chart / "values.yaml").write_text(filled, encoding="utf-8")
    about = chart / "Chart.yaml"
    about.write_text(about.read_text(encoding="utf-8").replace("v0.0.0-latest", tool.version), encoding="utf-8")


def wait_for_deployments(kubectl: Kubectl) -> None:
    """Wait until the deployments of this package run what was applied last."""
    names = (("coredns", "kube-system"), ("prometheus", "monitoring"), ("envoy-gateway", GATEWAY_SYSTEM))
    for name, namespace in names:
        timeout = f"--timeout={READY_SECONDS:.0f}s"
        kubectl.run("rollout", "status", f"deployment/{name}", "-n", namespace, timeout)


def gateway_address(kubectl: Kubectl) -> str:
    """Address of the gateway once it is programmed, before that empty."""
    status = (kubectl.get("gateway", GATEWAY, "-n", GATEWAY_NAMESPACE) or {}).get("status", {})
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions", [])}
    addresses = status.get("addresses", [])
    return str(addresses[0]["value"]) if addresses and conditions.get("Programmed") == "True" else ""
