"""The workers: take a key, run one pass within its deadline, schedule the next. All retries happen here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from visionmodel_operator.errors import Retry, UserError
from visionmodel_operator.work.schedule import Key, Schedule

PASS_SECONDS = 60.0

Pass = Callable[[Key], Awaitable[float | None]]
"""One pass over one object; returns the seconds until the next look, None when only a change can matter."""

_log = logging.getLogger(__name__)


class WorkQueue:
    """A queue and its workers.

    Attributes:
        monotonic: seconds of a clock that never goes back.
        jitter: random numbers from 0 to 1.
    """

    def __init__(
        self,
        run_pass: Pass,
        *,
        workers: int,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        pass_seconds: float = PASS_SECONDS,
    ) -> None:
        self._run_pass = run_pass
        self._workers = workers
        self._pass_seconds = pass_seconds
        self.monotonic = monotonic
        self.jitter = jitter
        self._schedule = Schedule(jitter)
        self._changed = asyncio.Event()
        self._stopping = False
        self._is_running = False

    def wake(self, namespace: str, name: str) -> None:
        """Look at an object soon."""
        self._schedule.wake((namespace, name), self.monotonic())
        self._changed.set()

    def wake_within(self, namespace: str, name: str, seconds: float) -> None:
        """Look at an object within so many seconds."""
        self._schedule.wake_at((namespace, name), self.monotonic() + seconds)
        self._changed.set()

    def keep_only(self, keys: Collection[Key]) -> int:
        """Forget objects that are gone; returns how many were still known."""
        return self._schedule.keep_only(keys)

    @property
    def depth(self) -> int:
        """Objects that wait for a worker."""
        return self._schedule.depth

    @property
    def age(self) -> float:
        """Seconds that the oldest of them has waited."""
        return self._schedule.age(self.monotonic())

    async def run(self) -> None:
        """Work until cancelled, or until `drain` lets the workers end after their current pass.

        May be called again afterwards: what was cut off is still in the queue.
        """
        self._stopping = False
        self._is_running = True
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"worker {number}")
        finally:
            self._is_running = False

    @property
    def is_running(self) -> bool:
        """Whether there are workers; a standby has none."""
        return self._is_running

    def drain(self) -> None:
        """Take no further object."""
        self._stopping = True
        self._changed.set()

    async def _work(self) -> None:
        while (key := await self._next()) is not None:
            await self._one_pass(key)
            self._changed.set()

    async def _next(self) -> Key | None:
        while not self._stopping:
            key = self._schedule.take(self.monotonic())
            if key is not None:
                return key
            self._changed.clear()
            due = self._schedule.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - self.monotonic())):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return None

    async def _one_pass(self, key: Key) -> None:
        try:
            async with asyncio.timeout(self._pass_seconds):
                wake_after = await self._run_pass(key)
        except asyncio.CancelledError:
            self._schedule.give_back(key, self.monotonic())
            raise
        except Retry as error:
            wait = self._schedule.fail(key, self.monotonic(), error.delay)
            _log.info("pass delayed: %s", error, extra={"context": {**_context(key), "retryIn": round(wait, 1)}})
        except UserError as error:
            self._schedule.fail(key, self.monotonic())
            _log.warning("pass refused: %s", error, extra={"context": {**_context(key), "reason": error.reason}})
        except TimeoutError:
            wait = self._schedule.fail(key, self.monotonic())
            context = {**_context(key), "retryIn": round(wait, 1)}
            _log.warning("pass took longer than %s s", self._pass_seconds, extra={"context": context})
        except Exception:
            wait = self._schedule.fail(key, self.monotonic())
            context = {**_context(key), "retryIn": round(wait, 1)}
            _log.exception("pass failed: this is a bug", extra={"context": context})
        else:
            self._schedule.succeed(key, self.monotonic(), wake_after)


def _context(key: Key) -> dict[str, object]:
    return {"namespace": key[0], "name": key[1]}
