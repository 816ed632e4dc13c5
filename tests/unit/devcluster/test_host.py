"""What is undone on the host is exactly what this package did."""

from pathlib import Path

import pytest

from visionmodel_devcluster import pods
from visionmodel_devcluster.host import HostRecord, merged, read_record, remove_leftovers, write_record
from visionmodel_devcluster.network import nft_rules, rule_handles
from visionmodel_devcluster.node import NodeFolders

FIRST = HostRecord({"net/ipv4/ip_forward": "0"}, ["ip filter"], ["/var/lib/cni"], "boot 1")
CHANGED = HostRecord({"net/ipv4/ip_forward": "1"}, ["ip filter", "ip kube-proxy"], [], "boot 1")
REBOOTED = HostRecord({"net/ipv4/ip_forward": "2"}, [], ["/run/containerd"], "boot 2")
MOUNTINFO = """\
20 1 254:0 / / rw - ext4 /dev/vda rw
21 20 254:0 / /state/kubelet rw shared:9 - ext4 /dev/vda rw
22 21 0:4 / /state/kubelet/pods/1/with\\040space rw - tmpfs tmpfs rw
23 20 0:5 / /state-of-another/kubelet rw - tmpfs tmpfs rw
24 20 0:6 / /state rw - tmpfs tmpfs rw
"""
FORWARD = """\
table ip filter { # handle 1
	chain FORWARD { # handle 3
		type filter hook forward priority filter; policy drop;
		iifname "vmdev0" accept comment "visionmodel-devcluster" # handle 8
		iifname "docker0" accept # handle 9
		oifname "vmdev0" accept comment "visionmodel-devcluster" # handle 7
	}
}
"""


@pytest.mark.parametrize(
    ("earlier", "now", "kept"),
    [
        (None, FIRST, FIRST),
        (FIRST, CHANGED, FIRST),
        (FIRST, REBOOTED, HostRecord({"net/ipv4/ip_forward": "2"}, [], ["/run/containerd", "/var/lib/cni"], "boot 2")),
    ],
    ids=["first up", "repeated up sees our own changes", "after a reboot settings are the machine's again"],
)
def test_record_that_is_kept(earlier: HostRecord | None, now: HostRecord, kept: HostRecord) -> None:
    assert merged(earlier, now) == kept


def test_record_is_read_as_written(tmp_path: Path) -> None:
    write_record(FIRST, tmp_path / "host.json")
    assert read_record(tmp_path / "host.json") == FIRST


@pytest.mark.parametrize("text", ["", "{", '{"unknown": 1}'])
def test_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "host.json").write_text(text)
    assert read_record(tmp_path / "host.json") is None


def test_mounts_below_a_folder_latest_first() -> None:
    assert pods.mounts_below(Path("/state"), MOUNTINFO) == ["/state/kubelet/pods/1/with space", "/state/kubelet"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/state", True), ("/state/kubelet/pods", True), ("/state/kubelet/pods/2", False), ("/state/kube", False)],
)
def test_is_mounted_at_or_below(path: str, expected: bool) -> None:
    assert pods.is_mounted(Path(path), MOUNTINFO) is expected


def test_leftovers_are_our_files_and_empty_folders(tmp_path: Path) -> None:
    path = tmp_path / "kubelet"
    (path / "device-plugins" / "empty").mkdir(parents=True)
    ours = path / "device-plugins" / "kubelet.sock"
    ours.touch()
    remove_leftovers(path, [str(ours), str(tmp_path / "elsewhere")], MOUNTINFO)
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_else_has_put_beside_our_leftovers_stays(tmp_path: Path) -> None:
    path = tmp_path / "containerd"
    (path / "s").mkdir(parents=True)
    ours, theirs = path / "s" / "ours", path / "s" / "theirs"
    ours.touch()
    theirs.touch()
    (path / "empty").mkdir()
    remove_leftovers(path, [str(ours)], MOUNTINFO)
    assert [found for found in path.rglob("*") if not found.is_dir()] == [theirs]
    assert not (path / "empty").exists()


def test_nothing_is_removed_where_something_is_mounted(tmp_path: Path) -> None:
    path = tmp_path / "kubelet"
    (path / "pods" / "volume").mkdir(parents=True)
    (path / "kubelet.sock").touch()
    mountinfo = f"40 20 0:9 / {path}/pods/volume rw - tmpfs tmpfs rw\n"
    remove_leftovers(path, [str(path / "kubelet.sock")], mountinfo)
    assert (path / "kubelet.sock").exists()
    assert (path / "pods" / "volume").exists()


def test_leftovers_that_are_not_there_are_no_failure(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "absent", [str(tmp_path / "absent" / "file")], MOUNTINFO)
    assert list(tmp_path.iterdir()) == []


def test_only_pods_traffic_is_masqueraded() -> None:
    rules = [line.strip() for line in nft_rules().splitlines() if "masquerade" in line]
    assert rules == ["ip saddr 10.244.0.0/24 ip daddr != 10.244.0.0/24 masquerade"]


def test_our_rules_in_the_chain_of_somebody_else() -> None:
    assert rule_handles(FORWARD) == ["8", "7"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/cache/containerd-shim-runc-v2", "-address", "/state/run/containerd.sock"], True),
        (["/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock"], False),
        (["/usr/bin/tail", "/state/run/containerd.sock"], False),
        ([], False),
    ],
    ids=["ours", "docker's", "another program", "kernel thread"],
)
def test_shim(arguments: list[str], expected: bool) -> None:
    assert pods.is_shim(arguments, Path("/state/run/containerd.sock")) is expected


def test_shim_socket_is_named_as_containerd_does() -> None:
    expected = "/run/containerd/s/b3069e681f44459d2a4b61de815a2b5abe7b562ee6f1070294f40a8a2fb21d0f"
    assert pods.shim_socket(Path("/state/run/containerd.sock"), "k8s.io", "a") == Path(expected)


def test_bundle_that_says_nothing_yet_has_its_socket(tmp_path: Path) -> None:
    folders = NodeFolders(tmp_path)
    (folders.run / "containerd" / "io.containerd.runtime.v2.task" / "k8s.io" / "a").mkdir(parents=True)
    assert pods.shim_sockets(folders) == [pods.shim_socket(folders.socket, "k8s.io", "a")]
