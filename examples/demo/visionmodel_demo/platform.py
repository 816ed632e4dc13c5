"""Where the demo runs: the dev cluster of this repository, or any cluster named by KUBECONFIG and REGISTRY."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from visionmodel_demo.kube import Kube, wait_for
from visionmodel_devcluster import Cluster, ClusterOptions, binary

ROOT = Path(__file__).resolve().parents[3]
SYSTEM_NAMESPACE = "visionmodel-system"
RELEASE = "visionmodel-operator"
RUNTIME_VERSION = "24.10"
"""Triton 2.51, the CPU build that this repository can make without the vendor's images; for demo and tests only."""


@dataclass(frozen=True)
class Platform:
    """A cluster with what the demo needs of it.

    Attributes:
        registry: host:port that both this machine and the node can reach.
        prometheus: address of Prometheus as a pod sees it.
        gateway: namespace and name of the Gateway.
        gateway_address: host[:port] of that Gateway as this machine sees it.
        is_ours: whether this is the dev cluster (a plain registry, simulated GPUs).
    """

    kube: Kube
    helm: Path
    registry: str
    prometheus: str
    gateway: tuple[str, str]
    gateway_address: str
    is_ours: bool


def provide_platform() -> Platform:
    """Return the cluster to use, started if it is ours and does not run."""
    if os.environ.get("KUBECONFIG") and os.environ.get("REGISTRY"):
        return _existing(os.environ)
    info = Cluster(ClusterOptions(fake_gpus=4)).up()
    return Platform(
        kube=Kube(binary("kubectl"), info.kubeconfig),
        helm=binary("helm"),
        registry=info.registry,
        prometheus="http://prometheus.monitoring.svc:9090",
        gateway=("gateways", "vision"),
        gateway_address=info.gateway_address,
        is_ours=True,
    )


def _existing(environment: Mapping[str, str]) -> Platform:
    kubectl, helm = shutil.which("kubectl"), shutil.which("helm")
    kube = Kube(Path(kubectl) if kubectl else binary("kubectl"), Path(environment["KUBECONFIG"]))
    namespace, _, name = environment.get("GATEWAY", "gateways/vision").partition("/")
    gateway = kube.get("gateway", name, namespace)
    addresses = (gateway or {}).get("status", {}).get("addresses", [])
    if not addresses:
        sys.exit(f"Gateway {namespace}/{name} has no address. Name yours: GATEWAY=<namespace>/<name>.")
    return Platform(
        kube=kube,
        helm=Path(helm) if helm else binary("helm"),
        registry=environment["REGISTRY"],
        prometheus=environment.get("PROMETHEUS_URL", "http://prometheus.monitoring.svc:9090"),
        gateway=(namespace, name),
        gateway_address=environment.get("GATEWAY_ADDRESS", str(addresses[0]["value"])),
        is_ours=False,
    )


def install_operator(platform: Platform, images: Mapping[str, str], **values: str) -> None:
    """Install or upgrade the operator by its chart, as a platform team does; waits until it is ready.

    Args:
        platform: the cluster.
        images: reference of each of our images (operator, converter, triton).
        values: further chart values by their dotted path, with "__" for the dots.
    """
    insecure = "true" if platform.is_ours else "false"
    chosen = {
        **_image_values("image", images["operator"]),
        "converter.image": images["converter"],
        f"runtimes.{RUNTIME_VERSION.replace('.', chr(92) + '.')}.image": images["triton"],
        f"runtimes.{RUNTIME_VERSION.replace('.', chr(92) + '.')}.tritonVersion": "2.51.0",
        "defaultRuntime": RUNTIME_VERSION,
        "artifacts.repository": f"{platform.registry}/visionmodel/artifacts",
        "artifacts.insecure": insecure,
        "prometheus.url": platform.prometheus,
        "simulatedAccelerators": "true" if platform.is_ours else "false",
        **{key.replace("__", "."): value for key, value in values.items()},
    }
    strings = {"defaultRuntime", *(key for key in chosen if key.endswith("tritonVersion"))}
    command = [str(platform.helm), "upgrade", "--install", RELEASE, str(ROOT / "charts" / RELEASE)]
    command += ["--namespace", SYSTEM_NAMESPACE, "--create-namespace", "--wait", "--timeout", "3m"]
    for key, value in chosen.items():
        command += ["--set-string" if key in strings else "--set", f"{key}={value}"]
    environment = {**os.environ, "KUBECONFIG": str(platform.kube.kubeconfig)}
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE, **label["metadata"]}}
    platform.kube.apply(namespace)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        pods = platform.kube.run("get", "pods,events", "-n", SYSTEM_NAMESPACE)
        raise RuntimeError(f"helm failed:\n{done.stderr[-3000:]}\n{pods[-3000:]}")


def _image_values(prefix: str, reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {f"{prefix}.repository": repository, f"{prefix}.tag": tag}


def provide_namespace(platform: Platform, name: str) -> None:
    """Create a namespace that admits only restricted pods."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    platform.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    wait_for(lambda: platform.kube.get("serviceaccount", "default", name), timeout=30, what=f"namespace {name}")
