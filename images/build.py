"""Builds the images of this repository: `python images/build.py [operator converter triton ...]`.

The tag of an image is a digest of all that goes into it, so an unchanged image is not built again. What was built is
kept as an archive in the cache, outside the checkout: a machine whose image storage is empty loads it from there. The
wheels are downloaded once per lock, outside the build, so that a build needs neither an index nor its certificates.
Called by the Makefile, and as `build_images` by the demo and the e2e suite.
"""

import argparse
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visionmodel_devcluster import DevClusterError, base_image
from visionmodel_devcluster.images import is_pushed, remove_outdated
from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.paths import cache_dir

ROOT = Path(__file__).resolve().parent.parent
PIP_LOCK = Path("images/pip.txt")
# Python of the dev cluster's base image, Debian bookworm: the wheels are downloaded for it.
BASE_PYTHON = "3.11"
# Archives kept per image; each is a few hundred MB.
KEPT_ARCHIVES = 2
DIGEST_DIGITS = 12
# Raised when the way of building changes in a manner that no input shows.
LAYOUT = "1"

log = logging.getLogger("images")


class BuildFailed(Exception):
    """A command failed; the text is the command and the end of its output."""


@dataclass(frozen=True)
class ImageSource:
    """What an image is made of; paths are relative to the repository's root.

    Attributes:
        layers: further locks, whose packages the Dockerfile adds in targets of their own; the last names the image.
        extra: optional dependencies of the distribution, with a lock in the place of the plain one.
    """

    name: str
    inputs: tuple[str, ...]
    target: str = ""
    layers: tuple[str, ...] = ()
    extra: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the Dockerfile; an image with one layer or extra more is built by the same file."""
        more = self.layers[-1] if self.layers else self.extra
        return Path("images") / self.name.removesuffix(f"-{more}")

    @property
    def dockerfile(self) -> Path:
        """The Dockerfile; the list of ignored files beside it is named after it, as BuildKit expects."""
        return self.folder / "Dockerfile"

    @property
    def locks(self) -> tuple[Path, ...]:
        """The hashed requirements; the vendor's image needs none of the server's."""
        own = "triton-vendor" if self.target == "vendor" else self.name if self.extra else self.folder.name
        return tuple(Path("requirements") / f"{name}.txt" for name in (own, *self.layers))

    @property
    def repository(self) -> str:
        """The image's name without registry and tag."""
        return f"visionmodel-{self.name}"


