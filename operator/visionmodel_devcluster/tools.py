"""What is built from Go modules, with which flags, and the key under which a build is cached.

Pure: the key is a digest of everything that changes the result, so a changed pin can never meet an old binary. The
pins themselves are `gomods/<tool>/go.mod` and `go.sum`. Used by `builds`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GOMODS = Path(__file__).parent / "gomods"
# Raised when the layout of a cached build changes (a new asset, another file name).
LAYOUT = "1"


@dataclass(frozen=True)
class Asset:
    """A folder inside a module's zip that is kept beside the binaries (for example a Helm chart)."""

    module: str
    path: str
    name: str


@dataclass(frozen=True)
class Tool:
    """One go.mod of ours and the binaries it gives."""

    name: str
    version: str
    packages: Mapping[str, str]
    tags: str = ""
    ldflags: str = "-s -w"
    assets: tuple[Asset, ...] = ()


def _kubernetes(version: str) -> Tool:
    """Without the version flags clients cannot parse the API server's version."""
    major, minor, _ = version.removeprefix("v").split(".")
    prefix = "k8s.io/component-base/version"
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamps = " ".join(f"-X {prefix}.{key}={value}" for key, value in values.items())
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    packages = {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}
    return Tool("kubernetes", version, packages, ldflags=f"-s -w {stamps}")


_CONTAINERD = "github.com/containerd/containerd/v2"
_GATEWAY = "github.com/envoyproxy/gateway"

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        _kubernetes("v1.36.3"),
        Tool("etcd", "v3.6.16", {"etcd": "go.etcd.io/etcd/server/v3"}),
        Tool(
            "containerd",
            "v2.4.2",
            {name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
            tags="no_btrfs,no_devmapper,no_zfs",
            ldflags=f"-s -w -X {_CONTAINERD}/version.Version=v2.4.2",
        ),
        Tool(
            "helm",
            "v4.3.1",
            {"helm": "helm.sh/helm/v4/cmd/helm"},
            ldflags="-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1",
        ),
        Tool("coredns", "v1.15.0", {"coredns": "."}),
        Tool(
            "envoy-gateway",
            "v1.9.1",
            {"envoy-gateway": f"{_GATEWAY}/cmd/envoy-gateway"},
            assets=(Asset(_GATEWAY, "charts/gateway-helm", "chart"),),
        ),
        # All service discoveries but Kubernetes' are left out: they are SDKs of clouds and most of the build time.
        Tool(
            "prometheus",
            "v0.315.0",
            {"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
            tags="remove_all_sd,enable_kubernetes_sd",
            ldflags="-s -w -X github.com/prometheus/common/version.Version=3.15.0",
        ),
        Tool("versitygw", "v1.8.0", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}),
        Tool("fake-gcs-server", "v1.56.1", {"fake-gcs-server": "github.com/fsouza/fake-gcs-server"}),
        Tool("pause", "v1", {"pause": "."}),
    )
}


def tool_of(binary: str) -> Tool:
    """The tool that contains a binary; a KeyError names the ones there are."""
    for tool in TOOLS.values():
        if binary in tool.packages:
            return tool
    known = sorted(name for tool in TOOLS.values() for name in tool.packages)
    raise KeyError(f"no binary {binary!r}; known: {', '.join(known)}")


def build_key(tool: Tool, sources: Mapping[str, bytes]) -> str:
    """Folder name of a cached build: name, version and a digest of its pins, sources and flags."""
    digest = hashlib.sha256()
    flags = (LAYOUT, tool.tags, tool.ldflags, *sorted(tool.packages.values()), *map(str, tool.assets))
    for text in flags:
        digest.update(text.encode() + b"\0")
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + sources[name] + b"\0")
    return f"{tool.name}-{tool.version}-{digest.hexdigest()[:12]}"


def tool_sources(tool: Tool) -> Mapping[str, bytes]:
    """The files of `gomods/<tool>`, read."""
    folder = GOMODS / tool.name
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in {".go", ".mod", ".sum"}}
