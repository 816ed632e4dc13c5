"""Promises of the schedule, as properties: never two workers on one key, no wake lost, order and back-off."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from visionmodel_operator.work.schedule import BACKOFF_FIRST, BACKOFF_LAST, JITTER, Key, Schedule

KEYS = st.sampled_from([("default", name) for name in "abcd"])
SECONDS = st.floats(0, 1000)


class ScheduleMachine(RuleBasedStateMachine):
    """A model beside the real thing: what is being looked at, and what still has to be."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule(jitter=lambda: 0.5)
        self.now = 0.0
        self.in_flight: set[Key] = set()
        self.must_look: set[Key] = set()

    @rule(key=KEYS)
    def wake(self, key: Key) -> None:
        self.schedule.wake(key, self.now)
        self.must_look.add(key)

    @rule(key=KEYS, after=SECONDS)
    def wake_later(self, key: Key, after: float) -> None:
        self.schedule.wake_at(key, self.now + after)
        self.must_look.add(key)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        key = self.schedule.take(self.now)
        if key is not None:
            assert key not in self.in_flight
            self.in_flight.add(key)
            self.must_look.discard(key)

    @rule(key=KEYS, after=st.none() | SECONDS)
    def succeed(self, key: Key, after: float | None) -> None:
        if key in self.in_flight:
            self.in_flight.discard(key)
            self.schedule.succeed(key, self.now, after)
            if after is not None:
                self.must_look.add(key)

    @rule(key=KEYS)
    def fail(self, key: Key) -> None:
        if key in self.in_flight:
            self.in_flight.discard(key)
            self.schedule.fail(key, self.now)
            self.must_look.add(key)

    @rule(key=KEYS)
    def give_back(self, key: Key) -> None:
        if key in self.in_flight:
            self.in_flight.discard(key)
            self.schedule.give_back(key, self.now)
            self.must_look.add(key)

    @invariant()
    def nothing_in_flight_is_ready(self) -> None:
        assert self.schedule.depth <= 4 - len(self.in_flight)

    def teardown(self) -> None:
        """Play the rest: every key that was woken is handed out in the end."""
        for held in sorted(self.in_flight):
            self.schedule.succeed(held, self.now, None)
        seen = set()
        for _ in range(50):
            self.now += BACKOFF_LAST * (1 + JITTER) + 1000
            while (key := self.schedule.take(self.now)) is not None:
                seen.add(key)
                self.schedule.succeed(key, self.now, None)
        assert self.must_look <= seen
        assert self.schedule.next_due() is None
        assert self.schedule.depth == 0


ScheduleMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestSchedule = ScheduleMachine.TestCase

KEY = ("default", "m")


def schedule() -> Schedule:
    return Schedule(jitter=lambda: 0.0)


def test_keys_are_handed_out_in_the_order_they_were_woken() -> None:
    queue = schedule()
    for time, name in enumerate("cab"):
        queue.wake(("default", name), time)
    queue.wake(("default", "c"), 5)
    assert [queue.take(9) for _ in range(4)] == [("default", "c"), ("default", "a"), ("default", "b"), None]


def test_a_failing_key_waits_longer_each_time() -> None:
    queue, now, waits = schedule(), 0.0, []
    queue.wake(KEY, now)
    for _ in range(11):
        assert queue.take(now) == KEY
        waits.append(queue.fail(KEY, now))
        assert queue.take(now + waits[-1] - 0.001) is None
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_success_forgets_failures() -> None:
    queue = schedule()
    for _ in range(3):
        queue.wake(KEY, 0)
        queue.take(0)
        queue.fail(KEY, 0)
    queue.wake(KEY, 0)
    queue.take(0)
    queue.succeed(KEY, 0, None)
    queue.wake(KEY, 0)
    queue.take(0)
    assert queue.fail(KEY, 0) == BACKOFF_FIRST


@pytest.mark.parametrize(("asked", "expected"), [(7.0, 7.0), (0.0, 0.1), (4000.0, BACKOFF_LAST)])
def test_a_retry_may_name_its_delay(asked: float, expected: float) -> None:
    queue = schedule()
    queue.wake(KEY, 0)
    queue.take(0)
    assert queue.fail(KEY, 0, asked) == expected


def test_a_wake_during_a_failing_pass_shortens_the_wait_but_is_no_hot_loop() -> None:
    queue = schedule()
    for _ in range(5):
        queue.wake(KEY, 0)
        queue.take(0)
        queue.wake(KEY, 0)
        assert queue.fail(KEY, 0) == BACKOFF_FIRST


def test_a_wake_during_a_failing_pass_does_not_shorten_what_the_server_asked_for() -> None:
    queue = schedule()
    queue.wake(KEY, 0)
    queue.take(0)
    queue.wake(KEY, 0)
    assert queue.fail(KEY, 0, 7.0) == 7.0
    assert (queue.take(6.9), queue.take(7)) == (None, KEY)


def test_the_earliest_of_several_alarms_counts() -> None:
    queue = schedule()
    queue.wake_at(KEY, 50)
    queue.wake_at(KEY, 10)
    queue.wake_at(KEY, 30)
    assert (queue.next_due(), queue.take(9), queue.take(10)) == (10, None, KEY)
    queue.succeed(KEY, 10, None)
    assert queue.take(1000) is None


def test_ghosts_are_forgotten() -> None:
    queue = schedule()
    for name in "abc":
        queue.wake(("default", name), 0)
    queue.take(0)
    queue.wake_at(("default", "d"), 10)
    assert queue.keep_only([("default", "b")]) == 2
    assert (queue.take(20), queue.take(20)) == (("default", "b"), None)


def test_age_is_that_of_the_oldest() -> None:
    queue = schedule()
    assert queue.age(5) == 0
    queue.wake(KEY, 5)
    queue.wake(("default", "n"), 8)
    assert (queue.age(9), queue.depth) == (4, 2)
