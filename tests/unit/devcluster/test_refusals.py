"""What cannot work is refused with what to do instead, before anything is changed."""

import os
import platform
from pathlib import Path

import pytest
from typer.testing import CliRunner

from visionmodel_devcluster import Cluster, ClusterOptions, DevClusterError
from visionmodel_devcluster.builds import go_choice
from visionmodel_devcluster.cli import app
from visionmodel_devcluster.packages import PACKAGES, missing_packages
from visionmodel_devcluster.paths import cache_dir, default_state_dir


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "geteuid", lambda: 65534)


@pytest.mark.usefixtures("as_user")
def test_without_root(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with pytest.raises(DevClusterError, match=r"needs root.*KUBECONFIG=\.\.\. REGISTRY=\.\.\. make demo"):
        Cluster(ClusterOptions(state_dir=state)).up()
    assert not state.exists()


def test_on_another_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(DevClusterError, match="needs Linux, and this is Darwin"):
        Cluster(ClusterOptions(state_dir=tmp_path / "state")).up()


@pytest.mark.usefixtures("as_user")
def test_command_line_prints_a_refusal_without_a_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["cluster", "up", "--state-dir", str(tmp_path / "state")])
    assert result.exit_code == 1
    assert result.stderr.startswith("The dev cluster needs root")
    assert isinstance(result.exception, SystemExit)


def test_unknown_gpu(tmp_path: Path) -> None:
    arguments = ["cluster", "up", "--gpu-product", "Voodoo2", "--state-dir", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert result.stderr == (
        "unknown GPU 'Voodoo2'; known: NVIDIA-L4, Tesla-T4, NVIDIA-A100-SXM4-80GB, NVIDIA-H100-80GB-HBM3\n"
    )


def test_unknown_binary() -> None:
    result = CliRunner().invoke(app, ["binary", "docker"])
    assert result.exit_code == 1
    assert "no binary 'docker'" in result.stderr


def test_kubeconfig_without_a_cluster(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["cluster", "kubeconfig", "--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == f"no cluster in {tmp_path}; run `cluster up` first\n"


def test_status_without_a_cluster_fails(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["cluster", "status", "--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stdout.count("NOT HEALTHY   not running") == 8


def test_down_without_a_cluster_does_nothing(tmp_path: Path) -> None:
    Cluster(ClusterOptions(state_dir=tmp_path / "absent")).down()
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        (frozenset(PACKAGES), []),
        (frozenset(PACKAGES) - {"/usr/sbin/runc", "nft"}, ["nftables", "runc"]),
    ],
    ids=["all there", "two are missing"],
)
def test_missing_packages(found: frozenset[str], missing: list[str]) -> None:
    assert missing_packages(found) == missing


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((0, 0, 0), "packaged"),
        ((1, 19, 8), "packaged"),
        ((1, 20, 14), "packaged"),
        ((1, 21, 0), "auto"),
        ((1, 26, 6), "auto"),
        ((1, 26, 7), "local"),
        ((1, 30, 0), "local"),
    ],
    ids=["none", "bookworm's", "before toolchains", "with toolchains", "just too old", "just new enough", "newer"],
)
def test_choice_of_go(version: tuple[int, int, int], expected: str) -> None:
    assert go_choice(version) == expected


@pytest.mark.parametrize(
    ("environ", "cache", "state"),
    [
        ({"HOME": "/h"}, "/h/.cache/visionmodel", "/h/.local/state/visionmodel-devcluster/n"),
        (
            {"HOME": "/h", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"},
            "/c/visionmodel",
            "/s/visionmodel-devcluster/n",
        ),
        ({"HOME": "/h", "VISIONMODEL_CACHE": "/v"}, "/v", "/h/.local/state/visionmodel-devcluster/n"),
    ],
    ids=["home", "xdg", "explicit"],
)
def test_folders(environ: dict[str, str], cache: str, state: str) -> None:
    assert (cache_dir(environ), default_state_dir("n", environ)) == (Path(cache), Path(state))
