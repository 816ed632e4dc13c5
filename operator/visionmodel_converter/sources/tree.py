r"""Fetch a whole folder (a SavedModel, a model with its weights beside it), and the digest that stands for one.

A folder's digest is the sha256 over one line per file, `<sha256 of the file>  <name>\n`, sorted by the name's bytes:
what `sha256sum` prints for those names, so that anybody can compute it without us. Names and contents enter, times,
owners and the store do not.
"""

import hashlib
import itertools
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visionmodel_converter.environment import Environment
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources.claim import FolderOrigin
from visionmodel_converter.sources.fetch import DEFAULT_RETRY, Retry, copied, opened, refuse_other_digest
from visionmodel_converter.sources.names import clash_of, fault_of, shown_name
from visionmodel_converter.sources.origin import Entry, Origin

MAX_FILES: Final = 1000


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a folder, by its name relative to it."""

    name: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FetchedTree:
    """A folder on local disk with the digest of what arrived; `uri` is resolved and safe to show."""

    path: Path
    digest: str
    size_bytes: int
    uri: str
    files: tuple[TreeFile, ...]


def tree_digest(files: Iterable[TreeFile]) -> str:
    """Return the digest of a folder; see the module's text."""
    lines = sorted((file.name.encode(), file.digest.removeprefix("sha256:").encode()) for file in files)
    return "sha256:" + hashlib.sha256(b"".join(digest + b"  " + name + b"\n" for name, digest in lines)).hexdigest()


def fetch_tree(
    uri: str,
    target: Path,
    *,
    environment: Environment,
    max_bytes: int,
    max_files: int = MAX_FILES,
    expected_digest: str | None = None,
    retry: Retry = DEFAULT_RETRY,
) -> FetchedTree:
    """Copy every file below a URI into the new folder `target` and check the folder's digest.

    The listing is taken before and after: a folder that somebody writes to meanwhile is no version of anything.
    Raises ConversionFailure as `fetch` does, and SourceChanged (retryable), UnsafePath for a name that leads
    elsewhere; `target` is absent after any of them.
    """
    part = target.with_name(target.name + ".part")
    try:
        with opened(
            uri, environment=environment, max_bytes=max_bytes, retry=retry, scratch=target.parent, whole_folder=True
        ) as found:
            listing = _listing(found.origin, found.path, max_files, max_bytes)
            files = _copied(found.origin, found.path, listing, part, max_bytes)
            if _listing(found.origin, found.path, max_files, max_bytes) != listing:
                raise _changed(found.origin.shown(found.path))
            tree = FetchedTree(
                target,
                tree_digest(files),
                sum(file.size_bytes for file in files),
                found.origin.shown(found.path),
                files,
            )
        refuse_other_digest(tree.uri, tree.digest, expected_digest)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return tree


def _listing(origin: Origin, folder: str, max_files: int, max_bytes: int) -> tuple[Entry, ...]:
    shown = origin.shown(folder)
    found = tuple(itertools.islice(origin.entries(folder), 2 * max_files + 1))  # markers of folders come on top
    parents = {entry.name[:index] for entry in found for index, letter in enumerate(entry.name) if letter == "/"}
    entries = tuple(
        sorted(
            (entry for entry in found if entry.size_bytes != 0 or entry.name not in parents),
            key=lambda entry: entry.name,
        )
    )
    if not entries and isinstance(origin, FolderOrigin):  # which says itself when there is no such folder
        raise ConversionFailure(Reason.EMPTY_FOLDER, f"{shown} is an empty folder; put the files there")
    if not entries:
        raise ConversionFailure(Reason.SOURCE_NOT_FOUND, f"{shown} was not found or is an empty folder; check the URI")
    if len(entries) > max_files or sum(entry.size_bytes or 0 for entry in entries) > max_bytes:
        raise ConversionFailure(
            Reason.SOURCE_TOO_LARGE,
            f"{shown} holds more than {max_files} files or {max_bytes} bytes; name the model's own folder, without "
            "checkpoints and data beside it",
        )
    for entry in entries:
        fault = fault_of(entry.name)
        if fault is not None:
            raise ConversionFailure(
                Reason.UNSAFE_PATH, f"{shown}: the name {shown_name(entry.name)} in it {fault}; rename that file"
            )
    clash = clash_of(entry.name for entry in entries)
    if clash is not None:
        raise ConversionFailure(
            Reason.UNSAFE_PATH, f"{shown}: {clash!r} is there twice or is a file and a folder at once; remove one"
        )
    return entries


def _copied(
    origin: Origin, folder: str, listing: tuple[Entry, ...], target: Path, max_bytes: int
) -> tuple[TreeFile, ...]:
    files: list[TreeFile] = []
    for entry in listing:
        files.append(_copy(origin, folder, entry, target, max_bytes))
        max_bytes -= files[-1].size_bytes
    return tuple(files)


def _copy(origin: Origin, folder: str, entry: Entry, target: Path, max_bytes: int) -> TreeFile:
    path = target / entry.name
    path.parent.mkdir(parents=True, exist_ok=True)
    source = f"{folder}/{entry.name}" if folder else entry.name
    limit = max_bytes if entry.size_bytes is None else entry.size_bytes
    try:
        got = copied(origin, source, path, max_bytes=limit)
    except ConversionFailure as failure:
        if failure.reason in (Reason.SOURCE_TOO_LARGE, Reason.SOURCE_NOT_FOUND) and entry.size_bytes is not None:
            raise _changed(origin.shown(source)) from failure
        raise
    if entry.size_bytes is not None and got.size_bytes != entry.size_bytes:
        raise _changed(got.uri)
    return TreeFile(entry.name, got.digest, got.size_bytes)


def _changed(shown: str) -> ConversionFailure:
    return ConversionFailure(
        Reason.SOURCE_CHANGED,
        f"{shown} changed while it was read, the Job tries again; write a model into a new folder and name that one",
    )
