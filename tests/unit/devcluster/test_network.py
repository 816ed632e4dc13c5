"""What `down` takes out of packet tables that belong to everybody; the listings were recorded with nft 1.0.6."""

import json
from pathlib import Path

import pytest

from visionmodel_devcluster import DevClusterError, network
from visionmodel_devcluster.network import dead_owner, undoing_commands
from visionmodel_devcluster.processes import ProcessFolder, Program

NFT = Path(__file__).parent / "nft"
# iptables-nft's table `nat` with one host port of a pod, as the network plugin for host ports writes it.
PORT_MAPPINGS = (NFT / "port-mappings.json").read_text(encoding="utf-8")
# A plain firewall: chains INPUT (policy drop, one rule) and FORWARD.
FIREWALL = (NFT / "firewall.json").read_text(encoding="utf-8")
PLUGIN_CHAINS = ("CNI-DN-abc", "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ")


def test_a_firewall_of_somebody_else_is_left_alone() -> None:
    assert undoing_commands(FIREWALL) == []


def test_the_plugins_chains_and_the_jumps_to_them_go() -> None:
    assert undoing_commands(PORT_MAPPINGS) == [
        "delete rule ip nat PREROUTING handle 6",
        "delete rule ip nat OUTPUT handle 8",
        "delete rule ip nat POSTROUTING handle 10",
        *(f"flush chain ip nat {name}" for name in PLUGIN_CHAINS),
        *(f"delete chain ip nat {name}" for name in PLUGIN_CHAINS),
    ]


@pytest.mark.parametrize("verdict", ["jump", "goto"])
def test_a_chain_of_somebody_else_loses_only_the_rule_that_leads_to_the_plugin(verdict: str) -> None:
    listing = json.loads(FIREWALL)
    place = {"family": "ip", "table": "filter"}
    expression = [{"counter": {"packets": 0, "bytes": 0}}, {verdict: {"target": "KUBE-FORWARD"}}]
    listing["nftables"] += [
        {"chain": {**place, "name": "KUBE-FORWARD", "handle": 7}},
        {"rule": {**place, "chain": "FORWARD", "handle": 8, "expr": expression}},
    ]
    assert undoing_commands(json.dumps(listing)) == [
        "delete rule ip filter FORWARD handle 8",
        "flush chain ip filter KUBE-FORWARD",
        "delete chain ip filter KUBE-FORWARD",
    ]


def test_a_table_that_has_gone_meanwhile_needs_nothing() -> None:
    assert undoing_commands("") == []


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bridge as the kernel shows it; the file in which its owner stands."""
    device = tmp_path / "vmdev0"
    device.mkdir()
    monkeypatch.setattr(network, "DEVICE", device)
    return device / "ifalias"


@pytest.mark.parametrize(
    ("alias", "had_record", "expected"),
    [("/ours", False, None), ("", True, None), ("/dead", False, Path("/dead")), ("/dead", True, Path("/dead"))],
    ids=["ours", "without a name, and we were here", "a dead cluster's", "a dead cluster's that came after ours"],
)
def test_whose_leftovers_are_taken_over(bridge: Path, alias: str, had_record: bool, expected: Path | None) -> None:
    bridge.write_text(f"{alias}\n")
    assert dead_owner(Path("/ours"), had_record=had_record) == expected


def test_without_a_bridge_nothing_is_taken_over(bridge: Path) -> None:
    bridge.parent.rmdir()
    assert dead_owner(Path("/ours"), had_record=True) is None


def test_a_bridge_of_nobody_is_refused(bridge: Path) -> None:
    bridge.write_text("\n")
    with pytest.raises(DevClusterError, match="remove it with: ip link delete"):
        dead_owner(Path("/ours"), had_record=False)


def test_a_cluster_that_runs_is_not_taken_over(bridge: Path, tmp_path: Path) -> None:
    bridge.write_text(f"{tmp_path}\n")
    processes = ProcessFolder(tmp_path)
    processes.start(Program("etcd", ("sleep", "600")))
    try:
        with pytest.raises(DevClusterError, match=f"stop it first: --state-dir {tmp_path}$"):
            dead_owner(Path("/ours"), had_record=False)
    finally:
        processes.stop(["etcd"], grace=0.0)
