"""Time for asynchronous code that moves only when told; sleepers wake in the order of their alarms."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

TURNS = 20
"""Turns of the event loop given to whoever woke up; more than any chain of awaits in what is tested."""


class VirtualTime:
    """Wall clock, monotonic clock and sleep of one world."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds

    def now(self) -> datetime:
        """The wall clock."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        """As `asyncio.sleep`."""
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.seconds + seconds, next(self._order), alarm))
        await alarm

    async def advance(self, seconds: float) -> None:
        """Let this much time pass."""
        end = self.seconds + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.seconds, _, alarm = heapq.heappop(self._sleepers)
            if not alarm.done():
                alarm.set_result(None)
                await self._settle()
        self.seconds = end
        await self._settle()

    @staticmethod
    async def _settle() -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
