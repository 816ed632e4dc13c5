"""A machine inside this machine: network, mounts and processes of its own, to crash and reboot a dev cluster in.

Linux namespaces and no virtual machine: the kernel and the disk are shared, everything that a cluster leaves behind
(devices, mounts, nft tables, processes, files outside of its state directory) is not.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# Where Kubernetes writes whatever its settings say: a copy on write, empty of what a cluster outside has left there.
OVERLAID = ("/var/lib", "/var/log", "/opt", "/etc")
FIXED = (
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/containers",
    "/var/log/pods",
    "/opt/cni",
    "/opt/containerd",
    "/etc/cni",
)
SETUP = f"""
set -e
mount --make-rprivate /
# Copies of the mounts of a cluster outside, which would keep them from ending there.
awk '{{print $5}}' /proc/self/mountinfo | grep -e /visionmodel-devcluster/ -e /containers/storage/ | tac |
  xargs --no-run-if-empty umount --lazy
mount -t tmpfs tmpfs /run
mkdir /run/cgroup /run/containers-storage /run/lock
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
umount --recursive /run/cgroup
mkdir -p /var/lib/containers
mount --rbind /var/lib/containers /run/containers-storage
for folder in {" ".join(OVERLAID)}; do
  top=/run/overlay$folder
  mkdir -p $top/upper $top/work
  mount -t overlay overlay -o lowerdir=$folder,upperdir=$top/upper,workdir=$top/work $folder
done
mount --rbind /run/containers-storage /var/lib/containers
umount --recursive /run/containers-storage
rm -rf {" ".join(FIXED)}
ip link set lo up
echo ready
exec sleep infinity
"""
# The first process of the machine: adopts and buries what has lost its parent.
INIT = """
import os, subprocess, time
subprocess.run(["umount", "/proc"], stderr=subprocess.DEVNULL)
subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
print("ready", flush=True)
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
"""


def _until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


@dataclass
class IsolatedMachine:
    """Starts at once; `crash` ends every process and leaves the rest, `reboot` leaves only the disk."""

    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._power_on()

    def _power_on(self) -> None:
        command = ["unshare", "--net", "--mount", "sh", "-c", SETUP]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._expect_ready(self._holder)
        self._start_init()

    def _start_init(self) -> None:
        enter = ["nsenter", "--target", str(self._holder.pid), "--net", "--mount"]
        command = [*enter, "unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", INIT]
        self._parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._expect_ready(self._parent)
        children = Path(f"/proc/{self._parent.pid}/task/{self._parent.pid}/children").read_text(encoding="utf-8")
        self._init = int(children.split()[0])

    @staticmethod
    def _expect_ready(process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout as stdout:
            line = stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"the isolated machine did not start: {line!r}")

    def kill(self, pid: int) -> None:
        """SIGKILL for one process, by its number inside."""
        self.run("kill", "-KILL", str(pid))

    def command(self, *arguments: str) -> list[str]:
        """The command that runs another one inside."""
        return ["nsenter", "--target", str(self._init), "--net", "--mount", "--pid", *arguments]

    def run(self, *arguments: str, check: bool = True, timeout: float = 300) -> str:
        """Run a command inside; what it printed."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={**os.environ, **self.environ},
        )
        if check and done.returncode != 0:
            raise RuntimeError(
                f"{' '.join(arguments)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done.stdout + done.stderr

    def crash(self) -> None:
        """SIGKILL for every process at once; devices, mounts and tables stay."""
        os.kill(self._init, signal.SIGKILL)
        self._parent.wait(30)
        _until(lambda: not Path(f"/proc/{self._init}").exists(), 30, "the processes' end")
        self._start_init()

    def reboot(self) -> None:
        """As after a power cut: only what is on the disk is left."""
        self.power_off()
        self._power_on()

    def power_off(self) -> None:
        """End everything."""
        if Path(f"/proc/{self._init}").exists():
            os.kill(self._init, signal.SIGKILL)
        self._parent.wait(30)
        self._holder.kill()
        self._holder.wait(30)
