"""etcd, the API server and the controllers: the half of Kubernetes that needs no root.

`ControlPlane` alone is what the apiserver test suite uses, several side by side on free ports; the whole cluster
(`api.Cluster`) starts the same programs on the node's address and adds a node.
"""

import json
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from visionmodel_devcluster.builds import binary
from visionmodel_devcluster.certificates import Authority, Subject, kubeconfig
from visionmodel_devcluster.errors import ProcessEndedError
from visionmodel_devcluster.health import answers, wait_for
from visionmodel_devcluster.processes import ProcessFolder, Program

SERVICE_CIDR = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
READY_SECONDS = 120.0


@dataclass(frozen=True)
class Endpoints:
    """Where the parts of one control plane listen."""

    address: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:{self.api_port}"


@dataclass(frozen=True)
class Settings:
    """What differs between a bare control plane and the whole cluster's."""

    state_dir: Path
    endpoints: Endpoints
    # A pod cannot reach loopback, so a control plane there must not publish its address as the Service `kubernetes`.
    publish_address: bool
    pod_cidr: str = "10.244.0.0/24"
    dies_with_parent: bool = False


def free_port(address: str = "127.0.0.1") -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def free_endpoints(address: str, api_port: int | None = None) -> Endpoints:
    """Endpoints on free ports of `address`; etcd stays on loopback."""
    return Endpoints(address, api_port or free_port(address), free_port(), free_port())


def issue_certificates(authority: Authority, address: str) -> None:
    """All key pairs of the control plane."""
    authority.create()
    kubernetes = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    addresses = tuple(dict.fromkeys((address, "127.0.0.1", SERVICE_ADDRESS)))
    for subject in (
        Subject("etcd", "etcd", addresses=("127.0.0.1",)),
        Subject("apiserver", "kube-apiserver", addresses=addresses, dns_names=("localhost", *kubernetes)),
        Subject("service-account", "service-account"),
        Subject("admin", "admin", "system:masters"),
        Subject("front-proxy", "front-proxy"),
        Subject("apiserver-kubelet", "apiserver-kubelet", "system:masters"),
        Subject("controller-manager", "system:kube-controller-manager"),
        Subject("scheduler", "system:kube-scheduler"),
    ):
        authority.issue(subject)


def write_kubeconfig(settings: Settings, authority: Authority, user: str, path: Path) -> Path:
    """Write the kubeconfig of a user, readable by its owner only."""
    path.touch(mode=0o600)
    # JSON is YAML, and every client reads it.
    path.write_text(json.dumps(kubeconfig(settings.endpoints.server, authority, user), indent=1), encoding="utf-8")
    return path


def etcd_program(settings: Settings, authority: Authority) -> Program:
    """Etcd on loopback with client certificates; without fsync, because its data lives as long as the cluster."""
    certificate, key = authority.pair("etcd")
    client = f"https://127.0.0.1:{settings.endpoints.etcd_port}"
    peer = f"http://127.0.0.1:{settings.endpoints.etcd_peer_port}"
    flags = {
        "name": "devcluster",
        "data-dir": settings.state_dir / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"devcluster={peer}",
        "cert-file": certificate,
        "key-file": key,
        "trusted-ca-file": authority.certificate,
        "client-cert-auth": "true",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }
    return _program(settings, "etcd", flags)


def apiserver_program(settings: Settings, authority: Authority) -> Program:
    """The API server, with the admission plugins that are on by default (PodSecurity among them)."""
    serving, kubelet, etcd, proxy = (
        authority.pair(name) for name in ("apiserver", "apiserver-kubelet", "etcd", "front-proxy")
    )
    endpoints = settings.endpoints
    flags = {
        "etcd-servers": f"https://127.0.0.1:{endpoints.etcd_port}",
        "etcd-cafile": authority.certificate,
        "etcd-certfile": etcd[0],
        "etcd-keyfile": etcd[1],
        "bind-address": endpoints.address,
        "advertise-address": endpoints.address,
        "secure-port": endpoints.api_port,
        "tls-cert-file": serving[0],
        "tls-private-key-file": serving[1],
        "client-ca-file": authority.certificate,
        "kubelet-client-certificate": kubelet[0],
        "kubelet-client-key": kubelet[1],
        "kubelet-certificate-authority": authority.certificate,
        # The node has no name in any hosts file, and needs none.
        "kubelet-preferred-address-types": "InternalIP",
        "service-cluster-ip-range": SERVICE_CIDR,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": authority.pair("service-account")[0],
        "service-account-signing-key-file": authority.pair("service-account")[1],
        "requestheader-client-ca-file": authority.certificate,
        "requestheader-allowed-names": "front-proxy",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": proxy[0],
        "proxy-client-key-file": proxy[1],
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "endpoint-reconciler-type": "lease" if settings.publish_address else "none",
        "cert-dir": settings.state_dir / "apiserver",
        "shutdown-delay-duration": "0s",
    }
    return _program(settings, "kube-apiserver", flags)


