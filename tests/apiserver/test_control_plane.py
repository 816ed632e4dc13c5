"""The control plane that the apiserver suite stands on: needs no root, runs beside others, ends with its user."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from visionmodel_devcluster import ControlPlane, binary
from visionmodel_devcluster.health import wait_for
from visionmodel_devcluster.processes import Identity, observe_identity

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

OPERATOR = Path(__file__).resolve().parents[2] / "operator"
# Starts a control plane in the folder that is its argument, says where the kubeconfig is, and waits for its end.
CALLER = """
import pathlib, sys, time
from visionmodel_devcluster import ControlPlane
with ControlPlane(pathlib.Path(sys.argv[1])) as kubeconfig:
    print(kubeconfig, flush=True)
    while True:
        time.sleep(60)
"""


def kubectl(kubeconfig: Path, *arguments: str) -> str:
    command = [str(binary("kubectl")), "--kubeconfig", str(kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def identities(folder: Path) -> list[Identity]:
    """The recorded processes that run."""
    recorded = [Identity(**json.loads(path.read_text())) for path in (folder / "processes").glob("*.json")]
    return [identity for identity in recorded if observe_identity(identity.pid) == identity]


@pytest.fixture(scope="module")
def kubeconfigs(control_plane: ControlPlane) -> Iterator[tuple[Path, Path]]:
    """The session's and one with controllers."""
    with ControlPlane(controller_manager=True) as second:
        yield control_plane.kubeconfig, second


def test_two_side_by_side_do_not_see_each_other(kubeconfigs: tuple[Path, Path]) -> None:
    first, second = kubeconfigs
    kubectl(first, "create", "namespace", "only-here")
    assert kubectl(first, "get", "namespace", "only-here", "-o", "name") == "namespace/only-here\n"
    assert kubectl(second, "get", "namespace", "only-here", "--ignore-not-found") == ""


def test_version_is_the_pinned_one(kubeconfigs: tuple[Path, Path]) -> None:
    assert json.loads(kubectl(kubeconfigs[0], "get", "--raw", "/version"))["gitVersion"] == "v1.36.3"


def test_controllers_run_where_they_are_asked_for(kubeconfigs: tuple[Path, Path]) -> None:
    """Only the controllers give a namespace its service account."""
    _, second = kubeconfigs
    kubectl(second, "create", "namespace", "with-account")
    wait_for(
        lambda: bool(kubectl(second, "get", "serviceaccount", "default", "-n", "with-account", "--ignore-not-found")),
        60,
        "the service account",
    )
    assert "default" in kubectl(second, "get", "serviceaccounts", "-n", "with-account", "-o", "name")


def test_kubeconfig_is_readable_by_its_owner_only(kubeconfigs: tuple[Path, Path]) -> None:
    assert kubeconfigs[0].stat().st_mode & 0o077 == 0


def test_strict_tls(kubeconfigs: tuple[Path, Path], tmp_path: Path) -> None:
    """Another authority is not believed: the clients really verify."""
    document = json.loads(kubeconfigs[0].read_text())
    other = json.loads(kubeconfigs[1].read_text())
    cluster = document["clusters"][0]["cluster"]
    cluster["certificate-authority-data"] = other["clusters"][0]["cluster"]["certificate-authority-data"]
    wrong = tmp_path / "kubeconfig"
    wrong.write_text(json.dumps(document))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        kubectl(wrong, "get", "namespaces")
    assert "certificate" in refused.value.stderr


def test_leaves_nothing_behind() -> None:
    plane = ControlPlane()
    with plane:
        running = identities(plane.state_dir)
    assert len(running) == 2
    assert [identity for identity in running if observe_identity(identity.pid) == identity] == []
    assert not plane.state_dir.exists()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv binds a process to the one that started it")
def test_dies_with_its_caller(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(OPERATOR)}
    command = [sys.executable, "-c", CALLER, str(tmp_path)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert Path(caller.stdout.readline().strip()).is_file()
        running = identities(tmp_path)
        caller.send_signal(signal.SIGKILL)
    assert len(running) == 2
    wait_for(lambda: identities(tmp_path) == [], 30, "the end of its servers")
