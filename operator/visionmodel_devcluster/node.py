"""containerd, kubelet and kube-proxy: configuration files (pure) and the programs that read them.

All folders are inside the state directory, so that `host` can undo mounts by their path and two users do not meet
in /var/lib. What Kubernetes hard-codes outside of it is listed in `host.FIXED_PATHS`.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from visionmodel_devcluster.builds import binary
from visionmodel_devcluster.certificates import Authority, Subject
from visionmodel_devcluster.controlplane import Settings, write_kubeconfig
from visionmodel_devcluster.processes import Program

NODE_NAME = "visionmodel"
NODE_ADDRESS = "10.244.0.1"
POD_CIDR = "10.244.0.0/24"
BRIDGE = "vmdev0"
DNS_ADDRESS = "10.96.0.10"
REGISTRY = f"{NODE_ADDRESS}:5001"
CNI_PLUGINS = "/usr/lib/cni"
RUNC = "/usr/sbin/runc"
CAP_SYS_RESOURCE = 24


@dataclass(frozen=True)
class NodeFolders:
    """Where the node keeps its things, all below the state directory."""

    state_dir: Path
    name: str = "visionmodel"

    @property
    def cgroup(self) -> str:
        """All pods' control groups are below this one, so that `down` finds every process of every pod."""
        return f"{self.name}-devcluster"

    @property
    def run(self) -> Path:
        """What containerd and runc know about running containers."""
        return self.state_dir / "run"

    @property
    def socket(self) -> Path:
        """Containerd's socket."""
        return self.run / "containerd.sock"

    @property
    def content(self) -> Path:
        """Images of the node; kept by `down`, so that the next `up` pulls nothing."""
        return self.state_dir / "images" / "containerd"

    @property
    def registry(self) -> Path:
        """Data of the registry; kept by `down`."""
        return self.state_dir / "images" / "registry"

    @property
    def kubelet(self) -> Path:
        """Root of the kubelet: volumes of pods."""
        return self.state_dir / "kubelet"

    @property
    def cni(self) -> Path:
        """The network's configuration and its addresses in use."""
        return self.state_dir / "cni"

    @property
    def addresses(self) -> Path:
        """Which addresses are taken by pods."""
        return self.cni / "addresses"

    @property
    def pod_logs(self) -> Path:
        """Logs of pods."""
        return self.state_dir / "pod-logs"

    @property
    def etc(self) -> Path:
        """Configuration files."""
        return self.state_dir / "etc"

    @property
    def prometheus(self) -> Path:
        """Data of Prometheus: kept when its pod is scaled to 0 and back."""
        return self.state_dir / "prometheus"


def containerd_config(folders: NodeFolders, pause_image: str, snapshotter: str, *, may_lower_oom: bool) -> str:
    """Containerd 2's configuration. Values are written as JSON strings, which TOML reads the same."""
    text = json.dumps
    return f"""version = 3
root = {text(str(folders.content))}
state = {text(str(folders.run / "containerd"))}
# The last one makes a folder in /opt.
disabled_plugins = [
  "io.containerd.nri.v1.nri",
  "io.containerd.internal.v1.tracing",
  "io.containerd.internal.v1.opt",
]

[grpc]
  address = {text(str(folders.socket))}

[plugins.'io.containerd.cri.v1.images']
  snapshotter = {text(snapshotter)}
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = {text(pause_image)}
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = {text(str(folders.etc / "certs.d"))}

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = {str(not may_lower_oom).lower()}
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [{text(CNI_PLUGINS)}]
    conf_dir = {text(str(folders.cni / "net.d"))}
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = {text(RUNC)}
        Root = {text(str(folders.run / "runc"))}
        SystemdCgroup = false
"""


def registry_hosts(registry: str) -> str:
    """Containerd's word for one registry: plain http is all right."""
    return f'server = "http://{registry}"\n\n[host."http://{registry}"]\n  capabilities = ["pull", "resolve", "push"]\n'


def cni_config(folders: NodeFolders) -> dict[str, Any]:
    """A bridge with the node's address; masquerading is done by one nft table of ours, see `host`."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_CIDR, "gateway": NODE_ADDRESS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(folders.addresses),
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipMasq": False}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return {"cniVersion": "1.0.0", "name": BRIDGE, "plugins": [{**bridge, "ipam": ipam}, portmap]}


def kubelet_config(folders: NodeFolders, authority: Authority, resolv_conf: str) -> dict[str, Any]:
    """The kubelet's configuration: nothing is evicted or collected, because the disk is the developer's."""
    certificate, key = authority.pair("kubelet")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzBindAddress": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{folders.cgroup}",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{folders.socket}",
        "enforceNodeAllocatable": [],
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "imageMaximumGCAge": "0s",
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "podLogsDir": str(folders.pod_logs),
        "resolvConf": resolv_conf,
        "serializeImagePulls": False,
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "volumePluginDir": str(folders.kubelet / "volume-plugins"),
    }


def kube_proxy_config(kubeconfig: Path) -> dict[str, Any]:
    """kube-proxy's configuration; zeros leave the host's connection tracking settings alone."""
    untouched = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": f"{NODE_ADDRESS}:10256",
        "metricsBindAddress": f"{NODE_ADDRESS}:10249",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": POD_CIDR,
        "conntrack": untouched,
        "hostnameOverride": NODE_NAME,
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
        "oomScoreAdj": 0,
    }


def docker_registry_config(folders: NodeFolders) -> dict[str, Any]:
    """Debian's docker-registry on the node's address, where the host and pods reach it."""
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folders.registry)}, "delete": {"enabled": True}},
        "http": {"addr": REGISTRY},
    }


def has_capability(number: int, status: str) -> bool:
    """Whether the effective set in the text of /proc/<pid>/status has a capability."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def snapshotter_for(filesystem: str) -> str:
    """Overlays do not stack on every filesystem; then layers are copied, slower but right."""
    return "native" if filesystem in {"overlay", "overlayfs", "aufs"} else "overlayfs"


