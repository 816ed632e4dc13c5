"""The Python face of the dev cluster: bring it up, take it down, ask where things are.

Called by the command line, the Makefile, the demo and the e2e suite. The order in `Cluster.up` is the order in which
the parts need each other; every step finds out whether it is done already, so `up` also repairs.
"""

import json
import os
import platform
import shutil
import signal
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from visionmodel_devcluster import addons, host, network, node, pods
from visionmodel_devcluster.builds import binary, built
from visionmodel_devcluster.certificates import Authority
from visionmodel_devcluster.controlplane import (
    Endpoints,
    Settings,
    controller_manager_program,
    free_port,
    scheduler_program,
    start_control_plane,
    write_kubeconfig,
)
from visionmodel_devcluster.errors import DevClusterError, ProcessEndedError
from visionmodel_devcluster.gpus import apply_fake_gpus
from visionmodel_devcluster.health import answers, step, wait_for
from visionmodel_devcluster.images import IMAGES, addon_reference, base_image, drop_grown, provide_addon
from visionmodel_devcluster.kubectl import Kubectl
from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.packages import install_packages
from visionmodel_devcluster.paths import default_state_dir
from visionmodel_devcluster.processes import KILL_SECONDS, ProcessFolder, send, wait_until_gone
from visionmodel_devcluster.tools import TOOLS

__all__ = ["Cluster", "ClusterInfo", "ClusterOptions", "ComponentStatus", "base_image", "binary", "provide_programs"]

DEFAULT_NAME = "visionmodel"
API_PORT = 6443
PROGRAMS = (
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "etcd"),
    *("containerd", "ctr", "helm", "prometheus", "coredns", "envoy-gateway"),
)
COMPONENTS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    *("registry", "containerd", "kubelet", "kube-proxy"),
)
PORTS: Mapping[str, tuple[int, ...]] = {
    "kube-apiserver": (API_PORT,),
    "kube-controller-manager": (10257,),
    "kube-scheduler": (10259,),
    "registry": (5001,),
    "kubelet": (10248, 10250),
    "kube-proxy": (10249, 10256),
}
# The kernel's limit is 107 bytes, and containerd appends to the name of its own.
SOCKET_PATH_LIMIT = 100
# What `down` leaves: images, so that the next `up` is quick, and the logs of the last run.
KEPT = frozenset({"images", "logs", "lock"})
HOST_RECORD = "host.json"
INSTEAD = "Use any cluster that you have instead: KUBECONFIG=... REGISTRY=... make demo"


@dataclass(frozen=True)
class ClusterOptions:
    """What a caller may choose."""

    name: str = DEFAULT_NAME
    state_dir: Path | None = None
    fake_gpus: int = 0
    gpu_product: str = "NVIDIA-L4"

    @property
    def folder(self) -> Path:
        """The state directory."""
        return (self.state_dir or default_state_dir(self.name)).absolute()


@dataclass(frozen=True)
class ClusterInfo:
    """Where the parts of a running cluster are, as seen from the host."""

    kubeconfig: Path
    registry: str
    prometheus_url: str
    gateway_address: str
    node_address: str
    binaries: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ComponentStatus:
    """One line of `cluster status`."""

    name: str
    pid: int | None
    healthy: bool
    detail: str


def provide_programs() -> None:
    """Install and build what cluster, demo and tests run: packages, Go programs, wheels and the base image."""
    install_packages()
    for tool in TOOLS.values():
        built(tool)
    for image in IMAGES.values():
        image.path()
    base_image()


