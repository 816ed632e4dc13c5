"""Configuration files of the node, as values."""

import json
import tomllib
from pathlib import Path

import pytest

from visionmodel_devcluster.certificates import Authority
from visionmodel_devcluster.node import (
    NodeFolders,
    cni_config,
    containerd_config,
    docker_registry_config,
    filesystem_of,
    has_capability,
    kube_proxy_config,
    kubelet_config,
    registry_hosts,
    snapshotter_for,
)

FOLDERS = NodeFolders(Path("/state dir"), "other")
MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /home rw - btrfs /dev/vdb rw
31 22 0:31 / /home/me/work rw - overlay overlay rw
"""


def test_containerd_config_is_toml_with_all_folders_inside_the_state() -> None:
    config = tomllib.loads(containerd_config(FOLDERS, "pause:1", "overlayfs", may_lower_oom=True))
    runtime = config["plugins"]["io.containerd.cri.v1.runtime"]
    assert config["root"] == "/state dir/images/containerd"
    assert config["state"] == "/state dir/run/containerd"
    assert config["grpc"]["address"] == "/state dir/run/containerd.sock"
    assert runtime["restrict_oom_score_adj"] is False
    assert runtime["cni"]["conf_dir"] == "/state dir/cni/net.d"
    assert runtime["containerd"]["runtimes"]["runc"]["options"] == {
        "BinaryName": "/usr/sbin/runc",
        "Root": "/state dir/run/runc",
        "SystemdCgroup": False,
    }


def test_containerd_restricts_oom_scores_without_the_capability() -> None:
    config = tomllib.loads(containerd_config(FOLDERS, "pause:1", "native", may_lower_oom=False))
    assert config["plugins"]["io.containerd.cri.v1.runtime"]["restrict_oom_score_adj"] is True
    assert config["plugins"]["io.containerd.cri.v1.images"]["snapshotter"] == "native"


def test_registry_is_reached_by_plain_http() -> None:
    assert tomllib.loads(registry_hosts("10.0.0.1:5001")) == {
        "server": "http://10.0.0.1:5001",
        "host": {"http://10.0.0.1:5001": {"capabilities": ["pull", "resolve", "push"]}},
    }


def test_network_keeps_its_addresses_in_the_state() -> None:
    bridge, portmap = cni_config(FOLDERS)["plugins"]
    assert bridge["ipam"]["dataDir"] == "/state dir/cni/addresses"
    assert bridge["hairpinMode"] is True
    assert portmap["capabilities"] == {"portMappings": True}


def test_pods_of_each_cluster_have_a_control_group_of_their_own() -> None:
    config = kubelet_config(FOLDERS, Authority(Path("/pki")), "/etc/resolv.conf")
    assert config["cgroupRoot"] == "/other-devcluster"
    assert config["podLogsDir"] == "/state dir/pod-logs"


def test_kubelet_admits_nobody_without_a_certificate() -> None:
    config = kubelet_config(FOLDERS, Authority(Path("/pki")), "/etc/resolv.conf")
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}


def test_kube_proxy_leaves_connection_tracking_alone() -> None:
    config = kube_proxy_config(Path("/kubeconfig"))
    assert config["mode"] == "nftables"
    assert config["conntrack"] == {
        "maxPerCore": 0,
        "min": 0,
        "tcpEstablishedTimeout": "0s",
        "tcpCloseWaitTimeout": "0s",
    }


def test_registry_listens_on_the_nodes_address_only() -> None:
    config = docker_registry_config(FOLDERS)
    assert config["http"] == {"addr": "10.244.0.1:5001"}
    assert json.dumps(config)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("Name:\tx\nCapEff:\t000001ffffffffff\n", True),
        ("CapEff:\t00000000a80425fb\n", False),
        ("Name:\tx\n", False),
    ],
    ids=["all", "a container's", "unknown"],
)
def test_capability(status: str, expected: bool) -> None:
    assert has_capability(24, status) is expected


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/var/lib", "ext4"), ("/home/you", "btrfs"), ("/home/me/work/x", "overlay"), ("/homework", "ext4")],
)
def test_filesystem_of(path: str, kind: str) -> None:
    assert filesystem_of(Path(path), MOUNTINFO) == kind


@pytest.mark.parametrize(("filesystem", "expected"), [("ext4", "overlayfs"), ("overlay", "native")])
def test_snapshotter(filesystem: str, expected: str) -> None:
    assert snapshotter_for(filesystem) == expected
