"""Two commands at once: no output is lost or mixed, and no failure is overlooked."""

import shlex
import sys
from pathlib import Path

import pytest
from scripts.beside import main

WAIT = """
import pathlib, sys, time
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
print("beside was here")
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


@pytest.mark.parametrize(
    ("foreground", "beside", "expected"),
    [(0, 0, 0), (3, 0, 3), (0, 4, 4), (3, 4, 3)],
    ids=["both end well", "the first fails", "the one beside fails", "both fail"],
)
def test_status(tmp_path: Path, foreground: int, beside: int, expected: int) -> None:
    other = shlex.join(python(f"raise SystemExit({beside})"))
    options = ["--log", str(tmp_path / "new" / "log"), "--beside", other, "--"]
    assert main([*options, *python(f"raise SystemExit({foreground})")]) == expected


def test_output_of_the_one_beside_follows_the_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The one beside waits for the other one's end, so both must run at the same time."""
    log, mark = tmp_path / "log", tmp_path / "mark"
    first = python("import pathlib, sys; print('first'); pathlib.Path(sys.argv[1]).touch()", str(mark))
    other = shlex.join(python(WAIT, str(mark)))
    assert main(["--log", str(log), "--beside", other, "--", *first]) == 0
    printed = capfd.readouterr().out
    assert printed.endswith("ended with 0:\nbeside was here\n\n")
    assert printed.index("\nfirst\n") < printed.index("\nbeside was here\n")
    assert printed.count("\nbeside was here\n") == 1


def test_an_absent_command_leaves_nothing_running(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = shlex.join(python("print('beside was here')"))
    with pytest.raises(FileNotFoundError):
        main(["--log", str(tmp_path / "log"), "--beside", other, "--", str(tmp_path / "absent")])
    assert "ended with 0:\nbeside was here" in capfd.readouterr().out
