"""What collection promises of every store and every kind of entry: one body of tests, beside that of publishing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from contracts.artifact_stores import (
    EXPORTED,
    KEY,
    OTHER,
    Kit,
    New,
    publish,
    publish_built,
    publish_files,
    steps,
)
from visionmodel_contract.kept import KeptArtifacts
from visionmodel_converter.store.collection import Fate, collect
from visionmodel_converter.store.engines import find_engine
from visionmodel_converter.store.entries import ENGINE, EXPORT, KINDS, PREPARED, TIMINGS, Kind
from visionmodel_converter.store.port import ArtifactStore

WEEK = timedelta(days=7)


class Maker(Protocol):
    """How entries of one kind are published and looked up."""

    def publish(self, store: ArtifactStore, folder: Path, key: str, content: str) -> str:
        """Publish; returns the digest by which the entry is named."""

    def find(self, store: ArtifactStore, folder: Path, key: str) -> str | None:
        """Return what was published, None when absent."""


class Artifacts:
    def publish(self, store: ArtifactStore, folder: Path, key: str, content: str) -> str:
        return publish(store, folder, content.encode(), key)[0].info.digest

    def find(self, store: ArtifactStore, folder: Path, key: str) -> str | None:
        found = store.find(key, folder)
        return None if found is None else found.model.read_text()


class Engines:
    def publish(self, store: ArtifactStore, folder: Path, key: str, content: str) -> str:
        return publish_built(store, folder, content.encode(), key)[0].info.digest

    def find(self, store: ArtifactStore, folder: Path, key: str) -> str | None:
        found = find_engine(store, key, folder)
        return None if found is None else found.model.read_text()


class Exports:
    def publish(self, store: ArtifactStore, folder: Path, key: str, content: str) -> str:
        return publish_files(store, folder, content, EXPORT.name(key)).digest

    def find(self, store: ArtifactStore, folder: Path, key: str) -> str | None:
        found = store.find_files(EXPORT.name(key), EXPORTED, folder)
        return None if found is None else found.files["a.bin"].read_text()


MAKERS: Mapping[str, Maker] = {PREPARED.prefix: Artifacts(), ENGINE.prefix: Engines(), EXPORT.prefix: Exports()}


@dataclass(frozen=True)
class Made:
    """A kind of entry in a store, as the tests below use it."""

    kit: Kit
    kind: Kind
    folders: New

    def publish(self, key: str = KEY, content: str = "first") -> str:
        return MAKERS[self.kind.prefix].publish(self.kit.store(), self.folders(), key, content)

    def find(self, key: str = KEY) -> str | None:
        return MAKERS[self.kind.prefix].find(self.kit.store(), self.folders(), key)

    def digests(self, key: str = KEY) -> frozenset[str]:
        return self.kit.store().digests(self.kind.name(key))

    def left(self, key: str = KEY) -> list[str]:
        return [name for name in self.kit.content() if key in name]


def collected(
    store: ArtifactStore,
    *kept: str,
    digests: frozenset[str] = frozenset(),
    age: timedelta = WEEK,
    dry_run: bool = False,
) -> dict[str, Fate]:
    """Collect as if everything that is there were eight days old."""
    later = datetime.now(UTC) + timedelta(days=8)
    needed = KeptArtifacts(keys=frozenset(kept), digests=digests, listed_at=later)
    return {one.name: one.fate for one in collect(store, needed, minimum_age=age, now=later, dry_run=dry_run)}


class CollectionContract:
    """Inherited by the tests of each store, which give the fixture `kit`."""

    @pytest.fixture(params=sorted(KINDS))
    def made(self, request: pytest.FixtureRequest, kit: Kit, folders: New) -> Made:
        return Made(kit, KINDS[request.param], folders)

    def test_what_nobody_needs_goes_and_the_rest_stays(self, made: Made) -> None:
        made.publish()
        made.publish(OTHER, "another")
        would = collected(made.kit.store(), OTHER, dry_run=True)
        assert made.find() == "first"
        assert collected(made.kit.store(), OTHER) == would
        assert would == {made.kind.name(KEY): Fate.REMOVED, made.kind.name(OTHER): Fate.NEEDED}
        assert made.find() is None
        assert made.left() == []
        assert made.find(OTHER) == "another"

    def test_what_somebody_was_given_by_its_digest_stays(self, made: Made) -> None:
        digest, _ = made.publish(), made.publish(OTHER, "another")
        assert made.digests() == {digest}
        fates = collected(made.kit.store(), digests=frozenset({digest}))
        assert fates == {made.kind.name(KEY): Fate.NEEDED, made.kind.name(OTHER): Fate.REMOVED}
        assert made.find() == "first"
        assert made.digests(OTHER) == frozenset()

    def test_what_is_young_stays(self, made: Made) -> None:
        made.publish()
        assert collected(made.kit.store(), age=timedelta(days=9)) == {made.kind.name(KEY): Fate.YOUNG}
        assert made.find() == "first"

    def test_what_has_no_mark_is_marked_and_goes_a_period_later(self, made: Made) -> None:
        made.publish()
        made.kit.unmark()
        before = made.kit.content()
        assert collected(made.kit.store(), dry_run=True) == {made.kind.name(KEY): Fate.MARKED}
        assert made.kit.content() == before
        assert collected(made.kit.store()) == {made.kind.name(KEY): Fate.MARKED}
        assert collected(made.kit.store(), age=timedelta(days=9)) == {made.kind.name(KEY): Fate.YOUNG}
        assert collected(made.kit.store()) == {made.kind.name(KEY): Fate.REMOVED}
        assert made.left() == []

    def test_a_lookup_marks_what_has_no_mark(self, made: Made) -> None:
        made.publish()
        made.kit.unmark()
        assert made.find() == "first"
        assert collected(made.kit.store(), age=timedelta(days=9)) == {made.kind.name(KEY): Fate.YOUNG}

    def test_marking_killed_at_any_write_leaves_the_entry(self, made: Made) -> None:
        made.publish()
        for step in steps():
            made.kit.unmark()
            was_killed = made.kit.gates.killed(step, partial(collected, made.kit.store()))
            assert made.find() == "first"
            if not was_killed:
                break
        assert step > 1

    def test_what_is_looked_up_during_its_removal_stays_or_is_not_found(self, made: Made) -> None:
        outcomes = set()
        for step in steps():
            key = f"{step:032x}"
            digest = made.publish(key)
            both = made.kit.gates.stopped(step, partial(made.find, key), partial(collected, made.kit.store()))
            if both is None:
                break
            _, found = both
            if found is not None:
                assert found == made.find(key) == "first"
                assert made.digests(key) == {digest}
            outcomes.add(found is not None)
            collected(made.kit.store())
            assert made.left(key) == []
        assert outcomes == {True, False}

    def test_what_is_removed_during_a_lookup_is_found_or_not(self, made: Made) -> None:
        for step in steps():
            made.publish()
            both = made.kit.gates.stopped(step, partial(collected, made.kit.store()), made.find)
            if both is None:
                break
            assert both[0] in ("first", None)
        assert step > 1

    @pytest.mark.parametrize("content", ["first", "second"])
    def test_what_is_published_during_a_removal_stays(self, made: Made, content: str) -> None:
        for step in steps():
            key = f"{step:032x}"
            made.publish(key)
            publishing, removing = partial(made.publish, key, content), partial(collected, made.kit.store())
            both = made.kit.gates.stopped(step, publishing, removing)
            if both is None:
                break
            assert both[1] in made.digests(key)
            assert made.find(key) in ("first", content)
            collected(made.kit.store())
            collected(made.kit.store())  # the first one may have taken the new mark with the old one, and marks again
            assert made.left(key) == []
        assert step > 2

    def test_a_removal_killed_at_any_write_leaves_all_or_nothing(self, made: Made) -> None:
        for step in steps():
            key = f"{step:032x}"
            made.publish(key)
            was_killed = made.kit.gates.killed(step, partial(collected, made.kit.store()))
            assert made.find(key) in (None, "first")
            made.publish(key)
            assert made.find(key) == "first"
            collected(made.kit.store())
            assert made.kit.content() == []
            if not was_killed:
                break
        assert step > 2

    def test_what_a_killed_publisher_left_goes(self, made: Made) -> None:
        for step in steps():
            was_killed = made.kit.gates.killed(step, made.publish)
            collected(made.kit.store())
            assert made.kit.content() == []
            if not was_killed:
                break
        assert step > 2

    def test_a_cache_stays(self, kit: Kit, folders: New) -> None:
        kit.store().write_cache(TIMINGS.name(KEY), b"timings", folders())
        collected(kit.store())
        assert kit.store().read_cache(TIMINGS.name(KEY), folders()) == b"timings"

    def test_what_is_nobodys_entry_stays(self, made: Made) -> None:
        made.publish("not-of-ours")
        before = made.kit.content()
        assert collected(made.kit.store()) == {}
        assert made.kit.content() == before
