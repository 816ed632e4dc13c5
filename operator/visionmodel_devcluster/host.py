"""What `up` changes on the host outside the state directory, and how `down` undoes it.

The state before is written down first (`HostRecord`); undoing compares with that record, works by name and path, and
each step is harmless when there is nothing to undo, so that `down` can follow a crash of any part.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from visionmodel_devcluster.controlplane import SERVICE_CIDR
from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.node import BRIDGE, CGROUP, NODE_ADDRESS, POD_CIDR
from visionmodel_devcluster.processes import Identity, observe_identity, send, wait_until_gone

NFT_TABLE = "visionmodel-devcluster"
# Changed by us (the first two), by the kubelet and by kube-proxy.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
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
    "/etc/cni",
)
CGROUP_FS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class HostRecord:
    """The host before the first `up`."""

    sysctls: dict[str, str]
    nft_tables: list[str]
    missing_paths: list[str]


def observe_host() -> HostRecord:
    """Record what this package or its children may change."""
    sysctls = {name: value for name in SYSCTLS if (value := _read_sysctl(name)) is not None}
    missing = [path for path in FIXED_PATHS if not Path(path).exists()]
    return HostRecord(sysctls, nft_tables(), missing)


def write_record(record: HostRecord, path: Path) -> None:
    """Keep the record of the first `up`: a second one would see our own changes."""
    if not path.exists():
        path.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")


def read_record(path: Path) -> HostRecord | None:
    """The record, None when there is nothing to undo."""
    if not path.exists():
        return None
    return HostRecord(**json.loads(path.read_text(encoding="utf-8")))


def nft_tables() -> list[str]:
    """All nftables tables as `family name`."""
    lines = _run("nft", "list", "tables").splitlines()
    return [line.removeprefix("table ") for line in lines if line]


def prepare_network() -> None:
    """A bridge that carries the node's address; pods are plugged into it by the network plugin.

    A bridge and not a dummy device, because not every kernel has those, and because pods reach it without a route.
    """
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        _checked("ip", "link", "add", BRIDGE, "type", "bridge")
    prefix = POD_CIDR.rpartition("/")[2]
    _checked("ip", "address", "replace", f"{NODE_ADDRESS}/{prefix}", "dev", BRIDGE)
    _checked("ip", "link", "set", BRIDGE, "up")
    # Service addresses are rewritten by kube-proxy, but only packets that have a route get as far as that.
    _checked("ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE, "src", NODE_ADDRESS)
    for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        _write_sysctl(name, "1")
    _checked("nft", "-f", "-", text=nft_rules())


def nft_rules() -> str:
    """Pods leave the machine with the host's address; packets between pods keep theirs."""
    return f"""
table ip {NFT_TABLE}
delete table ip {NFT_TABLE}
table ip {NFT_TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {POD_CIDR} ip daddr != {POD_CIDR} masquerade
  }}
}}
"""


def prepare_cgroups() -> None:
    """Make the group that all pods live in; on version 1 once per controller."""
    for group in _cgroups():
        group.mkdir(exist_ok=True)
        # A cpuset without processors accepts no process, and a new one starts empty.
        for name in ("cpuset.cpus", "cpuset.mems"):
            parent, own = group.parent / name, group / name
            if own.exists() and parent.exists() and not own.read_text(encoding="utf-8").strip():
                own.write_text(parent.read_text(encoding="utf-8"), encoding="utf-8")


def _cgroups() -> list[Path]:
    if (CGROUP_FS / "cgroup.controllers").exists():
        return [CGROUP_FS / CGROUP]
    return [folder / CGROUP for folder in CGROUP_FS.iterdir() if (folder / "cgroup.procs").exists()]


def stop_pods(shim: Path, socket: Path) -> None:
    """End every process of every pod, then the shims that watched them."""
    for _ in range(5):
        pods = [found for pid in _pids_in_cgroups() if (found := observe_identity(pid)) is not None]
        _kill(pods)
        if not pods:
            break
    _kill(_shims(shim, socket))


def _pids_in_cgroups() -> set[int]:
    files = (file for group in _cgroups() if group.exists() for file in group.rglob("cgroup.procs"))
    return {int(line) for file in files for line in _read_or_empty(file).split()} - {0, os.getpid()}


def _shims(shim: Path, socket: Path) -> list[Identity]:
    """Shims are told by our own program and our own socket in their arguments: nobody else has both."""
    found = []
    for folder in Path("/proc").iterdir():
        arguments = _read_or_empty(folder / "cmdline").split("\0") if folder.name.isdigit() else []
        is_ours = arguments[:1] == [str(shim)] and str(socket) in arguments
        identity = observe_identity(int(folder.name)) if is_ours else None
        if identity is not None:
            found.append(identity)
    return found


def _kill(identities: Iterable[Identity]) -> None:
    wanted = list(identities)
    for identity in wanted:
        send(identity, signal.SIGKILL)
    wait_until_gone(wanted, 5.0)


def undo_host(record: HostRecord, state_dir: Path) -> None:
    """Put the host back: mounts, devices, tables, cgroups, settings, folders."""
    undo_mounts(state_dir)
    undo_network(record)
    undo_cgroups()
    for name, value in record.sysctls.items():
        if _read_sysctl(name) != value:
            _write_sysctl(name, value)
    for text in record.missing_paths:
        path = Path(text)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    _remove_dead_log_links(state_dir)


def undo_mounts(state_dir: Path) -> None:
    """Unmount everything below the state directory, the deepest first."""
    mounts = mounts_below(state_dir.resolve(), Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    for mount in mounts:
        _run("umount", "--lazy", mount)


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Mount points below a folder from the text of /proc/self/mountinfo, the latest mounted first."""
    points = (line.split()[4].replace("\\040", " ") for line in mountinfo.splitlines() if line)
    return [point for point in reversed(list(points)) if folder in Path(point).parents]


def undo_network(record: HostRecord) -> None:
    """Remove the bridge with everything plugged into it, and the tables that were not there before."""
    bridge = Path(f"/sys/class/net/{BRIDGE}")
    if bridge.exists():
        for port in (bridge / "brif").iterdir():
            _run("ip", "link", "delete", port.name)
        _run("ip", "link", "delete", BRIDGE)
    ours = {f"ip {NFT_TABLE}", "ip kube-proxy", "ip6 kube-proxy"}
    for table in nft_tables():
        if table in ours or (table not in record.nft_tables and table.split()[1] in {"nat", "filter", "mangle"}):
            _run("nft", "delete", "table", *table.split())


def undo_cgroups() -> None:
    """Remove our groups, children first; a process that has just been killed may hold one for a moment."""
    for group in _cgroups():
        if not group.exists():
            continue
        for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            _remove_cgroup(folder)
        _remove_cgroup(group)


def _remove_cgroup(folder: Path) -> None:
    for _ in range(20):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return


def _remove_dead_log_links(state_dir: Path) -> None:
    folder = Path("/var/log/containers")
    for link in folder.glob("*.log") if folder.is_dir() else ():
        if link.is_symlink() and state_dir in link.readlink().parents:
            link.unlink()


def _read_sysctl(name: str) -> str | None:
    return _read_or_empty(Path("/proc/sys") / name).strip() or None


def _write_sysctl(name: str, value: str) -> None:
    path = Path("/proc/sys") / name
    try:
        path.write_text(value, encoding="utf-8")
    except OSError as refused:
        if _read_sysctl(name) != value:
            raise DevClusterError(f"cannot set {name} to {value}: {refused}") from refused


def _read_or_empty(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _run(*command: str) -> str:
    """For undoing: what is already gone is no failure."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _checked(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")
