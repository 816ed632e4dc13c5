"""What `up` changes on the host outside the state directory, other than devices and pods, and how `down` undoes it.

The state before is written down first (`HostRecord`); undoing compares with that record, works by name and path, and
each step is harmless when there is nothing to undo, so that `down` can follow a crash of any part.
"""

import contextlib
import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from visionmodel_devcluster import pods
from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.network import nft_tables
from visionmodel_devcluster.processes import BOOT_ID

# Changed by us, so that packets are forwarded and rewritten.
FORWARDING = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables")
# Changed by us, by the kubelet and by kube-proxy.
SYSCTLS = (
    *FORWARDING,
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/ipv4/conf/all/route_localnet",
)
# Paths that Kubernetes, containerd and the network plugins write to whatever their settings say.
FIXED_PATHS = (
    "/run/containerd",
    "/run/flannel",
    "/run/xtables.lock",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/opt/cni",
    "/opt/containerd",
    "/etc/cni",
)
# What they leave in those paths, other than what says whose it is (shim sockets, results, links: see `pods`).
LEFT_FILES = (
    "/run/xtables.lock",
    "/var/lib/kubelet/device-plugins/kubelet.sock",
    "/etc/cni/net.d/cni.lock",
)


@dataclass(frozen=True)
class HostRecord:
    """The host before the first `up`."""

    sysctls: dict[str, str]
    nft_tables: list[str]
    missing_paths: list[str]
    boot_id: str = ""


NOTHING_KNOWN = HostRecord({}, [], [])


def observe_host() -> HostRecord:
    """Record what this package or its children may change."""
    sysctls = {name: value for name in SYSCTLS if (value := _read_sysctl(name)) is not None}
    missing = [path for path in FIXED_PATHS if not Path(path).exists()]
    return HostRecord(sysctls, nft_tables(), missing, BOOT_ID.read_text(encoding="utf-8").strip())


def merged(earlier: HostRecord | None, now: HostRecord) -> HostRecord:
    """The record to keep: the first one, because a later `up` sees our own changes.

    After a reboot settings and tables are the machine's own again, but folders that were ours still are.
    """
    if earlier is None:
        return now
    if earlier.boot_id in {"", now.boot_id}:
        return earlier
    paths = sorted({*earlier.missing_paths, *now.missing_paths})
    return HostRecord(now.sysctls, now.nft_tables, paths, now.boot_id)


def write_record(record: HostRecord, path: Path) -> None:
    """Write a record, so that a reader sees all of it or the one before."""
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    scratch.rename(path)


def read_record(path: Path) -> HostRecord | None:
    """The record, None when there is none or it was damaged by a power cut."""
    try:
        return HostRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def prepare_settings() -> None:
    """Let the kernel forward packets, and show bridged ones to the packet rules."""
    for name in FORWARDING:
        _write_sysctl(name, "1")


def undo_settings(record: HostRecord) -> None:
    """Put settings back, and remove what we left in paths that were not there before.

    Only files of ours and empty folders: a Docker that was installed since `up` keeps its state in some of them.
    """
    for name, value in record.sysctls.items():
        if _read_sysctl(name) != value:
            _write_sysctl(name, value)
    mountinfo = pods.observe_mountinfo()
    for text in record.missing_paths:
        remove_leftovers(Path(text), LEFT_FILES, mountinfo)


def remove_leftovers(path: Path, files: Collection[str], mountinfo: str) -> None:
    """Remove the named files at or below a path, then folders that are empty; nothing where something is mounted."""
    if pods.is_mounted(path, mountinfo):
        return
    for file in map(Path, files):
        if path in (file, *file.parents):
            file.unlink(missing_ok=True)
    for folder, _, _ in os.walk(path, topdown=False):
        # Not empty: somebody else's.
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def refuse_other_node(ours: int | None) -> None:
    """Refuse on a machine that is a node already: two kubelets empty each other's folder of device plugins."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == ours:
            continue
        try:
            name = (folder / "comm").read_text(encoding="utf-8").strip()
            # One in a container has folders of its own.
            same_files = (folder / "ns" / "mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
        except OSError:
            continue
        if name == "kubelet" and same_files:
            raise DevClusterError(
                f"a kubelet runs on this machine (pid {folder.name}), so it is a Kubernetes node already; use that "
                "cluster instead: KUBECONFIG=... REGISTRY=... make demo"
            )


def _read_sysctl(name: str) -> str | None:
    try:
        return (Path("/proc/sys") / name).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _write_sysctl(name: str, value: str) -> None:
    path = Path("/proc/sys") / name
    try:
        path.write_text(value, encoding="utf-8")
    except OSError as refused:
        if _read_sysctl(name) != value:
            raise DevClusterError(f"cannot set {name} to {value}: {refused}") from refused
