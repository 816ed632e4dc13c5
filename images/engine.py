"""The program that builds images: the arguments of its commands, and how a command is run."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.catalog import ROOT, ImageSource


class BuildFailed(Exception):
    """A command failed; the text is the command and the end of its output."""


@dataclass(frozen=True)
class Base:
    """The base image; `identity` changes when its content does, `python` is "" where wheels come from the index."""

    reference: str
    identity: str
    python: str


@dataclass(frozen=True)
class Request:
    """What one call builds into each image."""

    base: Base
    version: str
    revision: str


@dataclass(frozen=True)
class Engine:
    """The commands of buildah or docker; every method gives the arguments of one call."""

    program: str

    @property
    def is_buildah(self) -> bool:
        """Whether this is buildah (preferred: it needs no daemon)."""
        return self.program == "buildah"

    def build(self, image: ImageSource, reference: str, request: Request, wheels: Path | None) -> list[str]:
        """Build an image from the repository's root."""
        kept = str(not image.is_large).lower()
        own = (
            ["--isolation", "chroot", f"--layers={kept}", "--ignorefile", f"{image.dockerfile}.dockerignore"]
            if self.is_buildah
            else ["--network", "host"]
        )
        arguments = {"BASE": request.base.reference, "VERSION": request.version, "REVISION": request.revision}
        if image.extra:
            arguments["LOCK"] = image.locks[0].stem
        return [
            *(self.program, "build", *own, "--file", str(image.dockerfile), "--tag", reference),
            *(["--target", image.target] if image.target else []),
            *(["--build-context", f"wheels={wheels}"] if wheels else []),
            *(part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")),
            ".",
        ]

    def identity(self, reference: str) -> list[str]:
        """Print the id of a stored image; fails when it is not there."""
        if self.is_buildah:
            return ["buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", reference]
        return ["docker", "image", "inspect", "--format", "{{.Id}}", reference]

    def pull(self, reference: str) -> list[str]:
        """Fetch an image from its registry."""
        return [self.program, "pull", reference]

    def tag(self, reference: str, other: str) -> list[str]:
        """Give a stored image another name."""
        return [self.program, "tag", reference, other]

    def save(self, reference: str, archive: Path) -> list[str]:
        """Write a docker archive, which every engine and containerd can read."""
        if self.is_buildah:
            return ["buildah", "push", "--quiet", reference, f"docker-archive:{archive}:{reference}"]
        return ["docker", "save", "--output", str(archive), reference]

    def load(self, archive: Path) -> list[str]:
        """Store the image of a docker archive under the name that it has there."""
        if self.is_buildah:
            return ["buildah", "pull", "--quiet", f"docker-archive:{archive}"]
        return ["docker", "load", "--quiet", "--input", str(archive)]

    def push(self, reference: str, insecure: bool) -> list[str]:
        """Push to the registry of the reference; docker takes insecure registries from its daemon's settings only."""
        if not self.is_buildah:
            return ["docker", "push", "--quiet", reference]
        # A registry without TLS is on this machine: compressing would take longer than it saves.
        own = ["--tls-verify=false", "--disable-compression"] if insecure else []
        return ["buildah", "push", "--quiet", *own, reference]


def find_engine() -> Engine:
    """The builder of this machine."""
    for program in ("buildah", "docker"):
        if shutil.which(program):
            return Engine(program)
    raise BuildFailed("neither buildah nor docker was found; `apt-get install buildah` is enough")


def run(command: Sequence[str]) -> None:
    """Run a command in the repository's root; raises BuildFailed."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
