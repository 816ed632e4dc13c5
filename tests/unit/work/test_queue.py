import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from visionmodel_operator.errors import Retry, UserError
from visionmodel_operator.work.queue import WorkQueue
from visionmodel_operator.work.schedule import Key

Script = Callable[[Key], Awaitable[float | None]]


class Clock:
    """The event loop's clock, moved forward by hand so that back-offs cost nothing."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.skipped


def queue_of(run_pass: Script, clock: Clock, *, workers: int = 2, pass_seconds: float = 5.0) -> WorkQueue:
    return WorkQueue(run_pass, workers=workers, monotonic=clock, jitter=lambda: 0.0, pass_seconds=pass_seconds)


@contextlib.asynccontextmanager
async def running(queue: WorkQueue) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(queue.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_true():  # noqa: ASYNC110 - turns of the loop, not time
            await asyncio.sleep(0)


async def test_a_woken_object_gets_one_pass() -> None:
    seen: list[Key] = []

    async def run_pass(key: Key) -> None:
        seen.append(key)

    queue = queue_of(run_pass, Clock())
    async with running(queue):
        for _ in range(3):
            queue.wake("default", "m")
        await until(lambda: bool(seen))
        await asyncio.sleep(0)
        assert seen == [("default", "m")]


async def test_no_object_is_in_two_hands_and_a_wake_meanwhile_is_honoured() -> None:
    inside, passes, most = 0, 0, 0
    gate = asyncio.Event()

    async def run_pass(key: Key) -> None:
        nonlocal inside, passes, most
        inside, passes = inside + 1, passes + 1
        most = max(most, inside)
        await gate.wait()
        inside -= 1

    queue = queue_of(run_pass, Clock(), workers=4)
    async with running(queue):
        queue.wake("default", "m")
        await until(lambda: passes == 1)
        queue.wake("default", "m")
        queue.wake("default", "m")
        gate.set()
        await until(lambda: passes == 2 and inside == 0)
        assert most == 1


async def test_passes_of_different_objects_run_side_by_side() -> None:
    inside: set[Key] = set()
    gate = asyncio.Event()

    async def run_pass(key: Key) -> None:
        inside.add(key)
        await gate.wait()

    queue = queue_of(run_pass, Clock(), workers=2)
    async with running(queue):
        for name in "abc":
            queue.wake("default", name)
        await until(lambda: len(inside) == 2)
        assert inside == {("default", "a"), ("default", "b")}


async def test_a_pass_may_ask_to_be_repeated() -> None:
    passes = 0

    async def run_pass(key: Key) -> float | None:
        nonlocal passes
        passes += 1
        return 0.0 if passes < 5 else None

    queue = queue_of(run_pass, Clock())
    async with running(queue):
        queue.wake("default", "m")
        await until(lambda: passes == 5)


@pytest.mark.parametrize(
    ("error", "level", "text"),
    [
        pytest.param(Retry("conflict"), logging.INFO, "pass delayed: conflict", id="retry"),
        pytest.param(UserError("Forbidden", "no"), logging.WARNING, "pass refused: no", id="user"),
        pytest.param(ValueError("oops"), logging.ERROR, "pass failed: this is a bug", id="bug"),
    ],
)
async def test_an_error_is_logged_and_the_object_comes_back(
    error: Exception, level: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    passes = 0

    async def run_pass(key: Key) -> None:
        nonlocal passes
        passes += 1
        if passes == 1:
            raise error

    clock = Clock()
    queue = queue_of(run_pass, clock)
    with caplog.at_level(logging.INFO):
        async with running(queue):
            queue.wake("default", "m")
            await until(lambda: bool(caplog.records))
            clock.skipped += 1.0
            queue.wake("default", "other")
            await until(lambda: passes == 3)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, text)]


async def test_a_pass_that_hangs_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async def run_pass(key: Key) -> None:
        await asyncio.Event().wait()

    queue = queue_of(run_pass, Clock(), pass_seconds=0.01)
    async with running(queue):
        queue.wake("default", "m")
        await until(lambda: bool(caplog.records))
    assert caplog.records[0].getMessage() == "pass took longer than 0.01 s"


async def test_draining_ends_the_workers_after_their_pass() -> None:
    passes: list[Key] = []
    gate = asyncio.Event()

    async def run_pass(key: Key) -> None:
        passes.append(key)
        await gate.wait()

    queue = queue_of(run_pass, Clock(), workers=1)
    async with running(queue) as task:
        queue.wake("default", "a")
        queue.wake("default", "b")
        await until(lambda: len(passes) == 1)
        queue.drain()
        gate.set()
        await until(task.done)
    assert (passes, queue.depth, queue.is_running) == ([("default", "a")], 1, False)


async def test_what_was_cut_off_is_done_by_the_next_workers() -> None:
    passes: list[Key] = []
    gate = asyncio.Event()

    async def run_pass(key: Key) -> None:
        passes.append(key)
        await gate.wait()

    queue = queue_of(run_pass, Clock(), workers=1)
    async with running(queue):
        queue.wake("default", "a")
        await until(lambda: len(passes) == 1)
    gate.set()
    async with running(queue):
        await until(lambda: len(passes) == 2)
    assert passes == [("default", "a")] * 2
