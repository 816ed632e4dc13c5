"""What runs in the cluster from the start: DNS, Prometheus, and a gateway that splits traffic.

Manifests are files in `addons/manifests`, with `{{NAME}}` where a value is only known at run time. Called by `api`.
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from visionmodel_devcluster.builds import binary, built
from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.health import wait_for
from visionmodel_devcluster.images import IMAGES, addon_reference
from visionmodel_devcluster.kubectl import Kubectl
from visionmodel_devcluster.node import DNS_ADDRESS, NodeFolders
from visionmodel_devcluster.tools import TOOLS

MANIFESTS = Path(__file__).parent / "addons" / "manifests"
PROMETHEUS_ADDRESS = "10.96.0.90"
GATEWAY_NAMESPACE = "gateways"
GATEWAY = "vision"
GATEWAY_SYSTEM = "envoy-gateway-system"
READY_SECONDS = 180.0


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


def apply_addon(kubectl: Kubectl, name: str, values: Mapping[str, str]) -> None:
    """Apply one manifest file."""
    kubectl.apply(render((MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8"), values))


def install_envoy_gateway(kubeconfig: Path, values: Mapping[str, str]) -> None:
    """Install the gateway's chart and its CRDs (Gateway API, experimental channel) with helm."""
    with tempfile.TemporaryDirectory(prefix="visionmodel-chart-") as scratch:
        chart = Path(scratch) / "chart"
        _write_chart(chart)
        overrides = Path(scratch) / "overrides.yaml"
        source = (MANIFESTS / "envoy-gateway-values.yaml").read_text(encoding="utf-8")
        overrides.write_text(render(source, values), encoding="utf-8")
        where = ["--namespace", GATEWAY_SYSTEM, "--create-namespace", "--kubeconfig", str(kubeconfig)]
        command = [str(binary("helm")), "upgrade", "--install", "eg", str(chart), *where, "-f", str(overrides)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevClusterError(f"helm failed for the gateway:\n{done.stderr[-3000:]}")


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


def wait_for_deployments(kubectl: Kubectl, names: Mapping[str, str]) -> None:
    """Wait until deployments (name -> namespace) are available."""
    for name, namespace in names.items():
        timeout = f"--timeout={READY_SECONDS:.0f}s"
        kubectl.run("rollout", "status", f"deployment/{name}", "-n", namespace, timeout)


def wait_for_gateway(kubectl: Kubectl) -> str:
    """Wait until the gateway is programmed and its proxy runs; its address."""
    address = ""

    def is_programmed() -> bool:
        nonlocal address
        gateway = kubectl.get("gateway", GATEWAY, "-n", GATEWAY_NAMESPACE) or {}
        status = gateway.get("status", {})
        conditions = {entry["type"]: entry["status"] for entry in status.get("conditions", [])}
        addresses = status.get("addresses", [])
        address = addresses[0]["value"] if addresses else ""
        return conditions.get("Programmed") == "True" and bool(address)

    wait_for(is_programmed, READY_SECONDS, f"gateway {GATEWAY_NAMESPACE}/{GATEWAY}")
    return address
