"""The same load for code without an event loop: the demo and synchronous tests."""

import asyncio
import threading
from types import TracebackType
from typing import Final, Self

from load.generator import Load
from load.report import Counters, LoadReport

START_LIMIT: Final = 30.0
"""Seconds within which the client must be open."""


class LoadThread:
    """Runs a `Load` on a thread with its own event loop.

    with LoadThread(Load(target, 20, images, max_requests=4_000, max_seconds=200)) as load:
        ...
    report = load.report(canary=revision)
    """

    def __init__(self, load: Load) -> None:
        self.load = load
        self._thread = threading.Thread(target=self._main, name="load", daemon=True)
        self._is_started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; an error of the generator itself is raised here."""
        self.stop()

    def start(self) -> None:
        """Return once the schedule runs; raises what kept it from running."""
        self._thread.start()
        if not self._is_started.wait(START_LIMIT):
            raise TimeoutError("the load did not start")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Send nothing more and return when all answers are in, at most the target's timeout later."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self.join()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until everything planned was sent and answered; return whether it was."""
        self._thread.join(timeout)
        if self._failure is not None:
            raise self._failure
        return not self._thread.is_alive()

    def counters(self) -> Counters:
        """Return the live numbers."""
        return self.load.counters()

    def elapsed(self) -> float:
        """Return seconds since the start."""
        return self.load.elapsed()

    def report(self, *, canary: str | None = None, since: float = 0.0, until: float = float("inf")) -> LoadReport:
        """Return `Load.report` of the run so far."""
        return self.load.report(canary=canary, since=since, until=until)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as failure:  # raised again by start, join or stop
            self._failure = failure
        finally:
            self._is_started.set()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        async with self.load:
            self._loop = asyncio.get_running_loop()
            self._is_started.set()
            stop = asyncio.create_task(self._stop.wait())
            ended = asyncio.create_task(self.load.wait())
            await asyncio.wait([stop, ended], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            await self.load.stop()
            await ended