def filesystem_of(path: Path, mountinfo: str) -> str:
    """Type of the filesystem that holds a path, from the text of /proc/self/mountinfo."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        fields, _, after = line.partition(" - ")
        mount = fields.split()[4]
        inside = mount == "/" or path == Path(mount) or Path(mount) in path.parents
        if inside and len(mount) >= len(best):
            best, kind = mount, after.split()[0]
    return kind


def observe_resolv_conf() -> str:
    """systemd-resolved's stub on loopback is of no use in a pod; its real list is elsewhere."""
    upstream = Path("/run/systemd/resolve/resolv.conf")
    return str(upstream if upstream.exists() else Path("/etc/resolv.conf"))


def write_configs(folders: NodeFolders, authority: Authority, settings: Settings, pause_image: str) -> None:
    """Write every file that the node's programs read."""
    authority.issue(Subject("kubelet", f"system:node:{NODE_NAME}", "system:nodes", (NODE_ADDRESS,), (NODE_NAME,)))
    authority.issue(Subject("kube-proxy", "system:kube-proxy"))
    for folder in (folders.etc / "certs.d" / REGISTRY, folders.cni / "net.d", folders.socket.parent, folders.kubelet):
        folder.mkdir(parents=True, exist_ok=True)
    folders.prometheus.mkdir(exist_ok=True)
    # Prometheus runs as nobody in its pod, and a hostPath volume keeps the host's owner.
    os.chown(folders.prometheus, 65534, 65534)
    folders.content.mkdir(parents=True, exist_ok=True)
    snapshotter = snapshotter_for(filesystem_of(folders.content.resolve(), _read("/proc/self/mountinfo")))
    may_lower = has_capability(CAP_SYS_RESOURCE, _read("/proc/self/status"))
    containerd = containerd_config(folders, pause_image, snapshotter, may_lower_oom=may_lower)
    _write_changed(folders.etc / "containerd.toml", containerd)
    _write_changed(folders.etc / "certs.d" / REGISTRY / "hosts.toml", registry_hosts(REGISTRY))
    _write_changed(folders.cni / "net.d" / "10-bridge.conflist", json.dumps(cni_config(folders)))
    write_kubeconfig(settings, authority, "kubelet", folders.etc / "kubelet.kubeconfig")
    proxy_kubeconfig = write_kubeconfig(settings, authority, "kube-proxy", folders.etc / "kube-proxy.kubeconfig")
    for name, document in (
        ("kubelet", kubelet_config(folders, authority, observe_resolv_conf())),
        ("kube-proxy", kube_proxy_config(proxy_kubeconfig)),
    ):
        _write_changed(folders.etc / f"{name}.yaml", yaml.safe_dump(document))


def write_registry_config(folders: NodeFolders) -> None:
    """Write the registry's file; apart from the node's, because it can run before there are certificates."""
    folders.etc.mkdir(parents=True, exist_ok=True)
    _write_changed(folders.etc / "registry.yaml", yaml.safe_dump(docker_registry_config(folders)))


def _write_changed(path: Path, text: str) -> None:
    """kube-proxy watches its file and ends when it is written, so a repeated `up` must not touch it."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def remove_leftovers(folders: NodeFolders) -> bool:
    """Forget containers of an earlier cluster, whose images are kept; False while containerd does not answer.

    With a running kubelet nothing is a leftover.
    """
    if (folders.kubelet / "cpu_manager_state").exists():
        return _ctr(folders, "version") is not None
    for kind in ("containers", "sandboxes"):
        listed = _ctr(folders, kind, "list", "-q") if kind == "containers" else _ctr(folders, kind, "list")
        if listed is None:
            return False
        names = [line.split()[0] for line in listed.splitlines() if line and not line.startswith("ID ")]
        if names:
            _ctr(folders, kind, "rm", *names)
    return True


def _ctr(folders: NodeFolders, *arguments: str) -> str | None:
    command = [str(binary("ctr")), "--address", str(folders.socket), "--namespace", "k8s.io", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def registry_program(folders: NodeFolders) -> Program:
    """The registry that the host pushes to and the node pulls from."""
    return Program("registry", ("docker-registry", "serve", str(folders.etc / "registry.yaml")))


def containerd_program(folders: NodeFolders) -> Program:
    """Containerd finds its shim on the PATH."""
    program = binary("containerd")
    search = f"{program.parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    argv = (str(program), "--config", str(folders.etc / "containerd.toml"))
    return Program("containerd", argv, {"PATH": search})


def kubelet_program(folders: NodeFolders) -> Program:
    """The kubelet; what the configuration file cannot say is in its flags."""
    flags = {
        "config": folders.etc / "kubelet.yaml",
        "kubeconfig": folders.etc / "kubelet.kubeconfig",
        "root-dir": folders.kubelet,
        "cert-dir": folders.kubelet / "pki",
        "hostname-override": NODE_NAME,
        "node-ip": NODE_ADDRESS,
    }
    argv = (str(binary("kubelet")), *(f"--{flag}={value}" for flag, value in flags.items()))
    return Program("kubelet", argv)


def kube_proxy_program(folders: NodeFolders) -> Program:
    """kube-proxy: Services for pods and for the host itself."""
    return Program("kube-proxy", (str(binary("kube-proxy")), f"--config={folders.etc / 'kube-proxy.yaml'}"))


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
