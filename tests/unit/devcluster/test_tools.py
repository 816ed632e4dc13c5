"""The key of a cached build changes with everything that changes the result, and with nothing else."""

from dataclasses import replace

import pytest

from visionmodel_devcluster.builds import build_arguments
from visionmodel_devcluster.tools import GOMODS, TOOLS, Asset, Tool, build_key, tool_of, tool_sources

TOOL = Tool("etcd", "v3.6.16", {"etcd": "example.org/etcd"}, tags="a", ldflags="-s")
SOURCES = {"go.mod": b"module m", "go.sum": b"sum"}


def test_key_names_tool_and_version() -> None:
    assert build_key(TOOL, SOURCES).startswith("etcd-v3.6.16-")


def test_key_is_the_same_for_the_same_inputs() -> None:
    assert build_key(TOOL, SOURCES) == build_key(replace(TOOL), dict(reversed(SOURCES.items())))


@pytest.mark.parametrize(
    ("tool", "sources"),
    [
        (replace(TOOL, version="v3.6.17"), SOURCES),
        (replace(TOOL, tags="b"), SOURCES),
        (replace(TOOL, ldflags="-w"), SOURCES),
        (replace(TOOL, packages={"etcd": "example.org/other"}), SOURCES),
        (replace(TOOL, assets=(Asset("example.org/m", "charts", "chart"),)), SOURCES),
        (TOOL, {**SOURCES, "go.sum": b"another sum"}),
        (TOOL, {**SOURCES, "main.go": b"package main"}),
    ],
    ids=["version", "tags", "ldflags", "packages", "assets", "pins", "sources"],
)
def test_key_changes_with(tool: Tool, sources: dict[str, bytes]) -> None:
    assert build_key(tool, sources) != build_key(TOOL, SOURCES)


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_every_tool_is_pinned(name: str) -> None:
    sources = tool_sources(TOOLS[name])
    assert "go.mod" in sources
    assert b"replace => ../" not in sources["go.mod"]
    assert {path.name for path in (GOMODS / name).iterdir()} >= set(sources)


def test_unknown_binary_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"no binary 'docker'.*kubelet"):
        tool_of("docker")


def test_kubernetes_carries_its_version() -> None:
    """Without it clients cannot parse the API server's version."""
    tool = TOOLS["kubernetes"]
    for stamp in (f"gitVersion={tool.version}", "gitMajor=1", "gitMinor=36"):
        assert stamp in tool.ldflags


def test_build_is_reproducible_and_uses_only_pins() -> None:
    arguments = build_arguments(TOOL, "example.org/etcd", GOMODS / "out")
    assert arguments == [
        *("build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags", "a", "-ldflags", "-s"),
        *("-o", str(GOMODS / "out"), "example.org/etcd"),
    ]
