"""Crash, reboot and take down a dev cluster, in a machine inside this machine, beside whatever runs here.

The tests are one story in order: each starts from what the one before left.
"""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.isolated_machine import IsolatedMachine
from visionmodel_devcluster import binary
from visionmodel_devcluster.addons import PROMETHEUS_ADDRESS
from visionmodel_devcluster.api import provide_programs
from visionmodel_devcluster.health import wait_for
from visionmodel_devcluster.packages import NOTHING_NEW

pytestmark = [
    pytest.mark.lifecycle,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(platform.system() != "Linux" or os.geteuid() != 0, reason="needs Linux and root"),
]

OPERATOR = Path(__file__).resolve().parents[2] / "operator"
GPUS = "4"
SETTINGS = ("net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "net/bridge/bridge-nf-call-iptables")
# Everything that `down` must put back, except the storage that buildah shares with the machine outside.
HOST_STATE = f"""
ip -o link | cut -d: -f2
ip -o address | awk '{{print $2, $4}}'
ip route
nft list ruleset
awk '{{print $5}}' /proc/self/mountinfo | grep -v /containers | sort
find /sys/fs/cgroup -maxdepth 2 -name 'isolated-*'
find /run /var/lib /var/log /opt /etc -maxdepth 2 2>/dev/null |
  grep -v -e ^/run/overlay -e ^/run/containers -e ^/var/lib/containers | sort
cat /etc/hosts
cd /proc/sys && cat {" ".join(SETTINGS)} 2>/dev/null
ps -e -o comm= | grep -v -x -e sh -e ps -e grep -e sort | sort
"""
# dpkg writes /usr, which is the machine's outside, and its database, which is thrown away with the machine inside; and
# a build may take longer than any command inside has.
REASON = "a machine inside a test may install and build nothing"
ASK = """
import sys
from visionmodel_devcluster.direct import open_direct
print(open_direct(sys.argv[1], timeout=5).read().decode())
"""
LISTENER = 'import socket, time; s = socket.create_server(("", 6443)); time.sleep(600)'


class Story:
    """A machine and the cluster in it."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.machine = IsolatedMachine({"PYTHONPATH": str(OPERATOR), NOTHING_NEW: REASON})
        self.remove_groups()
        self.before = self.host_state()
        self._kubectl = str(binary("kubectl"))

    def cluster(self, *arguments: str, state_dir: Path | None = None) -> str:
        """The command line; what it printed on both streams."""
        where = ["--name", "isolated", "--state-dir", str(state_dir or self.state_dir)]
        return self.machine.run(sys.executable, "-m", "visionmodel_devcluster", "cluster", *arguments, *where)

    def reboot(self) -> None:
        self.machine.reboot()
        self.remove_groups()
        self.before = self.host_state()

    def remove_groups(self) -> None:
        """The kernel is the one outside, which keeps empty control groups; one that starts has none."""
        where = "/sys/fs/cgroup -depth -type d -path '*/isolated-devcluster*'"
        self.machine.run("sh", "-c", f"find {where} -exec rmdir {{}} + 2>/dev/null", check=False)

    def up(self) -> str:
        return self.cluster("up", "--fake-gpus", GPUS)

    def kubectl(self, *arguments: str) -> str:
        return self.machine.run(self._kubectl, "--kubeconfig", str(self.state_dir / "kubeconfig"), *arguments)

    def get(self, *arguments: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return document

    def pid(self, name: str) -> int:
        record = json.loads((self.state_dir / "processes" / f"{name}.json").read_text(encoding="utf-8"))
        return int(record["pid"])

    def pids(self) -> dict[str, int]:
        return {path.stem: self.pid(path.stem) for path in (self.state_dir / "processes").glob("*.json")}

    def host_state(self) -> list[str]:
        return self.machine.run("sh", "-c", HOST_STATE, check=False).splitlines()

    def unhealthy(self) -> list[str]:
        """Components and deployments that are not well."""
        printed = self.machine.run(
            *(sys.executable, "-m", "visionmodel_devcluster", "cluster", "status"),
            *("--name", "isolated", "--state-dir", str(self.state_dir)),
            check=False,
        )
        deployments = self.get("deployments", "-A")["items"]
        waiting = [
            str(found["metadata"]["name"])
            for found in deployments
            if found["status"].get("availableReplicas") != found["spec"]["replicas"]
        ]
        return [line for line in printed.splitlines() if "NOT HEALTHY" in line] + waiting

    def gpus(self) -> str:
        found: str = self.get("node", "visionmodel")["status"]["allocatable"]["nvidia.com/gpu"]
        return found

    def mark(self) -> None:
        """An object by which one can see whether data was kept."""
        self.kubectl("create", "configmap", "mark")

    def has_mark(self) -> bool:
        return bool(self.kubectl("get", "configmap", "mark", "--ignore-not-found"))

    def oldest_sample(self) -> float | None:
        """Time of the first scrape that Prometheus remembers, None while it has none or does not answer."""
        url = f"http://{PROMETHEUS_ADDRESS}:9090/api/v1/query?query=up%5B1h%5D"
        printed = self.machine.run(sys.executable, "-c", ASK, url, check=False)
        try:
            result = json.loads(printed)["data"]["result"]
        except ValueError:
            return None
        return min((float(time) for series in result for time, _ in series["values"]), default=None)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NOTHING_NEW, REASON)
        provide_programs()
    state_dir = tmp_path_factory.mktemp("cluster")
    story = Story(state_dir)
    yield story
    story.machine.crash()
    story.remove_groups()
    story.machine.power_off()
    shutil.rmtree(state_dir, ignore_errors=True)


def test_first_up(story: Story) -> None:
    story.up()
    assert story.unhealthy() == []
    assert story.gpus() == GPUS


def test_repeated_up_starts_nothing_anew(story: Story) -> None:
    before = story.pids()
    story.up()
    assert story.pids() == before


def test_second_cluster_is_refused(story: Story, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="another dev cluster runs on this machine"):
        story.cluster("up", state_dir=tmp_path)


def test_gpus_survive_a_kubelet_restart(story: Story) -> None:
    before = story.pids()
    story.machine.kill(before["kubelet"])
    story.up()
    after = story.pids()
    assert {name for name in before if before[name] != after[name]} == {"kubelet"}
    assert story.gpus() == GPUS


def test_prometheus_scaled_to_zero_and_back_keeps_its_data(story: Story) -> None:
    wait_for(lambda: story.oldest_sample() is not None, 120, "a first sample")
    oldest = story.oldest_sample()
    story.kubectl("scale", "deployment/prometheus", "-n", "monitoring", "--replicas=0")
    story.kubectl("wait", "--for=delete", "pod", "-l", "app=prometheus", "-n", "monitoring", "--timeout=60s")
    story.kubectl("scale", "deployment/prometheus", "-n", "monitoring", "--replicas=1")
    story.kubectl("rollout", "status", "deployment/prometheus", "-n", "monitoring", "--timeout=60s")
    wait_for(lambda: story.oldest_sample() is not None, 30, "an answer")
    assert story.oldest_sample() == oldest


def test_up_after_every_process_was_killed_keeps_the_data(story: Story) -> None:
    story.mark()
    story.machine.crash()
    story.up()
    assert story.unhealthy() == []
    assert story.has_mark()
    assert story.gpus() == GPUS


def test_up_with_surviving_pods_starts_them_anew(story: Story) -> None:
    for pid in story.pids().values():
        story.machine.kill(pid)
    story.up()
    assert story.unhealthy() == []
    assert story.has_mark()


def test_up_after_a_reboot_keeps_the_data(story: Story) -> None:
    story.reboot()
    story.up()
    assert story.unhealthy() == []
    assert story.has_mark()


def test_up_on_damaged_data_starts_empty(story: Story) -> None:
    story.machine.crash()
    database = story.state_dir / "etcd" / "member" / "snap" / "db"
    database.write_bytes(b"\xff" * 65536 + database.read_bytes()[65536:])
    # Files that a power cut left empty.
    for name in ("processes/etcd.json", "processes/kubelet.json", "endpoints.json"):
        (story.state_dir / name).write_bytes(b"")
    assert "it starts empty" in story.up()
    assert story.unhealthy() == []
    assert not story.has_mark()


def test_down_after_every_process_was_killed_puts_the_host_back(story: Story) -> None:
    story.machine.crash()
    story.cluster("down")
    assert story.host_state() == story.before
    assert {path.name for path in story.state_dir.iterdir()} == {"images", "logs", "lock"}


def test_down_again_is_harmless(story: Story) -> None:
    story.cluster("down")
    assert story.host_state() == story.before


def test_cluster_takes_over_what_a_dead_one_left_and_puts_the_host_back(story: Story, tmp_path: Path) -> None:
    story.up()
    story.machine.crash()
    story.cluster("up", state_dir=tmp_path)
    # The host is the other cluster's now.
    story.cluster("down")
    assert "vmdev0" in story.machine.run("ip", "-o", "link")
    story.cluster("down", "--purge", state_dir=tmp_path)
    assert story.host_state() == story.before


def test_machine_that_is_a_node_already_is_refused(story: Story, tmp_path: Path) -> None:
    other = tmp_path / "kubelet"
    shutil.copy("/bin/sleep", other)
    pid = story.machine.run("sh", "-c", f"{other} 600 >/dev/null 2>&1 & echo $!")
    with pytest.raises(RuntimeError, match=r"a kubelet runs on this machine \(pid [0-9]+\)"):
        story.up()
    story.machine.kill(int(pid))
    assert story.host_state() == story.before


def test_taken_port_is_refused(story: Story) -> None:
    pid = story.machine.run("sh", "-c", f"{sys.executable} -c '{LISTENER}' >/dev/null 2>&1 & echo $!")
    with pytest.raises(RuntimeError, match="another program listens on port 6443; stop it first"):
        story.up()
    story.machine.kill(int(pid))
    story.cluster("down")
    assert story.host_state() == story.before


def test_down_of_a_running_cluster_puts_the_host_back(story: Story) -> None:
    # As Docker leaves it: what is forwarded for others is dropped.
    story.machine.run("nft", "add table ip filter")
    story.machine.run("nft", "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
    story.machine.run("nft", "add rule ip filter FORWARD counter")
    before = story.machine.run("nft", "-s", "list", "table", "ip", "filter")
    story.up()
    assert story.unhealthy() == []
    story.cluster("down", "--purge")
    assert story.machine.run("nft", "-s", "list", "table", "ip", "filter") == before
    story.machine.run("nft", "delete table ip filter")
    assert story.host_state() == story.before
    assert not story.state_dir.exists()
