"""A loader that does what a hostile file would do; run by test_sandbox in the place of the real child's command.

`python -I fake_loader.py DEED JOB`: the process locks itself in as the real one does and then does one deed.
"""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.formats.child import VERDICT_FILE, LoaderJob, main


def behave(job: LoaderJob) -> None:
    """Leave one file, as a loader does."""
    (Path(job.out) / "model.onnx").write_bytes(b"graph")


def report(job: LoaderJob) -> None:
    """Write down what this process can see and do."""
    with Path(job.source).open("rb") as file:
        source = file.read()
    report = {
        "environment": sorted(os.environ),
        "source": source.decode(),
        "cwd": os.listdir("."),
        "descriptors": [number for number in range(256) if _is_open(number)],
        **{name: _try(deed) for name, deed in ATTEMPTS.items()},
    }
    (Path(job.out) / "report.json").write_text(json.dumps(report))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _try(deed: Callable[[], object]) -> str:
    try:
        return f"done: {deed()!r:.40}"
    except OSError as error:
        return type(error).__name__


def _thread() -> str:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append("ran"))
    thread.start()
    thread.join()
    return found[0]


ATTEMPTS: dict[str, Callable[[], object]] = {
    "read a secret": lambda: Path(os.environ["HOME"], "../../secret/token").read_text(),
    "list the system's configuration": lambda: os.listdir("/etc"),
    "read the parent's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "read the parent's memory": lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "fork": os.fork,
    "execute": lambda: os.execv("/bin/true", ["true"]),
    "write elsewhere": lambda: Path("/tmp/visionmodel-fake-loader").write_text("x"),
    "write the source": lambda: Path(sys.argv[-1]).with_name("source").write_text("x"),
    "unix socket": lambda: socket.socket(socket.AF_UNIX).fileno(),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).fileno(),
    "start a thread": _thread,
    "write into scratch": lambda: Path("note").write_text("x"),
}


def connect(job: LoaderJob) -> None:
    """Reach for the network and hide the failure."""
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except OSError:
        behave(job)


def connect_v6(job: LoaderJob) -> None:
    """The same by the other protocol."""
    socket.socket(socket.AF_INET6)


def eat_memory(job: LoaderJob) -> None:
    """Take more memory than is allowed, and count how much was had."""
    blocks = []
    with (Path(job.out) / "had").open("w") as count:
        while True:
            blocks.append(bytearray(1024**2))
            count.write("m")
            count.flush()


def write_too_much(job: LoaderJob) -> None:
    """Write one file without end."""
    with (Path(job.out) / "model.onnx").open("wb") as file:
        while True:
            file.write(bytes(1024**2))


def spin(job: LoaderJob) -> None:
    """Use the CPU without end."""
    while True:
        pass


def wait(job: LoaderJob) -> None:
    """Do nothing without end."""
    threading.Event().wait()


def crash(job: LoaderJob) -> None:
    """End as native code does on damaged input."""
    signal.raise_signal(signal.SIGSEGV)


def raise_error(job: LoaderJob) -> None:
    """End as Python code does on what nobody thought of."""
    print("secret \x1b[31mlog\x00", file=sys.stderr)
    raise LookupError("nobody thought of this")


def exit_well(job: LoaderJob) -> None:
    """End well without a verdict."""
    os._exit(0)


def refuse(job: LoaderJob) -> None:
    """Say why, with characters that would rewrite a terminal."""
    raise ConversionFailure(Reason.LAMBDA_LAYER, "layer \x1b[2J'twice' is a Lambda" + "x" * 5000)


def claim_outage(job: LoaderJob) -> None:
    """Claim a reason that would make the Job try again."""
    raise ConversionFailure(Reason.SOURCE_UNAVAILABLE, "try again")


def forge(verdict: str) -> Callable[[LoaderJob], None]:
    """Write a verdict of its own and end."""

    def deed(job: LoaderJob) -> None:
        path = Path(job.out) / VERDICT_FILE
        if verdict == "link":
            path.symlink_to("/etc/passwd")
        else:
            path.write_text(verdict * (100_000 if verdict == "x" else 1))
        os._exit(0)

    return deed


DEEDS: dict[str, Callable[[LoaderJob], None]] = {
    deed.__name__: deed
    for deed in (
        *(behave, report, connect, connect_v6, eat_memory, write_too_much, spin, wait, crash, raise_error),
        *(exit_well, refuse, claim_outage),
    )
} | {f"forge {verdict}": forge(verdict) for verdict in ("link", "x", "[]")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], DEEDS[sys.argv[1]]))
