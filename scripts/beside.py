"""Runs one command beside another: `beside.py --log FILE --beside COMMAND -- COMMAND...`. Called by the Makefile.

The one beside writes into a file, which is printed when both have ended, so that two outputs never mix and none is
lost. Both are waited for whatever happens; the exit status is 0 only if both ended with 0.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run(foreground: Sequence[str], beside: Sequence[str], log: Path) -> int:
    """Run both; the exit status of the first one that failed, 0 if none did."""
    name = shlex.join(beside)
    _say(f"beside: {name} (its output so far: {log})")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(beside, stdout=output, stderr=subprocess.STDOUT)
    try:
        status = subprocess.call(foreground)
    finally:
        # Ctrl-C reaches both; what runs beside then takes down what it has started.
        other = process.wait()
        _say(f"beside: {name} ended with {other}:\n{log.read_text(encoding='utf-8', errors='replace')}")
    return status or other


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--log", type=Path, required=True, help="where the output of the one beside goes meanwhile")
    parser.add_argument("--beside", required=True, metavar="COMMAND", help="one argument, quoted for a shell")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    return run(options.command, shlex.split(options.beside), options.log)


if __name__ == "__main__":
    sys.exit(main())