class Cluster:
    """One single-node cluster in a state directory."""

    def __init__(self, options: ClusterOptions | None = None) -> None:
        self.options = options or ClusterOptions()
        self.state_dir = self.options.folder
        self.kubeconfig = self.state_dir / "kubeconfig"
        self.processes = ProcessFolder(self.state_dir)
        self._folders = node.NodeFolders(self.state_dir, self.options.name)
        self._authority = Authority(self.state_dir / "pki")
        self._record = self.state_dir / HOST_RECORD

    @staticmethod
    def refuse_unless_possible() -> None:
        """A node needs Linux and root; say what to do without."""
        if platform.system() != "Linux":
            raise DevClusterError(f"The dev cluster needs Linux, and this is {platform.system()}. {INSTEAD}")
        if os.geteuid() != 0:
            raise DevClusterError(f"The dev cluster needs root (namespaces, mounts, a network bridge). {INSTEAD}")

    def up(self) -> ClusterInfo:
        """Start what does not run, wait until everything answers."""
        self.refuse_unless_possible()
        if len(str(self._folders.socket)) > SOCKET_PATH_LIMIT:
            raise DevClusterError(f"the path {self.state_dir} is too long for a socket; choose another: --state-dir")
        self.state_dir.mkdir(parents=True, exist_ok=True)
        with file_lock(self.state_dir / "lock"):
            install_packages()
            binaries = {name: binary(name) for name in PROGRAMS}
            with step("host"):
                self._prepare_host()
            # Before the images' thread starts the registry, which would be found on its own port.
            self._refuse_busy_ports()
            with ThreadPoolExecutor() as pool:
                images = pool.submit(self._provide_images)
                with step("control plane"):
                    self._start_control_plane()
                with step("node"):
                    self._start_node()
                with step("images"):
                    images.result()
            with step("addons"):
                info = self._install_addons(binaries)
            self._write_info(info)
        return info

    def _prepare_host(self) -> None:
        earlier = host.read_record(self._record)
        kubelet = self.processes.running("kubelet")
        dead = network.dead_owner(self.state_dir, had_record=earlier is not None)
        if dead is not None:
            # Before the host is observed: what that cluster changed is not how the host was.
            _undo_node(node.NodeFolders(dead, dead.name))
        host.refuse_other_node(kubelet.pid if kubelet else None)
        host.write_record(host.merged(earlier, host.observe_host()), self._record)
        if self.processes.running("containerd") is None:
            self._clear_node()
        is_new = not (self.state_dir / "etcd").exists()
        if is_new and not any(map(self.processes.running, ("registry", "containerd"))):
            drop_grown(self.state_dir / "images")
        network.prepare_network(self.state_dir)
        host.prepare_settings()

    def _clear_node(self) -> None:
        """After a crash or a reboot nothing that a dead containerd knew is worth keeping: pods start anew."""
        self.processes.stop(["kubelet"])
        pods.stop_pods(self._folders)
        network.unplug_pods()
        pods.clear_node(self._folders)

    def _start_control_plane(self) -> None:
        starts_on_data = (self.state_dir / "etcd").exists() and self.processes.running("etcd") is None
        try:
            self._try_control_plane()
        except ProcessEndedError as failure:
            if not starts_on_data:
                raise
            why = str(failure).splitlines()[0]
            print(f"the cluster's data is damaged, so it starts empty ({why} {self.state_dir}/logs)", file=sys.stderr)
            self.processes.stop(set(self.processes.names()) - {"registry"})
            self._clear_node()
            self._remove_state({*KEPT, HOST_RECORD, "cni", "etc", "processes"})
            self._try_control_plane()

    def _try_control_plane(self) -> None:
        settings = self._settings()
        start_control_plane(settings, self._authority, self.processes)
        write_kubeconfig(settings, self._authority, "admin", self.kubeconfig)
        self.processes.start(controller_manager_program(settings, self._authority, 10257))
        self.processes.start(scheduler_program(settings, self._authority, 10259))

    def _settings(self) -> Settings:
        """Ports of the running cluster; new ones when its etcd has ended, because the old may be taken by now."""
        path = self.state_dir / "endpoints.json"
        if self.processes.running("etcd") is None:
            self.processes.stop(["kube-apiserver", "etcd"])
            chosen = Endpoints(node.NODE_ADDRESS, API_PORT, free_port(), free_port())
            path.write_text(json.dumps(asdict(chosen)), encoding="utf-8")
        endpoints = Endpoints(**json.loads(path.read_text(encoding="utf-8")))
        return Settings(self.state_dir, endpoints, publish_address=True)

    def _refuse_busy_ports(self) -> None:
        wanted = [port for name, ports in PORTS.items() if self.processes.running(name) is None for port in ports]
        if busy := network.busy_ports(wanted):
            raise DevClusterError(f"another program listens on port {', '.join(map(str, busy))}; stop it first")

    def _start_node(self) -> None:
        node.write_configs(self._folders, self._authority, self._settings(), addon_reference("pause"))
        pods.prepare_cgroups(self._folders.cgroup)
        self.processes.start(node.containerd_program(self._folders))
        wait_for(self._containerd_answers, 30.0, "containerd")
        self.processes.start(node.kubelet_program(self._folders))
        self.processes.start(node.kube_proxy_program(self._folders))

    def _containerd_answers(self) -> bool:
        if self.processes.running("containerd") is None:
            raise ProcessEndedError(f"containerd ended:\n{self.processes.log_tail('containerd')}")
        return self._folders.socket.exists() and node.remove_leftovers(self._folders)

    def _install_addons(self, binaries: Mapping[str, Path]) -> ClusterInfo:
        kubectl = Kubectl(self.kubeconfig)
        manifests = addons.addon_manifests(addons.manifest_values(self._folders))
        with ThreadPoolExecutor() as pool:
            node_ready = pool.submit(self._wait_for_node, kubectl)
            address = addons.are_installed(kubectl, manifests) or addons.install(kubectl, manifests)
            node_ready.result()
        return ClusterInfo(
            kubeconfig=self.kubeconfig,
            registry=node.REGISTRY,
            prometheus_url=f"http://{addons.PROMETHEUS_ADDRESS}:9090",
            gateway_address=address,
            node_address=node.NODE_ADDRESS,
            binaries=binaries,
        )

    def _provide_images(self) -> None:
        """Start the registry and fill it; needs neither the control plane nor the node."""
        node.write_registry_config(self._folders)
        self.processes.start(node.registry_program(self._folders))
        wait_for(self._registry_answers, 30.0, "the registry")
        for name in IMAGES:
            provide_addon(name)

    def _node_is_registered(self, kubectl: Kubectl) -> bool:
        if self.processes.running("kubelet") is None:
            raise ProcessEndedError(f"the kubelet ended:\n{self.processes.log_tail('kubelet')}")
        return kubectl.get("node", node.NODE_NAME) is not None

    def _wait_for_node(self, kubectl: Kubectl) -> None:
        wait_for(lambda: self._node_is_registered(kubectl), 60.0, "the node's registration")
        if self.options.fake_gpus:
            apply_fake_gpus(kubectl, self.options.fake_gpus, self.options.gpu_product)
        kubectl.run("wait", "--for=condition=Ready", f"node/{node.NODE_NAME}", "--timeout=60s")

    def _registry_answers(self) -> bool:
        if self.processes.running("registry") is None:
            raise ProcessEndedError(f"the registry ended:\n{self.processes.log_tail('registry')}")
        return answers(f"http://{node.REGISTRY}/v2/")

    def down(self, *, purge: bool = False) -> None:
        """Stop everything and put the host back; images stay unless `purge`."""
        if not self.state_dir.exists():
            return
        if os.geteuid() != 0:
            raise DevClusterError("stopping the dev cluster needs root, as starting it did")
        with file_lock(self.state_dir / "lock"):
            # The node first: a kubelet that still runs would start again what is being ended, and a containerd that
            # still runs would forget where the shims listened.
            self.processes.stop(["kubelet", "kube-proxy"])
            self.processes.stop(["containerd", "registry"])
            pods.stop_pods(self._folders)
            # What the others know is removed below, so they need not put it in order first.
            self.processes.stop(self.processes.names(), grace=0.0)
            pods.clear_node(self._folders)
            owner = network.bridge_owner()
            # With another owner the host is that cluster's: it came after a reboot, which has undone what ours did.
            if owner == self.state_dir or (owner is None and host.read_record(self._record) is not None):
                _undo_host(self._record)
            self._remove_state(set() if purge else KEPT)
            if purge:
                shutil.rmtree(self.state_dir)

    def _remove_state(self, keep: Collection[str]) -> None:
        """Everything in the state directory but what is named."""
        pods.undo_mounts(self.state_dir)
        for path in self.state_dir.iterdir():
            if path.name in keep:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def info(self) -> ClusterInfo:
        """What the last `up` returned."""
        path = self.state_dir / "cluster.json"
        if not path.exists():
            raise DevClusterError(f"no cluster in {self.state_dir}; run `cluster up` first")
        document = json.loads(path.read_text(encoding="utf-8"))
        binaries = {name: Path(value) for name, value in document.pop("binaries").items()}
        return ClusterInfo(kubeconfig=Path(document.pop("kubeconfig")), binaries=binaries, **document)

    def _write_info(self, info: ClusterInfo) -> None:
        text = json.dumps(asdict(info), default=str, indent=1)
        (self.state_dir / "cluster.json").write_text(text, encoding="utf-8")

    def status(self) -> list[ComponentStatus]:
        """Every component, whether it runs and whether it says that it is well."""
        return [self._component(name) for name in COMPONENTS]

    def restart_api_server(self) -> None:
        """Kill the API server, as a crash would, and return when its successor answers."""
        running = self.processes.running("kube-apiserver")
        if running is None:
            raise DevClusterError("the API server does not run; start the cluster first: make cluster-up")
        send(running, signal.SIGKILL)
        wait_until_gone([running], KILL_SECONDS)
        start_control_plane(self._settings(), self._authority, self.processes)

    def _component(self, name: str) -> ComponentStatus:
        running = self.processes.running(name)
        if running is None:
            return ComponentStatus(name, None, healthy=False, detail="not running")
        url = self._health_urls().get(name)
        if url is None:
            return ComponentStatus(name, running.pid, healthy=True, detail="running")
        answered = answers(url, self._authority)
        return ComponentStatus(name, running.pid, healthy=answered, detail="answers" if answered else "no answer")

    def _health_urls(self) -> Mapping[str, str]:
        address = node.NODE_ADDRESS
        return {
            "kube-apiserver": f"https://{address}:{API_PORT}/readyz",
            "kube-controller-manager": f"https://{address}:10257/healthz",
            "kube-scheduler": f"https://{address}:10259/healthz",
            "registry": f"http://{node.REGISTRY}/v2/",
            "kubelet": f"http://{address}:10248/healthz",
            "kube-proxy": f"http://{address}:10256/healthz",
        }


def _undo_node(folders: node.NodeFolders) -> None:
    """Put the host back after a cluster whose processes are all dead."""
    pods.stop_pods(folders)
    pods.clear_node(folders)
    _undo_host(folders.state_dir / HOST_RECORD)


def _undo_host(path: Path) -> None:
    """Put the host back as a record says, and forget the record: the next `down` has nothing to undo."""
    record = host.read_record(path) or host.NOTHING_KNOWN
    network.undo_network(record.nft_tables)
    host.undo_settings(record)
    path.unlink(missing_ok=True)
