"""A pid alone says nothing: after a crash or a reboot it may be somebody else's."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from visionmodel_devcluster.health import wait_for
from visionmodel_devcluster.processes import (
    Identity,
    ProcessFolder,
    Program,
    is_zombie_from_stat,
    observe_identity,
    send,
    start_time_from_stat,
    wait_until_gone,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

FIELDS = "S 1 100 100 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200"
FOREVER = (sys.executable, "-c", "import time\nwhile True: time.sleep(60)")
# Says so when its first thread is about to end; the second one runs until it is killed.
HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
# Starts a program that outlives it, and says as what.
STARTER = """
import json, pathlib, sys
from dataclasses import asdict
from visionmodel_devcluster.processes import ProcessFolder, Program
folder = ProcessFolder(pathlib.Path(sys.argv[1]))
print(json.dumps(asdict(folder.start(Program("one", ("sleep", "600"))))))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ProcessFolder]:
    folder = ProcessFolder(tmp_path)
    yield folder
    folder.stop(folder.names(), grace=0.0)


def record_of(tmp_path: Path, name: str, identity: Identity) -> None:
    (tmp_path / "processes").mkdir(exist_ok=True)
    (tmp_path / "processes" / f"{name}.json").write_text(json.dumps(asdict(identity)))


@pytest.mark.parametrize("name", ["etcd", "two words", "a) S 1 (b", "((("])
def test_start_time_whatever_the_program_is_called(name: str) -> None:
    assert start_time_from_stat(f"42 ({name}) {FIELDS}") == 987654


@pytest.mark.parametrize(("state", "expected"), [("S", False), ("R", False), ("Z", True)])
def test_zombie(state: str, expected: bool) -> None:
    assert is_zombie_from_stat(f"42 (x) {state}{FIELDS[1:]}") is expected


def test_started_program_runs_once(folder: ProcessFolder) -> None:
    first = folder.start(Program("one", FOREVER))
    second = folder.start(Program("one", FOREVER))
    assert first == second == folder.running("one")


def test_stopped_program_is_forgotten(folder: ProcessFolder) -> None:
    identity = folder.start(Program("one", FOREVER))
    folder.stop(["one"], grace=0.0)
    assert observe_identity(identity.pid) != identity
    assert folder.names() == []


def test_killed_program_is_started_anew(folder: ProcessFolder) -> None:
    first = folder.start(Program("one", FOREVER))
    send(first, signal.SIGKILL)
    assert wait_until_gone([first], 10.0)
    assert folder.running("one") is None
    assert folder.start(Program("one", FOREVER)) != first


def state_of(identity: Identity) -> str:
    return Path(f"/proc/{identity.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_process_without_its_first_thread_runs_until_its_last_one_ends(folder: ProcessFolder) -> None:
    identity = folder.start(Program("one", (sys.executable, "-c", HEADLESS)))
    wait_for(lambda: state_of(identity) == "Z", 10.0, "the end of the first thread")
    assert folder.running("one") == identity
    assert not wait_until_gone([identity], 0.0)
    folder.stop(["one"], grace=0.0)
    assert observe_identity(identity.pid) is None
    # Waited for: the kernel has forgotten it.
    assert not Path(f"/proc/{identity.pid}").exists()


def test_starter_ends_without_a_complaint_about_what_runs_on(folder: ProcessFolder, tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "always", "-c", STARTER, str(tmp_path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert folder.running("one") == Identity(**json.loads(done.stdout))


@pytest.mark.parametrize(
    "changed",
    [{"start_time": 1}, {"boot_id": "an earlier boot"}],
    ids=["pid was given to another process", "machine was rebooted"],
)
def test_process_of_somebody_else_is_never_stopped(
    folder: ProcessFolder, tmp_path: Path, changed: dict[str, int | str]
) -> None:
    other = subprocess.Popen(FOREVER)
    try:
        identity = observe_identity(other.pid)
        assert identity is not None
        record_of(tmp_path, "one", replace(identity, **changed))  # type: ignore[arg-type]
        assert folder.running("one") is None
        folder.stop(["one"], grace=0.0)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_record_that_a_power_cut_damaged_is_no_process(folder: ProcessFolder, tmp_path: Path, text: str) -> None:
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "one.json").write_text(text)
    assert folder.running("one") is None


def test_log_tail_of_a_program_that_ended(folder: ProcessFolder) -> None:
    identity = folder.start(Program("one", (sys.executable, "-c", "print('why it ended')")))
    assert wait_until_gone([identity], 10.0)
    assert folder.log_tail("one") == "why it ended"


def test_environment_is_passed(folder: ProcessFolder) -> None:
    code = "import os; print(os.environ['GIVEN'], os.environ['PATH'])"
    identity = folder.start(Program("one", (sys.executable, "-c", code), {"GIVEN": "yes"}))
    assert wait_until_gone([identity], 10.0)
    assert folder.log_tail("one") == f"yes {os.environ['PATH']}"
