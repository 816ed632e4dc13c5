"""Run a loader in a child process that has no network, no credentials, little room, and that nobody believes.

The child locks itself in (`confinement`) before it looks at the source; this side gives it an empty environment, an
empty working folder and a deadline, and reads back only what has the right type and size. Called by `load`.
"""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.formats.child import OWN_REASONS, VERDICT_FILE, LoaderJob, Verdict, out_of_memory
from visionmodel_converter.formats.confinement import Limits, protect_this_process

COMMAND: Final = (sys.executable, "-I", "-B", "-m", "visionmodel_converter.formats.child")
"""-I: neither the environment nor the working folder adds to the import path."""
MAX_VERDICT_BYTES: Final = 64 * 1024
MAX_MESSAGE_CHARACTERS: Final = 1000
SHOWN_LOG_BYTES: Final = 4000
OUT: Final = "out"
SCRATCH: Final = "scratch"
LOG: Final = "log.txt"


def run_confined(job: LoaderJob, folder: Path, *, threads: int, command: Sequence[str] = COMMAND) -> None:
    """Run a loader; returns when its verdict is good, with its files in `job.out`, which are still untrusted.

    Raises ConversionFailure with the loader's own reason, or LoaderTriedNetwork, LoaderLimit, LoaderCrashed,
    LoaderResultInvalid or SandboxUnavailable.
    """
    job_file = folder / "job.json"
    job_file.write_text(job.to_json(), encoding="utf-8")
    scratch = folder / SCRATCH
    scratch.mkdir()
    log = folder / LOG
    try:
        with log.open("wb") as output, _protected():
            code = _wait([*command, str(job_file)], output.fileno(), scratch, threads, job.confinement.limits)
    finally:
        _show_log(log)
    _refuse_bad_end(code, job)
    verdict = _read_verdict(Path(job.out) / VERDICT_FILE)
    if verdict.reason is not None:
        if verdict.reason not in OWN_REASONS:
            raise invalid_result(f"it claims {verdict.reason}, which is not for it to say")
        raise ConversionFailure(verdict.reason, _plain(verdict.message))


def environment(scratch: Path, threads: int) -> Mapping[str, str]:
    """Return the whole environment of the child: nothing of ours is in it."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "ORT_DISABLE_TELEMETRY": "1",
        # torch.export.load unpickles with weights_only=False in places; this forces the safe unpickler on all of them
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    }


@contextmanager
def _protected() -> Iterator[None]:
    protect_this_process(True)
    try:
        yield
    finally:
        protect_this_process(False)


def _wait(command: Sequence[str], output: int, scratch: Path, threads: int, limits: Limits) -> int | None:
    """Return the child's exit code, negative for a signal, None when it had to be stopped at the deadline."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=scratch,
        env=environment(scratch, threads),
        close_fds=True,
        start_new_session=True,
    )
    try:
        return process.wait(limits.wall_seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also when this process is told to stop; the child can have no children of its own
        process.kill()
        process.wait()


def _refuse_bad_end(code: int | None, job: LoaderJob) -> None:
    limits, kind = job.confinement.limits, job.format.value
    if code == 0:
        return
    if code == -signal.SIGSYS:
        raise ConversionFailure(
            Reason.LOADER_TRIED_NETWORK,
            f"while it was loaded, the {kind} source tried to open a network connection, which no model needs; it was "
            "stopped before anything was sent; find out who made the file",
        )
    if code is None or code == -signal.SIGXCPU:
        raise ConversionFailure(
            Reason.LOADER_LIMIT,
            f"loading the {kind} source took more than {limits.wall_seconds} s, or {limits.cpu_seconds} s of CPU time; "
            "export the model to ONNX where it was trained",
        )
    if code == -signal.SIGXFSZ:
        raise ConversionFailure(
            Reason.LOADER_LIMIT,
            f"loading the {kind} source wrote a file of more than {limits.file_bytes} bytes; publish a smaller model",
        )
    if code == -signal.SIGKILL:
        raise ConversionFailure(Reason.LOADER_LIMIT, f"the {kind} source: {out_of_memory(job.confinement)}")
    end = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raise ConversionFailure(
        Reason.LOADER_CRASHED,
        f"the loader of the {kind} source ended with {end}; the end of its output is in the Job's log; it may need "
        f"more than {limits.memory_bytes // 1024**2} MiB (jobResources.memory), or the file is damaged",
    )


def _read_verdict(path: Path) -> Verdict:
    try:
        return Verdict.model_validate_json(read_untrusted(path, MAX_VERDICT_BYTES))
    except (OSError, ValueError, ValidationError) as error:
        raise invalid_result(f"no verdict can be read ({type(error).__name__})") from error


def read_untrusted(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file that an untrusted process made. Raises ValueError or OSError."""
    check_untrusted(path, max_bytes)
    return path.read_bytes()


def check_untrusted(path: Path, max_bytes: int) -> None:
    """Make sure that a path is a regular file of a size that we want to read. Raises ValueError or OSError."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise ValueError(f"{path.name} is no regular file")
    if not 0 < found.st_size <= max_bytes:
        raise ValueError(f"{path.name} has {found.st_size} bytes, at most {max_bytes} are read")


def invalid_result(what: str) -> ConversionFailure:
    """Return the failure for output that a loader of ours would not write."""
    return ConversionFailure(
        Reason.LOADER_RESULT_INVALID,
        f"the loader's process ended well, but {what}; the source may have taken it over: find out who made the file",
    )


def _plain(message: str) -> str:
    """Keep what people can read: the text comes from a process that nobody trusts."""
    return "".join(character for character in message if character.isprintable())[:MAX_MESSAGE_CHARACTERS]


def _show_log(log: Path) -> None:
    if not log.exists():
        return
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - SHOWN_LOG_BYTES), os.SEEK_SET)
        text = file.read(SHOWN_LOG_BYTES).decode(errors="replace")
    for line in text.splitlines():
        sys.stderr.write(f"loader: {_plain(line)}\n")