def controller_manager_program(settings: Settings, authority: Authority, port: int) -> Program:
    """The controllers, without leader election: there is one of them."""
    config = settings.state_dir / "controller-manager.kubeconfig"
    write_kubeconfig(settings, authority, "controller-manager", config)
    flags = {
        "kubeconfig": config,
        "bind-address": settings.endpoints.address,
        "secure-port": port,
        # Its own certificate would be self-signed, and `cluster status` could not ask it how it is.
        "tls-cert-file": authority.pair("apiserver")[0],
        "tls-private-key-file": authority.pair("apiserver")[1],
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": authority.pair("service-account")[1],
        "root-ca-file": authority.certificate,
        "cluster-signing-cert-file": authority.certificate,
        "cluster-signing-key-file": authority.folder / "ca.key",
        "cluster-cidr": settings.pod_cidr,
        "service-cluster-ip-range": SERVICE_CIDR,
    }
    return _program(settings, "kube-controller-manager", flags)


def scheduler_program(settings: Settings, authority: Authority, port: int) -> Program:
    """The scheduler, without leader election."""
    config = settings.state_dir / "scheduler.kubeconfig"
    write_kubeconfig(settings, authority, "scheduler", config)
    flags = {
        "kubeconfig": config,
        "bind-address": settings.endpoints.address,
        "secure-port": port,
        "tls-cert-file": authority.pair("apiserver")[0],
        "tls-private-key-file": authority.pair("apiserver")[1],
        "leader-elect": "false",
    }
    return _program(settings, "kube-scheduler", flags)


def _program(settings: Settings, name: str, flags: dict[str, object]) -> Program:
    arguments = tuple(f"--{flag}={value}" for flag, value in flags.items())
    argv = (str(binary(name)), *arguments)
    return Program(name, argv, dies_with_parent=settings.dies_with_parent)


def wait_ready(url: str, authority: Authority, processes: ProcessFolder, name: str) -> None:
    """Wait until a health URL of an API server answers; fail at once when its process ended."""

    def is_ready() -> bool:
        for needed in ("etcd", name):
            if processes.running(needed) is None:
                raise ProcessEndedError(f"{needed} ended; the end of its log:\n{processes.log_tail(needed)}")
        return answers(url, authority)

    wait_for(is_ready, READY_SECONDS, f"{name} at {url}")


class ControlPlane:
    """etcd and an API server on free ports of loopback, as a context manager.

    >>> with ControlPlane() as kubeconfig:  # doctest: +SKIP
    ...     subprocess.run(["kubectl", "--kubeconfig", kubeconfig, "get", "namespaces"])
    """

    def __init__(
        self, state_dir: Path | None = None, *, controller_manager: bool = False, detached: bool = False
    ) -> None:
        self._temporary = state_dir is None
        self.state_dir = state_dir or Path(tempfile.mkdtemp(prefix="visionmodel-controlplane-"))
        self._controller_manager = controller_manager
        self._detached = detached
        self.processes = ProcessFolder(self.state_dir)
        self.kubeconfig = self.state_dir / "kubeconfig"

    def start(self) -> Path:
        """Start everything and wait until it is ready; the path of an administrator's kubeconfig."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        if self.processes.running("kube-apiserver"):
            return self.kubeconfig
        # Without setpriv a test run that is killed leaves its servers behind; that is no reason not to run.
        bound = not self._detached and shutil.which("setpriv") is not None
        settings = Settings(self.state_dir, free_endpoints("127.0.0.1"), publish_address=False, dies_with_parent=bound)
        authority = Authority(self.state_dir / "pki")
        start_control_plane(settings, authority, self.processes)
        write_kubeconfig(settings, authority, "admin", self.kubeconfig)
        if self._controller_manager:
            self.processes.start(controller_manager_program(settings, authority, free_port()))
        return self.kubeconfig

    def stop(self) -> None:
        """Stop at once: nothing in it is worth a graceful end."""
        self.processes.stop(self.processes.names(), grace=0.0)
        data = self.state_dir if self._temporary else self.state_dir / "etcd"
        shutil.rmtree(data, ignore_errors=True)

    def __enter__(self) -> Path:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_control_plane(settings: Settings, authority: Authority, processes: ProcessFolder) -> None:
    """Certificates, etcd and a ready API server."""
    os.makedirs(settings.state_dir, exist_ok=True)
    issue_certificates(authority, settings.endpoints.address)
    processes.start(etcd_program(settings, authority))
    processes.start(apiserver_program(settings, authority))
    wait_ready(f"{settings.endpoints.server}/readyz", authority, processes, "kube-apiserver")
