"""Scripts for the Pythons of other environments, whose packages exclude ours; how they end, told as failures.

What such a tool says against a model holds for every run; that it was killed, or that the disk was full, does not.
"""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.storage import disk_full, says_disk_full

WORDS: Final = 300


def run_script(
    python: Path, script: Path, arguments: Sequence[str], *, environment: Mapping[str, str], tool: str
) -> str | None:
    """Run a script and return the last line that it said if it failed, None if it did not.

    It sees the variables of `environment` alone; messages call it `tool`.

    Raises:
        ConversionFailure: ProcessKilled or DiskFull, after which another run may succeed.
    """
    command = [str(python), "-I", str(script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        raise ConversionFailure(
            Reason.PROCESS_KILLED,
            f"{tool} was ended by {_signal(-done.returncode)}, as it is where memory is short; if it happens again, "
            "raise the Helm value jobResources.memory",
        )
    said = f"{done.stdout}\n{done.stderr}"
    lines = [line.strip()[:WORDS] for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {done.returncode}"
    if says_disk_full(said):
        raise disk_full(f"{tool} failed: {last}")
    return last


def _signal(number: int) -> str:
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
