"""Collection of what nobody needs: what goes is decided here, how it goes is the stores'.

One rule for entries of every kind. An entry goes only if no listed key or digest names it, and if it was neither
published nor looked up for the minimum age. A Job that has published or found one, while no status names it yet, is so
protected by its age; a lookup during the removal either brings the entry back or finds nothing and makes it anew. An
entry without a mark of its use, as versions of ours that marked artifacts alone left engines and exports, is marked
now and judged when that mark is old.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from visionmodel_contract.kept import KeptArtifacts
from visionmodel_converter.failures import ConversionFailure, Reason, first_line, validation_words
from visionmodel_converter.store.entries import Entry
from visionmodel_converter.store.port import ArtifactStore

AGE: Final = re.compile(r"(?P<number>[1-9][0-9]*)(?P<unit>[smhd])")
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
MAX_LIST_AGE: Final = timedelta(hours=1)
"""A list of what is needed is worth nothing when it is old."""


class Fate(StrEnum):
    """What becomes of one entry."""

    NEEDED = "kept, as it is needed"
    YOUNG = "kept, as it is young"
    MARKED = "kept, and marked as used now, as nothing told its age"
    USED_MEANWHILE = "kept, as it was used meanwhile"
    REMOVED = "removed"
    LEFTOVER = "removed, as nothing refers to it"


@dataclass(frozen=True, slots=True)
class Collected:
    """One entry, or one leftover, and what became of it."""

    name: str
    fate: Fate


def collect(
    store: ArtifactStore, kept: KeptArtifacts, *, minimum_age: timedelta, now: datetime, dry_run: bool
) -> Iterator[Collected]:
    """Remove what nobody needs; yields what became of each entry as it is done. Raises ConversionFailure.

    The age counts back from when the list was read, so that nothing that happened since is judged by it.
    """
    if not timedelta(0) <= now - kept.listed_at <= MAX_LIST_AGE:
        raise ConversionFailure(
            Reason.BAD_REQUEST, f"the list of needed artifacts is from {kept.listed_at.isoformat()}; list them anew"
        )
    before = kept.listed_at - minimum_age
    for entry in store.entries():
        yield Collected(entry.name, _fate(store, entry, kept, before, dry_run=dry_run))
    for name in store.remove_leftovers(before, dry_run=dry_run):
        yield Collected(name, Fate.LEFTOVER)


def _fate(store: ArtifactStore, entry: Entry, kept: KeptArtifacts, before: datetime, *, dry_run: bool) -> Fate:
    if entry.key in kept.keys:
        return Fate.NEEDED
    name = entry.name
    used = store.last_used(name)
    if used is None:
        if not dry_run:
            store.mark(name)
        return Fate.MARKED
    if used.time >= before:
        return Fate.YOUNG
    if kept.digests & store.digests(name):
        return Fate.NEEDED
    return Fate.REMOVED if dry_run or store.remove(name, used) else Fate.USED_MEANWHILE


def age_of(text: str) -> timedelta:
    """Return a time such as 7d, 12h, 30m or 90s. Raises ValueError."""
    found = AGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time such as 7d or 12h")
    return timedelta(**{UNITS[found["unit"]]: int(found["number"])})


def read_kept(path: Path) -> KeptArtifacts:
    """Return the list of needed artifacts. Raises BadRequest: without it nothing may be deleted."""
    try:
        return KeptArtifacts.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        words = validation_words(error) if isinstance(error, ValidationError) else first_line(error)
        raise ConversionFailure(
            Reason.BAD_REQUEST,
            f"{path}: the list of needed artifacts cannot be read ({words}); write it with"
            " list-kept of the operator's image of this version; nothing is deleted",
        ) from error


def words_of(results: Sequence[Collected], *, dry_run: bool) -> str:
    """Return one line that counts what became of everything."""
    fates = Counter(one.fate for one in results)
    words = "; ".join(f"{count} {fate}" for fate, count in fates.items()) or "nothing is there"
    return f"dry run: {words}" if dry_run else words
