"""When which object is looked at: no I/O, no clock of its own, so that its promises can be tested as properties.

A key is ready, delayed, in flight, or unknown. In flight it is never handed out again; a wake that comes meanwhile
is remembered and honoured afterwards.
"""

import heapq
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

Key = tuple[str, str]
"""(namespace, name)"""

BACKOFF_FIRST = 1.0
BACKOFF_LAST = 300.0
DELAY_LEAST = 0.1
JITTER = 0.2
"""A delay is lengthened by up to this share, so that many objects that failed together do not return together."""


@dataclass
class Schedule:
    """The state of the queue; every time is in seconds of one monotonic clock, `jitter` gives numbers from 0 to 1."""

    jitter: Callable[[], float]
    _ready: dict[Key, float] = field(default_factory=dict)
    _in_flight: set[Key] = field(default_factory=set)
    _dirty: set[Key] = field(default_factory=set)
    _due: dict[Key, float] = field(default_factory=dict)
    _heap: list[tuple[float, Key]] = field(default_factory=list)
    _failures: dict[Key, int] = field(default_factory=dict)

    def wake(self, key: Key, now: float) -> None:
        """Look at the object as soon as a worker is free, or again if one is looking at it now."""
        if key in self._in_flight:
            self._dirty.add(key)
            return
        self._due.pop(key, None)
        self._ready.setdefault(key, now)

    def wake_at(self, key: Key, due: float) -> None:
        """Look at the object at that time at the latest."""
        if key in self._ready or key in self._dirty:
            return
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))

    def take(self, now: float) -> Key | None:
        """Return the object that has waited longest, now in flight; None when nothing is ready."""
        self._promote(now)
        key = next(iter(self._ready), None)
        if key is not None:
            del self._ready[key]
            self._in_flight.add(key)
        return key

    def _promote(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            # Entries that were superseded stay in the heap; only the newest due time counts. A key in flight keeps
            # its alarm for afterwards.
            if self._due.get(key) == due:
                del self._due[key]
                self.wake(key, now)

    def succeed(self, key: Key, now: float, wake_after: float | None) -> None:
        """End a pass; look again after `wake_after` seconds, at once when woken meanwhile."""
        self._failures.pop(key, None)
        self._leave(key, now, wake_after, 0.0)

    def fail(self, key: Key, now: float, delay: float | None = None) -> float:
        """End a pass that decided nothing; returns the seconds until the next one.

        A wake that came meanwhile shortens the back-off, but not below its first step: a pass that writes something
        and then fails would wake itself for ever. A `delay` is what an overloaded server asked for, and stays.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(BACKOFF_FIRST * 2.0 ** min(failures, 30), BACKOFF_LAST)
        wait = (backoff if delay is None else max(delay, DELAY_LEAST)) * (1 + JITTER * self.jitter())
        wait = min(wait, BACKOFF_LAST)
        if key in self._dirty and delay is None:
            wait = min(wait, BACKOFF_FIRST)
        self._leave(key, now, wait, wait)
        return wait

    def give_back(self, key: Key, now: float) -> None:
        """End a pass that was cut off; it is the next worker's."""
        self._leave(key, now, 0.0, 0.0)

    def _leave(self, key: Key, now: float, wake_after: float | None, wake_if_dirty: float) -> None:
        self._in_flight.discard(key)
        is_dirty = key in self._dirty
        self._dirty.discard(key)
        wait = wake_if_dirty if is_dirty else wake_after
        if wait is None:
            return
        if wait <= 0:
            self.wake(key, now)
        else:
            self.wake_at(key, now + wait)

    def keep_only(self, keys: Collection[Key]) -> int:
        """Forget every object that is not there any more; returns how many were known."""
        ghosts = {*self._ready, *self._due, *self._failures} - set(keys) - self._in_flight
        for ghost in ghosts:
            self._ready.pop(ghost, None)
            self._due.pop(ghost, None)
            self._failures.pop(ghost, None)
        return len(ghosts)

    def next_due(self) -> float | None:
        """Return when the next delayed object becomes ready, None when nothing is delayed."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    @property
    def depth(self) -> int:
        """Objects that wait for a worker."""
        return len(self._ready)

    def age(self, now: float) -> float:
        """Seconds that the oldest of them has waited."""
        return now - next(iter(self._ready.values()), now)
