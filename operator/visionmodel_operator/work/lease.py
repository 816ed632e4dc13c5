"""Leader election over one Lease: gates the workers, not the watches, so that a standby is warm.

Times follow the usual 15/10/2: whoever cannot renew for 10 s stops its workers, and nobody else takes the lease
before 15 s, measured by its own clock from when it last saw the record change. Clocks of machines are never compared.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from visionmodel_operator.adapters.lease import LeaseRecord
from visionmodel_operator.errors import Error

LEASE_SECONDS = 15
RENEW_SECONDS = 10.0
RETRY_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Lease(Protocol):
    """The stored record."""

    async def read(self) -> LeaseRecord | None:
        """Return the record, None when there is none."""

    async def write(self, record: LeaseRecord) -> LeaseRecord | None:
        """Store it over the version it was made from; None when somebody was faster."""


@dataclass(frozen=True)
class Clocks:
    """Wall clock for the record, monotonic clock for waiting, and how to wait."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Election:
    """Runs work while the lease is held.

    Attributes:
        leading: whether the lease is held right now.
    """

    def __init__(self, lease: Lease, identity: str, clocks: Clocks) -> None:
        self._lease = lease
        self._identity = identity
        self._clocks = clocks
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0
        self.leading = False

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Acquire, work while leading, acquire again; until cancelled. Returns when the work ends by itself."""
        try:
            while True:
                await self._acquire()
                _log.info("leading", extra={"context": {"identity": self._identity}})
                if await self._lead(work):
                    return
                _log.warning("lease lost", extra={"context": {"identity": self._identity}})
        finally:
            await self._release()

    async def _acquire(self) -> None:
        while not await self._try():
            await self._clocks.sleep(RETRY_SECONDS)
        self.leading = True

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Return whether the work ended by itself; False when the lease was lost and the work was stopped."""
        working = asyncio.ensure_future(work())
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
                return True
            return False
        finally:
            self.leading = False
            for task in (working, renewing):
                task.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)

    async def _renew(self) -> None:
        """Renew until it has not worked for RENEW_SECONDS, or somebody else holds the lease."""
        renewed_at = self._clocks.monotonic()
        while True:
            await self._clocks.sleep(RETRY_SECONDS)
            asked_at = self._clocks.monotonic()
            left = renewed_at + RENEW_SECONDS - asked_at
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    if await self._try():
                        renewed_at = asked_at
            except TimeoutError:
                return
            if self._seen is not None and self._seen.holder != self._identity:
                return

    async def _try(self) -> bool:
        """Take or renew the lease if that is allowed; returns whether it is ours now."""
        try:
            found = await self._lease.read()
            self._note(found)
            mine = self._mine_over(found)
            if mine is None:
                return False
            stored = await self._lease.write(mine)
        except Error as error:
            _log.info("lease: %s", error)
            return False
        if stored is not None:
            self._note(stored)
        return stored is not None

    def _note(self, record: LeaseRecord | None) -> None:
        if record != self._seen:
            self._seen, self._seen_at = record, self._clocks.monotonic()

    def _mine_over(self, found: LeaseRecord | None) -> LeaseRecord | None:
        now = self._clocks.now()
        if found is None:
            return LeaseRecord(self._identity, LEASE_SECONDS, 0, now, now)
        if found.holder == self._identity:
            return replace(found, seconds=LEASE_SECONDS, renewed=now)
        if found.holder and self._clocks.monotonic() - self._seen_at < found.seconds:
            return None
        return replace(
            found,
            holder=self._identity,
            seconds=LEASE_SECONDS,
            transitions=found.transitions + 1,
            acquired=now,
            renewed=now,
        )

    async def _release(self) -> None:
        """Let the next one start at once; when that fails it waits its 15 seconds."""
        self.leading = False
        record = self._seen
        if record is None or record.holder != self._identity:
            return
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                await self._lease.write(replace(record, holder="", seconds=1, renewed=self._clocks.now()))
        except (Error, TimeoutError) as error:
            _log.info("lease not released: %s", error)
