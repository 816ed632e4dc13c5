"""The bridge that carries the node's address and every pod, and the packet rules: made by `up`, removed by `down`.

They exist once per machine, so the bridge says whose it is (its alias is the state directory of its cluster). The
alias also lets `up` take over what a cluster left whose processes were all killed and whose state is gone.
"""

import json
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from visionmodel_devcluster.controlplane import SERVICE_CIDR
from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.node import BRIDGE, NODE_ADDRESS, POD_CIDR
from visionmodel_devcluster.processes import ProcessFolder

NFT_TABLE = "visionmodel-devcluster"
# The others are kube-proxy's.
OUR_TABLES = (f"ip {NFT_TABLE}", "ip kube-proxy", "ip6 kube-proxy")
# Tables of everybody, in which the network plugin for host ports makes chains of these names.
SHARED_TABLES = frozenset({"nat", "filter", "mangle"})
PLUGIN_CHAINS = ("CNI-", "KUBE-")
# A chain with policy drop, as Docker makes it, needs a rule for our pods; this is how `down` finds it again.
RULE_COMMENT = "visionmodel-devcluster"
DEVICE = Path("/sys/class/net") / BRIDGE


def nft_tables() -> list[str]:
    """All nftables tables as `family name`."""
    lines = _run("nft", "list", "tables").splitlines()
    return [line.removeprefix("table ") for line in lines if line]


def bridge_owner() -> Path | None:
    """State directory of the cluster whose bridge is there; None without a bridge or a name on it."""
    try:
        text = (DEVICE / "ifalias").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return Path(text) if text else None


def dead_owner(state_dir: Path, *, had_record: bool) -> Path | None:
    """State directory of a dead cluster that left its bridge and more; None where there is nothing to take over.

    Raises:
        DevClusterError: while another cluster of this machine runs.
    """
    if not DEVICE.exists():
        return None
    owner = bridge_owner()
    if owner == state_dir or (owner is None and had_record):
        return None
    if owner is None:
        raise DevClusterError(f"the device {BRIDGE} exists and is not ours; remove it with: ip link delete {BRIDGE}")
    processes = ProcessFolder(owner)
    if any(processes.running(name) for name in processes.names()):
        raise DevClusterError(f"another dev cluster runs on this machine; stop it first: --state-dir {owner}")
    return owner


def prepare_network(state_dir: Path) -> None:
    """A bridge that carries the node's address; pods are plugged into it by the network plugin.

    A bridge and not a dummy device, because not every kernel has those, and because pods reach it without a route.
    """
    if not DEVICE.exists():
        _checked("ip", "link", "add", BRIDGE, "type", "bridge")
    # Aliases have at most 255 bytes.
    _checked("ip", "link", "set", BRIDGE, "alias", str(state_dir)[:255])
    prefix = POD_CIDR.rpartition("/")[2]
    _checked("ip", "address", "replace", f"{NODE_ADDRESS}/{prefix}", "dev", BRIDGE)
    _checked("ip", "link", "set", BRIDGE, "up")
    # Service addresses are rewritten by kube-proxy, but only packets that have a route get as far as that.
    _checked("ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE, "src", NODE_ADDRESS)
    _checked("nft", "-f", "-", text=nft_rules())
    _accept_forwarding()


def nft_rules() -> str:
    """Pods leave the machine with the host's address; packets between pods keep theirs."""
    return f"""
table ip {NFT_TABLE}
delete table ip {NFT_TABLE}
table ip {NFT_TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {POD_CIDR} ip daddr != {POD_CIDR} masquerade
  }}
}}
"""


def _accept_forwarding() -> None:
    """Docker drops what is forwarded for others: a drop in any table is final, so the rule must be in that chain."""
    chain = _run("nft", "list", "chain", "ip", "filter", "FORWARD")
    if "policy drop" not in chain or RULE_COMMENT in chain:
        return
    for direction in ("iifname", "oifname"):
        rule = f'insert rule ip filter FORWARD {direction} {BRIDGE} accept comment "{RULE_COMMENT}"'
        _checked("nft", rule)


def rule_handles(chain: str) -> list[str]:
    """Handles of our rules in the text of `nft --handle list chain`."""
    lines = (line for line in chain.splitlines() if f'comment "{RULE_COMMENT}"' in line)
    return [line.rpartition("# handle ")[2].strip() for line in lines]


def unplug_pods() -> None:
    """Delete every device that is plugged into the bridge; a pod's end of the pair goes with it."""
    ports = DEVICE / "brif"
    for port in ports.iterdir() if ports.is_dir() else ():
        _run("ip", "link", "delete", port.name)


def undo_network(tables_before: Iterable[str]) -> None:
    """Remove the bridge with everything plugged into it, and our rules; a table of everybody stays as others made it.

    Args:
        tables_before: Tables (`family name`) that were there before the first `up`: what they hold is not ours.
    """
    unplug_pods()
    if DEVICE.exists():
        _checked("ip", "link", "delete", BRIDGE)
    for table in OUR_TABLES:
        _run("nft", "delete", "table", *table.split())
    for table in set(nft_tables()) - set(tables_before):
        if table.split()[1] in SHARED_TABLES:
            for command in undoing_commands(_run("nft", "--json", "list", "table", *table.split())):
                _run("nft", command)
    for handle in rule_handles(_run("nft", "--handle", "list", "chain", "ip", "filter", "FORWARD")):
        _run("nft", "delete", "rule", "ip", "filter", "FORWARD", "handle", handle)


def undoing_commands(listing: str) -> list[str]:
    """Commands for nft that take the network plugin's chains, and the jumps to them, out of a table.

    Args:
        listing: What `nft --json list table` prints; "" gives no commands.
    """
    entries = json.loads(listing)["nftables"] if listing else []
    chains = [entry["chain"] for entry in entries if "chain" in entry]
    rules = [entry["rule"] for entry in entries if "rule" in entry]
    ours = [chain for chain in chains if chain["name"].startswith(PLUGIN_CHAINS)]
    names = {chain["name"] for chain in ours}
    kept = [rule for rule in rules if rule["chain"] not in names]
    jumps = [rule for rule in kept if _targets(rule) & names]
    return [
        *(f"delete rule {_place(rule)} {rule['chain']} handle {rule['handle']}" for rule in jumps),
        # All are emptied first: a chain that another one leads to cannot be deleted.
        *(f"flush chain {_place(chain)} {chain['name']}" for chain in ours),
        *(f"delete chain {_place(chain)} {chain['name']}" for chain in ours),
    ]


def _place(entry: Mapping[str, Any]) -> str:
    return f"{entry['family']} {entry['table']}"


def _targets(rule: Mapping[str, Any]) -> set[str]:
    """Chains that a rule leads to."""
    verdicts = (part.get("jump") or part.get("goto") for part in rule["expr"])
    return {verdict["target"] for verdict in verdicts if verdict}


def busy_ports(ports: Iterable[int], address: str = NODE_ADDRESS) -> list[int]:
    """Those of the ports on the node's address that somebody listens on (also on all addresses, as k3s does)."""
    return [port for port in ports if not _is_free(address, port)]


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _run(*command: str) -> str:
    """For undoing: what is already gone is no failure."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _checked(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")
