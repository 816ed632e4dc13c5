"""Open-loop load: requests leave on a fixed schedule, whether or not earlier ones were answered.

A closed loop would slow down with the system and so hide exactly the outages the tests look for.
"""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from load.payload import Image, Payload, Target, image_payloads
from load.report import Counters, LoadReport, Record, report_of
from load.sender import Sender, sender_for


class Load:
    """One bounded run of load against a target.

        async with Load(target, 20, images, max_requests=4_000, max_seconds=200) as load:
            ...
        report = load.report(canary=revision)

    Request i leaves i / rate seconds after the start. A run that fell behind sends what is overdue at once,
    and says how late it was. Leaving the block stops the schedule and waits for the answers still out.
    """

    def __init__(
        self,
        target: Target,
        rate: float,
        images: Callable[[int], Image] | Sequence[Payload],
        *,
        max_requests: int,
        max_seconds: float,
        distinct: int = 16,
    ) -> None:
        """Encode the first `distinct` images, which are then sent in turn; ValueError on an unbounded run."""
        if not (0 < rate < 10_000 and max_requests > 0 and 0 < max_seconds < float("inf")):
            raise ValueError("rate, max_requests and max_seconds must be positive and bounded")
        self.target = target
        self.rate = rate
        self.count = min(max_requests, max(1, int(rate * max_seconds)))
        self._payloads = image_payloads(target, images, distinct) if callable(images) else tuple(images)
        if not self._payloads:
            raise ValueError("there is nothing to send")
        self._records: list[Record] = []
        self._departures: dict[int, tuple[float, float]] = {}
        self._answered = 0
        self._next = 0
        self._started = 0.0
        self._stopped: float | None = None
        self._schedule: asyncio.Task[None] | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._sender: Sender | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; an error of the generator itself is raised here."""
        await self.stop()

    async def start(self) -> None:
        """Open the client and start the schedule; a run can be started once."""
        if self._loop is not None:
            raise RuntimeError("a run cannot be started twice")
        self._loop = asyncio.get_running_loop()
        self._sender = await sender_for(self.target).__aenter__()
        self._started = self._loop.time()
        self._schedule = asyncio.create_task(self._send_on_schedule(self._sender))

    async def stop(self) -> None:
        """Send nothing more, wait for the answers that are out (at most the timeout), close the client."""
        if self._sender is None or self._schedule is None or self._stopped is not None:
            return
        self._stopped = self.elapsed()
        self._schedule.cancel()
        await asyncio.gather(self._schedule, *self._requests, return_exceptions=True)
        await self._sender.__aexit__(None, None, None)
        if self._failure is None and not self._schedule.cancelled():
            self._failure = self._schedule.exception()
        if self._failure is not None:
            raise self._failure

    async def wait(self) -> None:
        """Wait until everything that is planned was sent and answered, then stop."""
        if self._schedule is not None:
            await asyncio.wait([self._schedule])
        await self.stop()

    @property
    def is_finished(self) -> bool:
        """Return whether the schedule has ended: nothing more will be sent."""
        return self._schedule is not None and self._schedule.done()

    def elapsed(self) -> float:
        """Return seconds since the start, or the length of the run once it was stopped."""
        if self._stopped is not None:
            return self._stopped
        return 0.0 if self._loop is None or self._schedule is None else self._loop.time() - self._started

    def counters(self) -> Counters:
        """Return the live numbers; safe to call from another thread."""
        answered, finished, out = self._answered, len(self._records), len(self._departures)
        return Counters(finished + out, answered, finished - answered)

    def records(self) -> tuple[Record, ...]:
        """Return the finished requests, in the order of their schedule."""
        return tuple(sorted(self._records, key=lambda record: record.index))

    def report(self, *, canary: str | None = None, since: float = 0.0, until: float = float("inf")) -> LoadReport:
        """Return the report over requests scheduled in [since, until), in seconds since the start.

        `canary` is the revision on trial: its own failures are told apart from lost requests.
        """
        out = [times for times in self._departures.copy().values() if since <= times[0] < until]
        lags = [sent - scheduled for scheduled, sent in out]
        due = self._next / self.rate
        if self._next < self.count and since <= due < until:
            lags.append(self.elapsed() - due)  # overdue and not even sent
        return report_of(
            (record for record in self.records() if since <= record.scheduled < until),
            canary=canary,
            seconds=min(until, self.elapsed()) - since,
            pending=len(out),
            pending_lag=max([0.0, *lags]),
        )

    async def _send_on_schedule(self, sender: Sender) -> None:
        """Start each request at its time; never waits for an answer."""
        loop = asyncio.get_running_loop()
        for index in range(self.count):
            scheduled = index / self.rate
            delay = self._started + scheduled - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            request = asyncio.create_task(self._send(sender, index, scheduled))
            self._next = index + 1
            self._requests.add(request)
            request.add_done_callback(self._forget)
            if delay <= 0:
                await asyncio.sleep(0)

    async def _send(self, sender: Sender, index: int, scheduled: float) -> None:
        loop = asyncio.get_running_loop()
        sent = loop.time() - self._started
        self._departures[index] = (scheduled, sent)
        answer = await sender.send(self._payloads[index % len(self._payloads)])
        latency = loop.time() - self._started - sent
        self._records.append(Record(index, scheduled, sent, latency, answer.is_ok, answer.status, answer.revision))
        self._answered += answer.is_ok
        del self._departures[index]

    def _forget(self, request: asyncio.Task[None]) -> None:
        self._requests.discard(request)
        if not request.cancelled() and request.exception() is not None and self._failure is None:
            self._failure = request.exception()