_SOURCES_SCRIPT = "images/install_sources.sh"
_OPENVINO_LAYER = ("requirements/openvino.txt", "images/add_packages.sh")
_OTHER_ENVIRONMENTS = ("requirements/tflite.txt", "requirements/modelopt.txt")
_CONVERTER = (
    "operator/visionmodel_contract",
    "operator/visionmodel_converter",
    "operator/visionmodel_pipeline",
    _SOURCES_SCRIPT,
    *_OPENVINO_LAYER,
    *_OTHER_ENVIRONMENTS,
    "requirements/tensorrt.txt",
)
_TRITON = ("operator/visionmodel_pipeline", "requirements/triton-vendor.txt", _SOURCES_SCRIPT, *_OPENVINO_LAYER)
IMAGES: Mapping[str, ImageSource] = {
    image.name: image
    for image in (
        ImageSource("operator", ("operator/visionmodel_contract", "operator/visionmodel_operator", _SOURCES_SCRIPT)),
        ImageSource("converter", _CONVERTER, target="onnx"),
        ImageSource("converter-openvino", _CONVERTER, target="openvino", layers=("openvino",)),
        ImageSource("converter-tensorrt", _CONVERTER, target="tensorrt", layers=("tensorrt",)),
        ImageSource("converter-tflite", _CONVERTER, target="tflite", layers=("openvino", "tflite")),
        ImageSource("converter-modelopt", _CONVERTER, target="modelopt", layers=("openvino", "modelopt")),
        ImageSource("converter-torch", _CONVERTER, target="onnx", extra="torch"),
        ImageSource("converter-tensorflow", _CONVERTER, target="onnx", extra="tensorflow"),
        ImageSource("triton", _TRITON, target="wheel"),
        ImageSource("triton-openvino", _TRITON, target="wheel-openvino", layers=("openvino",)),
    )
}
STANDARD = tuple(name for name, image in IMAGES.items() if not (image.layers or image.extra))
"""What an installation needs; the others have an optional runtime or gigabytes of frameworks more."""


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
        own = (
            ["--isolation", "chroot", "--layers", "--ignorefile", f"{image.dockerfile}.dockerignore"]
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


def build_images(
    names: Iterable[str] = STANDARD,
    *,
    base: str | None = None,
    python: str = "",
    registry: str | None = None,
    insecure: bool = False,
    tag: str | None = None,
    archive_dir: Path | None = None,
    revision: str = "unknown",
    triton_server: str = "wheel",
) -> dict[str, str]:
    """Provide images and return their references by name.

    Args:
        names: Which of IMAGES; STANDARD when unset.
        base: Base image of another origin than the dev cluster; pulled when it is not stored.
        python: "X.Y" of that base, to download the wheels for it; "" lets the build ask the configured index.
        registry: Where to push to; the references are then those in this registry.
        insecure: Whether the registry speaks plain HTTP.
        tag: Tag instead of the digest of the inputs.
        archive_dir: Folder for an archive `<image>.tar` of each image.
        revision: Commit that is written into the labels.
        triton_server: "vendor" when `base` is the vendor's Triton image, "wheel" for any other.

    Raises:
        BuildFailed: A command failed.
    """
    engine = find_engine()
    chosen = _base_of(engine, base, python)
    request = Request(chosen, _version(), revision)
    references = {}
    for name in names:
        image = replace(IMAGES[name], target=triton_server) if name == "triton" else IMAGES[name]
        stored = _provide(engine, image, request)
        reference = final_reference(image, stored, registry, tag)
        if reference != stored:
            _run(engine.tag(stored, reference))
        if registry and not _is_there(reference, tag, insecure):
            _run(engine.push(reference, insecure))
        if archive_dir:
            archive_dir.mkdir(parents=True, exist_ok=True)
            (archive_dir / f"{image.repository}.tar").unlink(missing_ok=True)
            _run(engine.save(reference, archive_dir / f"{image.repository}.tar"))
        references[name] = reference
    return references


def _is_there(reference: str, tag: str | None, insecure: bool) -> bool:
    """Whether a registry has this very image; only a digest as tag says so, and only plain HTTP needs no login."""
    return tag is None and insecure and is_pushed(reference)


def final_reference(image: ImageSource, stored: str, registry: str | None, tag: str | None) -> str:
    """The name under which the caller gets an image that is stored as `localhost/<repository>:<digest>`."""
    return f"{registry or 'localhost'}/{image.repository}:{tag or stored.rpartition(':')[2]}"


def input_digest(image: ImageSource, request: Request, root: Path = ROOT) -> str:
    """12 hex digits that change with any file, base or argument that goes into the image."""
    digest = hashlib.sha256()
    arguments = (LAYOUT, image.target, request.base.identity, request.base.python, request.version, request.revision)
    for text in arguments:
        digest.update(text.encode() + b"\0")
    for path in sorted(_input_files(image, root)):
        executable = os.access(path, os.X_OK)
        digest.update(f"{path.relative_to(root)}\0{executable}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:DIGEST_DIGITS]


def _input_files(image: ImageSource, root: Path) -> Iterator[Path]:
    common = ("images/install_venv.sh", str(PIP_LOCK), *map(str, image.locks), str(image.folder))
    for entry in dict.fromkeys((*common, *image.inputs)):
        path = root / entry
        found = path.rglob("*") if path.is_dir() else iter((path,))
        yield from (file for file in found if file.is_file() and "__pycache__" not in file.parts)


def find_engine() -> Engine:
    """The builder of this machine."""
    for program in ("buildah", "docker"):
        if shutil.which(program):
            return Engine(program)
    raise BuildFailed("neither buildah nor docker was found; `apt-get install buildah` is enough")


def _base_of(engine: Engine, base: str | None, python: str) -> Base:
    if base is None:
        # Its name is a digest of what it is made from; its id is new each time it is loaded from its archive.
        reference = base_image()
        return Base(reference, reference, python or BASE_PYTHON)
    if not _stored_id(engine, base):
        _run(engine.pull(base))
    return Base(base, _stored_id(engine, base), python)


def _stored_id(engine: Engine, reference: str) -> str:
    done = subprocess.run(engine.identity(reference), capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _provide(engine: Engine, image: ImageSource, request: Request) -> str:
    """Find, load or build; the reference in the engine's storage."""
    digest = input_digest(image, request)
    reference = f"localhost/{image.repository}:{digest}"
    folder = cache_dir() / "images"
    archive = folder / f"{image.repository}-{digest}.tar"
    with file_lock(folder / f".{image.repository}.lock"):
        if _stored_id(engine, reference):
            archive.touch() if archive.exists() else _keep(engine, reference, archive)
        elif archive.exists():
            log.info("loading %s", reference)
            _run(engine.load(archive))
            archive.touch()
        else:
            log.info("building %s", reference)
            _build(engine, image, request, reference)
            _keep(engine, reference, archive)
        _prune(engine, folder, image.repository)
    return reference


def _build(engine: Engine, image: ImageSource, request: Request, reference: str) -> None:
    """Build under another name first: a file saved meanwhile must not end up behind the digest of its predecessor."""
    wheels = wheelhouse(image.locks, request.base.python) if request.base.python else None
    unverified = f"localhost/{image.repository}:unverified"
    _run(engine.build(image, unverified, request, wheels))
    if not reference.endswith(f":{input_digest(image, request)}"):
        raise BuildFailed(f"a file of the {image.name} image changed while it was built; build again")
    _run(engine.tag(unverified, reference))


def _keep(engine: Engine, reference: str, archive: Path) -> None:
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    _run(engine.save(reference, partial))
    partial.rename(archive)


def _prune(engine: Engine, folder: Path, repository: str) -> None:
    """Keep the archives that were used last, and in buildah's storage the images that have one.

    Another image's name may begin with this one's.
    """
    digest = "[0-9a-f]" * DIGEST_DIGITS
    archives = sorted(folder.glob(f"{repository}-{digest}.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in archives[KEPT_ARCHIVES:]:
        old.unlink()
    if engine.is_buildah:
        remove_outdated(repository, {path.stem.rpartition("-")[2] for path in archives[:KEPT_ARCHIVES]})


def wheelhouse(locks: Sequence[Path], python: str) -> Path:
    """Folder with the wheels of an image's locks and of pip for a Python version, downloaded once."""
    texts = [(ROOT / path).read_bytes() for path in (*locks, PIP_LOCK)]
    digest = hashlib.sha256(b"\0".join((*texts, python.encode()))).hexdigest()[:12]
    parent, name = cache_dir() / "wheels", "-".join(lock.stem for lock in locks)
    target = parent / f"image-{name}-{digest}"
    with file_lock(parent / f".image-{name}.lock"):
        if not target.is_dir():
            log.info("downloading the wheels of %s", ", ".join(map(str, locks)))
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=parent) as scratch:
                output = Path(scratch) / "output"
                for lock in (*locks, PIP_LOCK):  # one by one: what is installed apart may pin other versions
                    _run([*_pip(), *_download_arguments(lock, python, output)])
                output.rename(target)
    return target


def _download_arguments(lock: Path, python: str, output: Path) -> list[str]:
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", python]
    return ["download", *options, "--dest", str(output), "-r", str(lock)]


def _pip() -> list[str]:
    """A pip to download with; a virtual environment made by uv has none, so one may have to be made."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    folder = cache_dir() / "pip"
    with file_lock(cache_dir() / ".pip.lock"):
        if not (folder / "bin" / "pip").exists():
            venv.create(folder, with_pip=True, clear=True)
    return [str(folder / "bin" / "python"), "-m", "pip"]


def _version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line `name=reference` per image."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="IMAGE", help=f"any of {', '.join(IMAGES)}; default: {', '.join(STANDARD)}"
    )
    parser.add_argument("--base", metavar="REF", help="base image; default: the dev cluster's Debian")
    parser.add_argument("--python", default="", metavar="X.Y", help="Python of that base, to download its wheels here")
    parser.add_argument("--push", metavar="REGISTRY", help="push to this registry")
    parser.add_argument("--insecure", action="store_true", help="the registry speaks plain HTTP")
    parser.add_argument("--tag", help="tag instead of the digest of the inputs")
    parser.add_argument("--archive", type=Path, metavar="DIR", help="write <image>.tar (docker archive) there")
    parser.add_argument("--revision", default="unknown", help="commit for the labels")
    parser.add_argument("--triton-server", choices=("wheel", "vendor"), default="wheel", help="see its Dockerfile")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - IMAGES.keys())
    if unknown:
        parser.error(f"no image {', '.join(unknown)}; there are {', '.join(IMAGES)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        references = build_images(
            options.names or STANDARD,
            base=options.base,
            python=options.python,
            registry=options.push,
            insecure=options.insecure,
            tag=options.tag,
            archive_dir=options.archive,
            revision=options.revision,
            triton_server=options.triton_server,
        )
    except (BuildFailed, DevClusterError) as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    sys.stdout.writelines(f"{name}={reference}\n" for name, reference in references.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
