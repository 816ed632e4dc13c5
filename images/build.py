"""Builds the images of this repository: `python -m images.build [operator converter triton ...]`.

The tag of an image is a digest of all that goes into it, so an unchanged image is not built again. What was built, but
for the images of gigabytes, is kept as an archive in the cache, outside the checkout: a machine whose image storage is
empty loads it from there.
Called by the Makefile, and as `build_images` by the demo and the e2e suite.
"""

import argparse
import logging
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from images.catalog import IMAGES, ROOT, STANDARD, ImageSource
from images.engine import Base, BuildFailed, Engine, Request, find_engine, run
from images.inputs import DIGEST_DIGITS, input_digest
from images.wheelhouse import wheelhouse

from visionmodel_devcluster import DevClusterError, base_image
from visionmodel_devcluster.images import is_pushed, remove_outdated
from visionmodel_devcluster.locks import file_lock
from visionmodel_devcluster.paths import cache_dir

# Python of the dev cluster's base image, Debian bookworm: the wheels are downloaded for it.
BASE_PYTHON = "3.11"
# Archives kept per image; each is a few hundred MB.
KEPT_ARCHIVES = 2

log = logging.getLogger("images")


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
            run(engine.tag(stored, reference))
        if registry and not _is_there(reference, tag, insecure):
            run(engine.push(reference, insecure))
        if archive_dir:
            archive_dir.mkdir(parents=True, exist_ok=True)
            (archive_dir / f"{image.repository}.tar").unlink(missing_ok=True)
            run(engine.save(reference, archive_dir / f"{image.repository}.tar"))
        references[name] = reference
    return references


def _is_there(reference: str, tag: str | None, insecure: bool) -> bool:
    """Whether a registry has this very image; only a digest as tag says so, and only plain HTTP needs no login."""
    return tag is None and insecure and is_pushed(reference)


def final_reference(image: ImageSource, stored: str, registry: str | None, tag: str | None) -> str:
    """The name under which the caller gets an image that is stored as `localhost/<repository>:<digest>`."""
    return f"{registry or 'localhost'}/{image.repository}:{tag or stored.rpartition(':')[2]}"


def _base_of(engine: Engine, base: str | None, python: str) -> Base:
    if base is None:
        # Its name is a digest of what it is made from; its id is new each time it is loaded from its archive.
        reference = base_image()
        return Base(reference, reference, python or BASE_PYTHON)
    if not _stored_id(engine, base):
        run(engine.pull(base))
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
        if not _stored_id(engine, reference):
            if archive.exists():
                log.info("loading %s", reference)
                run(engine.load(archive))
            else:
                log.info("building %s", reference)
                _build(engine, image, request, reference)
        if not image.is_large:
            archive.touch() if archive.exists() else _keep(engine, reference, archive)
        _prune(engine, folder, image.repository, digest)
    return reference


def _build(engine: Engine, image: ImageSource, request: Request, reference: str) -> None:
    """Build under another name first: a file saved meanwhile must not end up behind the digest of its predecessor."""
    wheels = wheelhouse(image.locks, request.base.python) if request.base.python else None
    unverified = f"localhost/{image.repository}:unverified"
    run(engine.build(image, unverified, request, wheels))
    if not reference.endswith(f":{input_digest(image, request)}"):
        raise BuildFailed(f"a file of the {image.name} image changed while it was built; build again")
    run(engine.tag(unverified, reference))


def _keep(engine: Engine, reference: str, archive: Path) -> None:
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    run(engine.save(reference, partial))
    partial.rename(archive)


def _prune(engine: Engine, folder: Path, repository: str, current: str) -> None:
    """Keep the archives that were used last, and in buildah's storage the images that have one and the current one.

    Another image's name may begin with this one's.
    """
    digest = "[0-9a-f]" * DIGEST_DIGITS
    archives = sorted(folder.glob(f"{repository}-{digest}.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in archives[KEPT_ARCHIVES:]:
        old.unlink()
    if engine.is_buildah:
        remove_outdated(repository, {current, *(path.stem.rpartition("-")[2] for path in archives[:KEPT_ARCHIVES])})


def _version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


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
