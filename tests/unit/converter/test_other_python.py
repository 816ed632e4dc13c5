"""How the tool of another environment ends, and which ends are worth another run."""

import stat
from pathlib import Path

import pytest

from visionmodel_contract.exits import PERMANENT_EXIT_CODES
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.other_python import run_script


def outcome(folder: Path, lines: str) -> str | None:
    """Run a stand-in for the other Python, which is given `-I SCRIPT ARGUMENT`."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{lines}\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return run_script(python, folder / "script.py", ["max"], environment={"HOME": "here"}, tool="Tool")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("exit 0", None),
        ('test "$1 $3 $HOME" = "-I max here"', None),
        ("echo noise; echo '  no such node  ' >&2; exit 1", "no such node"),
        ("exit 3", "exit code 3"),
    ],
)
def test_an_end_that_would_be_the_same_again(lines: str, said: str | None, tmp_path: Path) -> None:
    assert outcome(tmp_path, lines) == said


@pytest.mark.parametrize(
    ("lines", "reason", "words"),
    [
        ("kill -KILL $$", Reason.PROCESS_KILLED, "Tool was ended by signal SIGKILL, as it is where memory is short"),
        ("kill -40 $$", Reason.PROCESS_KILLED, "Tool was ended by signal 40"),
        (
            "echo 'OSError: [Errno 28] No space left on device' >&2; echo 'giving up' >&2; exit 1",
            Reason.DISK_FULL,
            "Tool failed: giving up: the node's disk is full",
        ),
        ("echo 'Disk quota exceeded'; exit 1", Reason.DISK_FULL, "the node's disk is full"),
    ],
)
def test_an_end_that_another_run_may_not_have(lines: str, reason: Reason, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match=words) as refusal:
        outcome(tmp_path, lines)
    assert (refusal.value.reason, refusal.value.exit_code in PERMANENT_EXIT_CODES) == (reason, False)
