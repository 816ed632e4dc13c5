"""What a loader's process does to itself before it looks at a file: limits, no way back, no files, no network.

A deny list and not an allow list of system calls: the frameworks' own lists are long and move with each release, and
the pod's RuntimeDefault profile lies underneath. The order matters: Landlock needs `no_new_privs`, and nothing may be
opened for seccomp's library once the files are gone. Called by `child`, first.
"""

import ctypes
import errno
import importlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from visionmodel_contract.conversion import ContractModel
from visionmodel_converter.formats import landlock

SET_PARENT_DEATH_SIGNAL: Final = 1
SET_DUMPABLE: Final = 4
SET_NO_NEW_PRIVS: Final = 38
CLONE_THREAD: Final = 0x00010000
MAPPED_ROOM_BYTES: Final = 16 * 1024**3
"""Address space beyond the memory limit: the frameworks map their libraries and reserve arenas that they never touch
(torch 2.15 peaks at 3.5 GB, TensorFlow 2.21 at 2.2 GB for a toy network that needs 0.9 and 0.6 GB)."""
OPEN_FILES: Final = 1024

NETWORK_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_PACKET, socket.AF_VSOCK)
DENIED_CALLS: Final = (
    *("fork", "vfork", "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise"),
    *("tkill", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "kcmp"),
    *("mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "open_tree", "move_mount", "fsopen"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "perf_event_open", "userfaultfd"),
    *("keyctl", "add_key", "request_key", "name_to_handle_at", "open_by_handle_at", "fanotify_init", "quotactl"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "acct"),
    *("shmget", "msgget", "semget", "mq_open"),
)
SYSTEM_FILES: Final = (
    *("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/passwd", "/etc/nsswitch.conf"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/dev/urandom", "/dev/random", "/dev/zero"),
)


class Limits(ContractModel):
    """What one load may use; `file_bytes` holds for each file it writes."""

    memory_bytes: int = 4 * 1024**3
    cpu_seconds: int = 1800
    wall_seconds: int = 1800
    file_bytes: int = 2047 * 1024**2


class Confinement(ContractModel):
    """Everything the child needs to lock itself in; `hidden` must not be readable afterwards."""

    limits: Limits = Limits()
    packages: tuple[str, ...] = ()
    """Imported in between: urllib3, for one, opens a socket to see whether there is IPv6."""
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


class NotConfined(Exception):
    """The kernel, or a library, does not offer what the sandbox needs; nothing was loaded."""


def confine(wanted: Confinement) -> None:
    """Lock this process in for good, and import what the loader needs.

    Until then a socket is refused; from then on asking for one ends the process, so that nothing can hide the attempt.
    Raises NotConfined, with a sentence that says what is missing, or ImportError.
    """
    _limit(wanted.limits)
    try:
        _control(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        _control(SET_NO_NEW_PRIVS, 1)
        rules = _system_call_filter()
        if landlock.version():
            landlock.restrict([*_libraries(), *map(Path, wanted.readable)], [*map(Path, wanted.writable), _NULL])
        rules.load()
    except (OSError, RuntimeError, ImportError) as error:
        raise NotConfined(
            f"a loader could not be locked in ({error}); it needs libseccomp 2 in the image and seccomp in the kernel"
        ) from error
    _refuse_readable_secrets(wanted.hidden)
    for package in wanted.packages:
        importlib.import_module(package)
    _network_filter().load()


_NULL: Final = Path("/dev/null")
_libc = ctypes.CDLL(None, use_errno=True)


def protect_this_process(protected: bool) -> None:
    """Keep others of the same user from reading this process through /proc; for the parent, while a child runs."""
    _control(SET_DUMPABLE, 0 if protected else 1)


def _control(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _limit(limits: Limits) -> None:
    for which, amount in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_AS, limits.memory_bytes + MAPPED_ROOM_BYTES),
    ):
        _, most = resource.getrlimit(which)
        value = amount if most == resource.RLIM_INFINITY else min(amount, most)
        resource.setrlimit(which, (value, value))
    # the soft limit first: SIGXCPU tells the parent which limit it was, SIGKILL would not
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _libraries() -> Iterator[Path]:
    yield from (Path(name) for name in SYSTEM_FILES)
    yield from {Path(name) for name in (sys.prefix, sys.base_prefix, *sys.path) if name}


def _system_call_filter() -> Any:
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    own = os.getpid()
    rules.add_rule(seccomp.ERRNO(errno.EACCES), "socket")
    denied = seccomp.ERRNO(errno.EPERM)
    for name in DENIED_CALLS:
        rules.add_rule(denied, name)
    for name in ("kill", "tgkill", "rt_sigqueueinfo"):
        rules.add_rule(denied, name, seccomp.Arg(0, seccomp.NE, own))
    rules.add_rule(denied, "prlimit64", seccomp.Arg(0, seccomp.NE, 0))
    # threads yes, processes no; clone3 hides its flags behind a pointer, and C libraries fall back to clone
    rules.add_rule(denied, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    return rules


def _network_filter() -> Any:
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    for family in NETWORK_FAMILIES:
        rules.add_rule(seccomp.KILL_PROCESS, "socket", seccomp.Arg(0, seccomp.EQ, int(family)))
    return rules


def _refuse_readable_secrets(hidden: tuple[str, ...]) -> None:
    """Where Landlock is missing, files of the same user stay readable: then there must be none to protect."""
    for name in hidden:
        try:
            found = os.listdir(name)
        except OSError:
            continue
        if found:
            raise NotConfined(
                f"the loader could still read {name}: this node's kernel has no Landlock (Linux 5.13, enabled), "
                "which keeps the Job's credentials from it; run the Job on a node that has it"
            )
