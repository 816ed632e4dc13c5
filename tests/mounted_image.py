"""Runs a program in the files of an image without a cluster, the way a restricted pod would run it.

They are mounted read-only in a mount namespace of the process, with a memory /tmp and /dev/shm, what the caller binds,
and user 1000. The process is the program itself, so signals reach it.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER = 1000
# $1 root; then source, target and ro or rw of each bind, up to a dash; the rest is the command. Everything is undone by
# the end of the mount namespace, but for the empty folders, which go with the container.
ENTER = """
set -eu
root=$1
shift
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777,size=128m tmpfs "$root/dev/shm"
while [ "$1" != - ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    mount -o "remount,bind,$3" "$root$2"
    shift 3
done
shift
mount -o remount,bind,ro "$root"
exec chroot --userspec=1000:1000 "$root" "$@"
"""


@dataclass(frozen=True)
class Image:
    """An image that is mounted: its root folder, its environment and the program that it starts."""

    root: Path
    environment: tuple[str, ...]
    entrypoint: tuple[str, ...]


@dataclass(frozen=True)
class Bind:
    """A folder of this machine, and where the program finds it."""

    source: Path
    target: str
    writable: bool = False


@contextmanager
def mounted(reference: str) -> Iterator[Image]:
    """Mount an image of buildah's storage for as long as the context lasts."""
    config = json.loads(_output("buildah", "inspect", "--type", "image", reference))["OCIv1"]["config"]
    container = _output("buildah", "from", "--pull-never", reference).strip()
    try:
        root = Path(_output("buildah", "mount", container).strip())
        yield Image(root, tuple(config["Env"]), tuple(config.get("Entrypoint", ())))
    finally:
        _output("buildah", "rm", container)


def inside(image: Image, binds: Sequence[Bind], *command: str, network: bool) -> list[str]:
    """Return the command that runs another one in an image, with the image's environment and no other."""
    namespaces = ("--mount", "--propagation", "private", *(() if network else ("--net",)))
    places = [(str(bind.source), bind.target, "rw" if bind.writable else "ro") for bind in binds]
    return [
        *("unshare", *namespaces, "sh", "-c", ENTER, "enter", str(image.root)),
        *(word for place in places for word in place),
        "-",
        *("env", "-i", *image.environment, *command),
    ]


def _output(*command: str) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
