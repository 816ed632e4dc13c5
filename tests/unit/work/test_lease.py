"""Leader election in virtual time, over a Lease that can fail and that several candidates share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.time import VirtualTime
from visionmodel_operator.adapters.lease import LeaseRecord
from visionmodel_operator.errors import Retry
from visionmodel_operator.work.lease import LEASE_SECONDS, RENEW_SECONDS, Clocks, Election


class SharedLease:
    """The stored record; `cut_off` names who cannot reach it."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.cut_off: set[str] = set()
        self._versions = 0

    def seen_by(self, identity: str) -> "LeaseView":
        return LeaseView(self, identity)

    def store(self, record: LeaseRecord) -> LeaseRecord | None:
        if (self.record.version if self.record else None) != record.version:
            return None
        self._versions += 1
        self.record = replace(record, version=str(self._versions))
        return self.record


class LeaseView:
    def __init__(self, shared: SharedLease, identity: str) -> None:
        self.shared = shared
        self.identity = identity

    def _reach(self) -> None:
        if self.identity in self.shared.cut_off:
            raise Retry("cut off")

    async def read(self) -> LeaseRecord | None:
        self._reach()
        return self.shared.record

    async def write(self, record: LeaseRecord) -> LeaseRecord | None:
        self._reach()
        return self.shared.store(record)


class Candidate:
    """One operator process; `working` while its workers run."""

    def __init__(self, identity: str, lease: SharedLease, time: VirtualTime) -> None:
        self.election = Election(lease.seen_by(identity), identity, Clocks(time.now, time.monotonic, time.sleep))
        self.working = False
        self.task = asyncio.create_task(self.election.run(self._work))

    async def _work(self) -> None:
        self.working = True
        try:
            await asyncio.Event().wait()
        finally:
            self.working = False

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@contextlib.asynccontextmanager
async def two_candidates() -> AsyncIterator[tuple[SharedLease, VirtualTime, Candidate, Candidate]]:
    lease, time = SharedLease(), VirtualTime()
    first = Candidate("first", lease, time)
    await time.advance(0)
    second = Candidate("second", lease, time)
    await time.advance(0)
    try:
        yield lease, time, first, second
    finally:
        await first.stop()
        await second.stop()


async def test_one_of_two_works() -> None:
    async with two_candidates() as (lease, time, first, second):
        await time.advance(60)
        assert (first.working, second.working, first.election.leading) == (True, False, True)
        assert lease.record is not None
        assert (lease.record.holder, lease.record.transitions) == ("first", 0)


async def test_a_clean_end_hands_over_at_once() -> None:
    async with two_candidates() as (lease, time, first, second):
        await first.stop()
        await time.advance(3)
        assert second.working
        assert lease.record is not None
        assert (lease.record.holder, lease.record.transitions) == ("second", 1)


async def test_a_holder_that_is_cut_off_stops_before_another_starts() -> None:
    async with two_candidates() as (lease, time, first, second):
        lease.cut_off = {"first"}
        await time.advance(RENEW_SECONDS)
        assert (first.working, second.working) == (False, False)
        await time.advance(LEASE_SECONDS - RENEW_SECONDS + 4)
        assert (first.working, second.working) == (False, True)


async def test_a_short_outage_is_survived() -> None:
    async with two_candidates() as (lease, time, first, second):
        lease.cut_off = {"first"}
        await time.advance(RENEW_SECONDS - 3)
        lease.cut_off = set()
        await time.advance(60)
        assert (first.working, second.working) == (True, False)


async def test_a_stolen_lease_stops_the_work() -> None:
    async with two_candidates() as (lease, time, first, _):
        assert lease.record is not None
        lease.store(replace(lease.record, holder="thief"))
        await time.advance(2)
        assert not first.working


async def test_the_same_process_name_takes_over_without_waiting() -> None:
    lease, time = SharedLease(), VirtualTime()
    lease.record = LeaseRecord("first", LEASE_SECONDS, 3, time.now(), time.now(), "0")
    restarted = Candidate("first", lease, time)
    await time.advance(0)
    assert restarted.working
    await restarted.stop()


async def test_work_that_ends_by_itself_ends_the_election() -> None:
    lease, time = SharedLease(), VirtualTime()
    election = Election(lease.seen_by("first"), "first", Clocks(time.now, time.monotonic, time.sleep))

    async def work() -> None:
        assert election.leading

    await election.run(work)
    assert lease.record is not None
    assert (lease.record.holder, election.leading) == ("", False)


async def test_work_that_fails_is_heard() -> None:
    lease, time = SharedLease(), VirtualTime()
    election = Election(lease.seen_by("first"), "first", Clocks(time.now, time.monotonic, time.sleep))

    async def work() -> None:
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        await election.run(work)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 20), st.sampled_from([(), ("first",), ("second",), ("first", "second")])), max_size=12
    )
)
def test_never_two_at_work(outages: list[tuple[float, tuple[str, ...]]]) -> None:
    async def play() -> None:
        async with two_candidates() as (lease, time, first, second):
            for seconds, cut_off in outages:
                lease.cut_off = set(cut_off)
                for _ in range(8):
                    await time.advance(seconds / 8)
                    assert not (first.working and second.working)

    asyncio.run(play())
