"""The processes, mounts and control groups of pods: ended and removed by `down`, and by an `up` after a crash.

Everything is found by where it is (our control group, our socket, our state directory) and never by a name that
somebody else's container could have too.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.node import NodeFolders
from visionmodel_devcluster.processes import Identity, observe_identity, send, wait_until_gone

CGROUP_FS = Path("/sys/fs/cgroup")
SHIM = "containerd-shim-runc-v2"
SHIM_SOCKETS = Path("/run/containerd/s")
ROUNDS = 20


def prepare_cgroups(name: str) -> None:
    """Make the group that all pods live in; on version 1 once per controller."""
    _enable_controllers()
    for group in _cgroups(name):
        group.mkdir(exist_ok=True)
        # A cpuset without processors accepts no process, and a new one starts empty.
        for file in ("cpuset.cpus", "cpuset.mems"):
            parent, own = group.parent / file, group / file
            if own.exists() and parent.exists() and not own.read_text(encoding="utf-8").strip():
                own.write_text(parent.read_text(encoding="utf-8"), encoding="utf-8")


def _enable_controllers() -> None:
    """On version 2 a group has only the controllers that its parent passes on, and the kubelet insists on four."""
    available = _read_or_empty(CGROUP_FS / "cgroup.controllers").split()
    passed_on = CGROUP_FS / "cgroup.subtree_control"
    for controller in ("cpu", "cpuset", "memory", "pids"):
        if controller in available and controller not in _read_or_empty(passed_on).split():
            # In a container it may be forbidden; then the kubelet says what is missing.
            with contextlib.suppress(OSError):
                passed_on.write_text(f"+{controller}", encoding="utf-8")


def _cgroups(name: str) -> list[Path]:
    if (CGROUP_FS / "cgroup.controllers").exists():
        return [CGROUP_FS / name]
    folders = CGROUP_FS.iterdir() if CGROUP_FS.is_dir() else ()
    return [folder / name for folder in folders if (folder / "cgroup.procs").exists()]


def stop_pods(folders: NodeFolders) -> None:
    """End the shims, which would report and clean up, then every process of every pod."""
    for _ in range(ROUNDS):
        shims = _shims(folders.socket)  # again, because one that is being started makes another process
        if not shims:
            break
        _kill(shims)
    for _ in range(ROUNDS):
        pods = [found for pid in _pids_in_cgroups(folders.cgroup) if (found := observe_identity(pid)) is not None]
        if not pods:
            return
        _kill(pods)
    raise DevClusterError(f"processes in the control group {folders.cgroup} do not end: {sorted(p.pid for p in pods)}")


def _pids_in_cgroups(name: str) -> set[int]:
    files = (folder / "cgroup.procs" for group in _cgroups(name) for folder in _folders_below(group))
    return {int(line) for file in files for line in _read_or_empty(file).split()} - {0, os.getpid()}


def _folders_below(group: Path) -> list[Path]:
    """Return a group and all below it, children first; by os.walk, which passes over what vanishes meanwhile."""
    return [Path(folder) for folder, _, _ in os.walk(group, topdown=False)]


def _shims(socket: Path) -> list[Identity]:
    """Shims are told by our own socket in their arguments: nobody else has it."""
    found = []
    for folder in Path("/proc").iterdir():
        arguments = _read_or_empty(folder / "cmdline").split("\0") if folder.name.isdigit() else []
        identity = observe_identity(int(folder.name)) if is_shim(arguments, socket) else None
        if identity is not None:
            found.append(identity)
    return found


def is_shim(arguments: list[str], socket: Path) -> bool:
    """Whether these are the arguments of a shim of the containerd at `socket`."""
    return bool(arguments) and Path(arguments[0]).name == SHIM and str(socket) in arguments


def _kill(identities: Iterable[Identity]) -> None:
    wanted = list(identities)
    for identity in wanted:
        send(identity, signal.SIGKILL)
    wait_until_gone(wanted, 5.0)


def clear_node(folders: NodeFolders) -> None:
    """Forget every pod of a node that does not run: its mounts, its sockets, its folders; images stay."""
    undo_mounts(folders.state_dir)
    for path in shim_sockets(folders):
        path.unlink(missing_ok=True)
    for folder in (folders.run, folders.kubelet, folders.addresses, folders.pod_logs):
        if folder.exists():
            shutil.rmtree(folder)
    remove_cni_results(folders.state_dir)
    remove_dead_log_links(folders.state_dir)
    remove_cgroups(folders.cgroup)


def shim_sockets(folders: NodeFolders) -> list[Path]:
    """Sockets of our shims in the folder that all containerds of a machine share.

    A shim listens before it writes into its bundle where, and may be killed between the two; so names are worked out.
    """
    bundles = (folders.run / "containerd").glob("io.containerd.runtime.v2.task/*/*")
    return [shim_socket(folders.socket, bundle.parent.name, bundle.name) for bundle in bundles]


def shim_socket(containerd: Path, namespace: str, bundle: str) -> Path:
    """Where a shim listens. Source: containerd 2, pkg/shim/util_unix.go, CreateSocketAddress."""
    return SHIM_SOCKETS / hashlib.sha256(f"{containerd}/{namespace}/{bundle}".encode()).hexdigest()


def remove_cni_results(state_dir: Path) -> None:
    """What the network library remembers of our pods, in a folder that all its users share."""
    for path in Path("/var/lib/cni/results").glob("*"):
        try:
            namespace = str(json.loads(path.read_text(encoding="utf-8"))["netns"])
        except (OSError, ValueError, KeyError):
            continue
        if state_dir in Path(namespace).parents:
            path.unlink(missing_ok=True)


def remove_dead_log_links(state_dir: Path) -> None:
    """Links from the folder of container logs into a state directory."""
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and state_dir in link.readlink().parents:
            link.unlink()


def undo_mounts(state_dir: Path) -> None:
    """Unmount everything below the state directory, the latest first.

    Raises:
        DevClusterError: when something stays mounted; removing folders then would remove what is mounted there.
    """
    for _ in range(ROUNDS):
        mounts = mounts_below(state_dir.resolve(), observe_mountinfo())
        if not mounts:
            return
        for mount in mounts:
            subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    raise DevClusterError(f"could not unmount {', '.join(mounts_below(state_dir.resolve(), observe_mountinfo()))}")


def observe_mountinfo() -> str:
    """Text of /proc/self/mountinfo."""
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Mount points below a folder from the text of /proc/self/mountinfo, the latest mounted first."""
    return [str(point) for point in _mount_points(mountinfo) if folder in point.parents]


def is_mounted(path: Path, mountinfo: str) -> bool:
    """Whether something is mounted at a path or below it."""
    return any(path in (point, *point.parents) for point in _mount_points(mountinfo))


def _mount_points(mountinfo: str) -> list[Path]:
    points = [Path(_unescaped(line.split()[4])) for line in mountinfo.splitlines() if line]
    return points[::-1]


def _unescaped(text: str) -> str:
    """The kernel writes spaces, tabs, newlines and backslashes in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def remove_cgroups(name: str) -> None:
    """Remove our groups, children first; a process that has just been killed may hold one for a moment."""
    for group in _cgroups(name):
        for folder in _folders_below(group):
            _remove_cgroup(folder)


def _remove_cgroup(folder: Path) -> None:
    for _ in range(ROUNDS):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return


def _read_or_empty(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
