"""Collection of artifacts that nobody needs: what goes is decided here, how it goes is the stores'.

An artifact goes only if no listed key names it, and if it was neither published nor looked up for the minimum age. A
Job that has published or found one, while no status names it yet, is so protected by its age; a lookup during the
removal either brings the artifact back or finds nothing and makes it anew.
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
from visionmodel_converter.store.port import ArtifactStore
from visionmodel_converter.store.published import tag_of

AGE: Final = re.compile(r"(?P<number>[1-9][0-9]*)(?P<unit>[smhd])")
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
MAX_LIST_AGE: Final = timedelta(hours=1)
"""A list of what is needed is worth nothing when it is old."""


class Fate(StrEnum):
    """What becomes of one key."""

    NEEDED = "kept, as it is needed"
    YOUNG = "kept, as it is young"
    AGE_UNKNOWN = "kept, as its age is unknown"
    USED_MEANWHILE = "kept, as it was used meanwhile"
    REMOVED = "removed"
    LEFTOVER = "removed, as nothing refers to it"


@dataclass(frozen=True, slots=True)
class Collected:
    """One key, or one leftover, and what became of it."""

    name: str
    fate: Fate


def collect(
    store: ArtifactStore, kept: KeptArtifacts, *, minimum_age: timedelta, now: datetime, dry_run: bool
) -> Iterator[Collected]:
    """Remove what nobody needs; yields what became of each key as it is done. Raises ConversionFailure.

    The age counts back from when the list was read, so that nothing that happened since is judged by it.
    """
    if not timedelta(0) <= now - kept.listed_at <= MAX_LIST_AGE:
        raise ConversionFailure(
            Reason.BAD_REQUEST, f"the list of needed artifacts is from {kept.listed_at.isoformat()}; list them anew"
        )
    before = kept.listed_at - minimum_age
    for key in store.all_keys():
        yield Collected(tag_of(key), _fate(store, key, kept, before, dry_run=dry_run))
    for name in store.remove_leftovers(before, dry_run=dry_run):
        yield Collected(name, Fate.LEFTOVER)


def _fate(store: ArtifactStore, key: str, kept: KeptArtifacts, before: datetime, *, dry_run: bool) -> Fate:
    if key in kept.keys:
        return Fate.NEEDED
    used = store.last_used(key)
    if used is None:
        return Fate.AGE_UNKNOWN
    if used.time >= before:
        return Fate.YOUNG
    return Fate.REMOVED if dry_run or store.remove(key, used) else Fate.USED_MEANWHILE


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
            Reason.BAD_REQUEST, f"{path}: the list of needed artifacts cannot be read ({words}); nothing is deleted"
        ) from error


def words_of(results: Sequence[Collected], *, dry_run: bool) -> str:
    """Return one line that counts what became of everything."""
    fates = Counter(one.fate for one in results)
    words = "; ".join(f"{count} {fate}" for fate, count in fates.items()) or "nothing is there"
    return f"dry run: {words}" if dry_run else words
