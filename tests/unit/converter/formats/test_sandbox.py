"""The sandbox against a loader that does its worst: real processes, real limits, a real filter of system calls."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from visionmodel_contract.formats import SourceFormat
from visionmodel_converter.failures import EXIT_CODES, ConversionFailure, Reason
from visionmodel_converter.formats import landlock
from visionmodel_converter.formats.child import OWN_REASONS, LoaderJob
from visionmodel_converter.formats.confinement import Confinement, Limits
from visionmodel_converter.formats.sandbox import run_confined

MEBIBYTE = 1024 * 1024
FAKE = Path(__file__).with_name("fake_loader.py")
needs_landlock = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")


def run(folder: Path, deed: str, limits: Mapping[str, int] | None = None, hidden: tuple[Path, ...] = ()) -> Path:
    """Let the fake loader do one deed; returns the folder of its results."""
    work = folder / "work"
    out = work / "out"
    out.mkdir(parents=True)
    (work / "source").write_text("model")
    allowed = Limits(**{"memory_bytes": 256 * MEBIBYTE, "cpu_seconds": 30, "wall_seconds": 60, **(limits or {})})
    confinement = Confinement(
        limits=allowed,
        readable=(str(work / "source"),),
        writable=(str(out), str(work / "scratch")),
        hidden=tuple(map(str, hidden)),
    )
    job = LoaderJob(format=SourceFormat.KERAS, source=str(work / "source"), out=str(out), confinement=confinement)
    run_confined(job, work, threads=1, command=(sys.executable, "-I", "-B", str(FAKE), deed))
    return out


def test_a_loader_that_behaves(tmp_path: Path) -> None:
    assert (run(tmp_path, "behave") / "model.onnx").read_bytes() == b"graph"


@needs_landlock
def test_what_a_loader_sees_and_can_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "let-me-in")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "token").write_text("let-me-in")
    with (secret / "token").open() as inherited:
        os.set_inheritable(inherited.fileno(), True)
        report = json.loads((run(tmp_path, "report", hidden=(secret,)) / "report.json").read_text())
    assert "AWS_SECRET_ACCESS_KEY" not in report["environment"]
    assert set(report["environment"]) <= {
        *("PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
        *("CUDA_VISIBLE_DEVICES", "KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_NUM_INTRAOP_THREADS"),
        *("ORT_DISABLE_TELEMETRY", "TORCH_FORCE_WEIGHTS_ONLY_LOAD"),
    }
    del report["environment"]
    assert report == {
        "source": "model",
        "cwd": [],
        "descriptors": [0, 1, 2],
        "read a secret": "PermissionError",
        "list the system's configuration": "PermissionError",
        "read the parent's environment": "PermissionError",
        "read the parent's memory": "PermissionError",
        "signal the parent": "PermissionError",
        "fork": "PermissionError",
        "execute": "PermissionError",
        "write elsewhere": "PermissionError",
        "write the source": "PermissionError",
        "unix socket": "PermissionError",
        "netlink socket": "PermissionError",
        "start a thread": "done: 'ran'",
        "write into scratch": "done: 1",
    }


ENDS: dict[str, tuple[str, dict[str, int], Reason, str]] = {
    "network": ("connect", {}, Reason.LOADER_TRIED_NETWORK, "before anything was sent"),
    "network v6": ("connect_v6", {}, Reason.LOADER_TRIED_NETWORK, "network connection"),
    "memory": ("eat_memory", {"memory_bytes": 64 * MEBIBYTE}, Reason.LOADER_LIMIT, "more than 64 MiB of memory"),
    "file size": ("write_too_much", {"file_bytes": 3 * MEBIBYTE}, Reason.LOADER_LIMIT, "more than 3145728 bytes"),
    "cpu": ("spin", {"cpu_seconds": 1}, Reason.LOADER_LIMIT, "1 s of CPU time"),
    "deadline": ("wait", {"wall_seconds": 1}, Reason.LOADER_LIMIT, "more than 1 s"),
    "signal": ("crash", {}, Reason.LOADER_CRASHED, "signal SIGSEGV"),
    "exception": ("raise_error", {}, Reason.LOADER_CRASHED, "exit code 1"),
    "no verdict": ("exit_well", {}, Reason.LOADER_RESULT_INVALID, "no verdict can be read"),
    "linked verdict": ("forge link", {}, Reason.LOADER_RESULT_INVALID, "no verdict"),
    "huge verdict": ("forge x", {}, Reason.LOADER_RESULT_INVALID, "no verdict"),
    "verdict of another kind": ("forge []", {}, Reason.LOADER_RESULT_INVALID, "no verdict"),
    "retryable reason": ("claim_outage", {}, Reason.LOADER_RESULT_INVALID, "not for it to say"),
    "own reason": ("refuse", {}, Reason.LAMBDA_LAYER, "layer [2J'twice' is a Lambda"),
}


@pytest.mark.parametrize(("deed", "limits", "reason", "says"), ENDS.values(), ids=ENDS)
def test_every_bad_end_has_its_reason(
    tmp_path: Path, deed: str, limits: dict[str, int], reason: Reason, says: str
) -> None:
    with pytest.raises(ConversionFailure) as caught:
        run(tmp_path, deed, limits)
    assert (caught.value.reason, says in caught.value.message) == (reason, True), caught.value.message
    assert len(caught.value.message) <= 1000
    assert caught.value.message.isprintable()


def test_memory_is_limited_by_what_is_used_and_not_by_what_is_mapped(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure):
        run(tmp_path, "eat_memory", {"memory_bytes": 64 * MEBIBYTE})
    assert 8 < len((tmp_path / "work" / "out" / "had").read_text()) < 64


def test_the_log_is_shown_without_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConversionFailure):
        run(tmp_path, "raise_error")
    shown = capsys.readouterr().err
    assert "loader: secret [31mlog\n" in shown
    assert "nobody thought of this" in shown


def test_a_readable_secret_stops_the_load(tmp_path: Path) -> None:
    """As on a kernel without Landlock: here a folder that the loader may read stands for one that it should not."""
    with pytest.raises(ConversionFailure) as caught:
        run(tmp_path, "behave", hidden=(Path("/usr"),))
    assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE
    assert "/usr" in caught.value.message


def test_a_loader_cannot_make_the_job_try_again() -> None:
    assert {reason: EXIT_CODES[reason] for reason in OWN_REASONS if EXIT_CODES[reason] < 80} == {}
