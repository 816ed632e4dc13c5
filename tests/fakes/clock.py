"""A clock that moves only when told."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Callable like `World.now`; starts on a round minute."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)) -> None:
        self.time = start

    def __call__(self) -> datetime:
        """The time."""
        return self.time

    def advance(self, seconds: float) -> datetime:
        """Move forward and return the new time."""
        self.time += timedelta(seconds=seconds)
        return self.time

    def stamp(self) -> str:
        """The time as the API server writes it."""
        return self.time.strftime("%Y-%m-%dT%H:%M:%SZ")
