"""Child processes that outlive the command which started them.

Each has a record on disk with its pid AND its start time: a pid alone may belong to somebody else after a crash or a
reboot, and this package must never stop a process that it did not start. Used by the control plane and by the node.
"""

import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
START_TIME_FIELD = 22
KILL_SECONDS = 10.0


@dataclass(frozen=True)
class Identity:
    """What tells one process from every other one that this machine ever ran."""

    pid: int
    start_time: int
    boot_id: str


@dataclass(frozen=True)
class Program:
    """A command to run as a child process."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    # Stopped together with the process that started it (a test that is killed must not leave an etcd behind).
    dies_with_parent: bool = False


def start_time_from_stat(stat: str) -> int:
    """Start time in clock ticks from the text of /proc/<pid>/stat.

    The program's name, in parentheses, may contain spaces and parentheses, so counting starts after the last one.
    """
    after_name = stat.rpartition(")")[2].split()
    return int(after_name[START_TIME_FIELD - 3])


def is_zombie_from_stat(stat: str) -> bool:
    """True for a process whose first thread has ended and was not waited for."""
    return stat.rpartition(")")[2].split()[0] == "Z"


def observe_identity(pid: int) -> Identity | None:
    """Identity of a running process, None when there is none.

    A process whose first thread has ended runs on, with its files and ports, until its last thread ends.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        has_threads = len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return None
    if is_zombie_from_stat(stat) and not has_threads:
        return None
    return Identity(pid, start_time_from_stat(stat), BOOT_ID.read_text(encoding="utf-8").strip())


class ProcessFolder:
    """The records and logs of the processes of one cluster."""

    def __init__(self, state_dir: Path) -> None:
        self._records = state_dir / "processes"
        self._logs = state_dir / "logs"

    def log_path(self, name: str) -> Path:
        """Where a process writes what it prints."""
        return self._logs / f"{name}.log"

    def names(self) -> list[str]:
        """Names of all processes that have a record."""
        return sorted(path.stem for path in self._records.glob("*.json"))

    def running(self, name: str) -> Identity | None:
        """The recorded process, if it is still the same one."""
        try:
            recorded = Identity(**json.loads((self._records / f"{name}.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            # A power cut leaves empty files, and then the process is gone too.
            return None
        return recorded if observe_identity(recorded.pid) == recorded else None

    def start(self, program: Program) -> Identity:
        """Start a program unless it already runs."""
        running = self.running(program.name)
        if running is not None:
            return running
        self._records.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log_path(program.name).open("ab") as log:
            pid = _spawn(program, log.fileno())
        identity = observe_identity(pid)
        if identity is None:
            os.waitpid(pid, 0)
            raise RuntimeError(f"{program.name} ended at once: {self.log_tail(program.name)}")
        _CHILDREN.add(identity)
        self._write_record(program.name, identity)
        return identity

    def _write_record(self, name: str, identity: Identity) -> None:
        scratch = self._records / f".{name}.tmp"
        scratch.write_text(json.dumps(asdict(identity)), encoding="utf-8")
        scratch.rename(self._records / f"{name}.json")

    def stop(self, names: Iterable[str], *, grace: float = 10.0) -> None:
        """Ask all named processes to end, then end them."""
        wanted = list(names)
        alive = {name: found for name in wanted if (found := self.running(name)) is not None}
        for identity in alive.values():
            send(identity, signal.SIGCONT)
            send(identity, signal.SIGTERM)
        if not wait_until_gone(alive.values(), grace):
            for identity in alive.values():
                send(identity, signal.SIGKILL)
            wait_until_gone(alive.values(), KILL_SECONDS)
        for name in wanted:
            (self._records / f"{name}.json").unlink(missing_ok=True)

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The end of a log, for error messages."""
        try:
            text = self.log_path(name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])


# The children of this interpreter that were not waited for yet: only the kernel knows when their last thread has ended.
_CHILDREN: set[Identity] = set()


def _spawn(program: Program, log: int) -> int:
    """Start a program in a session of its own; its pid.

    Without subprocess.Popen, which would complain at the end of this interpreter that its process runs on.
    """
    files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), *((os.POSIX_SPAWN_DUP2, log, fd) for fd in (1, 2))]
    argv, environ = _with_parent(program), {**os.environ, **program.environ}
    # Python ignores these two, and its children would too.
    restored = [signal.SIGPIPE, signal.SIGXFSZ]
    return os.posix_spawnp(argv[0], argv, environ, file_actions=files, setsid=True, setsigdef=restored)


def _with_parent(program: Program) -> list[str]:
    if not program.dies_with_parent:
        return list(program.argv)
    return ["setpriv", "--pdeathsig", "KILL", *program.argv]


def send(identity: Identity, number: signal.Signals) -> None:
    """Send a signal to exactly this process; nothing happens when it is gone."""
    if observe_identity(identity.pid) != identity:
        return
    try:
        os.kill(identity.pid, number)
    except ProcessLookupError:
        return


def wait_until_gone(identities: Iterable[Identity], seconds: float) -> bool:
    """Wait until none of the processes runs; False after `seconds`."""
    waiting = list(identities)
    deadline = time.monotonic() + seconds
    while waiting:
        waiting = [identity for identity in waiting if _is_running(identity)]
        if waiting and time.monotonic() > deadline:
            return False
        if waiting:
            time.sleep(0.02)
    return True


def _is_running(identity: Identity) -> bool:
    if identity not in _CHILDREN:
        return observe_identity(identity.pid) == identity
    ended, _ = os.waitpid(identity.pid, os.WNOHANG)
    if ended:
        _CHILDREN.remove(identity)
    return not ended
